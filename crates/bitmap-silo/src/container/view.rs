//! Borrowed views of container bodies.
//!
//! A view is made of little-endian byte groups, so it reads correctly at any alignment and
//! needs no conversion. Views do not require their bytes to be valid: whatever the bytes are,
//! every method terminates, stays inside them and answers slots of the chunk; only for valid
//! containers (ascending values, ascending and disjoint runs, true cardinality) do the answers
//! agree with each other.

use crate::kernels::{Bits, Le16, kernels, prefetch};

/// The three encodings of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainerKind {
    /// Up to 4,096 ascending 16-bit values.
    Array,
    /// 65,536 bits.
    Bitset,
    /// Ascending runs of (first value, length − 1).
    Runs,
}

/// An array container: ascending 16-bit values.
#[derive(Clone, Copy, Debug)]
pub struct ArrayRef<'a> {
    values: &'a [Le16],
}

impl<'a> ArrayRef<'a> {
    /// A view of little-endian values.
    #[must_use]
    pub fn new(values: &'a [[u8; 2]]) -> Self {
        Self { values }
    }

    /// A view of values in memory.
    #[must_use]
    pub fn from_values(values: &'a [u16]) -> Self {
        Self { values: as_le16(values) }
    }

    /// The values, little-endian, ascending.
    #[must_use]
    pub fn values(self) -> &'a [[u8; 2]] {
        self.values
    }

    /// The values in ascending order.
    #[must_use]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator + 'a {
        self.values.iter().map(|v| u16::from_le_bytes(*v))
    }

    /// Number of values below `slot`; O(log n).
    #[inline]
    fn lower_bound(self, slot: u16) -> usize {
        self.values.partition_point(|v| u16::from_le_bytes(*v) < slot)
    }

    #[inline]
    fn contains(self, slot: u16) -> bool {
        self.get(self.lower_bound(slot)) == Some(slot)
    }

    #[inline]
    fn get(self, index: usize) -> Option<u16> {
        self.values.get(index).map(|v| u16::from_le_bytes(*v))
    }
}

/// A bitset container: 65,536 bits and how many of them are set.
#[derive(Clone, Copy, Debug)]
pub struct BitsetRef<'a> {
    bits: &'a Bits,
    cardinality: u32,
}

impl<'a> BitsetRef<'a> {
    /// A view of little-endian words with a cardinality known from elsewhere.
    #[must_use]
    pub fn new(bits: &'a [[u8; 8]; 1024], cardinality: u32) -> Self {
        Self { bits, cardinality }
    }

    /// The words, little-endian.
    #[must_use]
    pub fn bits(self) -> &'a [[u8; 8]; 1024] {
        self.bits
    }

    /// Word `index`, or zero past the end.
    #[must_use]
    #[inline]
    pub fn word(self, index: usize) -> u64 {
        self.bits.get(index).map_or(0, |w| u64::from_le_bytes(*w))
    }

    #[inline]
    pub(crate) fn contains(self, slot: u16) -> bool {
        self.word(usize::from(slot >> 6)) >> (slot & 63) & 1 == 1
    }

    fn rank(self, slot: u16) -> u32 {
        let index = usize::from(slot >> 6);
        let below: u32 = self.bits.iter().take(index).map(|w| u64::from_le_bytes(*w).count_ones()).sum();
        below + (self.word(index) << (63 - (slot & 63))).count_ones()
    }

    fn select(self, mut rank: u32) -> Option<u16> {
        for (index, bytes) in (0_u16..).zip(self.bits) {
            let mut word = u64::from_le_bytes(*bytes);
            let count = word.count_ones();
            if rank < count {
                for _ in 0..rank {
                    word &= word - 1;
                }
                return Some(index * 64 + bit_index(word.trailing_zeros()));
            }
            rank -= count;
        }
        None
    }

    fn min(self) -> Option<u16> {
        let index = self.bits.iter().position(|w| *w != [0; 8])?;
        Some(slot_index(index * 64) + bit_index(self.word(index).trailing_zeros()))
    }

    fn max(self) -> Option<u16> {
        let index = self.bits.iter().rposition(|w| *w != [0; 8])?;
        Some(slot_index(index * 64) + 63 - bit_index(self.word(index).leading_zeros()))
    }
}

/// A run container: ascending, disjoint, non-adjacent runs.
#[derive(Clone, Copy, Debug)]
pub struct RunsRef<'a> {
    runs: &'a [[u8; 4]],
    cardinality: u32,
}

impl<'a> RunsRef<'a> {
    /// A view of little-endian (first, length − 1) pairs with a cardinality known from elsewhere.
    #[must_use]
    pub fn new(runs: &'a [[u8; 4]], cardinality: u32) -> Self {
        Self { runs, cardinality }
    }

    /// A view of pairs whose cardinality is not known: it is summed up. O(runs).
    #[must_use]
    pub fn counted(runs: &'a [[u8; 4]]) -> Self {
        let sum: u64 = runs
            .iter()
            .map(|run| {
                let (first, last) = run_bounds(*run);
                u64::from(last - first) + 1
            })
            .sum();
        let cardinality = u32::try_from(sum).unwrap_or(u32::MAX).min(super::CHUNK_SLOTS);
        Self { runs, cardinality }
    }

    /// Number of runs.
    #[must_use]
    pub fn run_count(self) -> usize {
        self.runs.len()
    }

    /// The pairs as stored.
    #[must_use]
    pub fn pairs(self) -> &'a [[u8; 4]] {
        self.runs
    }

    /// The runs as (first, last), both inclusive, ascending. A run that would leave the chunk
    /// ends with it.
    #[must_use]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = (u16, u16)> + ExactSizeIterator + 'a {
        self.runs.iter().map(|run| run_bounds(*run))
    }

    /// Index of the first run that starts above `slot`; O(log n).
    #[inline]
    fn upper_bound(self, slot: u16) -> usize {
        self.runs.partition_point(|run| run_bounds(*run).0 <= slot)
    }

    #[inline]
    fn contains(self, slot: u16) -> bool {
        let before = self.upper_bound(slot).wrapping_sub(1);
        self.runs.get(before).is_some_and(|run| run_bounds(*run).1 >= slot)
    }

    fn rank(self, slot: u16) -> u32 {
        let sum = self
            .iter()
            .take_while(|(first, _)| *first <= slot)
            .map(|(first, last)| u64::from(last.min(slot) - first) + 1)
            .sum::<u64>();
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    fn select(self, mut rank: u32) -> Option<u16> {
        for (first, last) in self.iter() {
            let len = u32::from(last - first) + 1;
            if rank < len {
                return Some(first + slot_index(rank as usize));
            }
            rank -= len;
        }
        None
    }
}

/// First and last value of a stored run, the last clamped to the chunk.
#[inline]
pub(crate) fn run_bounds(run: [u8; 4]) -> (u16, u16) {
    let [a, b, c, d] = run;
    let first = u16::from_le_bytes([a, b]);
    (first, first.saturating_add(u16::from_le_bytes([c, d])))
}

/// The stored form of the run from `first` to `last`, both inclusive.
#[inline]
pub(crate) fn run_pair(first: u16, last: u16) -> [u8; 4] {
    let [a, b] = first.to_le_bytes();
    let [c, d] = (last - first).to_le_bytes();
    [a, b, c, d]
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass an index below 65,536")]
fn slot_index(index: usize) -> u16 {
    index as u16
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass an index below 65")]
fn bit_index(index: u32) -> u16 {
    index as u16
}

/// Values in memory as the little-endian pairs they are on this target.
pub(crate) fn as_le16(values: &[u16]) -> &[Le16] {
    zerocopy::IntoBytes::as_bytes(values).as_chunks().0
}

/// Words in memory as the little-endian bytes they are on this target.
pub(crate) fn as_bits(words: &[u64; 1024]) -> &Bits {
    zerocopy::transmute_ref!(words)
}

/// A container of any kind, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum ContainerRef<'a> {
    /// Ascending values.
    Array(ArrayRef<'a>),
    /// A bitset.
    Bitset(BitsetRef<'a>),
    /// Ascending runs.
    Runs(RunsRef<'a>),
}

impl ContainerRef<'_> {
    /// The container without values.
    pub const EMPTY: ContainerRef<'static> = ContainerRef::Array(ArrayRef { values: &[] });

    /// The container with every value.
    pub const FULL: ContainerRef<'static> =
        ContainerRef::Runs(RunsRef { runs: &[[0, 0, 0xff, 0xff]], cardinality: super::CHUNK_SLOTS });

    /// The encoding.
    #[must_use]
    pub fn kind(self) -> ContainerKind {
        match self {
            Self::Array(_) => ContainerKind::Array,
            Self::Bitset(_) => ContainerKind::Bitset,
            Self::Runs(_) => ContainerKind::Runs,
        }
    }

    /// Number of values as recorded; O(1).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "an array has at most 65,536 values")]
    pub fn cardinality(self) -> u32 {
        match self {
            Self::Array(a) => a.values.len() as u32,
            Self::Bitset(b) => b.cardinality,
            Self::Runs(r) => r.cardinality,
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.cardinality() == 0
    }

    /// Whether `slot` is in; O(1) for bitsets, O(log n) otherwise.
    #[must_use]
    #[inline]
    pub fn contains(self, slot: u16) -> bool {
        match self {
            Self::Array(a) => a.contains(slot),
            Self::Bitset(b) => b.contains(slot),
            Self::Runs(r) => r.contains(slot),
        }
    }

    /// Which of up to 32 values are in, a bit for each.
    #[inline]
    pub(crate) fn find_each(self, values: &[Le16]) -> u32 {
        debug_assert!(values.len() <= 32, "there is a bit for each");
        let mask = |is_in: &dyn Fn(u16) -> bool| -> u32 {
            let bit = |(at, value): (usize, &Le16)| u32::from(is_in(u16::from_le_bytes(*value))) << at;
            values.iter().enumerate().map(bit).sum()
        };
        match self {
            Self::Array(a) => mask(&|slot| a.contains(slot)),
            Self::Bitset(b) => mask(&|slot| b.contains(slot)),
            Self::Runs(r) => mask(&|slot| r.contains(slot)),
        }
    }

    /// Starts loading what tells whether `slot` is in, where that is one word.
    #[inline]
    pub(crate) fn prefetch(self, slot: u16) {
        if let Self::Bitset(b) = self {
            prefetch(b.bits, usize::from(slot >> 6));
        }
    }

    /// Number of values at most `slot`; O(log n) for arrays, O(n) in words or runs otherwise.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "an array has at most 65,536 values")]
    pub fn rank(self, slot: u16) -> u32 {
        match self {
            Self::Array(a) => {
                let below = a.lower_bound(slot);
                below as u32 + u32::from(a.get(below) == Some(slot))
            }
            Self::Bitset(b) => b.rank(slot),
            Self::Runs(r) => r.rank(slot),
        }
    }

    /// The value with `rank` values below it; O(1) for arrays, O(n) in words or runs otherwise.
    #[must_use]
    pub fn select(self, rank: u32) -> Option<u16> {
        match self {
            Self::Array(a) => a.get(rank as usize),
            Self::Bitset(b) => b.select(rank),
            Self::Runs(r) => r.select(rank),
        }
    }

    /// The smallest value.
    #[must_use]
    pub fn min(self) -> Option<u16> {
        match self {
            Self::Array(a) => a.get(0),
            Self::Bitset(b) => b.min(),
            Self::Runs(r) => r.iter().next().map(|(first, _)| first),
        }
    }

    /// The largest value.
    #[must_use]
    pub fn max(self) -> Option<u16> {
        match self {
            Self::Array(a) => a.get(a.values.len().wrapping_sub(1)),
            Self::Bitset(b) => b.max(),
            Self::Runs(r) => r.iter().next_back().map(|(_, last)| last),
        }
    }

    /// Number of values counted from the body, whatever was recorded; O(n).
    #[must_use]
    pub fn counted(self) -> u32 {
        match self {
            Self::Array(_) => self.cardinality(),
            Self::Bitset(b) => (kernels().popcount)(b.bits),
            Self::Runs(r) => RunsRef::counted(r.runs).cardinality,
        }
    }

    /// Number of maximal runs of consecutive values; O(n).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a chunk has at most 65,536 runs")]
    pub fn run_count(self) -> u32 {
        match self {
            Self::Array(a) => {
                let joins = a
                    .values
                    .windows(2)
                    .filter(|pair| match pair {
                        [x, y] => u16::from_le_bytes(*x).wrapping_add(1) == u16::from_le_bytes(*y),
                        _ => false,
                    })
                    .count();
                (a.values.len() - joins) as u32
            }
            Self::Bitset(b) => (kernels().run_count)(b.bits),
            Self::Runs(r) => r.runs.len() as u32,
        }
    }

    /// Calls `f` with every value in ascending order.
    pub fn for_each(self, mut f: impl FnMut(u16)) {
        match self {
            Self::Array(a) => a.iter().for_each(f),
            Self::Bitset(b) => {
                for (index, bytes) in (0_u16..).zip(b.bits) {
                    let mut word = u64::from_le_bytes(*bytes);
                    while word != 0 {
                        f(index * 64 + bit_index(word.trailing_zeros()));
                        word &= word - 1;
                    }
                }
            }
            Self::Runs(r) => {
                for (first, last) in r.iter() {
                    (first..=last).for_each(&mut f);
                }
            }
        }
    }
}

impl<'a> From<ArrayRef<'a>> for ContainerRef<'a> {
    fn from(array: ArrayRef<'a>) -> Self {
        Self::Array(array)
    }
}

impl<'a> From<BitsetRef<'a>> for ContainerRef<'a> {
    fn from(bitset: BitsetRef<'a>) -> Self {
        Self::Bitset(bitset)
    }
}

impl<'a> From<RunsRef<'a>> for ContainerRef<'a> {
    fn from(runs: RunsRef<'a>) -> Self {
        Self::Runs(runs)
    }
}
