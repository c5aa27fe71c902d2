//! A bitset of one chunk in memory.

#![expect(clippy::indexing_slicing, reason = "a slot divided by 64 is below the 1,024 words of a chunk")]

use super::view::{BitsetRef, ContainerRef, as_bits};
use crate::kernels::{Bits, WordOp, Words, kernels};

/// 65,536 bits: the set of slots of one chunk, as words.
///
/// Eight KiB, so two or three fit the first-level cache beside the containers they are combined
/// with. Operations take containers of any kind; array and run operands are applied value by
/// value and run by run, never converted first where that can be helped.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Scratch {
    words: Words,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls `f` with word index and mask for every word that the range touches.
#[inline]
fn for_range(first: u16, last: u16, mut f: impl FnMut(usize, u64)) {
    let (low, high) = (usize::from(first >> 6), usize::from(last >> 6));
    let low_mask = u64::MAX << (first & 63);
    let high_mask = u64::MAX >> (63 - (last & 63));
    if low == high {
        f(low, low_mask & high_mask);
    } else {
        f(low, low_mask);
        for index in low + 1..high {
            f(index, u64::MAX);
        }
        f(high, high_mask);
    }
}

impl Scratch {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: [0; 1024] }
    }

    /// Removes every slot.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Adds every slot.
    pub fn fill(&mut self) {
        self.words.fill(u64::MAX);
    }

    /// The words; bit `b` of word `w` is slot `64 w + b`.
    #[must_use]
    pub fn words(&self) -> &[u64; 1024] {
        &self.words
    }

    /// The words, to change.
    pub fn words_mut(&mut self) -> &mut [u64; 1024] {
        &mut self.words
    }

    /// The words as the bytes of a bitset container.
    #[must_use]
    pub fn bits(&self) -> &[[u8; 8]; 1024] {
        as_bits(&self.words)
    }

    /// This set as a container with the given cardinality.
    #[must_use]
    pub fn as_bitset(&self, cardinality: u32) -> BitsetRef<'_> {
        BitsetRef::new(self.bits(), cardinality)
    }

    /// Number of slots in the set.
    #[must_use]
    pub fn cardinality(&self) -> u32 {
        (kernels().popcount)(self.bits())
    }

    /// Whether no slot is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// Whether `slot` is in.
    #[must_use]
    pub fn contains(&self, slot: u16) -> bool {
        self.words[usize::from(slot >> 6)] >> (slot & 63) & 1 == 1
    }

    /// Adds `slot`.
    pub fn insert(&mut self, slot: u16) {
        self.words[usize::from(slot >> 6)] |= 1 << (slot & 63);
    }

    /// Removes `slot`.
    pub fn remove(&mut self, slot: u16) {
        self.words[usize::from(slot >> 6)] &= !(1 << (slot & 63));
    }

    /// Adds every slot from `first` to `last`, both inclusive; nothing where `first > last`.
    pub fn insert_range(&mut self, first: u16, last: u16) {
        if first <= last {
            for_range(first, last, |index, mask| self.words[index] |= mask);
        }
    }

    /// Removes every slot from `first` to `last`, both inclusive; nothing where `first > last`.
    pub fn remove_range(&mut self, first: u16, last: u16) {
        if first <= last {
            for_range(first, last, |index, mask| self.words[index] &= !mask);
        }
    }

    /// Adds the missing and removes the present slots from `first` to `last`, both inclusive.
    pub fn flip_range(&mut self, first: u16, last: u16) {
        if first <= last {
            for_range(first, last, |index, mask| self.words[index] ^= mask);
        }
    }

    /// Makes this set equal to the container.
    pub fn load(&mut self, container: ContainerRef<'_>) {
        if let ContainerRef::Bitset(b) = container {
            self.load_bits(b.bits());
        } else {
            self.clear();
            self.or(container);
        }
    }

    fn load_bits(&mut self, bits: &Bits) {
        // On the little-endian targets that this crate supports, words are their bytes.
        zerocopy::IntoBytes::as_mut_bytes(&mut self.words).copy_from_slice(bits.as_flattened());
    }

    /// Adds or removes slots; answers how many of them were not as wanted before.
    pub(crate) fn put(&mut self, slots: &[u16], wanted: bool) -> u32 {
        let mut changed = 0;
        for slot in slots {
            let word = &mut self.words[usize::from(slot >> 6)];
            let bit = slot & 63;
            let before = *word >> bit & 1;
            *word = (*word & !(1 << bit)) | (u64::from(wanted) << bit);
            changed += u32::from(before != u64::from(wanted));
        }
        changed
    }

    /// Adds the slots of the container.
    pub fn or(&mut self, container: ContainerRef<'_>) {
        match container {
            ContainerRef::Array(a) => (kernels().set_list)(&mut self.words, a.values()),
            ContainerRef::Bitset(b) => (kernels().assign)(WordOp::Or, &mut self.words, b.bits()),
            ContainerRef::Runs(r) => r.iter().for_each(|(x, y)| self.insert_range(x, y)),
        }
    }

    /// Keeps only slots that are in the container.
    pub fn and(&mut self, container: ContainerRef<'_>) {
        match container {
            ContainerRef::Array(a) => {
                let mut kept = Scratch::new();
                for slot in a.iter().filter(|slot| self.contains(*slot)) {
                    kept.insert(slot);
                }
                self.words = kept.words;
            }
            ContainerRef::Bitset(b) => (kernels().assign)(WordOp::And, &mut self.words, b.bits()),
            ContainerRef::Runs(r) => {
                let mut from = 0_u32;
                for (first, last) in r.iter() {
                    if let Ok(start) = u16::try_from(from)
                        && start < first
                    {
                        self.remove_range(start, first - 1);
                    }
                    from = from.max(u32::from(last) + 1);
                }
                if let Ok(start) = u16::try_from(from) {
                    self.remove_range(start, u16::MAX);
                }
            }
        }
    }

    /// Removes the slots of the container.
    pub fn and_not(&mut self, container: ContainerRef<'_>) {
        match container {
            ContainerRef::Array(a) => a.iter().for_each(|slot| self.remove(slot)),
            ContainerRef::Bitset(b) => {
                (kernels().assign)(WordOp::AndNot, &mut self.words, b.bits());
            }
            ContainerRef::Runs(r) => r.iter().for_each(|(x, y)| self.remove_range(x, y)),
        }
    }

    /// Keeps slots that are in exactly one of this set and the container.
    pub fn xor(&mut self, container: ContainerRef<'_>) {
        match container {
            ContainerRef::Array(a) => {
                for slot in a.iter() {
                    self.words[usize::from(slot >> 6)] ^= 1 << (slot & 63);
                }
            }
            ContainerRef::Bitset(b) => (kernels().assign)(WordOp::Xor, &mut self.words, b.bits()),
            ContainerRef::Runs(r) => r.iter().for_each(|(x, y)| self.flip_range(x, y)),
        }
    }

    /// Number of slots both in this set and in the container, without a store.
    #[must_use]
    pub fn count_and(&self, container: ContainerRef<'_>) -> u32 {
        super::pair::intersection_len(self.as_bitset(0).into(), container)
    }

    /// Number of slots from `first` to `last`, both inclusive, that are in.
    #[must_use]
    pub fn count_range(&self, first: u16, last: u16) -> u32 {
        count_range(self.bits(), first, last)
    }

    /// Calls `f` with every slot in ascending order.
    pub fn for_each(&self, f: impl FnMut(u16)) {
        ContainerRef::Bitset(self.as_bitset(0)).for_each(f);
    }
}

/// Number of ones from bit `first` to bit `last`, both inclusive.
pub(crate) fn count_range(bits: &Bits, first: u16, last: u16) -> u32 {
    let mut total = 0;
    if first <= last {
        for_range(first, last, |index, mask| {
            total += (u64::from_le_bytes(bits[index]) & mask).count_ones();
        });
    }
    total
}
