//! Rows to bitmaps.

use super::values::ValueBitmaps;
use super::{bitsets, chunks, gather};
use crate::error::BitmapError;

/// In a list of values, the mark of a row without one.
pub const NO_VALUE: u32 = u32::MAX;

/// Rows of one field: which slot has which value. Values are numbered 0, 1, 2, … by a dictionary.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Row `i` is slot `first_slot + i` and has one value, or [`NO_VALUE`].
    Consecutive {
        /// Slot of the first row.
        first_slot: u32,
        /// The value of each row.
        values: &'a [u32],
    },
    /// Slots and values side by side, in any order; a slot may have several values, and a pair
    /// that comes twice counts once.
    Pairs {
        /// The slots.
        slots: &'a [u32],
        /// The value beside each slot, or [`NO_VALUE`].
        values: &'a [u32],
    },
}

impl Rows<'_> {
    /// Number of rows, which is that of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Consecutive { values, .. } => values.len(),
            Self::Pairs { slots, values } => slots.len().min(values.len()),
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with slot and value of every row that has one, in the order of the rows.
    #[inline]
    pub(super) fn for_each(&self, mut f: impl FnMut(u32, u32)) {
        match self {
            Self::Consecutive { first_slot, values } => {
                for (slot, value) in (*first_slot..=u32::MAX).zip(*values) {
                    if *value != NO_VALUE {
                        f(slot, *value);
                    }
                }
            }
            Self::Pairs { slots, values } => {
                for (slot, value) in slots.iter().zip(*values) {
                    if *value != NO_VALUE {
                        f(*slot, *value);
                    }
                }
            }
        }
    }

    /// The same, for a part of the rows.
    pub(super) fn part(&self, start: usize, end: usize) -> Self {
        match *self {
            Self::Consecutive { first_slot, values } => Self::Consecutive {
                first_slot: first_slot.wrapping_add(u32::try_from(start).unwrap_or(u32::MAX)),
                values: values.get(start..end).unwrap_or(&[]),
            },
            Self::Pairs { slots, values } => Self::Pairs {
                slots: slots.get(start..end).unwrap_or(&[]),
                values: values.get(start..end).unwrap_or(&[]),
            },
        }
    }

    fn check(&self, value_count: u32) -> Result<(), BitmapError> {
        let values = match *self {
            Self::Consecutive { first_slot, values } => {
                let last = u64::from(first_slot) + values.len() as u64;
                if last > 1 << 32 {
                    return Err(BitmapError::SlotRange { slots: last });
                }
                values
            }
            Self::Pairs { slots, values } => {
                if slots.len() != values.len() {
                    return Err(BitmapError::RowLengths { slots: slots.len(), values: values.len() });
                }
                values
            }
        };
        // The mark of a row without a value wraps to zero.
        let beyond = |value: u32| value.wrapping_add(1) > value_count;
        if values.iter().fold(false, |any, value| any | beyond(*value)) {
            let value = values.iter().copied().find(|value| beyond(*value));
            return Err(BitmapError::ValueRange { value: value.unwrap_or(0), value_count });
        }
        Ok(())
    }
}

/// Most values for which every chunk gets a bitset per value (docs/adr/0010).
const BITSETS_MAX: u32 = 64;
/// Fewest rows per value, on average, for which rows are grouped chunk by chunk.
const CHUNKED_ROWS_MIN: usize = 64;

/// Builds the bitmap of every value from 0 to `value_count` − 1.
///
/// O(rows) where rows come chunk by chunk; otherwise they are first partitioned, which costs
/// another pass or two. Allocates in proportion to the rows. One thread: give each its own chunks.
///
/// # Errors
/// [`BitmapError`] where a value is not below `value_count`, slots and values differ in number,
/// or consecutive slots pass 2³² − 1.
pub fn build_values(rows: Rows<'_>, value_count: u32) -> Result<ValueBitmaps, BitmapError> {
    rows.check(value_count)?;
    if value_count <= BITSETS_MAX {
        bitsets::build(rows, value_count)
    } else if rows.len() / (value_count as usize) >= CHUNKED_ROWS_MIN {
        chunks::build(rows, value_count)
    } else {
        gather::build(rows, value_count)
    }
}

/// Rows chunk by chunk: each chunk's key and its rows.
pub(super) struct ByChunk {
    slots: Vec<u32>,
    values: Vec<u32>,
    /// Key, start and end of each chunk's rows.
    chunks: Vec<(u16, usize, usize)>,
    /// Whether `slots` and `values` were filled; otherwise the rows came chunk by chunk.
    partitioned: bool,
}

impl ByChunk {
    /// Finds the chunks of rows that come chunk by chunk, or partitions them.
    pub(super) fn of(rows: Rows<'_>) -> Self {
        let mut this = Self { slots: Vec::new(), values: Vec::new(), chunks: Vec::new(), partitioned: false };
        match rows {
            Rows::Consecutive { first_slot, values } => {
                let (mut at, mut slot) = (0, first_slot);
                while at < values.len() {
                    let to_end = 65_536 - (slot as usize & 0xffff);
                    let end = (at + to_end).min(values.len());
                    this.chunks.push((crate::frozen::split_slot(slot).0, at, end));
                    slot = (slot | 0xffff).wrapping_add(1);
                    at = end;
                }
            }
            Rows::Pairs { slots, values } => {
                let ascending = slots.windows(2).fold(true, |ok, pair| match pair {
                    [x, y] => ok && (x >> 16 <= y >> 16),
                    _ => ok,
                });
                if ascending {
                    let mut at = 0;
                    for same in slots.chunk_by(|x, y| x >> 16 == y >> 16) {
                        let key = same.first().map_or(0, |slot| crate::frozen::split_slot(*slot).0);
                        this.chunks.push((key, at, at + same.len()));
                        at += same.len();
                    }
                } else {
                    this.partition(slots, values);
                }
            }
        }
        this
    }

    /// Counting sort by chunk; rows of a chunk keep their order.
    fn partition(&mut self, slots: &[u32], values: &[u32]) {
        let mut ends = vec![0_usize; 1 << 16];
        for slot in slots {
            if let Some(end) = ends.get_mut((slot >> 16) as usize) {
                *end += 1;
            }
        }
        let mut start = 0;
        for (key, end) in (0_u16..=u16::MAX).zip(&mut ends) {
            let count = *end;
            *end = start;
            if count > 0 {
                self.chunks.push((key, start, start + count));
            }
            start += count;
        }
        self.slots = vec![0; slots.len()];
        self.values = vec![0; slots.len()];
        for (slot, value) in slots.iter().zip(values) {
            if let Some(at) = ends.get_mut((slot >> 16) as usize)
                && let (Some(to_slot), Some(to_value)) = (self.slots.get_mut(*at), self.values.get_mut(*at))
            {
                (*to_slot, *to_value) = (*slot, *value);
                *at += 1;
            }
        }
        self.partitioned = true;
    }

    /// Keys and rows of the chunks, ascending; `rows` is what this was made of.
    pub(super) fn iter<'a>(&'a self, rows: Rows<'a>) -> impl Iterator<Item = (u16, Rows<'a>)> {
        let rows =
            if self.partitioned { Rows::Pairs { slots: &self.slots, values: &self.values } } else { rows };
        self.chunks.iter().map(move |(key, start, end)| (*key, rows.part(*start, *end)))
    }
}
