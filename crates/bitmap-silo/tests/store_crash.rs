//! Crashes of a store, by replay: what it asked of the file system is recorded, and states that the
//! file system may be found in afterwards are opened.
//!
//! The oracle: every state opens; what was acknowledged as durable is there; documents and
//! indexes are as of one and the same commit; the store's own check finds nothing wrong; and it goes on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails by panicking, and its numbers are small"
)]

#[path = "../../datasilo/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bitmap_silo::BitmapBuf;
use bitmap_silo::column::Direction;
use bitmap_silo::store::{Field, FieldKind, Store, StoreBatch, Upkeep};
use datasilo::{Durability, KeyspaceOptions, Options, Silo};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use support::disk::{Call, DataLoss, Loss, NameLoss, RecordingStorage, crash};
use support::{scratch, seed};

const SILO: &str = "silo";
const COUNTER: &[u8] = b"counter";

#[derive(Clone, Default, Debug, PartialEq)]
struct Model {
    bits: BTreeSet<(u32, u32)>,
    keys: BTreeMap<u32, u64>,
    pairs: BTreeSet<(u64, u32)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// This many operations.
    Commit(usize, Durability),
    /// So many pairs that pages split and a value is promoted.
    ManyPairs,
    Load,
    Checkpoint,
    Compact,
    Maintain,
    Drop,
    Reopen,
}

fn options() -> Options {
    Store::options(Options::new().background(false).segment_bytes(256 << 10).allocate_bytes(16 << 10))
}

struct Open {
    silo: Silo,
    store: Store,
    fields: [Field; 3],
    documents: datasilo::Keyspace,
}

/// Opens a silo and the store in it, and creates what is missing.
fn open(dir: &Path, options: &Options) -> Open {
    let silo = Silo::open(dir, options.clone()).unwrap();
    let store = Store::open(&silo, "s").unwrap();
    let kinds = [FieldKind::Bitmap, FieldKind::Column, FieldKind::Postings];
    let fields = ["bits", "keys", "pairs"];
    let fields = std::array::from_fn(|at| store.create_field(&silo, fields[at], kinds[at]).unwrap());
    let documents = silo.create_keyspace("documents", &KeyspaceOptions::new()).unwrap();
    Open { silo, store, fields, documents }
}

impl Open {
    fn counter(&self) -> usize {
        let snapshot = self.silo.snapshot();
        let found = snapshot.get(&self.documents, COUNTER).unwrap();
        found.map_or(0, |bytes| u32::from_le_bytes(bytes.as_ref().try_into().unwrap()) as usize)
    }

    fn contents(&self) -> Model {
        let snapshot = self.silo.snapshot();
        let reader = self.store.reader(&snapshot).unwrap();
        let [bits, keys, pairs] = &self.fields;
        let mut model = Model::default();
        for value in reader.values(bits).unwrap().to_vec() {
            model.bits.extend(reader.bitmap(bits, value).unwrap().to_vec().iter().map(|slot| (value, *slot)));
        }
        let column = reader.column(keys).unwrap();
        for zone in column.zones().unwrap().zones() {
            column.page(zone.chunk).unwrap().for_each(|low, key| {
                model.keys.insert(u32::from(zone.chunk) << 16 | u32::from(low), key);
            });
        }
        let postings = reader.postings(pairs).unwrap();
        let _ = postings
            .for_each_in::<()>(0..=u64::MAX, Direction::Ascending, |value, slots| {
                model.pairs.extend(slots.map(|slot| (value, slot)));
                ControlFlow::Continue(())
            })
            .unwrap();
        let report = reader.check().unwrap();
        assert!(report.is_ok(), "{report:#?}");
        model
    }

    fn commit(&self, ops: &mut StoreBatch, counter: usize, durability: Durability) {
        let mut batch = self.silo.batch();
        batch.put(&self.documents, COUNTER, (counter as u32).to_le_bytes()).unwrap();
        let writer = self.store.write(&self.silo).unwrap();
        writer.append(ops, &mut batch).unwrap();
        self.silo.commit(&mut batch, durability).unwrap();
        ops.clear();
    }
}

fn change([bits, keys, pairs]: &[Field; 3], model: &mut Model, ops: &mut StoreBatch, rng: &mut SmallRng) {
    let slot = rng.random_range(0..100_000);
    match rng.random_range(0..7) {
        0 | 1 => {
            ops.set(bits, slot % 3, slot);
            model.bits.insert((slot % 3, slot));
        }
        2 => {
            let (value, slot) = model.bits.range((slot % 3, slot)..).next().copied().unwrap_or((0, slot));
            ops.clear_bit(bits, value, slot);
            model.bits.remove(&(value, slot));
        }
        3 => {
            ops.set_key(keys, slot, u64::from(slot) * 3);
            model.keys.insert(slot, u64::from(slot) * 3);
        }
        4 => {
            let slot = model.keys.range(slot..).next().map_or(slot, |(slot, _)| *slot);
            ops.clear_key(keys, slot);
            model.keys.remove(&slot);
        }
        5 => {
            ops.add(pairs, u64::from(slot) % 50, slot);
            model.pairs.insert((u64::from(slot) % 50, slot));
        }
        _ => {
            let pair = model.pairs.range((u64::from(slot) % 50, slot)..).next().copied();
            let (value, slot) = pair.unwrap_or((1, slot));
            ops.remove(pairs, value, slot);
            model.pairs.remove(&(value, slot));
        }
    }
}

/// Performs a step; answers the model after it if it wrote something.
fn perform(
    world: &mut Option<Open>,
    dir: &Path,
    own: &Options,
    step: Step,
    models: &mut Vec<Model>,
    rng: &mut SmallRng,
) {
    let open_now = world.get_or_insert_with(|| open(dir, own));
    let mut model = models.last().unwrap().clone();
    let counter = models.len();
    let mut ops = StoreBatch::new();
    match step {
        Step::Commit(count, durability) => {
            (0..count).for_each(|_| change(&open_now.fields, &mut model, &mut ops, rng));
            models.push(model);
            open_now.commit(&mut ops, counter, durability);
        }
        Step::ManyPairs => {
            for slot in 0..18_000 {
                let value = if slot % 2 == 0 { 7 } else { u64::from(slot) };
                ops.add(&open_now.fields[2], value, slot);
                model.pairs.insert((value, slot));
            }
            models.push(model);
            open_now.commit(&mut ops, counter, Durability::Process);
        }
        Step::Load => {
            let slots: BitmapBuf = (0..5_000).map(|slot| slot * 11).collect();
            model.bits.extend((0..5_000).map(|slot| (9, slot * 11)));
            models.push(model);
            let bulk = open_now.store.bulk(&open_now.silo, &[&open_now.documents]).unwrap();
            let mut writer = bulk.writer();
            writer.put_bitmap(&open_now.fields[0], 9, &slots).unwrap();
            writer.documents().put(&open_now.documents, COUNTER, (counter as u32).to_le_bytes()).unwrap();
            writer.close().unwrap();
            bulk.finish().unwrap();
        }
        Step::Checkpoint => drop(open_now.silo.checkpoint().unwrap()),
        Step::Compact => drop(open_now.silo.compact().unwrap()),
        Step::Maintain => {
            open_now.store.maintain(&open_now.silo, Upkeep::All).unwrap();
        }
        Step::Drop => {
            let extra = open_now.store.create_field(&open_now.silo, "extra", FieldKind::Bitmap).unwrap();
            (0..3_000).for_each(|slot| ops.set(&extra, slot % 70, slot));
            open_now.store.commit(&open_now.silo, &mut ops, Durability::Process).unwrap();
            open_now.store.drop_field(&open_now.silo, "extra").unwrap();
        }
        Step::Reopen => {
            world.take().unwrap().silo.close().unwrap();
            *world = Some(open(dir, own));
        }
    }
}

#[test]
fn every_crash_leaves_documents_and_indexes_of_one_commit() {
    use Durability::{Power, Process};
    let steps = [
        Step::Commit(40, Process),
        Step::Commit(300, Power),
        Step::Checkpoint,
        Step::ManyPairs,
        Step::Maintain,
        Step::Commit(30, Process),
        Step::Drop,
        Step::Commit(500, Process),
        Step::Load,
        Step::Commit(500, Power),
        Step::Checkpoint,
        Step::Commit(50, Process),
        Step::Maintain,
        Step::Compact,
        Step::Commit(10, Process),
        Step::Reopen,
        Step::Commit(60, Power),
        Step::Checkpoint,
        Step::Commit(20, Process),
    ];
    let mut rng = SmallRng::seed_from_u64(seed());
    let root = scratch();
    let storage = RecordingStorage::new(root.path());
    let own = options().storage(Arc::new(storage.clone()));
    let mut models = vec![Model::default()];
    let mut world = None;
    // The counter that a step that is done promises, and that one that is begun may reach.
    let (mut begun, mut done, mut durable) = (Vec::new(), Vec::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        storage.note(Call::Begin(at));
        perform(&mut world, &root.path().join(SILO), &own, *step, &mut models, &mut rng);
        storage.note(Call::Done(at));
        begun.push(models.len() - 1);
        done.push(models.len() - 1);
        let syncs = !matches!(step, Step::Commit(_, Process) | Step::ManyPairs | Step::Maintain);
        let before = durable.last().copied().unwrap_or(0);
        durable.push(if syncs { models.len() - 1 } else { before });
    }
    assert_eq!(world.as_ref().unwrap().contents(), *models.last().unwrap());
    let calls = storage.calls();
    let data =
        [DataLoss::Kept, DataLoss::Dropped, DataLoss::Zeros, DataLoss::Torn(512), DataLoss::Torn(4096)];
    let names = [NameLoss::Kept, NameLoss::Dropped, NameLoss::Prefix, NameLoss::Subset];
    let mut reached = BTreeSet::new();
    for cut in (0..=calls.len()).step_by(3) {
        let calls = &calls[..cut];
        let (mut last_begun, mut last_done) = (None, None);
        for call in calls {
            match call {
                Call::Begin(at) => last_begun = Some(*at),
                Call::Done(at) => last_done = Some(*at),
                _ => {}
            }
        }
        let killed = rng.random_bool(0.4);
        let loss = if killed {
            Loss::KILLED
        } else {
            let (data, names) = (*data.choose(&mut rng).unwrap(), *names.choose(&mut rng).unwrap());
            Loss { data, names, seed: rng.random_range(0..1 << 30) }
        };
        let image = crash(calls, loss);
        let dir = scratch();
        image.materialise(dir.path());
        let what = format!("cut {cut}, step {last_begun:?}, {loss:?}");
        let found = open(&dir.path().join(SILO), &options());
        let counter = found.counter();
        let promised = if killed { &done } else { &durable };
        let least = last_done.map_or(0, |at| promised[at]);
        let most = last_begun.map_or(0, |at| begun[at]);
        assert!((least..=most).contains(&counter), "{what}: counter {counter} not in {least}..={most}");
        let contents = found.contents();
        assert!(contents == models[counter], "{what}: contents are not those of commit {counter}");
        reached.insert(counter);
        // It goes on, and upkeep finds a sound store.
        let mut model = contents;
        let mut ops = StoreBatch::new();
        (0..30).for_each(|_| change(&found.fields, &mut model, &mut ops, &mut rng));
        found.commit(&mut ops, counter + 1, Durability::Process);
        found.store.maintain(&found.silo, Upkeep::All).unwrap();
        assert!(found.contents() == model, "{what}: contents after a further commit");
        assert!(
            found.store.field(&found.silo, "extra").is_err() || last_begun == Some(6),
            "{what}: a dropped field"
        );
    }
    assert!(
        reached.len() + 3 >= models.len(),
        "nearly every commit is the last one in some state: {reached:?}"
    );
}
