//! Threads of one process: atomic batches, monotone snapshots, order, group commit, and memory that
//! stays while it is lent.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_for_each,
    clippy::format_push_string,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "a test stops at the first surprise, its numbers are small, and it tells one story"
)]

mod support_model;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use datasilo::{
    Durability, Error, IntKey, Keyspace, KeyspaceOptions, Options, Silo, SiloReader, Snapshot, Strictness,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use support_model::{bytes, campaign, dirs, seed, tiny, tiny_with_maintenance};

/// How long a stress test goes on: briefly, or its share of a campaign.
fn time() -> Duration {
    campaign().map_or(Duration::from_millis(1500), |time| time / 6)
}

fn open(options: Options) -> (tempfile::TempDir, Silo) {
    let dir = tempfile::tempdir().unwrap();
    let silo = Silo::open(dir.path().join("silo"), options).unwrap();
    (dir, silo)
}

fn plain(silo: &Silo, name: &str) -> Keyspace {
    silo.create_keyspace(name, &KeyspaceOptions::new()).unwrap()
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

const GROUP: u64 = 8;
const GROUPS: u64 = 6;

/// Reads a group of keys in both keyspaces and asserts that one batch wrote all of it.
fn group_value(snapshot: &Snapshot, keyspaces: &[Keyspace], group: u64) -> Option<u64> {
    let mut values = Vec::new();
    for keyspace in keyspaces {
        let keys: Vec<IntKey> = (0..GROUP).map(|n| IntKey::from(group * GROUP + n)).collect();
        let many = snapshot.multi_get(keyspace, &keys).unwrap();
        values.extend(many.into_iter().map(|value| value.map(|value| number(&value))));
    }
    assert!(values.windows(2).all(|w| w[0] == w[1]), "a torn group: {values:?}");
    values[0]
}

#[test]
fn groups_are_never_torn_and_never_go_back() {
    let (dir, silo) = open(tiny_with_maintenance());
    let keyspaces = [plain(&silo, "a"), plain(&silo, "b")];
    let reader = SiloReader::open(dir.path().join("silo"), tiny()).unwrap();
    let done = AtomicBool::new(false);
    let tokens = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (silo, keyspaces, done, tokens) = (&silo, &keyspaces, &done, &tokens);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(seed() + thread);
                let mut batch = silo.batch();
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let group = rng.random_range(0..GROUPS);
                    let token = tokens.fetch_add(1, Ordering::Relaxed);
                    let mut value = token.to_le_bytes().to_vec();
                    value.resize(8 + rng.random_range(0..80), 0);
                    for keyspace in keyspaces {
                        for n in 0..GROUP {
                            batch.put(keyspace, IntKey::from(group * GROUP + n), &value).unwrap();
                        }
                    }
                    let power = rng.random_ratio(1, 20);
                    let durability = if power { Durability::Power } else { Durability::Process };
                    let seq = silo.commit(&mut batch, durability).unwrap();
                    assert!(seq > last, "a thread's own commits have rising numbers");
                    last = seq;
                    let snapshot = silo.snapshot();
                    assert!(snapshot.seq() >= seq, "a commit is visible when it returns");
                    assert!(group_value(&snapshot, keyspaces, group).is_some());
                }
            });
        }
        for _ in 0..2 {
            let (silo, keyspaces, done) = (&silo, &keyspaces, &done);
            scope.spawn(move || {
                let (mut seq, mut generation) = (0, 0);
                let mut held: Option<(Snapshot, Vec<Option<u64>>)> = None;
                while !done.load(Ordering::Relaxed) {
                    let snapshot = silo.snapshot();
                    assert!(snapshot.seq() >= seq && snapshot.generation() >= generation);
                    (seq, generation) = (snapshot.seq(), snapshot.generation());
                    let all: Vec<_> =
                        (0..GROUPS).map(|group| group_value(&snapshot, keyspaces, group)).collect();
                    if let Some((old, before)) = &held {
                        let again: Vec<_> =
                            (0..GROUPS).map(|group| group_value(old, keyspaces, group)).collect();
                        assert_eq!(again, *before, "a held snapshot changed");
                    }
                    if held.is_none() || seq.is_multiple_of(7) {
                        held = Some((snapshot, all));
                    }
                }
            });
        }
        let (reader, keyspaces, done) = (&reader, &keyspaces, &done);
        scope.spawn(move || {
            let mut seq = 0;
            while !done.load(Ordering::Relaxed) {
                reader.refresh().unwrap();
                let snapshot = reader.snapshot();
                assert!(snapshot.seq() >= seq, "a reader went back");
                seq = snapshot.seq();
                for group in 0..GROUPS {
                    group_value(&snapshot, keyspaces, group);
                }
                let scanned = snapshot.iter(&keyspaces[0]).unwrap();
                let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
                for entry in scanned {
                    let (key, value) = entry.unwrap();
                    groups.entry(number(key) / GROUP).or_default().push(number(&value));
                }
                let whole = |g: &Vec<u64>| g.len() as u64 == GROUP && g.windows(2).all(|w| w[0] == w[1]);
                assert!(groups.values().all(whole), "a torn group in a scan: {groups:?}");
            }
        });
        std::thread::sleep(time());
        done.store(true, Ordering::Relaxed);
    });
    silo.check(Strictness::Strict).unwrap();
    let stats = silo.stats().unwrap();
    assert!(stats.generation > 10, "maintenance was at work: {}", stats.generation);
    assert_eq!(stats.keyspaces[0].entries, GROUP * GROUPS);
}

/// A commit as it was seen by the thread that made it.
#[derive(Debug, Clone)]
struct Recorded {
    began: u64,
    ended: u64,
    last_seq: u64,
    op_count: u64,
    writes: Vec<(u64, u64)>,
}

/// A snapshot's contents, with the moments between which it was taken.
#[derive(Debug)]
struct Observed {
    began: u64,
    ended: u64,
    seq: u64,
    values: BTreeMap<u64, u64>,
}

#[test]
fn recorded_histories_are_the_commits_in_the_order_of_their_numbers() {
    let (_dir, silo) = open(
        tiny_with_maintenance().segment_bytes(64 << 10).checkpoint_ops(3000).checkpoint_bytes(128 << 10),
    );
    let (filler, keyspace) = (plain(&silo, "filler"), plain(&silo, "k"));
    let clock = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    let commits = Mutex::new(Vec::new());
    let observations = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..3u64 {
            let (silo, keyspace, filler) = (&silo, &keyspace, &filler);
            let (clock, commits) = (&clock, &commits);
            threads.push(scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(seed() * 31 + thread);
                let mut own = Vec::new();
                for round in 0..700u64 {
                    let mut batch = silo.batch();
                    let mut writes = Vec::new();
                    // Some commits take long to be inserted, so that others overtake them.
                    let fillers = if rng.random_ratio(1, 4) { 200 } else { 0 };
                    for n in 0..fillers {
                        batch.put(filler, IntKey::from(n), b"").unwrap();
                    }
                    for op in 0..rng.random_range(1..6u64) {
                        let value = thread << 40 | round << 8 | op;
                        let key = rng.random_range(0..12u64);
                        batch.put(keyspace, IntKey::from(key), value.to_le_bytes()).unwrap();
                        writes.push((key, value));
                    }
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let last_seq = silo.commit(&mut batch, Durability::Process).unwrap();
                    let ended = clock.fetch_add(1, Ordering::SeqCst);
                    let op_count = fillers + writes.len() as u64;
                    own.push(Recorded { began, ended, last_seq, op_count, writes });
                }
                commits.lock().unwrap().extend(own);
            }));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut own = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let snapshot = silo.snapshot();
                    let ended = clock.fetch_add(1, Ordering::SeqCst);
                    let mut values = BTreeMap::new();
                    for key in 0..12u64 {
                        if let Some(value) = snapshot.get(&keyspace, IntKey::from(key)).unwrap() {
                            values.insert(key, number(&value));
                        }
                    }
                    own.push(Observed { began, ended, seq: snapshot.seq(), values });
                }
                observations.lock().unwrap().extend(own);
            });
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let mut commits = commits.into_inner().unwrap();
    commits.sort_by_key(|commit| commit.last_seq);
    // Numbers are those of a single order, without gaps or overlaps.
    let mut expected = 0;
    for commit in &commits {
        expected += commit.op_count;
        assert_eq!(commit.last_seq, expected);
    }
    // That order agrees with real time: what had ended before another began comes first.
    let mut latest_begin = 0;
    for commit in &commits {
        assert!(
            commit.ended > latest_begin,
            "a commit has a lower number than one that ended before it began"
        );
        latest_begin = latest_begin.max(commit.began);
    }
    // Every snapshot is the state after a prefix of the order, and the right one.
    let mut observations = observations.into_inner().unwrap();
    observations.sort_by_key(|seen| seen.seq);
    let mut state = BTreeMap::new();
    let mut applied = commits.iter().peekable();
    let mut ended_by: Vec<(u64, u64)> = commits.iter().map(|c| (c.ended, c.last_seq)).collect();
    ended_by.sort_unstable();
    for seen in &observations {
        while let Some(commit) = applied.next_if(|commit| commit.last_seq <= seen.seq) {
            assert!(commit.began < seen.ended, "a snapshot shows the future");
            state.extend(commit.writes.iter().copied());
        }
        assert_eq!(seen.values, state, "at {}", seen.seq);
        let before = ended_by.partition_point(|&(ended, _)| ended < seen.began);
        let acknowledged = ended_by[..before].iter().map(|&(_, seq)| seq).max().unwrap_or(0);
        assert!(seen.seq >= acknowledged, "a snapshot misses an acknowledged commit");
    }
    assert!(observations.len() > 20);
}

#[test]
fn racing_writers_leave_the_state_that_their_numbers_say() {
    let (dir, silo) = open(tiny_with_maintenance());
    let keyspace = plain(&silo, "k");
    let merged = silo.create_keyspace("log", &KeyspaceOptions::new().merge_operator("append")).unwrap();
    let start = Barrier::new(2);
    let mut order: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2u64)
            .map(|thread| {
                let (silo, keyspace, merged, start) = (&silo, &keyspace, &merged, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut own = Vec::new();
                    for round in 0..600u64 {
                        let token = thread << 32 | round;
                        let mut batch = silo.batch();
                        for key in 0..4u64 {
                            batch.put(keyspace, IntKey::from(key), token.to_le_bytes()).unwrap();
                        }
                        batch.merge(merged, b"log", token.to_le_bytes()).unwrap();
                        own.push((silo.commit(&mut batch, Durability::Process).unwrap(), token));
                    }
                    own
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    order.sort_unstable();
    let log: Vec<u8> = order.iter().flat_map(|(_, token)| token.to_le_bytes()).collect();
    let last = order.last().unwrap().1;
    let verify = |snapshot: &Snapshot| {
        for key in 0..4u64 {
            assert_eq!(number(&snapshot.get(&keyspace, IntKey::from(key)).unwrap().unwrap()), last);
        }
        assert_eq!(snapshot.get(&merged, b"log").unwrap().unwrap().as_ref(), log);
    };
    verify(&silo.snapshot());
    silo.close().unwrap();
    verify(&Silo::open(dir.path().join("silo"), tiny()).unwrap().snapshot());
}

#[test]
fn durable_commits_of_several_threads_share_syncs_and_are_all_kept() {
    let (dir, silo) = open(tiny().segment_bytes(1 << 20).group_commit_wait(Duration::from_millis(2)));
    let keyspace = plain(&silo, "k");
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (silo, keyspace) = (&silo, &keyspace);
            scope.spawn(move || {
                for round in 0..50u64 {
                    let key = IntKey::from(thread << 32 | round);
                    silo.put(keyspace, key, b"value", Durability::Power).unwrap();
                }
            });
        }
    });
    let mut empty = silo.batch();
    assert_eq!(silo.commit(&mut empty, Durability::Power).unwrap(), 200);
    let crashed = dir.path().join("crashed");
    dirs::copy(&dir.path().join("silo"), &crashed);
    let silo = Silo::open(&crashed, tiny()).unwrap();
    assert_eq!(silo.recovery().rewritten_bytes, 0, "everything was known to be synced");
    assert_eq!(silo.recovery().ops, 200);
    assert_eq!(silo.snapshot().iter(&keyspace).unwrap().count(), 200);
}

#[test]
fn lent_slices_stay_through_compaction_and_close() {
    let (dir, silo) = open(tiny());
    let path = dir.path().join("silo");
    let keyspace = plain(&silo, "k");
    for n in 0..200u64 {
        silo.put(&keyspace, IntKey::from(n), bytes(n, 300), Durability::Process).unwrap();
    }
    silo.put(&keyspace, b"large", bytes(9, 50_000), Durability::Process).unwrap();
    silo.checkpoint().unwrap();
    let before = silo.stats().unwrap();
    assert_eq!(before.pinned_bytes, 0);
    let snapshot = silo.snapshot();
    let slices: Vec<_> =
        (0..200u64).map(|n| snapshot.get(&keyspace, IntKey::from(n)).unwrap().unwrap()).collect();
    let large = snapshot.get_parts(&keyspace, b"large").unwrap().unwrap().base.unwrap();
    for n in 0..200u64 {
        silo.put(&keyspace, IntKey::from(n), b"new", Durability::Process).unwrap();
    }
    silo.delete(&keyspace, b"large", Durability::Process).unwrap();
    let report = silo.compact().unwrap();
    assert!(report.segments > 0 && report.freed_bytes > 100_000, "{report:?}");
    let pinned = silo.stats().unwrap().pinned_bytes;
    assert!(pinned >= before.segments.iter().map(|s| s.bytes).sum::<u64>() / 2, "{pinned}");
    assert!(dirs::total_bytes(&path) < 100_000, "the names are gone");
    let clone = snapshot.clone();
    assert_eq!(silo.stats().unwrap().pinned_bytes, pinned);
    drop(clone);
    assert_eq!(silo.stats().unwrap().pinned_bytes, pinned, "another snapshot still holds them");
    let second = silo.snapshot();
    silo.close().unwrap();
    for (n, slice) in slices.iter().enumerate() {
        assert_eq!(slice.as_ref(), bytes(n as u64, 300));
    }
    assert_eq!(large.bytes().unwrap(), bytes(9, 50_000));
    assert_eq!(second.get(&keyspace, IntKey::from(5u64)).unwrap().unwrap().as_ref(), b"new");
}

#[test]
fn pinned_bytes_fall_when_the_last_snapshot_goes() {
    let (dir, silo) = open(tiny());
    let keyspace = plain(&silo, "k");
    let mut held = Vec::new();
    for round in 0..5u8 {
        for n in 0..100u64 {
            silo.put(&keyspace, IntKey::from(n), [round; 200], Durability::Process).unwrap();
        }
        silo.compact().unwrap();
        held.push(silo.snapshot());
    }
    let mappings = dirs::mappings_of(dir.path());
    let mut last = silo.stats().unwrap().pinned_bytes;
    assert!(last > 4 * 20_000, "{last}");
    for snapshot in held {
        assert_eq!(snapshot.get(&keyspace, IntKey::from(1u64)).unwrap().unwrap().len(), 200);
        drop(snapshot);
        let now = silo.stats().unwrap().pinned_bytes;
        assert!(now <= last, "{now} after {last}");
        last = now;
    }
    assert_eq!(last, 0);
    assert!(dirs::mappings_of(dir.path()) < mappings, "mappings go with the snapshots");
}

/// A segment that was ended with everything in it synced stayed on the list of those to be synced,
/// and with it its mapping after it was compacted away.
#[test]
fn synced_segments_are_let_go_when_they_are_compacted() {
    let (dir, silo) = open(tiny());
    let keyspace = plain(&silo, "k");
    silo.put(&keyspace, b"key", [1; 3000], Durability::Power).unwrap();
    silo.compact().unwrap();
    silo.drop_keyspace("k").unwrap();
    assert!(silo.compact().unwrap().segments > 0);
    assert_eq!(silo.stats().unwrap().pinned_bytes, 0);
    assert_eq!(dirs::mappings_of(dir.path()), 0);
}

#[test]
fn dropping_a_keyspace_under_readers_and_writers_is_an_error_not_a_surprise() {
    let (_dir, silo) = open(tiny_with_maintenance());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut n = 0u64;
                while !done.load(Ordering::Relaxed) {
                    n += 1;
                    let Ok(keyspace) = silo.keyspace("k") else {
                        continue;
                    };
                    match silo.put(&keyspace, IntKey::from(n % 50), bytes(n, 40), Durability::Process) {
                        Ok(_) | Err(Error::KeyspaceDropped { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                    let snapshot = silo.snapshot();
                    match snapshot.get(&keyspace, IntKey::from(n % 50)) {
                        Ok(_) | Err(Error::KeyspaceDropped { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        let end = Instant::now() + time() / 3;
        let mut ids = Vec::new();
        while Instant::now() < end {
            let keyspace = plain(&silo, "k");
            ids.push(keyspace.id());
            let snapshot = silo.snapshot();
            silo.put(&keyspace, b"key", b"value", Durability::Process).unwrap();
            let with_key = silo.snapshot();
            silo.drop_keyspace("k").unwrap();
            assert!(snapshot.get(&keyspace, b"key").unwrap().is_none());
            assert_eq!(with_key.get(&keyspace, b"key").unwrap().unwrap().as_ref(), b"value");
            let refused = silo.put(&keyspace, b"key", b"value", Durability::Process);
            assert!(matches!(refused, Err(Error::KeyspaceDropped { .. })));
            assert!(matches!(silo.keyspace("k"), Err(Error::UnknownKeyspace { .. })));
        }
        assert!(ids.windows(2).all(|w| w[0] < w[1]), "ids are never used again");
        done.store(true, Ordering::Relaxed);
    });
    silo.check(Strictness::Strict).unwrap();
}

#[test]
fn operands_merged_and_read_by_many_threads_are_each_applied_once() {
    let (_dir, silo) = open(tiny_with_maintenance());
    let keyspace =
        silo.create_keyspace("log", &KeyspaceOptions::new().merge_operator("append-lazy")).unwrap();
    let done = AtomicBool::new(false);
    let orders = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3u8)
            .map(|thread| {
                let (silo, keyspace) = (&silo, &keyspace);
                scope.spawn(move || {
                    let mut own = Vec::new();
                    for round in 0..500u16 {
                        let token = [thread, (round >> 8) as u8, round as u8];
                        own.push((silo.merge(keyspace, b"log", token, Durability::Process).unwrap(), token));
                    }
                    own
                })
            })
            .collect();
        for _ in 0..2 {
            let (silo, keyspace, done) = (&silo, &keyspace, &done);
            scope.spawn(move || {
                let mut last: Vec<u8> = Vec::new();
                let mut old = silo.snapshot();
                while !done.load(Ordering::Relaxed) {
                    let snapshot = silo.snapshot();
                    let value = snapshot.get(keyspace, b"log").unwrap().unwrap_or_default().into_owned();
                    assert!(value.starts_with(&last), "the log only grows");
                    let before = old.get(keyspace, b"log").unwrap().unwrap_or_default().into_owned();
                    assert!(value.starts_with(&before));
                    last = value;
                    if last.len().is_multiple_of(9) {
                        old = snapshot;
                    }
                }
            });
        }
        let orders: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        orders
    });
    let ordered: BTreeMap<u64, [u8; 3]> = orders.into_iter().collect();
    let expected: Vec<u8> = ordered.into_values().flatten().collect();
    assert_eq!(silo.snapshot().get(&keyspace, b"log").unwrap().unwrap().as_ref(), expected);
}

#[test]
fn handles_are_shared_between_threads() {
    fn assert_shareable<T: Send + Sync>() {}
    assert_shareable::<Silo>();
    assert_shareable::<SiloReader>();
    assert_shareable::<Snapshot>();
    assert_shareable::<Keyspace>();
    let (_dir, silo) = open(tiny());
    let silo = Arc::new(silo);
    let keyspace = plain(&silo, "k");
    let copy = Arc::clone(&silo);
    std::thread::spawn(move || copy.put(&keyspace, b"key", b"value", Durability::Process).unwrap())
        .join()
        .unwrap();
    assert_eq!(silo.snapshot().seq(), 1);
}
