//! Snapshots that stay as they are, look-ups of many keys, and scans on one thread or all.
//!
//! `cargo run -p datasilo --example snapshots_and_scan`

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use datasilo::{Durability, Error, IntKey, KeyspaceOptions, Options, Result, Silo};

const CITIES: u32 = 100_000;

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let silo = Silo::open(dir.path().join("cities"), Options::new())?;
    let cities = silo.create_keyspace("cities", &KeyspaceOptions::new())?;
    let mut batch = silo.batch();
    for city in 0..CITIES {
        batch.put(&cities, IntKey::from(city), city.to_le_bytes())?;
    }
    silo.commit(&mut batch, Durability::Process)?;
    silo.checkpoint()?;

    // A snapshot is what was committed before it, whatever comes later.
    let census = silo.snapshot();
    silo.put(&cities, IntKey::from(7u32), "moved", Durability::Process)?;
    silo.delete(&cities, IntKey::from(8u32), Durability::Process)?;
    assert_eq!(census.get(&cities, IntKey::from(7u32))?.as_deref(), Some(&7u32.to_le_bytes()[..]));
    assert!(census.contains(&cities, IntKey::from(8u32))?);
    let now = silo.snapshot();
    println!("snapshot {} of generation {}, now {}", census.seq(), census.generation(), now.seq());

    // Many keys at once: their memory accesses overlap.
    let keys: Vec<IntKey> = (0..CITIES).step_by(10).map(IntKey::from).collect();
    let started = Instant::now();
    let found = census.multi_get(&cities, &keys)?.into_iter().flatten().count();
    println!("{found} of {} keys looked up in {:?}", keys.len(), started.elapsed());
    assert_eq!(found, keys.len());

    // All entries, in the order in which they lie in the files.
    let started = Instant::now();
    let mut bytes = 0;
    for entry in now.iter(&cities)? {
        let (key, value) = entry?;
        bytes += key.len() + value.len();
    }
    println!("{bytes} bytes of keys and values read by iterator in {:?}", started.elapsed());

    let started = Instant::now();
    let count = AtomicU64::new(0);
    now.par_for_each(&cities, |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<(), Error>(())
    })?;
    println!("{} entries visited by all threads in {:?}", count.load(Ordering::Relaxed), started.elapsed());
    assert_eq!(count.into_inner(), u64::from(CITIES) - 1);
    silo.close()?;
    // What snapshots lend stays even now.
    assert!(census.contains(&cities, IntKey::from(8u32))?);
    Ok(())
}
