//! Defects that the model test found, each told by the shortest history that showed it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support_model;

use datasilo::{Durability, IntKey, Keyspace, KeyspaceOptions, RecoveryReport, Silo, SiloReader, Strictness};

use support_model::{dirs, tiny};

fn value(silo: &Silo, keyspace: &Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    silo.snapshot().get(keyspace, key).unwrap().map(std::borrow::Cow::into_owned)
}

/// A chain holds all operands of its key, so runs below the first one that has the key do not
/// count. They were read as well, and operands without a base were applied twice.
#[test]
fn operands_in_two_index_runs_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let silo = Silo::open(dir.path().join("silo"), tiny()).unwrap();
    let lazy = silo.create_keyspace("lazy", &KeyspaceOptions::new().merge_operator("append-lazy")).unwrap();
    let mut batch = silo.batch();
    (0..100u64).for_each(|n| batch.put(&lazy, IntKey::from(n), b"filler").unwrap());
    batch.merge(&lazy, b"key", b"a").unwrap();
    silo.commit(&mut batch, Durability::Process).unwrap();
    silo.checkpoint().unwrap();
    silo.merge(&lazy, b"key", b"b", Durability::Process).unwrap();
    silo.checkpoint().unwrap();
    assert_eq!(silo.stats().unwrap().keyspaces[0].index_runs, 2, "the second run is too small to be merged");
    assert_eq!(value(&silo, &lazy, b"key").unwrap(), b"ab");
}

/// The checkpoint that a backup begins with folds operands into a new segment, which was
/// left out of the copy because it was not sealed.
#[test]
fn backup_has_what_its_own_checkpoint_folded() {
    let dir = tempfile::tempdir().unwrap();
    let silo = Silo::open(dir.path().join("silo"), tiny()).unwrap();
    let append = silo.create_keyspace("append", &KeyspaceOptions::new().merge_operator("append")).unwrap();
    silo.merge(&append, b"key", b"a", Durability::Process).unwrap();
    let target = dir.path().join("copy");
    silo.backup(&target).unwrap();
    let copy = Silo::open(&target, tiny()).unwrap();
    assert_eq!(value(&copy, &append, b"key").unwrap(), b"a");
    copy.check(Strictness::Strict).unwrap();
}

/// The index leads to folds that lie behind the place where replay starts. That they were synced
/// was noted in nothing but the mark, which may be lost; recovery then cut them off.
#[test]
fn folds_stay_if_the_mark_is_lost() {
    for by_bulk_session in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("silo");
        let silo = Silo::open(&path, tiny()).unwrap();
        let append =
            silo.create_keyspace("append", &KeyspaceOptions::new().merge_operator("append")).unwrap();
        let plain = silo.create_keyspace("plain", &KeyspaceOptions::new()).unwrap();
        silo.put(&plain, b"begins", b"a segment", Durability::Process).unwrap();
        if by_bulk_session {
            let session = silo.bulk(&[&append]).unwrap();
            let mut writer = session.writer();
            writer.merge(&append, b"key", b"a").unwrap();
            writer.merge(&append, b"key", b"b").unwrap();
            writer.close().unwrap();
            session.finish().unwrap();
        } else {
            silo.merge(&append, b"key", b"a", Durability::Process).unwrap();
            silo.merge(&append, b"key", b"b", Durability::Process).unwrap();
            silo.checkpoint().unwrap();
        }
        let crashed = dir.path().join("crashed");
        dirs::copy(&path, &crashed);
        std::fs::remove_file(crashed.join("MARK")).unwrap();
        let silo = Silo::open(&crashed, tiny()).unwrap();
        assert_eq!(value(&silo, &append, b"key").unwrap(), b"ab", "by bulk session: {by_bulk_session}");
        silo.check(Strictness::Strict).unwrap();
        let found: Vec<_> =
            silo.snapshot().iter(&append).unwrap().map(|e| e.unwrap().1.into_owned()).collect();
        assert_eq!(found, [b"ab"]);
    }
}

/// If the last checkpoint's folds fill a segment and go on in the next, closing sealed only the
/// latter.
#[test]
fn closing_leaves_nothing_to_replay_when_folds_span_segments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silo");
    let options = || tiny().segment_bytes(4 << 10);
    let silo = Silo::open(&path, options()).unwrap();
    let append = silo.create_keyspace("append", &KeyspaceOptions::new().merge_operator("append")).unwrap();
    let other = silo.create_keyspace("other", &KeyspaceOptions::new().merge_operator("append")).unwrap();
    silo.merge(&other, b"key", b"a", Durability::Process).unwrap();
    for n in 0..40u64 {
        silo.merge(&append, IntKey::from(n), vec![b'a'; 300], Durability::Process).unwrap();
    }
    silo.close().unwrap();
    let silo = Silo::open(&path, options()).unwrap();
    assert_eq!(silo.recovery(), RecoveryReport::default());
    assert!(silo.stats().unwrap().segments.iter().all(|segment| segment.sealed));
    assert_eq!(silo.snapshot().iter(&append).unwrap().count(), 40);
}

/// A reader that refreshed over a recovery read on behind the end at which the recovery had sealed
/// the log, and so took batches twice that the recovery had written again.
#[test]
fn reader_takes_batches_once_that_a_recovery_wrote_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silo");
    let silo = Silo::open(&path, tiny()).unwrap();
    let append = silo.create_keyspace("append", &KeyspaceOptions::new().merge_operator("append")).unwrap();
    silo.merge(&append, b"key", b"a", Durability::Power).unwrap();
    silo.merge(&append, b"key", b"b", Durability::Process).unwrap();
    let crashed = dir.path().join("crashed");
    dirs::copy(&path, &crashed);
    let reader = SiloReader::open(&crashed, tiny()).unwrap();
    let silo = Silo::open(&crashed, tiny()).unwrap();
    assert!(silo.recovery().rewritten_bytes > 0);
    for _ in 0..3 {
        reader.refresh().unwrap();
        let snapshot = reader.snapshot();
        assert_eq!(snapshot.get(&append, b"key").unwrap().unwrap().as_ref(), b"ab");
    }
}
