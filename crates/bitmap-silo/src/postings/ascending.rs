//! Strictly ascending sequences from zero on, in Elias–Fano form: about two bits a number more
//! than the bits of the mean gap, with random access and search.
//!
//! Sources: P. Elias, "Efficient storage and retrieval by content and address of static files",
//! 1974; R. Fano, "On the number of bits required to implement an associative memory", 1971.

#![expect(clippy::cast_possible_truncation, reason = "at most 2^32 numbers, on targets of 64 bits")]

use super::bits::{BitWriter, read_bits, select_in_word};

/// Words of the upper part that share an entry of the directory.
const WORDS_PER_RANK: usize = 4;
/// Bits they have.
const BITS_PER_RANK: usize = 64 * WORDS_PER_RANK;
/// Numbers of one bucket that are looked at one by one before they are searched.
const SCAN_MAX: usize = 8;

/// Sizes of the parts of a sequence; all zero where it is 0, 1, 2, ….
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    low_width: u32,
    rank_count: usize,
    word_count: usize,
    low_bytes: usize,
}

impl Shape {
    /// The shape of `count` numbers up to `last`, which is at least `count` − 1.
    fn of(count: usize, last: u64) -> Self {
        let m = count as u64;
        if count == 0 || last < m {
            return Self::default();
        }
        let low_width = (last / m).checked_ilog2().unwrap_or(0);
        // At most three bits a number, and counts have 32 bits.
        let bits = usize::try_from(m + (last >> low_width) + 1).unwrap_or(usize::MAX);
        let word_count = bits.div_ceil(64);
        Self {
            low_width,
            rank_count: word_count.div_ceil(WORDS_PER_RANK),
            word_count,
            low_bytes: (count * low_width as usize).div_ceil(8),
        }
    }

    fn bytes(&self) -> usize {
        4 * self.rank_count + 8 * self.word_count + self.low_bytes
    }
}

/// A stored sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ascending<'a> {
    /// Ranks, high words, low bits, and what follows them.
    bytes: &'a [u8],
    last: u64,
    /// At most 2^24 numbers and the end of them.
    count: u32,
    /// Zero where the sequence is 0, 1, 2, ….
    word_count: u32,
    low_width: u32,
}

impl<'a> Ascending<'a> {
    /// Opens the sequence of `count` numbers, at most 2²⁴ + 1, up to `last` that `bytes` start
    /// with; answers what follows, or how many bytes it needs. O(1).
    pub(super) fn open(count: usize, last: u64, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), usize> {
        let Shape { low_width, word_count, .. } = Shape::of(count, last);
        let need = Shape::of(count, last).bytes();
        let rest = bytes.get(need..).ok_or(need)?;
        let this = Self { bytes, last, count: count as u32, word_count: word_count as u32, low_width };
        Ok((this, rest))
    }

    /// Number of numbers.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether the numbers are 0, 1, 2, ….
    #[inline]
    pub(super) fn is_straight(&self) -> bool {
        self.word_count == 0
    }

    #[inline]
    fn word_count(&self) -> usize {
        self.word_count as usize
    }

    #[inline]
    fn rank_count(&self) -> usize {
        self.word_count().div_ceil(WORDS_PER_RANK)
    }

    /// The word of the upper part at `index`, zero past its end.
    #[inline]
    fn word(&self, index: usize) -> u64 {
        if index >= self.word_count() {
            return 0;
        }
        let bytes = self.bytes.get(4 * self.rank_count() + 8 * index..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |word| u64::from_le_bytes(*word))
    }

    /// Ones before part `index` of the directory; all of them past its end.
    #[inline]
    fn ones_before(&self, index: usize) -> usize {
        if index >= self.rank_count() {
            return self.len();
        }
        let bytes = self.bytes.get(4 * index..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |rank| u32::from_le_bytes(*rank)) as usize
    }

    /// Where the low bits of number `index` start, in bits.
    #[inline]
    fn low_at(&self, index: usize) -> usize {
        8 * (4 * self.rank_count() + 8 * self.word_count()) + index * self.low_width as usize
    }

    #[inline]
    fn low(&self, index: usize) -> u64 {
        read_bits(self.bytes, self.low_at(index), self.low_width)
    }

    /// Zeros before part `index` of the directory.
    #[inline]
    fn zeros_before(&self, index: usize) -> usize {
        (index * BITS_PER_RANK).saturating_sub(self.ones_before(index))
    }

    /// The part of the directory in which bit number `rank` of its kind lies, `guess` being tried
    /// first; `before` counts such bits before a part.
    #[inline]
    fn part(&self, rank: usize, guess: usize, before: impl Fn(usize) -> usize) -> usize {
        let guess = guess.min(self.rank_count().saturating_sub(1));
        if before(guess) <= rank && (guess + 1 >= self.rank_count() || rank < before(guess + 1)) {
            return guess;
        }
        let (mut from, mut to) = (0, self.rank_count());
        while to - from > 1 {
            let middle = usize::midpoint(from, to);
            if before(middle) <= rank { from = middle } else { to = middle }
        }
        from
    }

    /// Position of bit number `rank` of the words as `f` gives them, from `part` on, which has
    /// `before` such bits before it. The end of the words where there is none.
    #[inline]
    fn select(&self, part: usize, before: usize, rank: usize, f: impl Fn(u64) -> u64) -> usize {
        let mut left = rank.saturating_sub(before);
        let from = part * WORDS_PER_RANK;
        for index in from..(from + WORDS_PER_RANK).min(self.word_count()) {
            let word = f(self.word(index));
            let ones = word.count_ones();
            if left < ones as usize {
                // Below 64, as is the number of ones.
                return 64 * index + select_in_word(word, left as u32) as usize;
            }
            left -= ones as usize;
        }
        64 * self.word_count()
    }

    /// Position of the one of number `index`.
    #[inline]
    fn select_one(&self, index: usize) -> usize {
        let guess = index * self.rank_count() / self.len().max(1);
        let part = self.part(index, guess, |part| self.ones_before(part));
        self.select(part, self.ones_before(part), index, |word| word)
    }

    /// Position of zero number `rank`.
    #[inline]
    fn select_zero(&self, rank: usize) -> usize {
        let zeros = (self.last >> self.low_width) as usize + 1;
        let guess = rank * self.rank_count() / zeros;
        let part = self.part(rank, guess, |part| self.zeros_before(part));
        self.select(part, self.zeros_before(part), rank, |word| !word)
    }

    /// The number whose one is at `position`.
    #[inline]
    fn join(&self, position: usize, index: usize) -> u64 {
        // The shift drops nothing of valid bytes: upper parts are at most `last >> low_width`.
        (position.wrapping_sub(index) as u64) << self.low_width | self.low(index)
    }

    /// The number at `index`, which is below the count.
    #[inline]
    pub(super) fn get(&self, index: usize) -> u64 {
        if self.is_straight() {
            return index as u64;
        }
        self.join(self.select_one(index), index)
    }

    /// The numbers at `index` and behind it.
    #[inline]
    pub(super) fn get_two(&self, index: usize) -> (u64, u64) {
        if self.is_straight() {
            return (index as u64, index as u64 + 1);
        }
        let mut numbers = self.range(index, index + 2);
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Index of `number`, or that of the first number above it.
    #[inline]
    pub(super) fn search(&self, number: u64) -> Result<usize, usize> {
        if number > self.last || self.len() == 0 {
            return Err(self.len());
        }
        if self.is_straight() {
            // Not above the last number, which is below the count.
            return Ok(number as usize);
        }
        self.locate(number).0
    }

    /// Index and number of the last number that is not above `number`.
    #[inline]
    pub(super) fn floor(&self, number: u64) -> (usize, u64) {
        let number = number.min(self.last);
        if self.is_straight() {
            return (number as usize, number);
        }
        match self.locate(number) {
            (Ok(index), _) => (index, number),
            (Err(above), position) => {
                // Its one is the last before the place where `number` would be.
                let mut at = position / 64;
                let mut word = self.word(at) & !(u64::MAX << (position % 64));
                while word == 0 && at > 0 {
                    at -= 1;
                    word = self.word(at);
                }
                let index = above.saturating_sub(1);
                let position = (64 * at + 63).saturating_sub(word.leading_zeros() as usize);
                (index, self.join(position, index))
            }
        }
    }

    /// Index of `number`, or that of the first number above it, and the bit where its one is or
    /// would be. The sequence is not straight.
    #[inline]
    fn locate(&self, number: u64) -> (Result<usize, usize>, usize) {
        let bucket = (number >> self.low_width) as usize;
        let low = number & !(u64::MAX << self.low_width);
        let mut position = bucket.checked_sub(1).map_or(0, |before| self.select_zero(before) + 1);
        let start = position.saturating_sub(bucket).min(self.len());
        for index in start..start + SCAN_MAX {
            if self.word(position / 64) >> (position % 64) & 1 == 0 || index >= self.len() {
                return (Err(index.min(self.len())), position);
            }
            match self.low(index).cmp(&low) {
                std::cmp::Ordering::Less => position += 1,
                std::cmp::Ordering::Equal => return (Ok(index), position),
                std::cmp::Ordering::Greater => return (Err(index), position),
            }
        }
        let end = self.select_zero(bucket).saturating_sub(bucket).min(self.len());
        let (mut from, mut to) = (start + SCAN_MAX, end);
        while from < to {
            let middle = usize::midpoint(from, to);
            if self.low(middle) < low { from = middle + 1 } else { to = middle }
        }
        let is_in = from < end && self.low(from) == low;
        let position = position + from.saturating_sub(start + SCAN_MAX);
        (if is_in { Ok(from) } else { Err(from.min(self.len())) }, position)
    }

    /// The numbers from index `from` up to before `to`, at most the count.
    pub(super) fn range(&self, from: usize, to: usize) -> AscendingIter<'a> {
        let to = to.min(self.len());
        let mut iter = AscendingIter { sequence: *self, index: from, end: to, word: 0, word_index: 0 };
        if from < to && !self.is_straight() {
            let position = self.select_one(from);
            iter.word_index = position / 64;
            iter.word = self.word(iter.word_index) & u64::MAX << (position % 64);
        }
        iter
    }

    /// Says what is wrong with the bytes; O(numbers).
    pub(super) fn validate(&self) -> Result<(), &'static str> {
        if self.is_straight() {
            return Ok(());
        }
        let mut ones = 0;
        for index in 0..self.word_count() {
            if index % WORDS_PER_RANK == 0 && self.ones_before(index / WORDS_PER_RANK) != ones {
                return Err("a rank that does not count the ones before it");
            }
            ones += self.word(index).count_ones() as usize;
        }
        if ones != self.len() {
            return Err("a sequence with more or fewer ones than numbers");
        }
        let mut before = None;
        for number in self.range(0, self.len()) {
            if before.is_none_or(|before| before >= number) && (before.is_some() || number != 0) {
                return Err("a sequence that does not ascend from zero");
            }
            before = Some(number);
        }
        if before != Some(self.last) {
            return Err("a sequence that does not end at its last number");
        }
        let used = self.low_at(self.len());
        if !used.is_multiple_of(8) && self.bytes.get(used / 8).is_none_or(|byte| byte >> (used % 8) != 0) {
            return Err("bits set behind a sequence");
        }
        Ok(())
    }
}

/// Numbers of a sequence in order, from either end.
#[derive(Clone, Debug)]
pub(super) struct AscendingIter<'a> {
    sequence: Ascending<'a>,
    index: usize,
    end: usize,
    /// What is left of the word in which the next one is looked for.
    word: u64,
    word_index: usize,
}

impl AscendingIter<'_> {
    /// Index behind the last number.
    pub(super) fn end(&self) -> usize {
        self.end
    }
}

impl Iterator for AscendingIter<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        if self.index >= self.end {
            return None;
        }
        let index = self.index;
        self.index += 1;
        if self.sequence.is_straight() {
            return Some(index as u64);
        }
        while self.word == 0 && self.word_index < self.sequence.word_count() {
            self.word_index += 1;
            self.word = self.sequence.word(self.word_index);
        }
        let position = 64 * self.word_index + self.word.trailing_zeros() as usize;
        self.word &= self.word.wrapping_sub(1);
        Some(self.sequence.join(position, index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.index);
        (left, Some(left))
    }
}

impl DoubleEndedIterator for AscendingIter<'_> {
    fn next_back(&mut self) -> Option<u64> {
        if self.index >= self.end {
            return None;
        }
        self.end -= 1;
        Some(self.sequence.get(self.end))
    }
}

/// Appends the sequence of `numbers`, less the first of them, which ascend strictly.
pub(super) fn write_ascending<T: Copy + Into<u64>>(numbers: &[T], out: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return };
    let (first, last) = ((*first).into(), (*last).into());
    let shape = Shape::of(numbers.len(), last - first);
    if shape.word_count == 0 {
        return;
    }
    let mut high = vec![0_u64; shape.word_count];
    for (index, number) in numbers.iter().enumerate() {
        let position = (((*number).into() - first) >> shape.low_width) as usize + index;
        if let Some(word) = high.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }
    out.reserve(shape.bytes());
    let mut ones = 0_u32;
    for part in high.chunks(WORDS_PER_RANK) {
        out.extend_from_slice(&ones.to_le_bytes());
        ones += part.iter().map(|word| word.count_ones()).sum::<u32>();
    }
    for word in &high {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let mask = !(u64::MAX << shape.low_width);
    let mut writer = BitWriter::new(out);
    for number in numbers {
        writer.push(((*number).into() - first) & mask, shape.low_width);
    }
    writer.finish();
}
