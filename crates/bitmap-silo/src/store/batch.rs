//! Operations on many fields, collected.

use super::fields::Field;

/// An operation on a bit: key and slot sort together, and behind them the order of the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BitOp {
    /// Field, value.
    target: u64,
    /// Slot, then the position in the batch (31 bits), then whether it sets.
    op: u64,
}

/// A new key of a slot, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyOp {
    field: u32,
    slot: u32,
    order: u32,
    key: Option<u64>,
}

/// An operation on a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PairOp {
    field: u32,
    value: u64,
    slot: u32,
    /// Position in the batch, then whether it adds.
    order: u32,
}

/// The operations of a batch on the column of one chunk: the last one on each slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkOps<'b> {
    pub(crate) field: u32,
    pub(crate) chunk: u16,
    ops: &'b [KeyOp],
}

impl<'b> ChunkOps<'b> {
    /// Ascending slots with their keys.
    pub(crate) fn ops(self) -> impl Iterator<Item = (u32, Option<u64>)> + use<'b> {
        self.ops.iter().map(|op| (op.slot, op.key))
    }
}

/// The operations of a batch on the postings of one field: the last one on each pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairOps<'b> {
    pub(crate) field: u32,
    ops: &'b [PairOp],
}

impl<'b> PairOps<'b> {
    /// Values, slots and whether they are added, ascending.
    pub(crate) fn ops(self) -> impl Iterator<Item = (u64, u32, bool)> + use<'b> {
        self.ops.iter().map(|op| (op.value, op.slot, op.order & 1 == 1))
    }
}

/// The operations of a batch on one bitmap: the last one on each slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitmapOps<'b> {
    pub(crate) field: u32,
    pub(crate) value: u32,
    /// Ascending slots, with what is done to them.
    pub(crate) ops: &'b [(u32, bool)],
}

/// Operations on fields, to be committed together with whatever else is in a [`datasilo::Batch`].
///
/// Of several operations on the same bit, the last counts. A batch that was committed can be
/// cleared and filled again, which saves its allocations.
#[derive(Debug, Default)]
pub struct StoreBatch {
    bits: Vec<BitOp>,
    keys: Vec<KeyOp>,
    pairs: Vec<PairOp>,
    /// Operations of `bits`, grouped: ends of each group in `flat`.
    flat: Vec<(u32, bool)>,
    groups: Vec<(u64, usize)>,
}

impl StoreBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a slot to a value's bitmap.
    pub fn set(&mut self, field: &Field, value: u32, slot: u32) {
        self.bit(field, value, slot, true);
    }

    /// Removes a slot from a value's bitmap.
    pub fn clear_bit(&mut self, field: &Field, value: u32, slot: u32) {
        self.bit(field, value, slot, false);
    }

    fn bit(&mut self, field: &Field, value: u32, slot: u32, set: bool) {
        let target = u64::from(field.id()) << 32 | u64::from(value);
        let order = self.bits.len() as u64;
        self.bits
            .push(BitOp { target, op: u64::from(slot) << 32 | (order & 0x7fff_ffff) << 1 | u64::from(set) });
    }

    /// Gives a slot of a column a key, in place of the one it has.
    pub fn set_key(&mut self, field: &Field, slot: u32, key: u64) {
        self.key(field, slot, Some(key));
    }

    /// Takes the key of a slot away.
    pub fn clear_key(&mut self, field: &Field, slot: u32) {
        self.key(field, slot, None);
    }

    fn key(&mut self, field: &Field, slot: u32, key: Option<u64>) {
        let order = position(self.keys.len());
        self.keys.push(KeyOp { field: field.id(), slot, order, key });
    }

    /// Adds a pair to postings.
    pub fn add(&mut self, field: &Field, value: u64, slot: u32) {
        self.pair(field, value, slot, true);
    }

    /// Removes a pair from postings.
    pub fn remove(&mut self, field: &Field, value: u64, slot: u32) {
        self.pair(field, value, slot, false);
    }

    fn pair(&mut self, field: &Field, value: u64, slot: u32, add: bool) {
        let order = position(self.pairs.len()) << 1 | u32::from(add);
        self.pairs.push(PairOp { field: field.id(), value, slot, order });
    }

    /// Operations in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bits.len() + self.keys.len() + self.pairs.len()
    }

    /// True if the batch holds no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all operations and keeps the memory.
    pub fn clear(&mut self) {
        self.bits.clear();
        self.keys.clear();
        self.pairs.clear();
    }

    /// Sorts the operations by where they go, and keeps the last of those on one thing.
    pub(crate) fn group(&mut self) {
        self.group_bits();
        self.keys.sort_unstable_by_key(|op| (op.field, op.slot, op.order));
        // Of equal neighbours the first is kept, so the later one is copied into it.
        self.keys.dedup_by(|later, kept| {
            let same = (later.field, later.slot) == (kept.field, kept.slot);
            if same {
                *kept = *later;
            }
            same
        });
        self.pairs.sort_unstable();
        self.pairs.dedup_by(|later, kept| {
            let same = (later.field, later.value, later.slot) == (kept.field, kept.value, kept.slot);
            if same {
                *kept = *later;
            }
            same
        });
    }

    /// The operations on columns, by field and chunk.
    pub(crate) fn columns(&self) -> impl Iterator<Item = ChunkOps<'_>> {
        let same = |a: &KeyOp, b: &KeyOp| (a.field, a.slot >> 16) == (b.field, b.slot >> 16);
        self.keys.chunk_by(same).filter_map(|ops| {
            let first = ops.first()?;
            Some(ChunkOps { field: first.field, chunk: crate::frozen::split_slot(first.slot).0, ops })
        })
    }

    /// The operations on postings, by field.
    pub(crate) fn postings(&self) -> impl Iterator<Item = PairOps<'_>> {
        let by_field = self.pairs.chunk_by(|a, b| a.field == b.field);
        by_field.filter_map(|ops| Some(PairOps { field: ops.first()?.field, ops }))
    }

    /// Sorts the operations by bitmap and slot, and keeps the last one on each slot.
    fn group_bits(&mut self) {
        self.bits.sort_unstable();
        self.flat.clear();
        self.groups.clear();
        for same_target in self.bits.chunk_by(|a, b| a.target == b.target) {
            for same_slot in same_target.chunk_by(|a, b| a.op >> 32 == b.op >> 32) {
                if let Some(last) = same_slot.last() {
                    #[expect(clippy::cast_possible_truncation, reason = "the slot is the upper half")]
                    self.flat.push(((last.op >> 32) as u32, last.op & 1 == 1));
                }
            }
            if let Some(first) = same_target.first() {
                self.groups.push((first.target, self.flat.len()));
            }
        }
    }

    /// The operations on bitmaps, by field and value.
    #[expect(clippy::cast_possible_truncation, reason = "a target is two 32-bit halves")]
    pub(crate) fn bitmaps(&self) -> impl Iterator<Item = BitmapOps<'_>> {
        let mut start = 0;
        self.groups.iter().map(move |&(target, end)| {
            let ops = self.flat.get(start..end).unwrap_or(&[]);
            start = end;
            BitmapOps { field: (target >> 32) as u32, value: target as u32, ops }
        })
    }
}

/// A position in the batch; [`Writer::append`](super::Writer::append) refuses more than fit.
fn position(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX) & 0x7fff_ffff
}
