//! Random reads, scans and updates of a silo, each value compared with what it must be; prints
//! latencies. `scripts/larger-than-memory.sh` runs it with less memory than data.
//!
//! ```text
//! cargo run --release -p datasilo --example larger_than_memory -- fill DIR MIB
//! cargo run --release -p datasilo --example larger_than_memory -- read DIR READS
//! ```
//! Without arguments it does both on a little data.

use std::path::Path;
use std::time::{Duration, Instant};

use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Result, Silo, Strictness};

const VALUE_LEN: usize = 1000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{text:?} is no number"));
    match arguments.as_slice() {
        ["fill", dir, mib] => fill(Path::new(dir), number(mib)),
        ["read", dir, reads] => read(Path::new(dir), number(reads)),
        [] => {
            let dir = tempfile::tempdir().expect("a directory for temporary files");
            let path = dir.path().join("silo");
            fill(&path, 20)?;
            read(&path, 2000)
        }
        _ => panic!("usage: fill DIR MIB | read DIR READS"),
    }
}

fn options() -> Options {
    Options::new().segment_bytes(64 << 20)
}

/// Cheap, well mixed, and the same each time.
fn mix(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x045d_9f3b);
    let n = (n ^ n >> 16).wrapping_mul(0x045d_9f3b);
    n ^ n >> 16
}

fn value(key: u32, version: u32) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_LEN + 4);
    value.extend_from_slice(&version.to_le_bytes());
    let mut n = 0;
    while value.len() < VALUE_LEN {
        value.extend_from_slice(&mix(key ^ mix(version) ^ n).to_le_bytes());
        n += 1;
    }
    value
}

fn is_right(key: &[u8], found: &[u8]) -> bool {
    let version = found.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    IntKey::to_u32(key).zip(version).is_some_and(|(key, version)| found == value(key, version))
}

fn fill(dir: &Path, mib: u32) -> Result<()> {
    let count = u32::try_from((u64::from(mib) << 20) / VALUE_LEN as u64).expect("less than 4 TiB");
    let silo = Silo::open(dir, options())?;
    let docs = silo.create_keyspace("docs", &KeyspaceOptions::new())?;
    let started = Instant::now();
    let session = silo.bulk(&[&docs])?;
    let mut writer = session.writer();
    for key in 0..count {
        writer.put(&docs, IntKey::from(key), value(key, 0))?;
    }
    writer.close()?;
    session.finish()?;
    println!("loaded {count} values, {mib} MiB, in {:?}", started.elapsed());
    silo.close()
}

/// Prints how long the calls took.
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at =
        |share: usize| times.get(times.len().saturating_sub(1) * share / 1000).copied().unwrap_or_default();
    println!(
        "{what}: median {:?}, 90 % {:?}, 99 % {:?}, 99.9 % {:?}, longest {:?}",
        at(500),
        at(900),
        at(990),
        at(999),
        at(1000)
    );
}

fn read(dir: &Path, reads: u32) -> Result<()> {
    let started = Instant::now();
    let silo = Silo::open(dir, options())?;
    println!("opened in {:?}", started.elapsed());
    let docs = silo.keyspace("docs")?;
    let count = silo.stats()?.keyspaces.first().map_or(0, |keyspace| keyspace.entries);
    let count = u32::try_from(count).expect("keys have 32 bits");
    let snapshot = silo.snapshot();

    let mut times = Vec::new();
    for n in 0..reads {
        let key = IntKey::from(mix(n) % count);
        let started = Instant::now();
        let found = snapshot.get(&docs, key)?;
        times.push(started.elapsed());
        assert!(found.is_some_and(|found| is_right(key.as_ref(), &found)), "a wrong value");
    }
    report("get", times);

    let mut times = Vec::new();
    for n in 0..reads / 32 {
        let keys: Vec<IntKey> = (0..32).map(|k| IntKey::from(mix(reads + n * 32 + k) % count)).collect();
        let started = Instant::now();
        let found = snapshot.multi_get(&docs, &keys)?;
        times.push(started.elapsed());
        for (key, found) in keys.iter().zip(found) {
            assert!(found.is_some_and(|found| is_right(key.as_ref(), &found)), "a wrong value");
        }
    }
    report("multi_get of 32", times);

    let mut times = Vec::new();
    for n in 0..reads {
        let key = mix(n.wrapping_mul(3)) % count;
        let started = Instant::now();
        silo.put(&docs, IntKey::from(key), value(key, n + 1), Durability::Process)?;
        times.push(started.elapsed());
    }
    report("put", times);
    drop(snapshot);

    let started = Instant::now();
    let compaction = silo.compact()?;
    println!("compaction: {} bytes moved in {:?}", compaction.moved_bytes, started.elapsed());

    let started = Instant::now();
    let mut seen = 0;
    silo.snapshot().for_each(&docs, |key, found| {
        assert!(is_right(key, &found), "a wrong value");
        seen += 1;
        Ok::<(), datasilo::Error>(())
    })?;
    println!("scan: {seen} values in {:?}", started.elapsed());
    assert_eq!(seen, count);
    silo.check(Strictness::Strict)?;
    silo.close()
}
