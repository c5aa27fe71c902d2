//! Merge operators: order, exactly once, and no step twice.
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

use std::sync::Arc;
use std::sync::atomic::Ordering;

use datasilo::{
    Durability, Error, IntKey, Keyspace, KeyspaceOptions, MergeOperator, MergeResult, Options, Pending, Silo,
    SiloReader, Snapshot, Strictness,
};

use support_model::operators::{AffineDelta, Append, affine_step};
use support_model::tiny;

const KEY: &[u8] = b"key";

struct Fixture {
    dir: tempfile::TempDir,
    silo: Silo,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path().join("silo"), tiny()).unwrap();
        Self { dir, silo }
    }

    fn keyspace(&self, operator: &str) -> Keyspace {
        self.silo.create_keyspace(operator, &KeyspaceOptions::new().merge_operator(operator)).unwrap()
    }

    fn merge(&self, keyspace: &Keyspace, operand: impl AsRef<[u8]>) -> u64 {
        self.silo.merge(keyspace, KEY, operand, Durability::Process).unwrap()
    }

    fn put(&self, keyspace: &Keyspace, value: impl AsRef<[u8]>) {
        self.silo.put(keyspace, KEY, value, Durability::Process).unwrap();
    }

    fn delete(&self, keyspace: &Keyspace) {
        self.silo.delete(keyspace, KEY, Durability::Process).unwrap();
    }

    fn value(&self, keyspace: &Keyspace) -> Option<String> {
        value(&self.silo.snapshot(), keyspace)
    }

    fn reopen(self) -> Self {
        let Self { dir, silo } = self;
        silo.close().unwrap();
        let silo = Silo::open(dir.path().join("silo"), tiny()).unwrap();
        Self { dir, silo }
    }
}

fn value(snapshot: &Snapshot, keyspace: &Keyspace) -> Option<String> {
    snapshot.get(keyspace, KEY).unwrap().map(|value| String::from_utf8(value.into_owned()).unwrap())
}

/// What a test does between its mutations: nothing, or some upkeep.
fn upkeeps() -> [fn(&Silo); 4] {
    [
        |_| {},
        |silo| {
            silo.checkpoint().unwrap();
        },
        |silo| {
            silo.compact().unwrap();
        },
        |silo| {
            silo.checkpoint().unwrap();
            silo.compact().unwrap();
            silo.check(Strictness::Strict).unwrap();
        },
    ]
}

#[test]
fn operands_apply_in_commit_order_across_checkpoints_and_compactions() {
    for operator in ["append", "append-lazy"] {
        for upkeep in upkeeps() {
            let fixture = Fixture::new();
            let keyspace = fixture.keyspace(operator);
            let mut expected = String::new();
            for n in 0..30 {
                expected += &format!("{n}.");
                fixture.merge(&keyspace, format!("{n}."));
                assert_eq!(fixture.value(&keyspace).unwrap(), expected);
                upkeep(&fixture.silo);
                assert_eq!(fixture.value(&keyspace).unwrap(), expected);
            }
            let fixture = fixture.reopen();
            let keyspace = fixture.keyspace(operator);
            assert_eq!(fixture.value(&keyspace).unwrap(), expected);
        }
    }
}

#[test]
fn operands_of_one_batch_apply_in_its_order_around_puts_and_deletes() {
    let fixture = Fixture::new();
    let keyspace = fixture.keyspace("append");
    fixture.merge(&keyspace, "lost");
    let mut batch = fixture.silo.batch();
    batch.merge(&keyspace, KEY, "lost too").unwrap();
    batch.delete(&keyspace, KEY).unwrap();
    batch.merge(&keyspace, KEY, "lost as well").unwrap();
    batch.put(&keyspace, KEY, "a").unwrap();
    batch.merge(&keyspace, KEY, "b").unwrap();
    batch.merge(&keyspace, KEY, "c").unwrap();
    fixture.silo.commit(&mut batch, Durability::Process).unwrap();
    assert_eq!(fixture.value(&keyspace).unwrap(), "abc");
    fixture.silo.checkpoint().unwrap();
    assert_eq!(fixture.value(&keyspace).unwrap(), "abc");
}

#[test]
fn delete_cuts_off_what_was_merged_before_it() {
    for operator in ["append", "append-lazy"] {
        for upkeep in upkeeps() {
            let fixture = Fixture::new();
            let keyspace = fixture.keyspace(operator);
            let step = |mutate: &dyn Fn(), expected: Option<&str>| {
                mutate();
                assert_eq!(fixture.value(&keyspace).as_deref(), expected);
                upkeep(&fixture.silo);
                assert_eq!(fixture.value(&keyspace).as_deref(), expected);
                let count = fixture.silo.stats().unwrap().keyspaces[0].entries;
                assert_eq!(count, u64::from(expected.is_some()));
                assert_eq!(fixture.silo.snapshot().iter(&keyspace).unwrap().count() as u64, count);
            };
            step(&|| fixture.delete(&keyspace), None);
            step(
                &|| {
                    fixture.merge(&keyspace, "a");
                },
                Some("a"),
            );
            step(&|| fixture.delete(&keyspace), None);
            step(
                &|| {
                    fixture.merge(&keyspace, "b");
                },
                Some("b"),
            );
            step(
                &|| {
                    fixture.merge(&keyspace, "c");
                },
                Some("bc"),
            );
            step(&|| fixture.put(&keyspace, "d"), Some("d"));
            step(
                &|| {
                    fixture.merge(&keyspace, "e");
                },
                Some("de"),
            );
            step(&|| fixture.delete(&keyspace), None);
            step(&|| fixture.delete(&keyspace), None);
            step(
                &|| {
                    fixture.merge(&keyspace, "");
                },
                Some(""),
            );
        }
    }
}

#[test]
fn every_version_of_a_hot_key_can_be_held() {
    for operator in ["append", "append-lazy"] {
        let fixture = Fixture::new();
        let keyspace = fixture.keyspace(operator);
        let mut held: Vec<(Snapshot, String)> = Vec::new();
        let mut expected = String::new();
        for n in 0..120 {
            if n % 50 == 49 {
                fixture.put(&keyspace, "p");
                expected = "p".to_owned();
            } else {
                fixture.merge(&keyspace, format!("{n},"));
                expected += &format!("{n},");
            }
            held.push((fixture.silo.snapshot(), expected.clone()));
            match n % 40 {
                13 => {
                    fixture.silo.checkpoint().unwrap();
                }
                27 => {
                    fixture.silo.compact().unwrap();
                }
                _ => {}
            }
        }
        // Newest first, oldest first, and once more after the silo is closed.
        for (snapshot, expected) in held.iter().rev().chain(&held) {
            assert_eq!(value(snapshot, &keyspace).unwrap(), *expected);
        }
        fixture.silo.close().unwrap();
        for (snapshot, expected) in &held {
            assert_eq!(value(snapshot, &keyspace).unwrap(), *expected);
        }
    }
}

/// A silo whose append operator counts the operands that it is given.
fn counting() -> (Fixture, Arc<Append>, Keyspace) {
    let operator = Arc::new(Append::new("counting"));
    let dir = tempfile::tempdir().unwrap();
    let options =
        tiny().segment_bytes(1 << 20).merge_operator(Arc::clone(&operator) as Arc<dyn MergeOperator>);
    let silo = Silo::open(dir.path().join("silo"), options).unwrap();
    let fixture = Fixture { dir, silo };
    let keyspace = fixture.keyspace("counting");
    (fixture, operator, keyspace)
}

#[test]
fn ten_thousand_pending_operands_are_combined_once() {
    let (fixture, operator, keyspace) = counting();
    let mut batch = fixture.silo.batch();
    (0..10_000).for_each(|_| batch.merge(&keyspace, KEY, "x").unwrap());
    fixture.silo.commit(&mut batch, Durability::Process).unwrap();
    let steps = || operator.steps.swap(0, Ordering::Relaxed);
    assert_eq!(fixture.value(&keyspace).unwrap().len(), 10_000);
    assert!((10_000..10_100).contains(&steps()), "the first read applies each operand");
    for _ in 0..10 {
        assert_eq!(fixture.value(&keyspace).unwrap().len(), 10_000);
    }
    assert!(steps() <= 20, "later reads share the result");
    let parts = fixture.silo.snapshot();
    let parts = parts.get_parts(&keyspace, KEY).unwrap().unwrap();
    assert!(parts.base.is_none() && parts.pending.len() == 1);
    assert_eq!(steps(), 0, "parts are lent, not folded");
    // Reading between merges costs what is new.
    for n in 0..100 {
        fixture.merge(&keyspace, "y");
        assert_eq!(fixture.value(&keyspace).unwrap().len(), 10_001 + n);
    }
    assert!(steps() <= 400);
    fixture.silo.checkpoint().unwrap();
    steps();
    assert_eq!(fixture.value(&keyspace).unwrap().len(), 10_100);
    assert!(steps() <= 1, "a checkpoint folds or combines for good");
}

#[test]
fn typed_delta_is_lent_and_shared_between_reads() {
    let fixture = Fixture::new();
    let keyspace = fixture.keyspace("affine");
    let base: Vec<u8> = (0..8).flat_map(|register| [register, 10, 0, 0, 0]).collect();
    fixture.put(&keyspace, &base);
    fixture.merge(&keyspace, affine_step(3, 2, 1));
    fixture.merge(&keyspace, affine_step(3, 5, 0));
    let delta = |snapshot: &Snapshot| {
        let parts = snapshot.get_parts(&keyspace, KEY).unwrap().unwrap();
        assert_eq!(parts.base.unwrap().bytes().unwrap(), base);
        match parts.pending.as_slice() {
            [Pending::Delta(delta)] => Arc::clone(delta),
            other => panic!("{other:?}"),
        }
    };
    let (first, second) = (delta(&fixture.silo.snapshot()), delta(&fixture.silo.snapshot()));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(first.as_any().downcast_ref::<AffineDelta>().is_some());
    let snapshot = fixture.silo.snapshot();
    assert_eq!(snapshot.get(&keyspace, KEY).unwrap().unwrap()[15..20], [3, 105, 0, 0, 0]);
    // Kept beside the base by the checkpoint, where it is one operand.
    fixture.silo.checkpoint().unwrap();
    let snapshot = fixture.silo.snapshot();
    let parts = snapshot.get_parts(&keyspace, KEY).unwrap().unwrap();
    assert!(parts.base.is_some());
    assert!(matches!(parts.pending.as_slice(), [Pending::Operand(_)]));
    assert_eq!(snapshot.get(&keyspace, KEY).unwrap().unwrap()[15..20], [3, 105, 0, 0, 0]);
}

#[test]
fn unfolded_chain_survives_checkpoints_compaction_and_reopening() {
    let fixture = Fixture::new();
    let keyspace = fixture.keyspace("append-lazy");
    fixture.put(&keyspace, "base");
    let mut expected = "base".to_owned();
    for round in 0..6 {
        fixture.silo.checkpoint().unwrap();
        fixture.merge(&keyspace, format!("+{round}"));
        expected += &format!("+{round}");
        // Something dies beside it, so that compaction moves its frames.
        fixture.silo.put(&keyspace, b"other", vec![1; 900], Durability::Process).unwrap();
        fixture.silo.compact().unwrap();
        let snapshot = fixture.silo.snapshot();
        let parts = snapshot.get_parts(&keyspace, KEY).unwrap().unwrap();
        assert_eq!(parts.base.unwrap().bytes().unwrap(), b"base", "the base is not rewritten");
        assert_eq!(parts.pending.len(), 1, "operands are combined");
        assert_eq!(value(&snapshot, &keyspace).unwrap(), expected);
        fixture.silo.check(Strictness::Strict).unwrap();
    }
    let fixture = fixture.reopen();
    assert_eq!(fixture.value(&fixture.keyspace("append-lazy")).unwrap(), expected);
}

#[test]
fn missing_operator_is_named_by_every_way_to_open() {
    let fixture = Fixture::new();
    let keyspace = fixture.keyspace("append");
    fixture.merge(&keyspace, "a");
    let path = fixture.silo.path().to_path_buf();
    fixture.silo.close().unwrap();
    let options = || Options::new().background(false);
    for error in [Silo::open(&path, options()).unwrap_err(), SiloReader::open(&path, options()).unwrap_err()]
    {
        assert!(
            matches!(&error, Error::OperatorMissing { keyspace, operator }
                if keyspace == "append" && operator == "append"),
            "{error}"
        );
    }
    let silo = Silo::open(&path, tiny()).unwrap();
    assert_eq!(value(&silo.snapshot(), &keyspace).unwrap(), "a", "a refused opening harms nothing");
    let unknown = silo.create_keyspace("new", &KeyspaceOptions::new().merge_operator("unheard of"));
    assert!(matches!(unknown, Err(Error::OperatorMissing { .. })));
    let other = silo.create_keyspace("append", &KeyspaceOptions::new().merge_operator("affine"));
    assert!(matches!(other, Err(Error::KeyspaceMismatch { .. })));
    drop(fixture.dir);
}

#[test]
fn refused_operand_leaves_the_batch_as_it_was() {
    let fixture = Fixture::new();
    let append = fixture.keyspace("append");
    let plain = fixture.silo.create_keyspace("plain", &KeyspaceOptions::new()).unwrap();
    let mut batch = fixture.silo.batch();
    batch.merge(&append, KEY, "a").unwrap();
    let refused = batch.merge(&append, KEY, "refuse this").unwrap_err();
    assert!(matches!(&refused, Error::Merge { message, .. } if message.contains("asks to be refused")));
    assert!(matches!(batch.merge(&plain, KEY, "x"), Err(Error::NoMergeOperator { .. })));
    assert!(matches!(batch.put(&plain, vec![0; 65_536], "x"), Err(Error::KeyTooLong { len: 65_536, .. })));
    batch.merge(&append, KEY, "b").unwrap();
    assert_eq!(batch.len(), 2);
    fixture.silo.commit(&mut batch, Durability::Process).unwrap();
    assert_eq!(fixture.value(&append).unwrap(), "ab");
    assert_eq!(fixture.silo.snapshot().iter(&plain).unwrap().count(), 0);
}

/// Accepts every operand, and cannot fold the ones that say so.
#[derive(Debug)]
struct Moody;

impl MergeOperator for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok([base.unwrap_or_default(), &self.combine(operands)?].concat())
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        if operands.iter().any(|operand| operand.starts_with(b"bad")) {
            return Err("not today".to_owned());
        }
        Ok(operands.concat())
    }
}

#[test]
fn operator_that_refuses_to_fold_fails_the_key_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silo");
    let options = || tiny().merge_operator(Arc::new(Moody));
    let silo = Silo::open(&path, options()).unwrap();
    let moody = silo.create_keyspace("moody", &KeyspaceOptions::new().merge_operator("moody")).unwrap();
    silo.merge(&moody, b"good", b"x", Durability::Process).unwrap();
    silo.merge(&moody, b"broken", b"bad", Durability::Process).unwrap();
    let snapshot = silo.snapshot();
    assert!(
        matches!(snapshot.get(&moody, b"broken"), Err(Error::Merge { message, .. }) if message == "not today")
    );
    assert_eq!(snapshot.get(&moody, b"good").unwrap().unwrap().as_ref(), b"x");
    // The checkpoint keeps the operands as they are: it must not fail for good, or commits would
    // come to wait for it for ever.
    silo.checkpoint().unwrap();
    silo.merge(&moody, b"broken", b"more", Durability::Process).unwrap();
    silo.merge(&moody, b"good", b"y", Durability::Process).unwrap();
    silo.checkpoint().unwrap();
    let refused = silo.snapshot().get(&moody, b"broken").unwrap_err();
    assert!(matches!(refused, Error::Merge { message, .. } if message == "not today"));
    assert_eq!(silo.snapshot().get(&moody, b"good").unwrap().unwrap().as_ref(), b"xy");
    silo.check(Strictness::Strict).unwrap();
    silo.put(&moody, b"broken", b"mended", Durability::Process).unwrap();
    silo.checkpoint().unwrap();
    silo.check(Strictness::Strict).unwrap();
    silo.close().unwrap();
    let silo = Silo::open(&path, options()).unwrap();
    let snapshot = silo.snapshot();
    assert_eq!(snapshot.get(&moody, b"good").unwrap().unwrap().as_ref(), b"xy");
    assert_eq!(snapshot.get(&moody, b"broken").unwrap().unwrap().as_ref(), b"mended");
    assert_eq!(snapshot.iter(&moody).unwrap().count(), 2);
}

#[test]
fn many_keys_with_operands_fold_over_several_checkpoints() {
    let fixture = Fixture::new();
    let keyspace = fixture.keyspace("append");
    for round in 0..8u8 {
        let mut batch = fixture.silo.batch();
        for n in 0..400u64 {
            batch.merge(&keyspace, IntKey::from(n % (50 * u64::from(round) + 50)), [b'a' + round]).unwrap();
        }
        fixture.silo.commit(&mut batch, Durability::Process).unwrap();
        fixture.silo.checkpoint().unwrap();
    }
    let snapshot = fixture.silo.snapshot();
    let total: usize = snapshot.iter(&keyspace).unwrap().map(|entry| entry.unwrap().1.len()).sum();
    assert_eq!(total, 8 * 400);
    let first = snapshot.get(&keyspace, IntKey::from(0u64)).unwrap().unwrap();
    assert!(first.is_sorted());
    fixture.silo.check(Strictness::Strict).unwrap();
}
