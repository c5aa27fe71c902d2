//! Bulk sessions: one commit of many threads, all of it or nothing.
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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datasilo::{
    Durability, Error, IntKey, Keyspace, KeyspaceOptions, Options, Silo, SiloReader, Snapshot, Strictness,
};

use support_model::full_disk::FullDisk;
use support_model::{bytes, dirs, tiny, tiny_with_maintenance};

struct Fixture {
    dir: tempfile::TempDir,
    silo: Silo,
    plain: Keyspace,
    aligned: Keyspace,
    append: Keyspace,
    lazy: Keyspace,
}

impl Fixture {
    fn new(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path().join("silo"), options).unwrap();
        let create = |name: &str, options: KeyspaceOptions| silo.create_keyspace(name, &options).unwrap();
        let plain = create("plain", KeyspaceOptions::new());
        let aligned = create("aligned", KeyspaceOptions::new().align(64));
        let append = create("append", KeyspaceOptions::new().merge_operator("append"));
        let lazy = create("lazy", KeyspaceOptions::new().merge_operator("append-lazy"));
        Self { dir, silo, plain, aligned, append, lazy }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("silo")
    }

    fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        get(&self.silo.snapshot(), keyspace, key)
    }

    fn put(&self, keyspace: &Keyspace, key: &[u8], value: &[u8]) {
        self.silo.put(keyspace, key, value, Durability::Process).unwrap();
    }

    fn count(&self, keyspace: &Keyspace) -> usize {
        self.silo.snapshot().iter(keyspace).unwrap().inspect(|entry| assert!(entry.is_ok())).count()
    }

    fn check(&self) {
        self.silo.check(Strictness::Strict).unwrap();
    }
}

fn get(snapshot: &Snapshot, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    snapshot.get(keyspace, key).unwrap().map(std::borrow::Cow::into_owned)
}

fn segments(dir: &Path) -> usize {
    dirs::numbered_files(dir).iter().filter(|name| name.starts_with("seg-")).count()
}

#[test]
fn values_are_replaced_by_whom_read_them_and_stale_ones_too() {
    let fixture = Fixture::new(tiny());
    let count = 3000u32;
    let key = |k: u32| IntKey::from(k);
    let load = |value: &dyn Fn(u32) -> Vec<u8>| {
        let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
        let mut writer = session.writer();
        (0..count).for_each(|k| writer.put(&fixture.plain, key(k), value(k)).unwrap());
        writer.close().unwrap();
        session.finish().unwrap();
    };
    load(&|k| bytes(1, k as usize % 90));
    let stale = fixture.silo.snapshot();
    load(&|k| bytes(2, k as usize % 50));
    // A few are deleted, changed, or moved after they were read.
    let read = fixture.silo.snapshot();
    for k in 0..30 {
        fixture.put(&fixture.plain, key(k).as_ref(), b"newer");
        fixture.silo.delete(&fixture.plain, key(100 + k), Durability::Process).unwrap();
    }
    let session = fixture.silo.bulk(&[&fixture.plain, &fixture.aligned]).unwrap();
    let mut writer = session.writer();
    let keys: Vec<_> = (0..count).map(key).collect();
    for (snapshot, keys) in [(&read, &keys[..2000]), (&stale, &keys[2000..2500])] {
        let mut olds = Vec::new();
        snapshot
            .multi_get_parts(&fixture.plain, keys, |_, parts| olds.push(parts.unwrap().base.unwrap()))
            .unwrap();
        for (k, old) in keys.iter().zip(&olds) {
            writer.replace(&fixture.plain, old, k.as_ref()).unwrap();
            // Of another keyspace's value, the key is taken all the same.
            writer.replace(&fixture.aligned, old, k.as_ref()).unwrap();
        }
        // Twice in one session.
        writer.replace(&fixture.plain, &olds[7], b"twice").unwrap();
    }
    fixture.silo.compact().unwrap();
    writer.close().unwrap();
    let report = session.finish().unwrap();
    assert_eq!((report.ops, report.replaced), (5002, 2));
    for k in 0..count {
        let expected = match k {
            7 | 2007 => b"twice".to_vec(),
            0..2500 => key(k).as_ref().to_vec(),
            _ => bytes(2, k as usize % 50),
        };
        assert_eq!(fixture.get(&fixture.plain, key(k)), Some(expected), "{k}");
        assert_eq!(fixture.get(&fixture.aligned, key(k)).is_some(), k < 2500);
    }
    assert_eq!((fixture.count(&fixture.plain), fixture.count(&fixture.aligned)), (3000, 2500));
    fixture.check();
}

#[test]
fn an_index_is_no_larger_after_all_values_were_replaced() {
    let fixture = Fixture::new(tiny());
    let keys: Vec<IntKey> = (0..20_000_u32).map(IntKey::from).collect();
    let stats = || fixture.silo.stats().unwrap().keyspaces.into_iter().find(|k| k.name == "plain").unwrap();
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let mut writer = session.writer();
    keys.iter().for_each(|key| writer.put(&fixture.plain, key, b"first").unwrap());
    writer.close().unwrap();
    session.finish().unwrap();
    let before = stats();
    for round in 0..3_u8 {
        let read = fixture.silo.snapshot();
        let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
        let mut writer = session.writer();
        let mut at = 0;
        read.multi_get_parts(&fixture.plain, &keys, |_, parts| {
            writer.replace(&fixture.plain, &parts.unwrap().base.unwrap(), [round; 5]).unwrap();
            at += 1;
        })
        .unwrap();
        writer.close().unwrap();
        session.finish().unwrap();
        let after = stats();
        assert_eq!((at, after.index_runs, after.index_entries), (20_000, 1, 20_000));
        assert_eq!(after.index_bytes, before.index_bytes, "round {round}");
    }
    assert!(keys.iter().all(|key| fixture.get(&fixture.plain, key) == Some(vec![2; 5])));
    fixture.check();
}

#[test]
fn frames_larger_than_a_region_and_than_a_segment_arrive() {
    let fixture = Fixture::new(tiny().segment_bytes(4 << 10));
    let lens = [0, 1, 900, 1024, 4096, 4097, 5000, 20_000, 70_000, 1_000_000];
    let session = fixture.silo.bulk(&[&fixture.plain, &fixture.aligned]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (mut writer, fixture) = (session.writer(), &fixture);
            scope.spawn(move || {
                for (at, len) in lens.into_iter().enumerate() {
                    let value = bytes(thread * 100 + at as u64, len);
                    let key = IntKey::from(thread * 100 + at as u64);
                    writer.put(&fixture.plain, key, &value).unwrap();
                    writer.put(&fixture.aligned, key, &value).unwrap();
                }
                writer.close().unwrap();
            });
        }
    });
    let report = session.finish().unwrap();
    assert_eq!((report.ops, report.replaced), (60, 0));
    let snapshot = fixture.silo.snapshot();
    for thread in 0..3u64 {
        for (at, len) in lens.into_iter().enumerate() {
            let seed = thread * 100 + at as u64;
            for keyspace in [&fixture.plain, &fixture.aligned] {
                let value = snapshot.get(keyspace, IntKey::from(seed)).unwrap().unwrap();
                assert_eq!(value.as_ref(), bytes(seed, len));
                assert_eq!(value.as_ptr().align_offset(keyspace.align()), 0);
            }
        }
    }
    fixture.check();
}

#[test]
fn longest_keys_and_empty_values_arrive() {
    let fixture = Fixture::new(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let mut writer = session.writer();
    let keys = [vec![], vec![1; 254], vec![1; 255], vec![1; 256], vec![1; 65_535]];
    for key in &keys {
        writer.put(&fixture.plain, key, b"").unwrap();
    }
    let refused = writer.put(&fixture.plain, vec![1; 65_536], b"").unwrap_err();
    assert!(matches!(refused, Error::KeyTooLong { .. }));
    writer.close().unwrap();
    assert_eq!(session.finish().unwrap().ops, 5, "a refused key leaves the session as it was");
    for key in &keys {
        assert_eq!(fixture.get(&fixture.plain, key).unwrap(), b"");
    }
    assert_eq!(fixture.count(&fixture.plain), 5);
    fixture.check();
}

#[test]
fn last_of_a_key_is_decided_by_writer_then_position() {
    let fixture = Fixture::new(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain, &fixture.append]).unwrap();
    let mut writers: Vec<_> = (0..4).map(|_| session.writer()).collect();
    // Written in the opposite order, and closed in yet another.
    for (index, writer) in writers.iter_mut().enumerate().rev() {
        for position in 0..50 {
            let value = format!("{index}-{position} ");
            writer.put(&fixture.plain, b"key", &value).unwrap();
            writer.merge(&fixture.append, b"key", &value).unwrap();
        }
    }
    writers.swap(0, 2);
    writers.into_iter().for_each(|writer| writer.close().unwrap());
    let report = session.finish().unwrap();
    assert_eq!((report.ops, report.replaced), (400, 398));
    assert_eq!(fixture.get(&fixture.plain, b"key").unwrap(), b"3-49 ");
    let all: String = (0..4).flat_map(|i| (0..50).map(move |p| format!("{i}-{p} "))).collect();
    assert_eq!(fixture.get(&fixture.append, b"key").unwrap(), all.as_bytes());
    fixture.check();
}

#[test]
fn last_of_a_key_is_decided_by_rank_where_given() {
    let fixture = Fixture::new(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain, &fixture.append]).unwrap();
    let mut expected: BTreeMap<u64, String> = BTreeMap::new();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let ranks: Vec<u64> = (0..100).map(|n| (n * 37 % 100) * 1000 + thread * 7).collect();
            expected.extend(ranks.iter().map(|&rank| (rank, format!("{rank} "))));
            let (mut writer, fixture) = (session.writer(), &fixture);
            scope.spawn(move || {
                for rank in ranks {
                    writer.set_rank(rank).unwrap();
                    writer.put(&fixture.plain, b"key", rank.to_string()).unwrap();
                    writer.set_rank(rank).unwrap();
                    writer.merge(&fixture.append, b"key", format!("{rank} ")).unwrap();
                }
                assert!(matches!(writer.set_rank(1 << 48), Err(Error::InvalidOption { .. })));
                writer.close().unwrap();
            });
        }
    });
    session.finish().unwrap();
    assert_eq!(fixture.get(&fixture.plain, b"key").unwrap(), b"99021");
    let all: String = expected.into_values().collect();
    assert_eq!(fixture.get(&fixture.append, b"key").unwrap(), all.as_bytes());
    // What comes after the session counts on top of even the highest rank.
    fixture.put(&fixture.plain, b"key", b"later");
    assert_eq!(fixture.get(&fixture.plain, b"key").unwrap(), b"later");
    fixture.silo.checkpoint().unwrap();
    assert_eq!(fixture.get(&fixture.plain, b"key").unwrap(), b"later");
}

#[test]
fn merges_go_on_top_of_values_and_chains_that_are_there() {
    for reopened in [false, true] {
        let mut fixture = Fixture::new(tiny());
        let merge = |fixture: &Fixture, key: &[u8], operand: &[u8]| {
            for keyspace in [&fixture.append, &fixture.lazy] {
                fixture.silo.merge(keyspace, key, operand, Durability::Process).unwrap();
            }
        };
        for keyspace in [&fixture.append, &fixture.lazy] {
            fixture.put(keyspace, b"value", b"v");
            fixture.put(keyspace, b"deleted", b"gone");
            fixture.put(keyspace, b"chain", b"c");
        }
        fixture.silo.checkpoint().unwrap();
        merge(&fixture, b"chain", b"1");
        merge(&fixture, b"operands", b"o");
        fixture.silo.checkpoint().unwrap();
        merge(&fixture, b"chain", b"2");
        for keyspace in [&fixture.append, &fixture.lazy] {
            fixture.silo.delete(keyspace, b"deleted", Durability::Process).unwrap();
        }
        let session = fixture.silo.bulk(&[&fixture.append, &fixture.lazy]).unwrap();
        let mut writer = session.writer();
        for keyspace in [&fixture.append, &fixture.lazy] {
            for key in [&b"value"[..], b"deleted", b"chain", b"operands", b"new", b"lost"] {
                writer.merge(keyspace, key, b"+").unwrap();
                writer.merge(keyspace, key, b"-").unwrap();
            }
            writer.delete(keyspace, b"lost").unwrap();
        }
        writer.close().unwrap();
        session.finish().unwrap();
        fixture.check();
        if reopened {
            let path = fixture.path();
            let Fixture { dir, silo, .. } = fixture;
            silo.close().unwrap();
            let silo = Silo::open(&path, tiny()).unwrap();
            let keyspace = |name: &str| silo.keyspace(name).unwrap();
            let (plain, aligned) = (keyspace("plain"), keyspace("aligned"));
            let (append, lazy) = (keyspace("append"), keyspace("lazy"));
            fixture = Fixture { dir, silo, plain, aligned, append, lazy };
        }
        for keyspace in [&fixture.append, &fixture.lazy] {
            let value = |key: &[u8]| fixture.get(keyspace, key).map(|v| String::from_utf8(v).unwrap());
            assert_eq!(value(b"value").unwrap(), "v+-");
            assert_eq!(value(b"deleted").unwrap(), "+-");
            assert_eq!(value(b"chain").unwrap(), "c12+-");
            assert_eq!(value(b"operands").unwrap(), "o+-");
            assert_eq!(value(b"new").unwrap(), "+-");
            assert_eq!(value(b"lost"), None);
            assert_eq!(fixture.count(keyspace), 5);
        }
        fixture.silo.compact().unwrap();
        fixture.check();
    }
}

#[test]
fn far_more_data_than_first_reserved_arrives() {
    let fixture = Fixture::new(tiny().segment_bytes(64 << 10).region_bytes(4 << 10));
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let count = 20_000u64;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (mut writer, fixture) = (session.writer(), &fixture);
            scope.spawn(move || {
                for n in (thread..count).step_by(4) {
                    writer.put(&fixture.plain, IntKey::from(n), bytes(n, (n % 400) as usize)).unwrap();
                }
                // Dropped, not closed: a failure would surface in `finish`.
            });
        }
    });
    let report = session.finish().unwrap();
    assert_eq!(report.ops, count);
    assert!(segments(&fixture.path()) > 50);
    let snapshot = fixture.silo.snapshot();
    for n in 0..count {
        assert_eq!(get(&snapshot, &fixture.plain, IntKey::from(n)).unwrap(), bytes(n, (n % 400) as usize));
    }
    assert_eq!(fixture.silo.stats().unwrap().keyspaces[0].entries, count);
    fixture.check();
}

/// Asserts that a session left nothing, in memory or on disk, and that the silo goes on.
fn assert_no_trace(fixture: &Fixture, files_before: &[String]) {
    assert_eq!(dirs::numbered_files(&fixture.path()), files_before);
    assert_eq!(fixture.count(&fixture.plain), 1);
    assert_eq!(fixture.get(&fixture.plain, b"before").unwrap(), b"kept");
    fixture.check();
    // The keyspace is free again.
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let mut writer = session.writer();
    writer.put(&fixture.plain, b"again", b"fine").unwrap();
    writer.close().unwrap();
    session.finish().unwrap();
    fixture.put(&fixture.plain, b"more", b"fine");
    assert_eq!(fixture.count(&fixture.plain), 3);
    fixture.check();
}

/// A fixture with one entry, checkpointed, and the files that it has.
fn with_one_entry(options: Options) -> (Fixture, Vec<String>) {
    let fixture = Fixture::new(options);
    fixture.put(&fixture.plain, b"before", b"kept");
    fixture.silo.checkpoint().unwrap();
    let files = dirs::numbered_files(&fixture.path());
    (fixture, files)
}

#[test]
fn panicking_thread_fails_the_session() {
    let (fixture, files) = with_one_entry(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let mut good = session.writer();
    let bad = session.writer();
    let panicked = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut writer = bad;
            for n in 0..1000u64 {
                writer.put(&fixture.plain, IntKey::from(n), b"value").unwrap();
            }
            std::panic::resume_unwind(Box::new("a thread that gives up"));
        });
        thread.join().is_err()
    });
    assert!(panicked);
    let refused = (0..1000u64).find_map(|n| good.put(&fixture.plain, IntKey::from(n), b"value").err());
    assert!(matches!(refused, Some(Error::Poisoned { .. })), "the others learn of it when they write");
    drop(good);
    let error = session.finish().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_no_trace(&fixture, &files);
}

#[test]
fn writer_still_open_fails_finish_and_is_cut_off() {
    let (fixture, files) = with_one_entry(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let mut writer = session.writer();
    writer.put(&fixture.plain, b"key", vec![1; 5000]).unwrap();
    let error = session.finish().unwrap_err();
    assert!(matches!(&error, Error::InvalidOption { why, .. } if why.contains("still open")), "{error}");
    let refused = (0..1000u64).find_map(|n| writer.put(&fixture.plain, IntKey::from(n), b"value").err());
    assert!(refused.is_some(), "the writer must not write into a session that is gone");
    assert!(writer.close().is_err());
    assert_no_trace(&fixture, &files);
}

#[test]
fn full_disk_fails_the_session_and_leaves_no_trace() {
    let disk = FullDisk::default();
    let (fixture, files) = with_one_entry(tiny().storage(Arc::new(disk.clone())));
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let (mut writer, mut idle) = (session.writer(), session.writer());
    for n in 0..500u64 {
        writer.put(&fixture.plain, IntKey::from(n), [1; 100]).unwrap();
    }
    disk.full.store(true, Ordering::Relaxed);
    let refused = (0..5000u64).find_map(|n| writer.put(&fixture.plain, IntKey::from(n), [1; 100]).err());
    assert!(matches!(refused, Some(Error::DiskFull { .. })), "{refused:?}");
    // Room comes too late for this session: frames are missing.
    disk.full.store(false, Ordering::Relaxed);
    idle.put(&fixture.plain, b"key", b"value").unwrap();
    assert!(matches!(idle.close(), Err(Error::Poisoned { .. })));
    assert!(writer.close().is_err());
    let error = session.finish().unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert_no_trace(&fixture, &files);
}

#[test]
fn abandoned_session_leaves_no_trace() {
    let (fixture, files) = with_one_entry(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    let mut writer = session.writer();
    for n in 0..1000u64 {
        writer.put(&fixture.plain, IntKey::from(n), [1; 100]).unwrap();
    }
    writer.close().unwrap();
    assert!(segments(&fixture.path()) > files.len());
    drop(session);
    assert_no_trace(&fixture, &files);
}

#[test]
fn empty_session_changes_nothing() {
    let (fixture, files) = with_one_entry(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
    drop(session.writer());
    assert_eq!(session.finish().unwrap().ops, 0);
    assert_no_trace(&fixture, &files);
}

#[test]
fn commits_to_the_keyspace_are_refused_while_the_session_is_open() {
    let fixture = Fixture::new(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain, &fixture.aligned]).unwrap();
    let is_refused = |error: Option<Error>| matches!(error, Some(Error::BulkSessionOpen { .. }));
    let put = fixture.silo.put(&fixture.plain, b"key", b"value", Durability::Process);
    assert!(is_refused(put.err()));
    let delete = fixture.silo.delete(&fixture.aligned, b"key", Durability::Power);
    assert!(is_refused(delete.err()));
    let mut mixed = fixture.silo.batch();
    mixed.put(&fixture.append, b"key", b"value").unwrap();
    mixed.put(&fixture.plain, b"key", b"value").unwrap();
    assert!(is_refused(fixture.silo.commit(&mut mixed, Durability::Process).err()));
    assert!(is_refused(fixture.silo.bulk(&[&fixture.lazy, &fixture.plain]).err()));
    assert!(is_refused(fixture.silo.drop_keyspace("plain").err()));
    assert_eq!(fixture.get(&fixture.append, b"key"), None, "nothing of the mixed batch is there");
    // Another keyspace is free, for commits and for a session of its own.
    fixture.put(&fixture.append, b"key", b"value");
    let other = fixture.silo.bulk(&[&fixture.lazy]).unwrap();
    let mut writer = other.writer();
    let foreign = writer.put(&fixture.plain, b"key", b"value");
    assert!(matches!(foreign, Err(Error::InvalidKeyspace { .. })));
    writer.merge(&fixture.lazy, b"key", b"value").unwrap();
    assert!(matches!(writer.merge(&fixture.lazy, b"key", b"refuse"), Err(Error::Merge { .. })));
    drop(writer);
    other.finish().unwrap();
    fixture.silo.checkpoint().unwrap();
    fixture.silo.compact().unwrap();
    drop(session);
    // Refused batches are as they were, and can be committed now.
    assert_eq!(mixed.len(), 2);
    fixture.silo.commit(&mut mixed, Durability::Process).unwrap();
    for keyspace in [&fixture.append, &fixture.plain, &fixture.lazy] {
        assert_eq!(fixture.get(keyspace, b"key").unwrap(), b"value");
    }
    fixture.check();
}

#[test]
fn readers_see_all_of_a_session_or_nothing() {
    let fixture = Fixture::new(tiny_with_maintenance());
    let reader = SiloReader::open(fixture.path(), tiny()).unwrap();
    let done = AtomicBool::new(false);
    let generation = |snapshot: &Snapshot| {
        let values: Vec<Option<Vec<u8>>> =
            (0..60u64).map(|n| get(snapshot, &fixture.plain, IntKey::from(n))).collect();
        assert!(values.windows(2).all(|w| w[0] == w[1]), "a torn session: {values:?}");
        let count = snapshot.iter(&fixture.plain).unwrap().count();
        assert_eq!(count, if values[0].is_some() { 60 } else { 0 });
        values[0].as_ref().map(|value| value[0])
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = [None, None];
            while !done.load(Ordering::Relaxed) {
                reader.refresh().unwrap();
                let snapshots = [fixture.silo.snapshot(), reader.snapshot()];
                for (snapshot, last) in snapshots.iter().zip(&mut last) {
                    let seen = generation(snapshot);
                    assert!(seen >= *last, "a session went away: {seen:?} after {last:?}");
                    *last = seen;
                }
            }
        });
        scope.spawn(|| {
            for n in 0u64.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                fixture.silo.merge(&fixture.append, IntKey::from(n % 20), b"x", Durability::Process).unwrap();
            }
        });
        for round in 0..40u8 {
            let session = fixture.silo.bulk(&[&fixture.plain]).unwrap();
            let mut writers = [session.writer(), session.writer()];
            for n in 0..60u64 {
                writers[n as usize % 2].put(&fixture.plain, IntKey::from(n), [round; 60]).unwrap();
            }
            drop(writers);
            session.finish().unwrap();
            assert_eq!(generation(&fixture.silo.snapshot()), Some(round));
        }
        done.store(true, Ordering::Relaxed);
    });
    fixture.check();
}

#[test]
fn crash_before_finish_leaves_no_trace_and_no_file() {
    let (fixture, _) = with_one_entry(tiny());
    let session = fixture.silo.bulk(&[&fixture.plain, &fixture.append]).unwrap();
    let before = dirs::numbered_files(&fixture.path());
    let mut writer = session.writer();
    for n in 0..1000u64 {
        writer.put(&fixture.plain, IntKey::from(n), [1; 100]).unwrap();
        writer.merge(&fixture.append, b"key", b"lost").unwrap();
    }
    writer.close().unwrap();
    let crashed = fixture.dir.path().join("crashed");
    dirs::copy(&fixture.path(), &crashed);
    assert!(dirs::numbered_files(&crashed).len() > before.len());
    let reader = SiloReader::open(&crashed, tiny()).unwrap();
    assert_eq!(reader.snapshot().iter(&fixture.plain).unwrap().count(), 1);
    let silo = Silo::open(&crashed, tiny()).unwrap();
    assert!(dirs::numbered_files(&crashed).iter().all(|name| before.contains(name)), "orphans are removed");
    assert_eq!(silo.snapshot().iter(&fixture.plain).unwrap().count(), 1);
    assert_eq!(silo.snapshot().iter(&fixture.append).unwrap().count(), 0);
    silo.check(Strictness::Strict).unwrap();
}

#[test]
fn finished_session_is_there_after_a_crash() {
    let (fixture, _) = with_one_entry(tiny());
    fixture.put(&fixture.lazy, b"other", b"unsynced");
    let session = fixture.silo.bulk(&[&fixture.plain, &fixture.append]).unwrap();
    let mut writer = session.writer();
    for n in 0..200u64 {
        writer.put(&fixture.plain, IntKey::from(n), [1; 100]).unwrap();
        writer.merge(&fixture.append, b"key", b"x").unwrap();
    }
    writer.close().unwrap();
    session.finish().unwrap();
    let crashed = fixture.dir.path().join("crashed");
    dirs::copy(&fixture.path(), &crashed);
    let silo = Silo::open(&crashed, tiny()).unwrap();
    let snapshot = silo.snapshot();
    assert_eq!(snapshot.iter(&fixture.plain).unwrap().count(), 201);
    assert_eq!(get(&snapshot, &fixture.append, b"key").unwrap(), vec![b'x'; 200]);
    assert_eq!(get(&snapshot, &fixture.lazy, b"other").unwrap(), b"unsynced");
    silo.check(Strictness::Strict).unwrap();
}
