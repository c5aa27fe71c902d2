//! Defects that damage brought to light, each with the smallest silo that shows it.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod damage;

use std::path::Path;

use damage::{Files, groups, keyspace_options, options, read_files, scratch, write_files};
use datasilo::{Durability, Error, Keyspace, Silo, SiloReader, Strictness, repair};

/// A silo with one keyspace, written by `write` and closed.
fn closed_silo(name: &str, write: impl FnOnce(&Silo, &Keyspace)) -> (tempfile::TempDir, Files) {
    let dir = scratch();
    let silo = Silo::open(dir.path(), options().create(true)).unwrap();
    let space = silo.create_keyspace(name, &keyspace_options(name)).unwrap();
    write(&silo, &space);
    silo.close().unwrap();
    let files = read_files(dir.path());
    (dir, files)
}

/// Puts the files back with some bytes of the first segment changed.
fn damage_segment(dir: &Path, files: &Files, change: impl FnOnce(&mut [u8])) {
    let mut files = files.clone();
    let name = files.keys().find(|name| name.starts_with("seg-")).unwrap().clone();
    change(files.get_mut(&name).unwrap());
    write_files(dir, &files);
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

fn corrupt<T: std::fmt::Debug>(result: Result<T, Error>) -> datasilo::Corruption {
    match result {
        Err(Error::Corrupt(corruption)) => corruption,
        other => panic!("expected corruption, got {other:?}"),
    }
}

#[test]
fn a_damaged_key_is_an_error_and_not_an_absent_key() {
    let (dir, files) = closed_silo("plain", |silo, space| {
        silo.put(space, b"alpha", b"1", Durability::Process).unwrap();
    });
    damage_segment(dir.path(), &files, |bytes| {
        bytes[find(bytes, b"alpha")] ^= 1;
    });
    let silo = Silo::open(dir.path(), options()).unwrap();
    let space = silo.keyspace("plain").unwrap();
    corrupt(silo.snapshot().get(&space, b"alpha"));
    corrupt(silo.put(&space, b"alpha", b"2", Durability::Process).and_then(|_| silo.checkpoint()));
}

#[test]
fn damage_to_a_deleted_key_does_not_bring_the_older_value_back() {
    let (dir, files) = closed_silo("plain", |silo, space| {
        for number in 0..40 {
            silo.put(space, format!("key{number}"), b"old", Durability::Process).unwrap();
        }
        silo.checkpoint().unwrap();
        silo.delete(space, b"key7", Durability::Process).unwrap();
    });
    damage_segment(dir.path(), &files, |bytes| {
        let last = bytes.windows(4).rposition(|window| window == b"key7").unwrap();
        bytes[last] ^= 1;
    });
    let silo = Silo::open(dir.path(), options()).unwrap();
    corrupt(silo.snapshot().get(&silo.keyspace("plain").unwrap(), b"key7"));
}

/// Two values of which the first is dead, in one group with a third.
fn overwritten() -> (tempfile::TempDir, Files) {
    closed_silo("plain", |silo, space| {
        let mut batch = silo.batch();
        batch.put(space, b"first", b"dead").unwrap();
        batch.put(space, b"second", b"live").unwrap();
        batch.put(space, b"third", b"live").unwrap();
        silo.commit(&mut batch, Durability::Process).unwrap();
        silo.put(space, b"first", b"live", Durability::Process).unwrap();
    })
}

#[test]
fn a_damaged_length_of_a_dead_frame_does_not_hide_entries_from_iteration() {
    let (dir, files) = overwritten();
    // The value's length lies eight bytes before the key.
    damage_segment(dir.path(), &files, |bytes| {
        bytes[find(bytes, b"first") - 8] ^= 1 << 5;
    });
    let silo = Silo::open(dir.path(), options()).unwrap();
    let space = silo.keyspace("plain").unwrap();
    let snapshot = silo.snapshot();
    let errors: Vec<Error> = snapshot.iter(&space).unwrap().filter_map(Result::err).collect();
    assert!(!errors.is_empty());
    corrupt(snapshot.for_each(&space, |_, _| Ok::<(), Error>(())));
    corrupt(snapshot.par_for_each(&space, |_, _| Ok::<(), Error>(())));
}

#[test]
fn a_damaged_kind_does_not_hide_an_entry_from_iteration() {
    let (dir, files) = overwritten();
    // Flags lie two bytes before the key: a put becomes a delete.
    damage_segment(dir.path(), &files, |bytes| {
        bytes[find(bytes, b"second") - 2] ^= 1;
    });
    let silo = Silo::open(dir.path(), options()).unwrap();
    let space = silo.keyspace("plain").unwrap();
    assert!(silo.snapshot().iter(&space).unwrap().any(|entry| entry.is_err()));
}

#[test]
fn compaction_refuses_a_segment_in_which_it_cannot_find_all_live_frames() {
    let (dir, files) = overwritten();
    damage_segment(dir.path(), &files, |bytes| {
        bytes[find(bytes, b"first") - 8] ^= 1 << 5;
    });
    let silo = Silo::open(dir.path(), options()).unwrap();
    let space = silo.keyspace("plain").unwrap();
    corrupt(silo.compact());
    for key in ["first", "second", "third"] {
        assert_eq!(silo.snapshot().get(&space, key).unwrap().unwrap().as_ref(), b"live");
    }
}

#[test]
fn repair_moves_many_small_frames_out_of_a_damaged_segment() {
    let (dir, files) = closed_silo("wide", |silo, space| {
        let mut batch = silo.batch();
        for number in 0..100 {
            batch.put(space, format!("key{number:02}"), b"v").unwrap();
        }
        batch.put(space, b"victim", b"v").unwrap();
        silo.commit(&mut batch, Durability::Process).unwrap();
    });
    damage_segment(dir.path(), &files, |bytes| {
        bytes[find(bytes, b"victim")] ^= 1;
    });
    let report = repair(dir.path(), &options()).unwrap();
    assert_eq!((report.entries, report.damaged_segments.len()), (100, 1));
    let silo = Silo::open(dir.path(), options()).unwrap();
    assert!(silo.check(Strictness::Strict).unwrap().is_clean());
    assert!(silo.snapshot().contains(&silo.keyspace("wide").unwrap(), b"key99").unwrap());
}

#[test]
fn repair_keeps_the_frames_of_a_segment_whose_header_is_damaged() {
    let (dir, files) = closed_silo("plain", |silo, space| {
        silo.put(space, b"alpha", b"1", Durability::Process).unwrap();
    });
    damage_segment(dir.path(), &files, |bytes| bytes[33] ^= 4);
    corrupt(Silo::open(dir.path(), options()));
    let report = repair(dir.path(), &options()).unwrap();
    assert_eq!((report.lost_bytes, report.entries, report.damaged_segments.len()), (64, 1, 1));
    let silo = Silo::open(dir.path(), options()).unwrap();
    assert!(silo.snapshot().contains(&silo.keyspace("plain").unwrap(), b"alpha").unwrap());
}

#[test]
fn repair_without_a_manifest_keeps_segments_that_it_cannot_read() {
    let (dir, files) = closed_silo("plain", |silo, space| {
        silo.put(space, b"alpha", b"1", Durability::Process).unwrap();
    });
    damage_segment(dir.path(), &files, |bytes| bytes[0] ^= 1);
    std::fs::remove_file(dir.path().join("MANIFEST")).unwrap();
    let report = repair(dir.path(), &options()).unwrap();
    assert_eq!(report.missing_files.len(), 1);
    drop(Silo::open(dir.path(), options()).unwrap());
    let kept = format!("{}.damaged", report.missing_files[0]);
    assert!(dir.path().join(&kept).exists(), "{kept} is gone");
}

/// A silo whose process was killed: a durable commit, then one that is not.
fn killed_silo() -> (tempfile::TempDir, Files) {
    let dir = scratch();
    let silo = Silo::open(dir.path(), options().create(true)).unwrap();
    let (plain, wide) = (
        silo.create_keyspace("plain", &keyspace_options("plain")).unwrap(),
        silo.create_keyspace("wide", &keyspace_options("wide")).unwrap(),
    );
    silo.put(&plain, b"durable", b"1", Durability::Power).unwrap();
    let mut batch = silo.batch();
    batch.put(&plain, b"half", b"1").unwrap();
    batch.put(&wide, b"other half", b"1").unwrap();
    silo.commit(&mut batch, Durability::Process).unwrap();
    let files = read_files(dir.path());
    drop(silo);
    write_files(dir.path(), &files);
    (dir, files)
}

#[test]
fn a_reader_refuses_a_log_that_ends_before_its_mark() {
    let (dir, files) = killed_silo();
    let bytes = &files["seg-0000000001"];
    let durable = groups(bytes)[1].clone();
    for damage in [bytes[..durable.start].to_vec(), [&bytes[..durable.start], &vec![0; 512]].concat()] {
        let mut files = files.clone();
        files.insert("seg-0000000001".to_owned(), damage);
        write_files(dir.path(), &files);
        corrupt(SiloReader::open(dir.path(), options()));
        corrupt(Silo::open(dir.path(), options()));
        assert_eq!(repair(dir.path(), &options()).unwrap().lost_bytes, durable.len() as u64);
    }
}

#[test]
fn zeros_before_a_later_batch_are_reported_as_dropped() {
    let (dir, files) = killed_silo();
    let tail = groups(&files["seg-0000000001"])[2].clone();
    damage_segment(dir.path(), &files, |bytes| {
        bytes[tail.start..tail.start + 48].fill(0);
    });
    let silo = Silo::open(dir.path(), options()).unwrap();
    assert!(silo.recovery().dropped_bytes > 0);
    assert!(!silo.snapshot().contains(&silo.keyspace("plain").unwrap(), b"half").unwrap());
}

#[test]
fn repair_does_not_keep_half_of_a_batch_that_was_being_written() {
    let (dir, files) = killed_silo();
    let half = groups(&files["seg-0000000001"])[2].clone();
    let mut files = files;
    files.get_mut("seg-0000000001").unwrap().truncate(half.end);
    write_files(dir.path(), &files);
    let report = repair(dir.path(), &options()).unwrap();
    assert_eq!((report.lost_bytes, report.damaged_segments.len()), (half.len() as u64, 0));
    let silo = Silo::open(dir.path(), options()).unwrap();
    let space = silo.keyspace("plain").unwrap();
    assert!(silo.snapshot().contains(&space, b"durable").unwrap());
    assert!(!silo.snapshot().contains(&space, b"half").unwrap());
}

#[test]
fn a_manifest_put_back_from_earlier_is_refused_and_repaired() {
    for durability in [Durability::Power, Durability::Process] {
        let dir = scratch();
        let silo = Silo::open(dir.path(), options().create(true)).unwrap();
        let space = silo.create_keyspace("plain", &keyspace_options("plain")).unwrap();
        silo.put(&space, b"before", b"1", durability).unwrap();
        silo.close().unwrap();
        let earlier = read_files(dir.path())["MANIFEST"].clone();
        for round in 0..3 {
            let silo = Silo::open(dir.path(), options()).unwrap();
            let space = silo.keyspace("plain").unwrap();
            silo.put(&space, format!("after{round}"), b"1", durability).unwrap();
            silo.close().unwrap();
        }
        std::fs::write(dir.path().join("MANIFEST"), earlier).unwrap();
        let told = corrupt(Silo::open(dir.path(), options()));
        assert!(told.what.contains("older"), "{told}");
        if durability == Durability::Power {
            corrupt(SiloReader::open(dir.path(), options()));
        }
        let report = repair(dir.path(), &options()).unwrap();
        assert!(report.manifest_rebuilt);
        let silo = Silo::open(dir.path(), options()).unwrap();
        assert_eq!(silo.stats().unwrap().keyspaces[0].entries, 4);
    }
}

/// Loses the manifest and repairs; returns the names of the keyspaces and their counts of keys.
fn keyspaces_after_repair(dir: &Path) -> Vec<(String, u64)> {
    std::fs::remove_file(dir.join("MANIFEST")).unwrap();
    repair(dir, &options()).unwrap();
    let silo = Silo::open(dir, options()).unwrap();
    silo.check(Strictness::Strict).unwrap();
    let stats = silo.stats().unwrap();
    stats.keyspaces.into_iter().map(|k| (k.name, k.entries)).collect()
}

#[test]
fn a_lost_manifest_does_not_lose_keyspaces_made_after_the_log_was_begun() {
    let (dir, _) = closed_silo("plain", |silo, space| {
        silo.put(space, b"a", b"1", Durability::Process).unwrap();
        let wide = silo.create_keyspace("wide", &keyspace_options("wide")).unwrap();
        silo.put(&wide, b"b", b"1", Durability::Process).unwrap();
        silo.drop_keyspace("plain").unwrap();
        silo.create_keyspace("log", &keyspace_options("log")).unwrap();
    });
    assert_eq!(keyspaces_after_repair(dir.path()), [("wide".to_owned(), 1), ("log".to_owned(), 0)]);
}

#[test]
fn a_lost_manifest_does_not_lose_a_silo_that_was_only_bulk_loaded_or_compacted() {
    let (bulk, _) = closed_silo("plain", |silo, space| {
        let session = silo.bulk(&[space]).unwrap();
        let mut writer = session.writer();
        writer.put(space, b"a", b"1").unwrap();
        writer.close().unwrap();
        session.finish().unwrap();
    });
    assert_eq!(keyspaces_after_repair(bulk.path()), [("plain".to_owned(), 1)]);
    let (compacted, _) = closed_silo("plain", |silo, space| {
        for _ in 0..400 {
            silo.put(space, b"a", [7; 200], Durability::Process).unwrap();
        }
        silo.checkpoint().unwrap();
    });
    let silo = Silo::open(compacted.path(), options()).unwrap();
    silo.compact().unwrap();
    silo.close().unwrap();
    assert_eq!(keyspaces_after_repair(compacted.path()), [("plain".to_owned(), 1)]);
}
