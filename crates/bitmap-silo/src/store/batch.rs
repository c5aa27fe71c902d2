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

    /// Operations in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// True if the batch holds no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all operations and keeps the memory.
    pub fn clear(&mut self) {
        self.bits.clear();
    }

    /// Sorts the operations by bitmap and slot, and keeps the last one on each slot.
    pub(crate) fn group_bits(&mut self) {
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

    /// What [`group_bits`](Self::group_bits) found, by field and value.
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
