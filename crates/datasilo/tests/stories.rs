//! Defects that the model test found, each told by the shortest history that showed it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support_model;

use datasilo::{
    Durability, IntKey, Keyspace, KeyspaceOptions, RecoveryReport, Silo, SiloReader, Strictness,
};

use support_model::{dirs, tiny};

fn value(silo: &Silo, keyspace: &Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    silo.snapshot()
        .get(keyspace, key)
        .unwrap()
        .map(std::borrow::Cow::into_owned)
}

/// A chain holds all operands of its key, so runs below the first one that has the key do not
/// count. They were read as well, and operands without a base were applied twice.
#[test]
fn operands_in_two_index_runs_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let silo = Silo::open(dir.path().join("silo"), tiny()).unwrap();
    let lazy = silo
        .create_keyspace(
            "lazy",
            &KeyspaceOptions::new().merge_operator("append-lazy"),
        )
        .unwrap();
    let mut batch = silo.batch();
    (0..100u64).for_each(|n| batch.put(&lazy, IntKey::from(n), b"filler").unwrap());
    batch.merge(&lazy, b"key", b"a").unwrap();
    silo.commit(&mut batch, Durability::Process).unwrap();
    silo.checkpoint().unwrap();
    silo.merge(&lazy, b"key", b"b", Durability::Process)
        .unwrap();
    silo.checkpoint().unwrap();
    assert_eq!(
        silo.stats().unwrap().keyspaces[0].index_runs,
        2,
        "the second run is too small to be merged"
    );
    assert_eq!(value(&silo, &lazy, b"key").unwrap(), b"ab");
}

/// The checkpoint that a backup begins with folds operands into a new segment, which was
/// left out of the copy because it was not sealed.
#[test]
fn backup_has_what_its_own_checkpoint_folded() {
    let dir = tempfile::tempdir().unwrap();
    let silo = Silo::open(dir.path().join("silo"), tiny()).unwrap();
    let append = silo
        .create_keyspace("append", &KeyspaceOptions::new().merge_operator("append"))
        .unwrap();
    silo.merge(&append, b"key", b"a", Durability::Process)
        .unwrap();
    let target = dir.path().join("copy");
    silo.backup(&target).unwrap();
    let copy = Silo::open(&target, tiny()).unwrap();
    assert_eq!(value(&copy, &append, b"key").unwrap(), b"a");
    copy.check(Strictness::Strict).unwrap();
}
