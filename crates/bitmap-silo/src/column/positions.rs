//! Stretches of a page's order, taken at once.

use std::ops::Range;

use super::page::ColumnPage;
use super::walk::Direction;
use crate::container::scratch::count_range;
use crate::container::{ContainerRef, Scratch};
use crate::kernels::{Bits, LIST_SLACK, kernels};

impl ColumnPage<'_> {
    /// Positions of the entries whose keys come before `key` in a direction. O(log n).
    pub(crate) fn before(&self, direction: Direction, key: u64) -> Range<u32> {
        match direction {
            Direction::Ascending => 0..self.lower_bound(key),
            Direction::Descending => self.upper_bound(key)..self.len(),
        }
    }

    /// As [`before`](Self::before), where it is known between which numbers that of the entries with keys from
    /// `first` on lies: they begin at the position `first`, or before it in descending order.
    pub(crate) fn before_within(
        &self,
        direction: Direction,
        key: u64,
        first: u32,
        count: Range<u32>,
    ) -> Range<u32> {
        let comes_before = |count: u32| {
            let position = match direction {
                Direction::Ascending => first.checked_add(count),
                Direction::Descending => first.checked_sub(count + 1),
            };
            position
                .and_then(|position| self.entry(position))
                .is_some_and(|(k, _)| direction.precedes(&k, &key))
        };
        let (mut low, mut high) = (count.start, count.end.max(count.start));
        while low < high {
            let middle = low + (high - low) / 2;
            if comes_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match direction {
            Direction::Ascending => 0..first.saturating_add(low).min(self.len()),
            Direction::Descending => first.saturating_sub(low)..self.len(),
        }
    }

    /// Number of slots at some positions that are in `bits`, or of all where there are none.
    pub(crate) fn count_at(&self, positions: Range<u32>, bits: Option<&Bits>) -> u32 {
        let Some(bits) = bits else { return positions.len().try_into().unwrap_or(0) };
        if positions.is_empty() {
            return 0;
        }
        if let Some(order) = self.order() {
            let stretch = order.get(positions.start as usize..positions.end as usize).unwrap_or(&[]);
            return super::presence::index((kernels().probe_count)(stretch, bits));
        }
        // Positions are ranks: what lies between the first and the last slot, and is present.
        let (Some(first), Some(last)) = (self.slot_at(positions.start), self.slot_at(positions.end - 1))
        else {
            return 0;
        };
        if self.is_prefix() {
            return count_range(bits, first, last);
        }
        let mut both = Scratch::new();
        self.present_into(&mut both);
        both.and(ContainerRef::Bitset(crate::container::BitsetRef::new(bits, 0)));
        both.count_range(first, last)
    }

    /// Calls `f` with the slots at some positions that are in `bits`, or with all where there are none, in
    /// order. `passed` is room.
    pub(crate) fn for_each_at(
        &self,
        positions: Range<u32>,
        bits: Option<&Bits>,
        passed: &mut Vec<u16>,
        mut f: impl FnMut(u16),
    ) {
        let (Some(order), Some(bits)) = (self.order(), bits) else {
            let is_in = |low: &u16| {
                let word = bits.and_then(|bits| bits.get(usize::from(low >> 6)));
                word.is_none_or(|word| u64::from_le_bytes(*word) >> (low & 63) & 1 == 1)
            };
            let slot = |position| match self.order() {
                Some(order) => order.get(position as usize).map(|low| u16::from_le_bytes(*low)),
                None => self.slot_at(position),
            };
            return positions.filter_map(slot).filter(is_in).for_each(f);
        };
        let stretch = order.get(positions.start as usize..positions.end as usize).unwrap_or(&[]);
        if passed.len() < stretch.len() + LIST_SLACK {
            passed.resize(stretch.len() + LIST_SLACK, 0);
        }
        let len = (kernels().probe)(stretch, bits, true, passed);
        passed.iter().take(len).for_each(|low| f(*low));
    }
}
