//! Pending changes of one chunk's column.
//!
//! A delta is what a sequence of changes comes to: for each slot the last one counts. It is kept
//! in tiers of shared lists, each at least four times as long as the next newer one, so that a
//! small change on top of many copies little, and a slot is looked up in a handful of lists.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::error::ColumnError;
use super::presence::low16;
use crate::container::CHUNK_SLOTS;

/// First byte of an operand.
const TAG_OPERAND: u8 = 0xc2;
/// Bytes before the slots.
const HEADER_BYTES: usize = 3;
/// How many times longer a tier is than the next newer one.
const TIER_RATIO: usize = 4;

/// A slot and its new key, or none.
pub(super) type Op = (u16, Option<u64>);

/// Words of a bit for each 64 slots of a chunk.
const BLOCK_WORDS: usize = 16;

/// Word and bit of a slot's block.
#[inline]
fn block_of(low: u16) -> (usize, u64) {
    (usize::from(low >> 12), 1 << (low >> 6 & 63))
}

/// Changes with distinct slots, ascending.
#[derive(Debug, Default)]
pub(super) struct Tier {
    ops: Vec<Op>,
    /// A bit for each 64 slots: whether any of them changes. Most look-ups end here.
    blocks: [u64; BLOCK_WORDS],
    /// Indices of the changes that set a key, by (key, slot); sorted when first walked.
    order: OnceLock<Vec<u16>>,
}

impl Tier {
    fn new(ops: Vec<Op>) -> Arc<Self> {
        debug_assert!(ops.is_sorted_by(|a, b| a.0 < b.0), "slots ascend");
        let mut blocks = [0; BLOCK_WORDS];
        for (low, _) in &ops {
            let (word, bit) = block_of(*low);
            if let Some(to) = blocks.get_mut(word) {
                *to |= bit;
            }
        }
        Arc::new(Self { ops, blocks, order: OnceLock::new() })
    }

    #[inline]
    fn get(&self, low: u16) -> Option<Op> {
        let (word, bit) = block_of(low);
        self.blocks.get(word).filter(|blocks| **blocks & bit != 0)?;
        let at = self.ops.binary_search_by_key(&low, |(slot, _)| *slot).ok()?;
        self.ops.get(at).copied()
    }

    /// Number of changes that set a key.
    pub(super) fn set_count(&self) -> u32 {
        u32::try_from(self.order().len()).unwrap_or(u32::MAX)
    }

    /// Key and slot at a position among the changes that set a key, by (key, slot).
    pub(super) fn entry(&self, position: u32) -> Option<(u64, u16)> {
        let (low, key) = *self.ops.get(usize::from(*self.order().get(position as usize)?))?;
        Some((key?, low))
    }

    /// Number of entries below (`key`, `low`), or also at it.
    pub(super) fn bound_of(&self, key: u64, low: u16, or_at: bool) -> u32 {
        let below = |index: &u16| match self.ops.get(usize::from(*index)) {
            Some((l, Some(k))) => (*k, *l) < (key, low) || (or_at && (*k, *l) == (key, low)),
            _ => false,
        };
        u32::try_from(self.order().partition_point(below)).unwrap_or(u32::MAX)
    }

    fn order(&self) -> &[u16] {
        self.order.get_or_init(|| {
            let mut order: Vec<(u64, u16)> = (0..CHUNK_SLOTS)
                .zip(&self.ops)
                .filter_map(|(at, (_, key))| Some(((*key)?, low16(at))))
                .collect();
            order.sort_unstable();
            order.into_iter().map(|(_, at)| at).collect()
        })
    }
}

/// Changes of the keys of one chunk, the last on each slot counting. Cloning shares.
#[derive(Clone, Debug, Default)]
pub struct ColumnDelta {
    /// Oldest first.
    tiers: SmallVec<[Arc<Tier>; 4]>,
}

impl PartialEq for ColumnDelta {
    /// Whether both change the same slots in the same way.
    fn eq(&self, other: &Self) -> bool {
        self.resolved() == other.resolved()
    }
}

impl ColumnDelta {
    /// The delta of a sequence of changes, each a slot with its new key or none; the last on a
    /// slot counts. O(n log n).
    pub fn from_ops(ops: impl IntoIterator<Item = (u16, Option<u64>)>) -> Self {
        let mut ops: Vec<Op> = ops.into_iter().collect();
        // A stable sort keeps the order of the changes of one slot; of equal ones the last stays.
        ops.sort_by_key(|(low, _)| *low);
        let mut kept: Vec<Op> = Vec::with_capacity(ops.len());
        for op in ops {
            match kept.last_mut() {
                Some(last) if last.0 == op.0 => *last = op,
                _ => kept.push(op),
            }
        }
        Self::from_sorted(kept)
    }

    fn from_sorted(ops: Vec<Op>) -> Self {
        let mut delta = Self::default();
        if !ops.is_empty() {
            delta.tiers.push(Tier::new(ops));
        }
        delta
    }

    /// The delta of these changes followed by newer ones. Costs about what the newer ones touch:
    /// long lists of older ones are shared.
    #[must_use]
    pub fn then(&self, newer: &ColumnDelta) -> ColumnDelta {
        let mut tiers = self.tiers.clone();
        for tier in &newer.tiers {
            let mut newest = Arc::clone(tier);
            while let Some(before) =
                tiers.last().filter(|before| before.ops.len() < TIER_RATIO * newest.ops.len())
            {
                newest = Tier::new(merged(&before.ops, &newest.ops));
                tiers.pop();
            }
            tiers.push(newest);
        }
        Self { tiers }
    }

    /// As [`ColumnDelta::then`], sharing all lists of both: O(lists), and look-ups have more lists to ask.
    pub(crate) fn stacked(&self, newer: &ColumnDelta) -> ColumnDelta {
        Self { tiers: self.tiers.iter().chain(&newer.tiers).cloned().collect() }
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// An upper bound of the number of slots changed; O(1).
    #[must_use]
    pub fn op_bound(&self) -> usize {
        self.tiers.iter().map(|tier| tier.ops.len()).sum()
    }

    /// What the changes make of a slot: its new key or none; nothing where they leave it.
    #[must_use]
    #[inline]
    pub fn get(&self, low: u16) -> Option<Option<u64>> {
        self.tiers.iter().rev().find_map(|tier| tier.get(low)).map(|(_, key)| key)
    }

    /// The changes in slot order, each slot once.
    pub fn ops(&self) -> impl Iterator<Item = (u16, Option<u64>)> {
        self.resolved().into_owned().into_iter()
    }

    /// The changes in slot order, each slot once.
    pub(super) fn resolved(&self) -> Cow<'_, [Op]> {
        match &self.tiers[..] {
            [] => Cow::Borrowed(&[]),
            [one] => Cow::Borrowed(&one.ops),
            [older @ .., newest] => {
                // From the newest on: the short lists are merged first.
                older
                    .iter()
                    .rev()
                    .fold(Cow::Borrowed(&newest.ops[..]), |newer, tier| Cow::Owned(merged(&tier.ops, &newer)))
            }
        }
    }

    /// Every change of every tier, older ones before newer ones.
    pub(super) fn for_each_in_order(&self, mut f: impl FnMut(u16, Option<u64>)) {
        self.tiers.iter().flat_map(|tier| &tier.ops).for_each(|(low, key)| f(*low, *key));
    }

    pub(super) fn tiers(&self) -> &[Arc<Tier>] {
        &self.tiers
    }

    /// Whether a tier newer than the one at `index` changes the slot.
    pub(super) fn changed_after(&self, index: usize, low: u16) -> bool {
        self.tiers.get(index + 1..).is_some_and(|newer| newer.iter().any(|tier| tier.get(low).is_some()))
    }

    /// Whether any tier changes the slot.
    pub(super) fn changes(&self, low: u16) -> bool {
        self.tiers.iter().any(|tier| tier.get(low).is_some())
    }

    /// The operand with this effect; no bytes for no change.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let ops = self.resolved();
        let Some(rank) = ops.len().checked_sub(1) else {
            return Vec::new();
        };
        let [rank_low, rank_high] = low16(u32::try_from(rank).unwrap_or(u32::MAX)).to_le_bytes();
        let mut out = Vec::with_capacity(HEADER_BYTES + 11 * ops.len());
        out.extend_from_slice(&[TAG_OPERAND, rank_low, rank_high]);
        for (low, _) in &*ops {
            out.extend_from_slice(&low.to_le_bytes());
        }
        for eight in ops.chunks(8) {
            let flag = |(at, op): (usize, &Op)| u8::from(op.1.is_some()) << at;
            out.push(eight.iter().enumerate().map(flag).sum());
        }
        for key in ops.iter().filter_map(|(_, key)| *key) {
            out.extend_from_slice(&key.to_le_bytes());
        }
        out
    }

    /// Reads an operand; every rule is checked.
    ///
    /// # Errors
    /// [`ColumnError`] where the bytes are no operand.
    pub fn decode(bytes: &[u8]) -> Result<Self, ColumnError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let length = |expected| ColumnError::length("a column operand", expected, bytes.len());
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| length(HEADER_BYTES))?;
        let [tag, rank_low, rank_high] = *header;
        if tag != TAG_OPERAND {
            return Err(ColumnError::malformed("no tag of a column operand", 0));
        }
        let count = usize::from(u16::from_le_bytes([rank_low, rank_high])) + 1;
        let flag_bytes = count.div_ceil(8);
        let fixed = HEADER_BYTES + 2 * count + flag_bytes;
        let (slots, rest) = rest.split_at_checked(2 * count).ok_or_else(|| length(fixed))?;
        let (flags, keys) = rest.split_at_checked(flag_bytes).ok_or_else(|| length(fixed))?;
        let set_count: u32 = flags.iter().map(|flags| flags.count_ones()).sum();
        if keys.len() != 8 * set_count as usize {
            return Err(length(fixed + 8 * set_count as usize));
        }
        if !count.is_multiple_of(8) && flags.last().is_some_and(|last| last >> (count % 8) != 0) {
            return Err(ColumnError::malformed("unused flags are not zero", fixed - 1));
        }
        let mut keys = keys.as_chunks().0.iter().map(|key| u64::from_le_bytes(*key));
        let slots = slots.as_chunks().0.iter().map(|low| u16::from_le_bytes(*low));
        let flag = |at: usize| flags.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        let ops: Vec<Op> =
            slots.enumerate().map(|(at, low)| (low, if flag(at) { keys.next() } else { None })).collect();
        if !ops.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(ColumnError::malformed("slots do not ascend", HEADER_BYTES));
        }
        Ok(Self::from_sorted(ops))
    }
}

/// Both lists as one by slot; where both have a slot, the newer one's change.
fn merged(older: &[Op], newer: &[Op]) -> Vec<Op> {
    let mut all = Vec::with_capacity(older.len() + newer.len());
    let mut older = older.iter().peekable();
    for op in newer {
        while let Some(before) = older.next_if(|before| before.0 < op.0) {
            all.push(*before);
        }
        older.next_if(|before| before.0 == op.0);
        all.push(*op);
    }
    all.extend(older);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeMap;

    #[test]
    fn chained_deltas_equal_a_map_of_last_changes() {
        let mut rng = SmallRng::seed_from_u64(1);
        for slots in [3_u16, 300, 65_535] {
            let (mut delta, mut model) = (ColumnDelta::default(), BTreeMap::new());
            for _ in 0..200 {
                let ops: Vec<Op> = (0..rng.random_range(0..20))
                    .map(|_| {
                        (rng.random_range(0..=slots), rng.random_bool(0.7).then(|| rng.random_range(0..50)))
                    })
                    .collect();
                model.extend(ops.iter().copied());
                let newer = ColumnDelta::from_ops(ops);
                delta = delta.then(&ColumnDelta::decode(&newer.encode()).unwrap());
                assert!(delta.tiers.len() <= 8);
            }
            assert!(delta.ops().eq(model.iter().map(|(low, key)| (*low, *key))));
            for low in 0..=slots {
                assert_eq!(delta.get(low), model.get(&low).copied());
            }
            assert_eq!(ColumnDelta::decode(&delta.encode()).unwrap(), delta);
        }
    }

    #[test]
    fn a_small_change_shares_the_long_list() {
        let long = ColumnDelta::from_ops((0..10_000).map(|low| (low, Some(1))));
        let both = long.then(&ColumnDelta::from_ops([(5, None)]));
        assert!(Arc::ptr_eq(&long.tiers[0], &both.tiers[0]));
        assert_eq!((both.get(5), both.get(6)), (Some(None), Some(Some(1))));
    }

    #[test]
    fn every_flip_and_cut_of_an_operand_is_an_error_or_an_operand() {
        let ops = [(0, Some(7)), (3, None), (9, Some(u64::MAX)), (700, None), (65_535, Some(0))];
        let bytes = ColumnDelta::from_ops(ops).encode();
        assert_eq!(bytes.len(), 3 + 10 + 1 + 24);
        for len in 1..bytes.len() {
            assert!(ColumnDelta::decode(&bytes[..len]).is_err());
        }
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            if let Ok(delta) = ColumnDelta::decode(&flipped) {
                assert_eq!(delta.encode(), flipped);
            }
        }
    }
}
