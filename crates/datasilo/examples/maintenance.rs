//! Looking after a silo: checkpoint, compaction, statistics, check. All of it happens by itself
//! with the default options; here it is called for.
//!
//! `cargo run -p datasilo --example maintenance`

use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Result, Silo, Strictness};

const SESSIONS: u32 = 20_000;

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let options = Options::new().background(false).segment_bytes(1 << 20).allocate_bytes(1 << 18);
    let silo = Silo::open(dir.path().join("sessions"), options)?;
    let sessions = silo.create_keyspace("sessions", &KeyspaceOptions::new())?;
    let mut batch = silo.batch();
    for round in 0..3u32 {
        for session in 0..SESSIONS {
            batch.put(&sessions, IntKey::from(session), format!("round {round} of session {session}"))?;
        }
        silo.commit(&mut batch, Durability::Process)?;
    }
    for session in (0..SESSIONS).filter(|session| session % 4 != 0) {
        batch.delete(&sessions, IntKey::from(session))?;
    }
    silo.commit(&mut batch, Durability::Process)?;
    show(&silo, "after writing")?;

    let report = silo.checkpoint()?;
    println!("checkpoint: {} mutations folded into the index in {:?}", report.ops, report.elapsed);
    show(&silo, "after the checkpoint")?;
    let before = silo.stats()?.file_bytes;

    let held = silo.snapshot();
    let report = silo.compact()?;
    println!(
        "compaction: {} segments emptied, {} bytes moved, {} freed in {:?}",
        report.segments, report.moved_bytes, report.freed_bytes, report.elapsed
    );
    show(&silo, "after the compaction")?;
    println!("held by a snapshot from before: {} bytes", silo.stats()?.pinned_bytes);
    assert!(silo.stats()?.pinned_bytes > 0);
    drop(held);
    assert_eq!(silo.stats()?.pinned_bytes, 0);
    assert!(silo.stats()?.file_bytes < before / 4);

    let check = silo.check(Strictness::Strict)?;
    println!("check: {} frames and {} index entries are fine", check.frames, check.index_entries);
    let remaining = silo.stats()?.keyspaces.first().map_or(0, |keyspace| keyspace.entries);
    assert_eq!(remaining, u64::from(SESSIONS / 4));
    silo.close()
}

fn show(silo: &Silo, when: &str) -> Result<()> {
    let stats = silo.stats()?;
    for keyspace in &stats.keyspaces {
        println!(
            "{when}: {} entries, {} bytes live, {} dead, {} index runs; {} bytes in files, \
             written {:.2} times what was given",
            keyspace.entries,
            keyspace.live_bytes,
            keyspace.dead_bytes,
            keyspace.index_runs,
            stats.file_bytes,
            stats.write_amplification()
        );
    }
    Ok(())
}
