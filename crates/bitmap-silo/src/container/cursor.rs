//! Positions inside a container, moving up or down one value at a time or in batches.

use super::view::{ContainerRef, run_bounds};
use crate::kernels::{LIST_SLACK, kernels};

/// Words that a batch decodes at once while the buffer has room for all their bits.
const BATCH_WORDS: usize = 16;

/// A position moving up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ascent<'a> {
    container: ContainerRef<'a>,
    /// Next array index, next run, or current word.
    index: usize,
    /// Bits of the current word not yet visited.
    word: u64,
    /// Next value of the current run.
    next: u32,
}

impl<'a> Ascent<'a> {
    /// Before the first value.
    pub(crate) fn new(container: ContainerRef<'a>) -> Self {
        let word = match container {
            ContainerRef::Bitset(b) => b.word(0),
            _ => 0,
        };
        Self { container, index: 0, word, next: 0 }
    }

    /// Before the first value that is at least `slot`.
    pub(crate) fn from(container: ContainerRef<'a>, slot: u16) -> Self {
        let mut this = Self::new(container);
        match container {
            ContainerRef::Array(a) => {
                this.index = a.values().partition_point(|v| u16::from_le_bytes(*v) < slot);
            }
            ContainerRef::Bitset(b) => {
                this.index = usize::from(slot >> 6);
                this.word = b.word(this.index) & (u64::MAX << (slot & 63));
            }
            ContainerRef::Runs(r) => {
                this.index = r.pairs().partition_point(|run| run_bounds(*run).1 < slot);
                this.next = u32::from(slot);
            }
        }
        this
    }

    /// The next value.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "words and bits of one chunk")]
    pub(crate) fn next(&mut self) -> Option<u16> {
        match self.container {
            ContainerRef::Array(a) => {
                let value = u16::from_le_bytes(*a.values().get(self.index)?);
                self.index += 1;
                Some(value)
            }
            ContainerRef::Bitset(b) => {
                while self.word == 0 {
                    self.index += 1;
                    if self.index >= b.bits().len() {
                        return None;
                    }
                    self.word = b.word(self.index);
                }
                let bit = self.word.trailing_zeros();
                self.word &= self.word - 1;
                Some((self.index * 64) as u16 | bit as u16)
            }
            ContainerRef::Runs(r) => {
                let (first, last) = run_bounds(*r.pairs().get(self.index)?);
                let value = self.next.max(u32::from(first)).min(u32::from(last));
                self.next = value + 1;
                if value == u32::from(last) {
                    self.index += 1;
                }
                Some(value as u16)
            }
        }
    }

    /// Writes `base |` the next values to `out` until it is full or none is left; answers how
    /// many.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "words and bits of one chunk, and counts below the buffer's length"
    )]
    pub(crate) fn fill(&mut self, base: u32, out: &mut [u32]) -> usize {
        match self.container {
            ContainerRef::Array(a) => {
                let rest = a.values().get(self.index..).unwrap_or(&[]);
                let count = rest.len().min(out.len());
                if let (Some(list), Some(out)) = (rest.get(..count), out.get_mut(..count)) {
                    (kernels().widen)(list, base, out);
                }
                self.index += count;
                count
            }
            ContainerRef::Bitset(b) => {
                let mut len = 0;
                // The word under way, then whole words while all their bits have room, then the
                // first bits of one more.
                loop {
                    while self.word != 0 {
                        let Some(to) = out.get_mut(len) else {
                            return len;
                        };
                        *to = base | (self.index * 64) as u32 | self.word.trailing_zeros();
                        self.word &= self.word - 1;
                        len += 1;
                    }
                    let words = b.bits().len();
                    while self.index + 1 < words {
                        let room = out.len() - len;
                        let batch = if room >= 64 * BATCH_WORDS + LIST_SLACK {
                            BATCH_WORDS.min(words - self.index - 1)
                        } else if room >= 64 + LIST_SLACK {
                            1
                        } else {
                            break;
                        };
                        let first = self.index + 1;
                        let to = out.get_mut(len..).unwrap_or(&mut []);
                        len += (kernels().extract32)(b.bits(), first, first + batch, base, to);
                        self.index += batch;
                    }
                    if self.index + 1 >= words {
                        return len;
                    }
                    self.index += 1;
                    self.word = b.word(self.index);
                }
            }
            ContainerRef::Runs(r) => {
                let mut len = 0;
                while let (Some(run), true) = (r.pairs().get(self.index), len < out.len()) {
                    let (first, last) = run_bounds(*run);
                    let from = self.next.max(u32::from(first)).min(u32::from(last));
                    let count = ((u32::from(last) - from) as usize + 1).min(out.len() - len);
                    let to = out.get_mut(len..len + count).unwrap_or(&mut []);
                    for (to, value) in to.iter_mut().zip(from..) {
                        *to = base | value;
                    }
                    len += count;
                    self.next = from + count as u32;
                    if self.next > u32::from(last) {
                        self.index += 1;
                    }
                }
                len
            }
        }
    }
}

/// A position moving down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descent<'a> {
    container: ContainerRef<'a>,
    /// Array values or runs left, or the current word.
    index: usize,
    /// Bits of the current word not yet visited.
    word: u64,
    /// Upper bound of the values left in the current run.
    bound: u16,
}

impl<'a> Descent<'a> {
    /// After the last value that is at most `slot`.
    pub(crate) fn from(container: ContainerRef<'a>, slot: u16) -> Self {
        let (index, word) = match container {
            ContainerRef::Array(a) => (a.values().partition_point(|v| u16::from_le_bytes(*v) <= slot), 0),
            ContainerRef::Bitset(b) => {
                let index = usize::from(slot >> 6);
                (index, b.word(index) & (u64::MAX >> (63 - (slot & 63))))
            }
            ContainerRef::Runs(r) => (r.pairs().partition_point(|run| run_bounds(*run).0 <= slot), 0),
        };
        Self { container, index, word, bound: slot }
    }

    /// The value before.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "words and bits of one chunk")]
    pub(crate) fn next(&mut self) -> Option<u16> {
        match self.container {
            ContainerRef::Array(a) => {
                self.index = self.index.checked_sub(1)?;
                a.values().get(self.index).map(|v| u16::from_le_bytes(*v))
            }
            ContainerRef::Bitset(b) => {
                while self.word == 0 {
                    self.index = self.index.checked_sub(1)?;
                    self.word = b.word(self.index);
                }
                let bit = self.word.ilog2();
                self.word &= !(1 << bit);
                Some((self.index * 64) as u16 | bit as u16)
            }
            ContainerRef::Runs(r) => {
                let (first, last) = run_bounds(*r.pairs().get(self.index.checked_sub(1)?)?);
                let value = self.bound.clamp(first, last);
                if value == first {
                    self.index -= 1;
                }
                self.bound = value.saturating_sub(1);
                Some(value)
            }
        }
    }
}
