//! Columns, postings, loads and checks of a store against maps, through every kind of upkeep.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "a test stops at the first surprise, its numbers are small, and it tells one story"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bitmap_silo::column::{Direction, PageBuilder};
use bitmap_silo::postings::{PagesBuilder, PostingsError, build_pages};
use bitmap_silo::store::{Field, FieldKind, MaintainReport, Store, StoreBatch, StoreError, Upkeep};
use bitmap_silo::{BitmapBuf, Query, Rows, build_values};
use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Silo, Snapshot, Strictness};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[derive(Clone, Default)]
struct Model {
    bits: BTreeSet<(u32, u32)>,
    keys: BTreeMap<u32, u64>,
    pairs: BTreeSet<(u64, u32)>,
    unique: BTreeMap<u64, u32>,
}

fn options() -> Options {
    Store::options(Options::new().background(false).segment_bytes(4 << 20).allocate_bytes(64 << 10))
}

struct World {
    dir: tempfile::TempDir,
    silo: Option<Silo>,
    store: Option<Store>,
    bits: Field,
    keys: Field,
    pairs: Field,
    unique: Field,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path().join("silo"), options()).unwrap();
        let store = Store::open(&silo, "s").unwrap();
        let field = |name, kind| store.create_field(&silo, name, kind).unwrap();
        let bits = field("bits", FieldKind::Bitmap);
        let keys = field("keys", FieldKind::Column);
        let pairs = field("pairs", FieldKind::Postings);
        let unique = field("unique", FieldKind::Postings);
        Self { dir, silo: Some(silo), store: Some(store), bits, keys, pairs, unique }
    }

    fn silo(&self) -> &Silo {
        self.silo.as_ref().unwrap()
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn commit(&self, ops: &mut StoreBatch) {
        self.store().commit(self.silo(), ops, Durability::Process).unwrap();
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
        self.store = Some(Store::open(&silo, "s").unwrap());
        self.silo = Some(silo);
    }

    fn check(&self) {
        let snapshot = self.silo().snapshot();
        let report = self.store().reader(&snapshot).unwrap().check().unwrap();
        assert!(report.is_ok(), "{report:#?}");
    }

    fn compare(&self, snapshot: &Snapshot, model: &Model, rng: &mut SmallRng) {
        let reader = self.store().reader(snapshot).unwrap();
        let column = reader.column(&self.keys).unwrap();
        let zones = column.zones().unwrap();
        let mut found = BTreeMap::new();
        for zone in zones.zones() {
            let page = column.page(zone.chunk).unwrap();
            assert!(page.len() <= zone.count);
            page.for_each(|low, key| {
                assert!((zone.lowest..=zone.highest).contains(&key));
                found.insert(u32::from(zone.chunk) << 16 | u32::from(low), key);
            });
        }
        assert_eq!(found, model.keys);
        let slot = rng.random_range(0..200_000);
        assert_eq!(column.get(slot).unwrap(), model.keys.get(&slot).copied());

        let postings = reader.postings(&self.pairs).unwrap();
        for direction in [Direction::Ascending, Direction::Descending] {
            let mut found = Vec::new();
            let _ = postings
                .for_each_in::<()>(0..=u64::MAX, direction, |value, slots| {
                    match direction {
                        Direction::Ascending => found.extend(slots.map(|slot| (value, slot))),
                        Direction::Descending => found.extend(slots.rev().map(|slot| (value, slot))),
                    }
                    ControlFlow::Continue(())
                })
                .unwrap();
            if direction == Direction::Descending {
                found.reverse();
            }
            assert!(found.iter().eq(model.pairs.iter()), "{} {}", found.len(), model.pairs.len());
        }
        for value in (0..20).chain((0..20).map(|_| rng.random_range(0..3000))) {
            let slots: Vec<u32> =
                model.pairs.range((value, 0)..=(value, u32::MAX)).map(|(_, slot)| *slot).collect();
            let stored = postings.slots(value).unwrap();
            assert_eq!(stored.to_vec(), slots);
            assert_eq!(stored.len(), slots.len() as u64);
            assert_eq!(stored.contains(77), slots.contains(&77));
            assert_eq!(postings.get_unique(value).unwrap(), slots.first().copied());
            let leaf = stored.into_leaf();
            assert_eq!(Query::new(leaf.view(), 1 << 32).count(), slots.len() as u64);
        }
        let first = rng.random_range(0..1000);
        let range = first..=first + 30;
        let slots: BTreeSet<u32> =
            model.pairs.range((first, 0)..=(first + 30, u32::MAX)).map(|(_, slot)| *slot).collect();
        assert_eq!(postings.slots_in(range).unwrap().len(), slots.len() as u64);

        let unique = reader.postings(&self.unique).unwrap();
        for (id, slot) in model.unique.iter().step_by(97) {
            assert_eq!(unique.get_unique(*id).unwrap(), Some(*slot));
        }
        let id = rng.random();
        assert_eq!(unique.get_unique(id).unwrap(), model.unique.get(&id).copied());
        // One cursor for look-ups that ascend, in small steps and large, jump back, and miss.
        let mut cursor = unique.unique_cursor();
        let ids: Vec<u64> = model.unique.keys().copied().collect();
        let mut at = 0;
        for _ in 0..400 {
            at = match rng.random_range(0..20) {
                0 => rng.random_range(0..=ids.len()),
                1 => at + rng.random_range(0..100),
                _ => at + rng.random_range(0..3),
            };
            let id = ids.get(at).map_or(u64::MAX, |id| id - rng.random_range(0..2).min(*id));
            assert_eq!(cursor.get(id).unwrap(), model.unique.get(&id).copied(), "{id}");
        }
        let mut cursor = postings.unique_cursor();
        for value in 0..3000 {
            let first = model.pairs.range((value, 0)..=(value, u32::MAX)).next().map(|(_, slot)| *slot);
            assert_eq!(cursor.get(value).unwrap(), first, "{value}");
        }

        for value in 0..5 {
            let slots: Vec<u32> =
                model.bits.range((value, 0)..=(value, u32::MAX)).map(|(_, slot)| *slot).collect();
            assert_eq!(reader.bitmap(&self.bits, value).unwrap().to_vec(), slots);
        }
    }
}

/// A value of which few are frequent.
fn skewed(rng: &mut SmallRng) -> u64 {
    let low: u64 = rng.random_range(0..3000);
    if rng.random_bool(0.5) { rng.random_range(0..2) } else { low }
}

fn change(world: &World, model: &mut Model, ops: &mut StoreBatch, rng: &mut SmallRng) {
    let slot = rng.random_range(0..200_000);
    match rng.random_range(0..10) {
        0..2 => {
            ops.set(&world.bits, slot % 5, slot);
            model.bits.insert((slot % 5, slot));
        }
        2 => {
            let (value, slot) = model.bits.range((slot % 5, slot)..).next().copied().unwrap_or((0, 0));
            ops.clear_bit(&world.bits, value, slot);
            model.bits.remove(&(value, slot));
        }
        3..5 => {
            let bits = rng.random_range(1..60);
            let key = rng.random_range(0..1 << bits);
            ops.set_key(&world.keys, slot, key);
            model.keys.insert(slot, key);
        }
        5 => {
            let slot = model.keys.range(slot..).next().map_or(slot, |(slot, _)| *slot);
            ops.clear_key(&world.keys, slot);
            model.keys.remove(&slot);
        }
        6..8 => {
            let value = skewed(rng);
            ops.add(&world.pairs, value, slot);
            model.pairs.insert((value, slot));
        }
        8 => {
            let value = skewed(rng);
            let (value, slot) = model.pairs.range((value, slot)..).next().copied().unwrap_or((value, slot));
            ops.remove(&world.pairs, value, slot);
            model.pairs.remove(&(value, slot));
        }
        _ => {
            let id = rng.random();
            ops.add(&world.unique, id, slot);
            model.unique.insert(id, slot);
        }
    }
}

#[test]
fn random_operations_agree_with_maps_through_upkeep_and_reopening() {
    let (mut split, mut promoted) = (0, 0);
    for seed in 0..3 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut world = World::new();
        let mut model = Model::default();
        let mut held: Vec<(Snapshot, Model)> = Vec::new();
        let mut ops = StoreBatch::new();
        for step in 0..120 {
            match rng.random_range(0..16) {
                0..9 => {
                    let count = [1, 30, 1000, 20_000][rng.random_range(0..4)];
                    (0..count).for_each(|_| change(&world, &mut model, &mut ops, &mut rng));
                    world.commit(&mut ops);
                }
                9..11 => {
                    world.silo().checkpoint().unwrap();
                }
                11 => {
                    world.silo().compact().unwrap();
                }
                12 => held.push((world.silo().snapshot(), model.clone())),
                13 => {
                    held.clear();
                    world.reopen(rng.random_bool(0.5));
                }
                _ => {
                    let upkeep = if rng.random_bool(0.5) { Upkeep::All } else { Upkeep::Touched };
                    let report = world.store().maintain(world.silo(), upkeep).unwrap();
                    split += report.split_pages;
                    promoted += report.promoted_values;
                }
            }
            if step % 6 == 0 {
                world.compare(&world.silo().snapshot(), &model, &mut rng);
                held.truncate(3);
                for (snapshot, model) in &held {
                    world.compare(snapshot, model, &mut rng);
                }
            }
            if step % 20 == 0 {
                world.check();
            }
        }
        world.compare(&world.silo().snapshot(), &model, &mut rng);
        world.check();
        // Everything goes, and upkeep leaves nothing of it.
        model.bits.iter().for_each(|(value, slot)| ops.clear_bit(&world.bits, *value, *slot));
        model.keys.keys().for_each(|slot| ops.clear_key(&world.keys, *slot));
        model.pairs.iter().for_each(|(value, slot)| ops.remove(&world.pairs, *value, *slot));
        model.unique.iter().for_each(|(id, slot)| ops.remove(&world.unique, *id, *slot));
        world.commit(&mut ops);
        let report = world.store().maintain(world.silo(), Upkeep::All).unwrap();
        assert!(report.emptied_bitmaps >= 5 && report.emptied_chunks > 0, "{report:?}");
        world.compare(&world.silo().snapshot(), &Model::default(), &mut rng);
        world.check();
        for name in ["bits", "keys", "pairs", "unique"] {
            world.store().drop_field(world.silo(), name).unwrap();
        }
        let left = world.silo().stats().unwrap().keyspaces.iter().map(|k| k.entries).sum::<u64>();
        assert_eq!(left, 1, "nothing but the list of fields");
        world.silo().check(Strictness::Strict).unwrap();
    }
    assert!(split > 5 && promoted >= 1, "{split} pages split, {promoted} values promoted");
}

#[test]
fn a_load_from_threads_is_published_at_once_and_changed_afterwards() {
    let mut rng = SmallRng::seed_from_u64(9);
    let mut world = World::new();
    let documents = world.silo().create_keyspace("documents", &KeyspaceOptions::new()).unwrap();
    let rows = 150_000_u32;
    let values: Vec<u32> = (0..rows).map(|_| rng.random_range(0..5)).collect();
    let numbers: Vec<u64> = (0..rows).map(|_| rng.random_range(0..1 << 40)).collect();
    let users: Vec<u64> = (0..rows).map(|_| skewed(&mut rng)).collect();
    let mut model = Model::default();
    for slot in 0..rows {
        let at = slot as usize;
        model.bits.insert((values[at], slot));
        model.keys.insert(slot, numbers[at]);
        model.pairs.insert((users[at], slot));
        model.unique.insert(u64::from(slot) * 7 + 3, slot);
    }
    let empty = world.silo().snapshot();
    let load = |finish: bool| {
        let bulk = world.store().bulk(world.silo(), &[&documents]).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = bulk.writer();
                let built = build_values(Rows::Consecutive { first_slot: 0, values: &values }, 5).unwrap();
                for value in 0..5 {
                    writer.put_bitmap(&world.bits, value, built.view(value as usize).unwrap()).unwrap();
                }
                for slot in 0..rows {
                    writer.documents().put(&documents, IntKey::from(slot), slot.to_le_bytes()).unwrap();
                }
                writer.close().unwrap();
            });
            scope.spawn(|| {
                let mut writer = bulk.writer();
                let mut builder = PageBuilder::new();
                for (chunk, keys) in (0_u16..).zip(numbers.chunks(1 << 16)) {
                    let slots: Vec<u16> = (0..=u16::MAX).take(keys.len()).collect();
                    let page = builder.build(&slots, keys).unwrap();
                    writer.put_column_page(&world.keys, chunk, &page).unwrap();
                }
                writer.close().unwrap();
            });
            scope.spawn(|| {
                let mut writer = bulk.writer();
                // Value 0 has very many slots.
                let heavy: BitmapBuf = (0..rows).filter(|slot| users[*slot as usize] == 0).collect();
                writer.put_heavy(&world.pairs, 0, &heavy).unwrap();
                let mut pages: Vec<((u64, u32), Vec<u8>)> = Vec::new();
                let mut builder = PagesBuilder::<_>::new(10_000, |first, page: &[u8]| {
                    pages.push((first, page.to_vec()));
                    Ok::<(), PostingsError>(())
                });
                builder.push_promoted(0, heavy.len() as u32).unwrap();
                model.pairs.range((1, 0)..).for_each(|(value, slot)| builder.push(*value, *slot).unwrap());
                builder.finish().unwrap();
                for (first, page) in &pages {
                    writer.put_postings_page(&world.pairs, *first, page).unwrap();
                }
                build_pages(model.unique.iter().map(|(id, slot)| (*id, *slot)), 9_000, |first, page| {
                    writer.put_postings_page(&world.unique, first, page)
                })
                .unwrap();
                writer.close().unwrap();
            });
        });
        if finish {
            bulk.finish().unwrap();
        }
    };
    load(false);
    world.compare(&world.silo().snapshot(), &Model::default(), &mut rng);
    load(true);
    world.compare(&empty, &Model::default(), &mut rng);
    let loaded = world.silo().snapshot();
    world.compare(&loaded, &model, &mut rng);
    world.check();
    let reader = world.store().reader(&loaded).unwrap();
    let counts = reader.value_counts(&world.bits).unwrap();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), u64::from(rows));
    assert_eq!(loaded.get(&documents, IntKey::from(7_u32)).unwrap().unwrap().as_ref(), 7_u32.to_le_bytes());
    let zones = reader.column(&world.keys).unwrap().zones().unwrap();
    assert_eq!(zones.zones().iter().map(|zone| zone.count).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
    // Changed in batches and by a second load of operations.
    let before = model.clone();
    let mut ops = StoreBatch::new();
    for round in 0..4 {
        (0..5_000).for_each(|_| change(&world, &mut model, &mut ops, &mut rng));
        if round == 2 {
            let bulk = world.store().bulk(world.silo(), &[]).unwrap();
            let mut writer = bulk.writer();
            writer.append(&mut ops).unwrap();
            writer.close().unwrap();
            bulk.finish().unwrap();
            ops.clear();
        } else {
            world.commit(&mut ops);
        }
        world.compare(&world.silo().snapshot(), &model, &mut rng);
        world.compare(&loaded, &before, &mut rng);
        world.check();
    }
    world.silo().checkpoint().unwrap();
    world.compare(&world.silo().snapshot(), &model, &mut rng);
    let bulk = world.store().bulk(world.silo(), &[]).unwrap();
    let refused = bulk.writer().put_postings_page(&world.pairs, (0, 0), &[]);
    assert!(matches!(refused, Err(StoreError::Usage(_))), "{refused:?}");
    drop(bulk);
    drop(loaded);
    drop(empty);
    world.reopen(false);
    world.compare(&world.silo().snapshot(), &model, &mut rng);
    world.store().maintain(world.silo(), Upkeep::All).unwrap();
    world.compare(&world.silo().snapshot(), &model, &mut rng);
    world.check();
}

#[test]
fn upkeep_tightens_the_zones_of_chunks_written_to() {
    let world = World::new();
    let mut ops = StoreBatch::new();
    for slot in (0..4 << 16).step_by(101) {
        ops.set_key(&world.keys, slot, 1000 + u64::from(slot));
    }
    world.commit(&mut ops);
    // Far outside, and back again.
    for key in [5, 1 << 40, 70_000] {
        ops.set_key(&world.keys, 1 << 16 | 9, key);
        world.commit(&mut ops);
    }
    for slot in (2 << 16..3 << 16).filter(|slot| slot % 101 == 0) {
        ops.clear_key(&world.keys, slot);
    }
    world.commit(&mut ops);
    let zones = || {
        let snapshot = world.silo().snapshot();
        let reader = world.store().reader(&snapshot).unwrap();
        let zones = reader.column(&world.keys).unwrap().zones().unwrap();
        zones.zones().iter().map(|zone| (zone.chunk, zone.lowest, zone.highest)).collect::<Vec<_>>()
    };
    assert_eq!(zones()[1], (1, 5, 1 << 40));
    assert_eq!(zones().len(), 4);
    world.silo().checkpoint().unwrap();
    let report = world.store().maintain(world.silo(), Upkeep::Touched).unwrap();
    assert_eq!(report.emptied_chunks, 1);
    let lowest_of = |chunk: u64| 1000 + (chunk << 16).div_ceil(101) * 101;
    let highest_of = |chunk: u64| 1000 + (((chunk + 1) << 16) - 1) / 101 * 101;
    assert_eq!(
        zones(),
        [0, 1, 3].map(|chunk: u16| (chunk, lowest_of(chunk.into()), highest_of(chunk.into())))
    );
    // Nothing was written to since.
    assert_eq!(world.store().maintain(world.silo(), Upkeep::Touched).unwrap(), MaintainReport::default());
    world.check();
}

#[test]
fn check_names_what_is_wrong() {
    let world = World::new();
    let mut ops = StoreBatch::new();
    for slot in 0..20_000 {
        ops.set(&world.bits, 3, slot);
        ops.set_key(&world.keys, slot, u64::from(slot) + 100);
        ops.add(&world.pairs, u64::from(slot), slot);
    }
    world.commit(&mut ops);
    world.silo().checkpoint().unwrap();
    world.check();
    let findings = |keyspace: &str, key: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let keyspace = world.silo().keyspace(keyspace).unwrap();
        let before = world.silo().snapshot().get(&keyspace, key).unwrap().unwrap().into_owned();
        let mut bytes = before.clone();
        change(&mut bytes);
        world.silo().put(&keyspace, key, &bytes, Durability::Process).unwrap();
        let snapshot = world.silo().snapshot();
        let report = world.store().reader(&snapshot).unwrap().check().unwrap();
        world.silo().put(&keyspace, key, &before, Durability::Process).unwrap();
        report.findings.join("\n")
    };
    let field = |field: &Field| field.id().to_le_bytes();
    let of = |id: &Field, rest: &[u8]| [&field(id)[..], rest].concat();
    let header = findings("s.bitmaps", &of(&world.bits, &3_u32.to_le_bytes()), &|bytes| bytes[8] ^= 1);
    assert!(header.contains("field 0, value 3") && header.contains("cardinality"), "{header}");
    let values = findings("s.bitmaps", &field(&world.bits), &|bytes| bytes.clear());
    assert!(values.contains("field 0, value 3: it has slots and is not among"), "{values}");
    let zone = findings("s.zones", &field(&world.keys), &|bytes| bytes[16] ^= 0xff);
    assert!(zone.contains("field 1, column of chunk 0: keys outside its zone"), "{zone}");
    let column = findings("s.columns", &of(&world.keys, &[0, 0]), &|bytes| bytes[8] ^= 1);
    assert!(column.contains("field 1, column of chunk 0"), "{column}");
    let splits = findings("s.splits", &field(&world.pairs), &|bytes| bytes[20] = 9);
    assert!(splits.contains("field 2, postings page 0: it is not in the splits"), "{splits}");
    world.check();
}
