//! Prints the engine's figures as ratios to physical limits, measured alternately in one run.
//!
//! `cargo bench -p datasilo --bench goals` takes some minutes and about 6 GB of disk.
//! `… -- --records 200000 --rounds 3` is a smoke run; `… -- get scan` runs only rows of these groups.
//! The directory for the files is `SILO_BENCH_DIR`, or the system's temporary directory.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    reason = "a measuring program"
)]

mod heap;
mod limit;
mod measure;
mod reads;
mod space;
mod writes;

use std::path::{Path, PathBuf};

use measure::Table;

/// Counts the heap in use, for the memory figures.
#[global_allocator]
static HEAP: heap::CountingAllocator = heap::CountingAllocator;

/// What to measure, and how large.
pub struct Config {
    /// Records in the larger silos.
    pub records: u64,
    /// Times that each row is measured.
    pub rounds: usize,
    /// Where files go.
    pub dir: PathBuf,
    groups: Vec<String>,
}

impl Config {
    fn from_args() -> Self {
        let mut config =
            Self { records: 5_000_000, rounds: 5, dir: std::env::temp_dir(), groups: Vec::new() };
        if let Some(dir) = std::env::var_os("SILO_BENCH_DIR") {
            config.dir = dir.into();
        }
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--records" => {
                    config.records = args.next().and_then(|n| n.parse().ok()).unwrap_or(config.records);
                }
                "--rounds" => {
                    config.rounds = args.next().and_then(|n| n.parse().ok()).unwrap_or(config.rounds);
                }
                flag if flag.starts_with("--") => {} // cargo's own flags
                group => config.groups.push(group.to_owned()),
            }
        }
        config
    }

    fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|g| g == group)
    }

    /// A fresh directory for one group of rows.
    #[must_use]
    pub fn scratch(&self) -> tempfile::TempDir {
        tempfile::Builder::new().prefix("datasilo-goals-").tempdir_in(&self.dir).unwrap()
    }
}

/// Bytes of all files in a directory.
#[must_use]
pub fn dir_bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum()
}

fn main() {
    if let Some(dir) = std::env::var_os("SILO_BENCH_CHILD") {
        space::write_and_die(Path::new(&dir));
    }
    let config = Config::from_args();
    println!(
        "{} records, {} rounds, files in {}; medians of alternating rounds",
        config.records,
        config.rounds,
        config.dir.display()
    );
    let mut table = Table::new();
    if config.wants("get") {
        reads::run(&config, &mut table);
    }
    if config.wants("put") {
        writes::run(&config, &mut table);
    }
    if config.wants("load") || config.wants("scan") || config.wants("compact") || config.wants("reopen") {
        space::run(&config, &mut table);
    }
    table.print();
}
