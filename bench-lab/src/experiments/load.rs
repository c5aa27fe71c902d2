//! Loading, end to end.

use std::path::Path;

use anyhow::Result;

use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::workload::{Columns, Format, TagForm, Workload, files_in, load_silo, write_workload};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "load",
    question: "How long does it take to load the workload's two files, documents and indexes, synced, against only splitting the same files?",
    strategies: &[
        ("split", "the csv crate reads all records of both files into one, on one thread, and drops them"),
        ("ours-1", "rows, then pairs of image and tag into the records that are there, on one thread"),
        ("ours", "the same, on all threads"),
    ],
    baseline: "split",
    limit: "splitting is the limit of any load of text",
    memory: true,
    decision: "The goal is six times the CPU time of splitting. Added values are dealt to parts of the slots; a part's documents and bitmaps are made together, \
        and documents are replaced where they were read, so that the index compares no keys.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    vec![Shape::new("rows+pairs", rows_at(scale), "rows", 6_000.0, 170)]
}

fn rows_at(scale: Scale) -> u64 {
    scale.pick(20_000, 1_460_000, 14_600_000)
}

/// Records of the two files.
fn split(files: &Path) -> Result<[u64; 2]> {
    let mut counts = [0; 2];
    for (path, count) in files_in(files).iter().zip(&mut counts) {
        let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 20).from_path(path)?;
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record)? {
            *count += 1;
        }
    }
    Ok(counts)
}

fn run(_: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let settings = lab.settings;
    let scratch = scratch_dir(&settings.scratch)?;
    let files = scratch.path().join("files");
    let workload = Workload::new(rows_at(settings.scale), 10, settings.seed);
    write_workload(&workload, &files, Format::Csv, Columns::Light, TagForm::Pairs, |_| {})?;
    let load = |threads: usize| {
        let dir = scratch_dir(&settings.scratch)?;
        let (engine, rows) = load_silo(&files, &dir.path().join("silo"), threads)?;
        drop(engine);
        Ok((dir, rows))
    };
    let digest = |rows: [u64; 2]| Ok(Digest::of(rows));
    lab.measure(vec![
        Strategy::new("split", || split(&files), move |rows| digest(*rows)),
        Strategy::new("ours-1", || load(1), move |(_, rows)| digest(*rows)),
        Strategy::new("ours", || load(settings.threads), move |(_, rows)| digest(*rows)),
    ])
}
