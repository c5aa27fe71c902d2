//! Point reads.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datasilo::{Durability, IntKey, Keyspace, KeyspaceOptions, Options, Silo, Snapshot};

use crate::Config;
use crate::limit::{Limit, consume, random_keys, value};
use crate::measure::{Table, alternate, cpu, median};

const READS: usize = 400_000;

/// Loads records in one bulk session.
pub(crate) fn load(silo: &Silo, keyspace: &Keyspace, records: u64, len: usize, threads: u64) {
    let session = silo.bulk(&[keyspace]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let mut writer = session.writer();
            scope.spawn(move || {
                let mut record = Vec::new();
                for key in records * thread / threads..records * (thread + 1) / threads {
                    value(key, len, &mut record);
                    writer.put(keyspace, IntKey::from(key), &record).unwrap();
                }
                writer.close().unwrap();
            });
        }
    });
    session.finish().unwrap();
}

fn read_all(snapshot: &Snapshot, keyspace: &Keyspace, keys: &[u64]) -> u64 {
    let get = |&key: &u64| consume(&snapshot.get(keyspace, IntKey::from(key)).unwrap().unwrap());
    keys.iter().map(get).fold(0, u64::wrapping_add)
}

pub(crate) fn run(config: &Config, table: &mut Table) {
    for len in [300, 24] {
        run_with(config, table, len);
    }
}

fn run_with(config: &Config, table: &mut Table, len: usize) {
    let dir = config.scratch();
    let limit = Limit::load(&dir.path().join("limit"), config.records, len);
    let silo = Silo::open(dir.path().join("silo"), Options::new()).unwrap();
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new()).unwrap();
    load(&silo, &keyspace, config.records, len, 2);
    let snapshot = silo.snapshot();
    let unverified = snapshot.unverified();
    let keys = random_keys(config.records, READS, 1);
    let units = READS as u64;
    let absent: Vec<u64> = keys.iter().map(|key| key + config.records).collect();
    let times = alternate(
        config.rounds,
        units,
        &mut [
            &mut || cpu(|| keys.iter().map(|&k| consume(limit.get(k))).fold(0, u64::wrapping_add)),
            &mut || cpu(|| read_all(&snapshot, &keyspace, &keys)),
            &mut || cpu(|| read_all(&unverified, &keyspace, &keys)),
            &mut || cpu(|| keys.iter().map(|&k| u64::from(limit.get(k)[0])).sum::<u64>()),
            &mut || {
                let touch =
                    |&key: &u64| u64::from(unverified.get(&keyspace, IntKey::from(key)).unwrap().unwrap()[0]);
                cpu(|| keys.iter().map(touch).sum::<u64>())
            },
            &mut || {
                let has = |&key: &u64| u64::from(snapshot.contains(&keyspace, IntKey::from(key)).unwrap());
                cpu(|| assert_eq!(absent.iter().map(has).sum::<u64>(), 0))
            },
            &mut || cpu(|| limit_batches(&limit, &keys)),
            &mut || cpu(|| multi_get(&snapshot, &keyspace, &keys)),
        ],
    );
    let name = |work: &str| format!("{work}, {len} B");
    if len == 300 {
        table.ratio(&name("get, verified"), "ns", times[1], times[0], 2.0, Some(1.6));
        table.ratio(&name("get, unverified"), "ns", times[2], times[0], 1.5, Some(1.2));
        table.ratio(&name("get, touch only, unverified"), "ns", times[4], times[3], 2.5, Some(1.5));
        table.figure(&name("get, absent key"), times[5], "ns", 100.0, None, false);
        table.ratio(&name("get, absent key, to a hit"), "ns", times[5], times[1], 0.5, None);
    }
    let (must, stretch) = if len == 300 { (1.7, 1.4) } else { (2.6, 2.0) };
    table.ratio(&name("multi_get of 32, a key"), "ns", times[7], times[6], must, Some(stretch));
    drop((snapshot, unverified));
    if len == 300 {
        beside_writer(config, table, &silo, &keyspace, &keys);
        after_updates(config, table, &silo, &keyspace, &keys);
    }
}

/// The limit's own batch: all places first, then all values.
fn limit_batches(limit: &Limit, keys: &[u64]) -> u64 {
    let mut sum = 0u64;
    let mut found: [&[u8]; 32] = [&[]; 32];
    for batch in keys.chunks(32) {
        for (slot, &key) in found.iter_mut().zip(batch) {
            *slot = limit.get(key);
        }
        for value in &found[..batch.len()] {
            sum = sum.wrapping_add(consume(value));
        }
    }
    sum
}

fn multi_get(snapshot: &Snapshot, keyspace: &Keyspace, keys: &[u64]) -> u64 {
    let mut sum = 0u64;
    for batch in keys.chunks(32) {
        let mut window = [IntKey::from(0u64); 32];
        for (slot, &key) in window.iter_mut().zip(batch) {
            *slot = IntKey::from(key);
        }
        snapshot
            .multi_get_each(keyspace, &window[..batch.len()], |_, value| {
                sum = sum.wrapping_add(consume(&value.unwrap()));
            })
            .unwrap();
    }
    sum
}

/// CPU time of this thread only, since a writer runs beside it.
fn thread_cpu<T>(work: impl FnOnce() -> T) -> Duration {
    let start = cpu_time::ThreadTime::now();
    black_box(work());
    start.elapsed()
}

fn beside_writer(config: &Config, table: &mut Table, silo: &Silo, keyspace: &Keyspace, keys: &[u64]) {
    let mut quiet = Vec::new();
    let mut busy = Vec::new();
    let mut longest = Duration::ZERO;
    for round in 0..=config.rounds {
        let calm = thread_cpu(|| read_all(&silo.snapshot(), keyspace, keys));
        let stop = AtomicBool::new(false);
        let noisy = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut batch = silo.batch();
                let mut record = Vec::new();
                let mut key = config.records * 2;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..1000 {
                        value(key, 300, &mut record);
                        batch.put(keyspace, IntKey::from(key), &record).unwrap();
                        key += 1;
                        if key.is_multiple_of(100_000) {
                            key = config.records * 2;
                        }
                    }
                    silo.commit(&mut batch, Durability::Process).unwrap();
                    if key.is_multiple_of(50_000) {
                        silo.checkpoint().unwrap();
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(20));
            let noisy = thread_cpu(|| {
                for part in keys.chunks(64) {
                    let started = Instant::now();
                    black_box(read_all(&silo.snapshot(), keyspace, part));
                    longest = longest.max(started.elapsed() / 64);
                }
            });
            stop.store(true, Ordering::Relaxed);
            noisy
        });
        if round > 0 {
            quiet.push(calm.as_nanos() as f64 / keys.len() as f64);
            busy.push(noisy.as_nanos() as f64 / keys.len() as f64);
        }
    }
    table.ratio("get beside a writer", "ns", median(busy), median(quiet), 1.15, Some(1.05));
    table.figure(
        "longest get beside a writer, mean of 64",
        longest.as_secs_f64() * 1e3,
        "ms",
        1.0,
        None,
        false,
    );
}

fn after_updates(config: &Config, table: &mut Table, silo: &Silo, keyspace: &Keyspace, keys: &[u64]) {
    let before = silo.snapshot();
    let mut batch = silo.batch();
    let mut record = Vec::new();
    for (at, key) in random_keys(config.records, (config.records / 5) as usize, 7).into_iter().enumerate() {
        value(key ^ 1, 300, &mut record);
        batch.put(keyspace, IntKey::from(key), &record).unwrap();
        if at % 1000 == 999 {
            silo.commit(&mut batch, Durability::Process).unwrap();
        }
    }
    silo.commit(&mut batch, Durability::Process).unwrap();
    let after = silo.snapshot();
    let times = alternate(
        config.rounds,
        keys.len() as u64,
        &mut [&mut || thread_cpu(|| read_all(&before, keyspace, keys)), &mut || {
            thread_cpu(|| read_all(&after, keyspace, keys))
        }],
    );
    table.ratio("get after 20 % updates", "ns", times[1], times[0], 1.15, Some(1.05));
}
