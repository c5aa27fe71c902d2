//! What the floor keeps in memory, and how it is made.

use std::collections::HashMap;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use crate::workload::{BASE_MODELS, Row, TAG_COUNT, Workload, flag};

/// Levels by their place in [`packed`].
pub(super) const LEVELS: [u8; 7] = [0, 1, 2, 4, 8, 16, 32];
/// Bits of [`packed`].
pub(super) const HAS_META: u8 = 1 << 5;
pub(super) const POI: u8 = 1 << 6;
/// A bitmap is kept as words, too, where at least one slot in so many is in it.
const DENSE: u64 = 64;

/// Level, type and flags of a row in a byte: one table says which bytes a filter takes.
fn packed(row: &Row) -> u8 {
    let level = LEVELS.iter().position(|level| *level == row.level).unwrap_or(0) as u8;
    let bit = |flag: u8, bit: u8| if row.flags & flag != 0 { bit } else { 0 };
    level | row.kind << 3 | bit(flag::HAS_META, HAS_META) | bit(flag::POI, POI)
}

/// A sort field: values by slot; slots by (value, slot), and beside them what filters test most, so that a walk reads ahead.
pub(super) struct Sorted {
    pub(super) values: Vec<u32>,
    pub(super) order: Vec<u32>,
    pub(super) packed: Vec<u8>,
    pub(super) models: Vec<u8>,
}

impl Sorted {
    fn new(values: Vec<u32>, packed: &[u8], models: &[u8]) -> Self {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.par_sort_unstable_by_key(|slot| (values[*slot as usize], *slot));
        let gathered = |column: &[u8]| order.iter().map(|slot| column[*slot as usize]).collect();
        let (packed, models) = (gathered(packed), gathered(models));
        Self { values, order, packed, models }
    }

    /// Places in the order of values from `low` to `high`.
    pub(super) fn range(&self, low: u32, high: u32) -> std::ops::Range<usize> {
        let place =
            |bound: u64| self.order.partition_point(|slot| u64::from(self.values[*slot as usize]) < bound);
        place(u64::from(low))..place(u64::from(high) + 1)
    }
}

/// Slots of a value.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) bitmap: RoaringBitmap,
    /// One bit for each slot, where they are many.
    pub(super) words: Option<Box<[u64]>>,
}

impl Slots {
    fn new(ascending: impl Iterator<Item = u32>, all: usize, always: bool) -> Self {
        let bitmap = RoaringBitmap::from_sorted_iter(ascending).unwrap();
        let dense = always || bitmap.len() * DENSE > all as u64;
        let words = dense.then(|| {
            let mut words = vec![0; all.div_ceil(64)];
            bitmap.iter().for_each(|slot| words[slot as usize / 64] |= 1 << (slot % 64));
            words.into_boxed_slice()
        });
        Self { bitmap, words }
    }

    pub(super) fn len(&self) -> u64 {
        self.bitmap.len()
    }

    #[inline]
    pub(super) fn contains(&self, slot: u32) -> bool {
        match &self.words {
            Some(words) => words[slot as usize / 64] >> (slot % 64) & 1 != 0,
            None => self.bitmap.contains(slot),
        }
    }
}

/// The program's data.
pub(super) struct Data {
    pub(super) ids: Vec<u32>,
    pub(super) packed: Vec<u8>,
    pub(super) models: Vec<u8>,
    /// Rows of each packed byte, of each model.
    pub(super) packed_counts: Vec<u32>,
    pub(super) model_counts: Vec<u32>,
    pub(super) tags: Vec<Slots>,
    /// By place in [`LEVELS`].
    pub(super) levels: Vec<Slots>,
    pub(super) by_model: Vec<Slots>,
    pub(super) has_model: Slots,
    pub(super) has_meta: Slots,
    pub(super) poi: Slots,
    pub(super) users: HashMap<u32, Vec<u32>>,
    pub(super) sort_at: Sorted,
    pub(super) reactions: Sorted,
    pub(super) comments: Sorted,
}

/// Rows by id, and pairs of tag and slot, sorted.
fn rows_and_pairs(workload: &Workload) -> (Vec<Row>, Vec<(u16, u32)>) {
    let mut rows = Vec::with_capacity(workload.row_count() as usize);
    let mut pairs: Vec<(u16, u32)> = Vec::new();
    let blocks: Vec<u32> = (0..workload.block_count()).collect();
    for wave in blocks.chunks(16) {
        let made: Vec<_> = wave.par_iter().map(|block| workload.block(*block)).collect();
        for block in made {
            let first = rows.len();
            let mut with_tags: Vec<_> = block.iter().collect();
            with_tags.sort_by_key(|(row, _)| row.id);
            for (slot, (row, tags)) in (first as u32..).zip(with_tags) {
                rows.push(*row);
                pairs.extend(tags.iter().map(|tag| (*tag, slot)));
            }
        }
    }
    pairs.par_sort_unstable();
    (rows, pairs)
}

impl Data {
    pub(super) fn new(workload: &Workload) -> Self {
        let (rows, pairs) = rows_and_pairs(workload);
        let mut tags: Vec<Slots> = Vec::new();
        tags.resize_with(TAG_COUNT as usize + 1, Slots::default);
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            let slots = group.iter().map(|(_, slot)| *slot);
            tags[usize::from(group[0].0)] = Slots::new(slots, rows.len(), false);
        }
        drop(pairs);
        let mut users: HashMap<u32, Vec<u32>> = HashMap::new();
        for (slot, row) in (0..).zip(&rows) {
            users.entry(row.user).or_default().push(slot);
        }
        let slots = |always: bool, holds: &dyn Fn(&Row) -> bool| {
            let held = (0..).zip(&rows).filter(|(_, row)| holds(row));
            Slots::new(held.map(|(slot, _)| slot), rows.len(), always)
        };
        let packed: Vec<u8> = rows.iter().map(packed).collect();
        let models: Vec<u8> = rows.iter().map(|row| row.base_model).collect();
        let counts = |column: &[u8]| {
            let mut counts = vec![0; 256];
            column.iter().for_each(|value| counts[usize::from(*value)] += 1);
            counts
        };
        let sorted = |value: fn(&Row) -> u32| Sorted::new(rows.iter().map(value).collect(), &packed, &models);
        Self {
            levels: LEVELS.iter().map(|level| slots(true, &|row| row.level == *level)).collect(),
            by_model: (0..BASE_MODELS.len() as u8)
                .map(|model| slots(true, &|row| row.base_model == model))
                .collect(),
            has_model: slots(true, &|row| row.base_model != 255),
            has_meta: slots(true, &|row| row.flags & flag::HAS_META != 0),
            poi: slots(true, &|row| row.flags & flag::POI != 0),
            sort_at: sorted(|row| row.sort_at),
            reactions: sorted(|row| row.reactions),
            comments: sorted(|row| row.comments),
            ids: rows.iter().map(|row| row.id).collect(),
            packed_counts: counts(&packed),
            model_counts: counts(&models),
            packed,
            models,
            tags,
            users,
        }
    }
}
