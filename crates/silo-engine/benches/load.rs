//! Loads generated rows, then pairs on top, and asks some queries: CPU time per row and pair, microseconds per
//! query, bytes per record. `cargo bench -p silo-engine --bench load -- ROWS`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Instant;

use silo_engine::columns::{Column, RowBatch, Values};
use silo_engine::{
    Direction, Engine, Field, FieldType, Filter, IdField, IndexKinds, LoadMode, Query, Schema, Target,
    TimeUnit,
};

const BATCH: usize = 16_384;
const TAGS: usize = 10;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Skewed numbers below `most`.
fn skewed(state: &mut u64, most: u64) -> i64 {
    let (x, y) = (next(state) % most, next(state) % most);
    i64::try_from(x * y / most).unwrap()
}

fn schema() -> Schema {
    let none = IndexKinds::none;
    let mut tags = Field::new("tags", FieldType::Unsigned(32)).index(none().filter());
    tags.multi = true;
    let fields = vec![
        Field::new("level", FieldType::Unsigned(8)).index(none().filter()),
        Field::new("poi", FieldType::Bool).index(none().filter()),
        Field::new("hasMeta", FieldType::Bool).index(none().filter()),
        Field::new("model", FieldType::String).index(none().filter()),
        Field::new("user", FieldType::Unsigned(32)).index(none().high()),
        Field::new("post", FieldType::Unsigned(32)).index(none().high()),
        Field::new("reactions", FieldType::Unsigned(32)).index(none().sort()),
        Field::new("comments", FieldType::Unsigned(32)).index(none().sort()),
        Field::new("sortAt", FieldType::Time(TimeUnit::Seconds)).index(none().sort()),
        Field::new("url", FieldType::String),
        tags,
    ];
    Schema::new(IdField::new("id", FieldType::Signed(64)), fields).unwrap()
}

fn rows(first: u64, count: usize, state: &mut u64) -> RowBatch {
    let column = |values| Column { nulls: vec![], values };
    let mut ints = |most: u64| Values::Int((0..count).map(|_| skewed(state, most)).collect());
    let (level, user, reactions, comments) = (ints(6), ints(50_000), ints(1_000), ints(50));
    let ids: Vec<i64> = (first..).take(count).map(|row| i64::try_from(row * 8 / 7).unwrap()).collect();
    let times = ids.iter().map(|id| 1_600_000_000 + id + skewed(state, 500)).collect();
    let posts = ids.iter().map(|id| id / 5).collect();
    let mut text = |bytes_each: &dyn Fn(u64) -> String| {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            bytes.extend_from_slice(bytes_each(next(state)).as_bytes());
            ends.push(u32::try_from(bytes.len()).unwrap());
        }
        Values::Text { ends, bytes }
    };
    let models = text(&|x| format!("SD {}", x % 60));
    let urls = text(&|x| format!("{x:016x}-{:016x}", x.rotate_left(7)));
    let mut bools =
        |most: u64| Values::Bool((0..count).map(|_| u8::from(next(state).is_multiple_of(most))).collect());
    let (poi, meta) = (bools(50), bools(3));
    let columns = vec![
        Values::Int(ids),
        level,
        poi,
        meta,
        models,
        user,
        Values::Int(posts),
        reactions,
        comments,
        Values::Int(times),
        urls,
    ];
    RowBatch { first_row: first, rows: count, columns: columns.into_iter().map(column).collect() }
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|x| x.parse::<f64>().ok()).unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn load(
    engine: &Engine,
    targets: Vec<Target>,
    mode: LoadMode,
    mut each: impl FnMut(&mut dyn FnMut(&RowBatch)),
) -> f64 {
    let loader = engine.loader(mode, targets, 1 << 30).unwrap();
    let mut writer = loader.writer();
    let mut taken = 0.0;
    each(&mut |batch| {
        let before = cpu();
        writer.push(batch).unwrap();
        taken += cpu() - before;
    });
    let before = cpu();
    drop(writer);
    let pushed = taken + cpu() - before;
    let report = loader.finish().unwrap();
    taken += cpu() - before;
    println!("  {report:?}: pushing {pushed:.2} s, in all {taken:.2} s of CPU");
    taken
}

#[expect(clippy::cast_precision_loss, reason = "ratios")]
fn main() {
    let count = std::env::args().find_map(|x| x.parse::<u64>().ok()).unwrap_or(200_000);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::create(dir.path().join("silo"), schema()).unwrap();
    let names =
        ["level", "poi", "hasMeta", "model", "user", "post", "reactions", "comments", "sortAt", "url"];
    let position = |name: &str| engine.schema().position(name).unwrap();
    let targets = [Target::Id].into_iter().chain(names.map(|name| Target::Field(position(name)))).collect();
    let mut seed = 88_172_645_463_325_252;
    let taken = load(&engine, targets, LoadMode::Replace, |push| {
        let mut first = 0;
        while first < count {
            let rows_now = BATCH.min(usize::try_from(count - first).unwrap());
            push(&rows(first, rows_now, &mut seed));
            first += rows_now as u64;
        }
    });
    println!("{count} rows: {:.2} us of CPU a row", taken * 1e6 / count as f64);
    let targets = vec![Target::Id, Target::Add(position("tags"))];
    let pairs = count * TAGS as u64;
    let taken = load(&engine, targets, LoadMode::Merge, |push| {
        let mut first = 0;
        while first < pairs {
            let now = BATCH.min(usize::try_from(pairs - first).unwrap());
            let ids =
                (first..).take(now).map(|pair| i64::try_from(pair / TAGS as u64 * 8 / 7).unwrap()).collect();
            let tags = (0..now).map(|_| skewed(&mut seed, 30_000)).collect();
            let column = |values| Column { nulls: vec![], values: Values::Int(values) };
            push(&RowBatch { first_row: first, rows: now, columns: vec![column(ids), column(tags)] });
            first += now as u64;
        }
    });
    println!("{pairs} pairs: {:.3} us of CPU a pair", taken * 1e6 / pairs as f64);
    let stats = engine.store_stats().unwrap();
    println!("{:.1} bytes a record in files", stats.file_bytes as f64 / count as f64);
    for keyspace in &stats.keyspaces {
        println!("  {}: {:.1}", keyspace.name, keyspace.live_bytes as f64 / count as f64);
    }
    for (name, filter, sort) in [
        ("level by reactions", "level = 1", "reactions"),
        ("level by time", "level = 0", "sortAt"),
        ("two tags", "tags = 4 AND tags = 77", "reactions"),
        ("any of five tags", "tags IN [1, 2, 3, 500, 800]", "sortAt"),
        ("level, tag, not tag", "level IN [1, 2] AND tags = 4 AND NOT tags = 9", "reactions"),
        ("user by time", "user = 12", "sortAt"),
        ("time range and tag", "sortAt >= 2020-09-14T00:00:00Z AND tags = 4", "reactions"),
        ("prefix and level", "model STARTS WITH \"SD 1\" AND level = 1", "reactions"),
        ("newest", "hasMeta = true", "id"),
        ("rare tag", "tags = 29000", "reactions"),
        ("everything", "", "comments"),
    ] {
        let query = Query::new(Filter::parse(filter).unwrap()).sort(sort, Direction::Descending);
        let mut times = Vec::new();
        let mut total = 0;
        for _ in 0..51 {
            let started = Instant::now();
            total = engine.query(&query).unwrap().total;
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        println!("{name}: {total} records, median {:.0} us", times.get(25).copied().unwrap_or(0.0));
    }
    let facet = Query::new(Filter::parse("level = 1").unwrap()).facet("model", None).count_only();
    let started = Instant::now();
    engine.query(&facet).unwrap();
    println!("facet of 60 values: {:.0} us", started.elapsed().as_secs_f64() * 1e6);
}
