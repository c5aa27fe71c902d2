//! A backup while writing goes on, damage, and what repair saves.
//!
//! `cargo run -p datasilo --example backup_and_repair`

use std::path::Path;

use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Result, Silo, Strictness, repair};

const NOTES: u32 = 2000;

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let (path, copy) = (dir.path().join("notes"), dir.path().join("backup"));
    let silo = Silo::open(&path, Options::new())?;
    let notes = silo.create_keyspace("notes", &KeyspaceOptions::new())?;
    for note in 0..NOTES {
        silo.put(&notes, IntKey::from(note), format!("note {note}"), Durability::Process)?;
    }
    let report = silo.backup(&copy)?;
    println!(
        "backup: {} files linked, {} copied, {} bytes",
        report.linked_files, report.copied_files, report.bytes
    );
    silo.put(&notes, IntKey::from(NOTES), "after the backup", Durability::Process)?;
    silo.close()?;

    // Files are shared with the original, so a copy is damaged here, not the backup.
    let damaged = dir.path().join("damaged");
    copy_files(&copy, &damaged);
    damage_a_segment(&damaged);
    let silo = Silo::open(&damaged, Options::new())?;
    let check = silo.check(Strictness::Lenient)?;
    println!("check: {} frames read, {} problems", check.frames, check.problems.len());
    for problem in &check.problems {
        println!("  {problem}");
    }
    assert!(!check.is_clean());
    drop(silo);

    let report = repair(&damaged, &Options::new())?;
    println!("repair: {} of {NOTES} notes kept, {} bytes lost", report.entries, report.lost_bytes);
    let silo = Silo::open(&damaged, Options::new())?;
    assert!(silo.check(Strictness::Strict)?.is_clean());
    assert_eq!(silo.snapshot().iter(&notes)?.count() as u64, report.entries);
    assert!(report.entries < u64::from(NOTES) && report.entries > 0);

    let restored = Silo::open(&copy, Options::new())?;
    let kept = restored.snapshot().iter(&notes)?.count();
    println!("the backup has all {kept}");
    assert_eq!(kept, NOTES as usize);
    restored.close()
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("files have names");
        std::fs::copy(&path, to.join(name)).expect("a copy");
    }
}

/// Flips one bit in the middle of the largest segment.
fn damage_a_segment(dir: &Path) {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let segment = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seg-")))
        .max_by_key(|path| path.metadata().map_or(0, |metadata| metadata.len()))
        .expect("a silo has segments");
    let mut bytes = std::fs::read(&segment).expect("a readable file");
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    std::fs::write(&segment, bytes).expect("a writable file");
}
