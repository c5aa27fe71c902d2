//! Where it was measured.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Machine, system and versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Logical processors.
    pub processors: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Type of the file system of the scratch directory.
    pub file_system: String,
    /// Of the compiler.
    pub rustc: String,
    /// The commit, with `+` where files were changed after it.
    pub commit: String,
    /// SIMD instructions that the bitmaps use.
    pub instruction_set: String,
    /// Crates whose code is timed, with their versions.
    pub crates: Vec<String>,
}

const TIMED_CRATES: [&str; 16] = [
    "ahash",
    "crc32fast",
    "croaring",
    "croaring-sys",
    "dashmap",
    "duckdb",
    "fjall",
    "foldhash",
    "heed",
    "memmap2",
    "rayon",
    "redb",
    "roaring",
    "rocksdb",
    "rustc-hash",
    "tantivy",
];

fn line_after(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split(':').nth(1)?.trim().to_owned())
}

fn output(command: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(command).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Bytes of memory that programs can take now.
#[must_use]
pub fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        line_after(&text, "MemAvailable").and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib << 10)
}

fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let (_, kind) =
        mounted.filter(|(place, _)| dir.starts_with(place)).max_by_key(|(place, _)| place.len())?;
    Some(kind.to_owned())
}

fn crates() -> Vec<String> {
    let lock = include_str!("../../../Cargo.lock");
    let mut found = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            package
                .lines()
                .find_map(|line| line.strip_prefix(key)?.trim_matches([' ', '=', '"']).split('"').next())
        };
        if let (Some(name), Some(version)) = (value("name"), value("version"))
            && TIMED_CRATES.contains(&name)
        {
            found.push(format!("{name} {version}"));
        }
    }
    found
}

impl Machine {
    /// This one, with the file system of a directory.
    #[must_use]
    pub fn here(scratch: &Path) -> Self {
        let unknown = || "unknown".to_owned();
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib =
            line_after(&memory, "MemTotal").and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
        let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]).unwrap_or_default();
        let commit = output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(unknown);
        Self {
            processor: line_after(&processors, "model name").unwrap_or_else(unknown),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: kib.unwrap_or(0) << 10,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            file_system: file_system(scratch).unwrap_or_else(unknown),
            rustc: output("rustc", &["--version"]).unwrap_or_else(unknown),
            commit: commit + if changed.is_empty() { "" } else { "+" },
            instruction_set: bitmap_silo::instruction_set().to_owned(),
            crates: crates(),
        }
    }
}
