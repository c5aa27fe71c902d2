//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this module")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails by panicking, and its numbers are small"
)]

pub mod disk;
pub mod faulty;
pub mod history;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory of its own, in memory where the system has such a place.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("datasilo-test-").tempdir_in(parent).unwrap()
}

/// Seed of this run: from the environment, so that a campaign can vary it, else fixed.
pub fn seed() -> u64 {
    std::env::var("SILO_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// How long a campaign asks each test to run. Without a campaign, tests do a fixed amount of work.
pub fn campaign() -> Option<Duration> {
    let seconds = std::env::var("SILO_CAMPAIGN_SECONDS").ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Copies the files of a directory as they are now: what a killed process leaves.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Names of the files in a directory, sorted.
pub fn file_names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Asserts that a directory holds nothing but what an open silo uses.
pub fn assert_no_leftovers(silo: &datasilo::Silo, dir: &Path) {
    let stats = silo.stats().unwrap();
    let mut segments: Vec<String> = stats.segments.iter().map(|s| format!("seg-{:010}", s.number)).collect();
    segments.sort();
    let names = file_names(dir);
    let (numbered, fixed): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name.starts_with("seg-") || name.starts_with("idx-"));
    let (found, runs): (Vec<String>, Vec<String>) =
        numbered.into_iter().partition(|name| name.starts_with("seg-"));
    assert_eq!(found, segments, "segment files are those of the manifest");
    let known_runs: usize = stats.keyspaces.iter().map(|k| k.index_runs).sum();
    assert_eq!(runs.len(), known_runs, "index files are those of the manifest: {runs:?}");
    let strange: Vec<&String> =
        fixed.iter().filter(|name| !matches!(name.as_str(), "LOCK" | "MANIFEST" | "MARK")).collect();
    assert!(strange.is_empty(), "leftover files: {strange:?}");
}

/// Ends the process with a message if it is not dropped in time: a hang must not look like patience.
#[derive(Debug)]
pub struct Watchdog {
    done: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Watchdog {
    pub fn new(what: String, limit: Duration) -> Self {
        let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&done);
        std::thread::spawn(move || {
            let deadline = std::time::Instant::now() + limit;
            while std::time::Instant::now() < deadline {
                if seen.load(std::sync::atomic::Ordering::Acquire) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            eprintln!("HANG: {what} took longer than {limit:?}");
            std::process::abort();
        });
        Self { done }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.store(true, std::sync::atomic::Ordering::Release);
    }
}

/// Where a failing state is kept for a closer look.
pub fn keep_for_inspection(dir: &Path, name: &str) -> PathBuf {
    let kept = std::env::temp_dir().join(format!("datasilo-failed-{name}-{}", std::process::id()));
    if dir.is_dir() {
        copy_dir(dir, &kept);
    }
    kept
}
