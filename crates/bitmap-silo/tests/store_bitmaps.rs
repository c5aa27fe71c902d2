//! Bitmap fields of a store against maps of sets, through every kind of upkeep.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test stops at the first surprise, and its numbers are small"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bitmap_silo::store::{Field, FieldKind, Store, StoreBatch, StoreError, StoreReader, Upkeep};
use bitmap_silo::{Expr, Query};
use datasilo::{Durability, Options, Silo, SiloReader, Snapshot};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Model = BTreeMap<u32, BTreeMap<u32, BTreeSet<u32>>>;

fn options() -> Options {
    Store::options(Options::new().background(false).segment_bytes(1 << 20).allocate_bytes(64 << 10))
}

struct World {
    dir: tempfile::TempDir,
    silo: Option<Silo>,
    store: Option<Store>,
    fields: Vec<Field>,
    model: Model,
    held: Vec<(Snapshot, Model)>,
}

impl World {
    fn new(fields: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path().join("silo"), options()).unwrap();
        let store = Store::open(&silo, "index").unwrap();
        let fields = (0..fields)
            .map(|n| store.create_field(&silo, &format!("f{n}"), FieldKind::Bitmap).unwrap())
            .collect();
        Self { dir, silo: Some(silo), store: Some(store), fields, model: Model::new(), held: Vec::new() }
    }

    fn silo(&self) -> &Silo {
        self.silo.as_ref().unwrap()
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self, close: bool) {
        self.store = None;
        let silo = self.silo.take().unwrap();
        if close {
            silo.close().unwrap();
        } else {
            // As a killed process leaves it: no checkpoint, no clean end.
            std::mem::forget(silo);
            let _ = std::fs::remove_file(self.dir.path().join("silo/LOCK"));
        }
        let silo = Silo::open(self.dir.path().join("silo"), options()).unwrap();
        self.store = Some(Store::open(&silo, "index").unwrap());
        self.silo = Some(silo);
    }

    fn compare(&self) {
        compare(self.store(), &self.silo().snapshot(), &self.fields, &self.model);
        for (snapshot, model) in &self.held {
            compare(self.store(), snapshot, &self.fields, model);
        }
    }
}

fn compare(store: &Store, snapshot: &Snapshot, fields: &[Field], model: &Model) {
    let reader = store.reader(snapshot).unwrap();
    for field in fields {
        let empty = BTreeMap::new();
        let expected = model.get(&field.id()).unwrap_or(&empty);
        let in_use = reader.values(field).unwrap().to_vec();
        for (value, slots) in expected {
            let bitmap = reader.bitmap(field, *value).unwrap();
            assert_eq!(bitmap.to_vec(), slots.iter().copied().collect::<Vec<_>>(), "value {value}");
            assert_eq!(bitmap.len(), slots.len() as u64);
            assert_eq!(bitmap.is_empty(), slots.is_empty());
            assert!(slots.is_empty() || in_use.contains(value));
            for slot in slots.iter().take(5) {
                assert!(bitmap.contains(*slot));
                assert_eq!(bitmap.contains(slot ^ 1), slots.contains(&(slot ^ 1)));
            }
            if !bitmap.is_pending() {
                assert_eq!(reader.folded_len(field, *value).unwrap(), slots.len() as u64);
            }
        }
        assert!(in_use.windows(2).all(|w| w[0] < w[1]));
        assert!(in_use.iter().all(|value| expected.contains_key(value)));
        query(&reader, field, expected);
    }
}

fn query(reader: &StoreReader<'_>, field: &Field, expected: &BTreeMap<u32, BTreeSet<u32>>) {
    let bitmaps = reader.bitmaps_in(field, 1..=4).unwrap();
    let not_these = reader.bitmap(field, 2).unwrap();
    let expr = Expr::or(bitmaps.iter().map(Expr::bitmap)).and_not(Expr::bitmap(&not_these));
    let empty = BTreeSet::new();
    let two = expected.get(&2).unwrap_or(&empty);
    let union: BTreeSet<u32> = expected.range(1..=4).flat_map(|(_, slots)| slots).copied().collect();
    let wanted = union.difference(two).count() as u64;
    assert_eq!(Query::new(expr, 1 << 32).count(), wanted);
}

#[test]
fn random_operations_agree_with_sets_through_upkeep_and_reopening() {
    for seed in 0..6 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut world = World::new(3);
        // Slots of few chunks, or of many and several pages.
        let reach: u32 = [1 << 12, 1 << 18, 1 << 26][seed as usize % 3];
        let mut ops = StoreBatch::new();
        for step in 0..200 {
            match rng.random_range(0..20) {
                0..12 => {
                    let count = [1, 5, 50, 3000][rng.random_range(0..4)];
                    for _ in 0..count {
                        let field = world.fields[rng.random_range(0..3)].clone();
                        let value = rng.random_range(0..6u32).pow(rng.random_range(1..3)) * 3_000;
                        let value = if value % 7 == 0 { value / 3_000 } else { value };
                        let slot = rng.random_range(0..reach);
                        let slots = world.model.entry(field.id()).or_default().entry(value).or_default();
                        if rng.random_bool(0.7) {
                            ops.set(&field, value, slot);
                            slots.insert(slot);
                        } else {
                            // Mostly something that is there.
                            let slot = slots.range(slot..).next().copied().unwrap_or(slot);
                            ops.clear_bit(&field, value, slot);
                            slots.remove(&slot);
                        }
                    }
                    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
                    assert!(ops.is_empty());
                }
                12..14 => {
                    world.silo().checkpoint().unwrap();
                }
                14 => {
                    world.silo().compact().unwrap();
                }
                15 => world.held.push((world.silo().snapshot(), world.model.clone())),
                16 => {
                    if !world.held.is_empty() {
                        let at = rng.random_range(0..world.held.len());
                        world.held.swap_remove(at);
                    }
                }
                17 => {
                    world.held.clear();
                    world.reopen(rng.random_bool(0.5));
                }
                18 => {
                    // Everything of a value goes.
                    let field = world.fields[rng.random_range(0..3)].clone();
                    let of_field = world.model.entry(field.id()).or_default();
                    if let Some((value, slots)) = of_field.iter_mut().next() {
                        slots.iter().for_each(|slot| ops.clear_bit(&field, *value, *slot));
                        slots.clear();
                    }
                    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
                }
                _ => {
                    let upkeep = if rng.random_bool(0.5) { Upkeep::All } else { Upkeep::Touched };
                    world.store().maintain(world.silo(), upkeep).unwrap();
                    if upkeep == Upkeep::All {
                        let snapshot = world.silo().snapshot();
                        let reader = world.store().reader(&snapshot).unwrap();
                        for field in &world.fields {
                            let used: Vec<u32> = world
                                .model
                                .get(&field.id())
                                .into_iter()
                                .flatten()
                                .filter(|(_, slots)| !slots.is_empty())
                                .map(|(value, _)| *value)
                                .collect();
                            assert_eq!(reader.values(field).unwrap().to_vec(), used, "step {step}");
                        }
                    }
                }
            }
            if step % 5 == 0 {
                world.compare();
            }
        }
        world.compare();
    }
}

#[test]
fn fields_have_durable_numbers_and_kinds() {
    let mut world = World::new(2);
    let kinds = world.store().create_field(world.silo(), "f0", FieldKind::Column);
    assert!(matches!(kinds, Err(StoreError::FieldKind { existing: FieldKind::Bitmap, .. })), "{kinds:?}");
    assert_eq!(world.store().create_field(world.silo(), "f1", FieldKind::Bitmap).unwrap(), world.fields[1]);
    let mut ops = StoreBatch::new();
    (0..100).for_each(|n| ops.set(&world.fields[0], n % 7, n * 1000));
    (0..100).for_each(|n| ops.set(&world.fields[1], n % 7, n * 1000));
    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
    let before = world.silo().stats().unwrap().keyspaces.iter().map(|k| k.entries).sum::<u64>();
    assert_eq!(before, 2 * 8 + 1);
    world.store().drop_field(world.silo(), "f0").unwrap();
    ops.set(&world.fields[0], 1, 1);
    let refused = world.store().commit(world.silo(), &mut ops, Durability::Process);
    assert!(matches!(refused, Err(StoreError::NoSuchField { .. })), "{refused:?}");
    let after = world.silo().stats().unwrap().keyspaces.iter().map(|k| k.entries).sum::<u64>();
    assert_eq!(after, 8 + 1);
    world.reopen(true);
    let again = world.store().create_field(world.silo(), "f0", FieldKind::Bitmap).unwrap();
    assert_eq!(again.id(), 2, "numbers are not used twice");
    assert!(matches!(world.store().field(world.silo(), "nothing"), Err(StoreError::UnknownField { .. })));
    let names: Vec<String> =
        world.store().fields(world.silo()).unwrap().iter().map(|f| f.name().to_owned()).collect();
    assert_eq!(names, ["f1", "f0"]);
    let snapshot = world.silo().snapshot();
    let reader = world.store().reader(&snapshot).unwrap();
    assert!(reader.bitmap(&again, 1).unwrap().is_empty());
    assert!(reader.bitmap(&world.fields[0], 1).is_err());
}

#[test]
fn huge_bitmaps_get_pages_and_a_fold_rewrites_only_those_touched() {
    let mut world = World::new(1);
    let field = world.fields[0].clone();
    let mut ops = StoreBatch::new();
    let mut slots: Vec<u32> = (0..1 << 26).step_by(61).collect();
    slots.iter().for_each(|slot| ops.set(&field, 5, *slot));
    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
    world.silo().checkpoint().unwrap();
    let report = world.store().maintain(world.silo(), Upkeep::Touched).unwrap();
    assert_eq!(report.paged_bitmaps, 1);
    for reopen in [false, true] {
        if reopen {
            world.reopen(false);
        }
        let snapshot = world.silo().snapshot();
        let reader = world.store().reader(&snapshot).unwrap();
        let bitmap = reader.bitmap(&field, 5).unwrap();
        assert_eq!(bitmap.page_count(), 4);
        assert!(!bitmap.is_pending());
        assert_eq!(bitmap.folded_len(), slots.len() as u64);
        assert_eq!(reader.folded_len(&field, 5).unwrap(), slots.len() as u64);
        assert_eq!(bitmap.to_vec(), slots);
    }
    // A new page, and a few bits of an old one.
    for slot in (1..20_000).chain([1 << 30, (1 << 30) + 1]) {
        ops.set(&field, 5, slot);
        slots.push(slot);
    }
    slots.sort_unstable();
    slots.dedup();
    let held = world.silo().snapshot();
    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
    let reader = world.store().reader(&held).unwrap();
    assert_eq!(reader.bitmap(&field, 5).unwrap().page_count(), 4);
    ops.clear_bit(&field, 5, 61);
    slots.retain(|slot| *slot != 61);
    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
    let written = world.silo().checkpoint().unwrap().bytes_written;
    assert!(written < 100_000, "{written} bytes for a few pending bits");
    let snapshot = world.silo().snapshot();
    let reader = world.store().reader(&snapshot).unwrap();
    let bitmap = reader.bitmap(&field, 5).unwrap();
    assert_eq!(bitmap.page_count(), 5);
    assert_eq!(bitmap.to_vec(), slots);
    assert_eq!(bitmap.len(), slots.len() as u64);
    // Emptied, it goes with its pages.
    slots.iter().for_each(|slot| ops.clear_bit(&field, 5, *slot));
    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
    let report = world.store().maintain(world.silo(), Upkeep::Touched).unwrap();
    assert_eq!(report.emptied_bitmaps, 1);
    ops.set(&field, 5, 9);
    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
    let snapshot = world.silo().snapshot();
    let bitmap = world.store().reader(&snapshot).unwrap().bitmap(&field, 5).unwrap();
    assert_eq!((bitmap.to_vec(), bitmap.page_count()), (vec![9], 1));
}

#[test]
fn a_reader_in_another_handle_sees_what_was_committed() {
    let world = World::new(1);
    let mut ops = StoreBatch::new();
    ops.set(&world.fields[0], 7, 70);
    world.store().commit(world.silo(), &mut ops, Durability::Process).unwrap();
    let files = SiloReader::open(world.dir.path().join("silo"), options()).unwrap();
    let store = Store::open_read_only(&files, "index").unwrap();
    let snapshot = files.snapshot();
    let reader = store.reader(&snapshot).unwrap();
    let field = reader.field("f0").unwrap();
    let mut seen = Vec::new();
    let stopped = reader.bitmap(&field, 7).unwrap().for_each(|slot| {
        seen.push(slot);
        ControlFlow::Break(slot)
    });
    assert_eq!((seen, stopped), (vec![70], ControlFlow::Break(70)));
    assert!(matches!(store.write(world.silo()), Err(StoreError::Usage(_))));
    assert!(Store::open_read_only(&files, "other").is_err());
}

#[test]
fn operations_commit_with_the_callers_own() {
    let world = World::new(1);
    let documents = world.silo().create_keyspace("documents", &datasilo::KeyspaceOptions::new()).unwrap();
    let mut ops = StoreBatch::new();
    ops.set(&world.fields[0], 1, 10);
    let mut batch = world.silo().batch();
    batch.put(&documents, b"10", b"a document").unwrap();
    let writer = world.store().write(world.silo()).unwrap();
    writer.append(&mut ops, &mut batch).unwrap();
    let before = world.silo().snapshot();
    world.silo().commit(&mut batch, Durability::Process).unwrap();
    drop(writer);
    let after = world.silo().snapshot();
    for (snapshot, expected) in [(&before, false), (&after, true)] {
        assert_eq!(snapshot.contains(&documents, b"10").unwrap(), expected);
        let reader = world.store().reader(snapshot).unwrap();
        assert_eq!(reader.bitmap(&world.fields[0], 1).unwrap().contains(10), expected);
    }
}
