//! One page of sorted (value, slot) pairs, read in place.

#![expect(clippy::cast_possible_truncation, reason = "begins have 24 bits")]

use std::ops::RangeInclusive;

use super::ascending::Ascending;
use super::error::PostingsError;
use super::iter::{Postings, Slots};
use super::packed::{BLOCK_BYTES, BLOCK_LEN, PackedSlots};
use super::view::PostingsView;

/// First byte of a page.
pub(super) const TAG: u8 = 0x50;
/// Second byte of a page.
pub(super) const VERSION: u8 = 1;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 36;
/// Bytes of a marker.
pub(super) const MARKER_BYTES: usize = 12;
/// Zero bytes behind everything, so that eight can be loaded anywhere before.
pub(super) const TAIL_BYTES: usize = 8;
/// Most pairs of a page, and most markers.
pub const PAGE_PAIRS_MAX: usize = 1 << 24;

/// A page of a sorted multimap from values to slots, over the bytes of its stored form.
///
/// A page holds pairs in the order of (value, slot), and *markers* of promoted values: such a
/// value's slots have a bitmap of their own, which the page knows only by the number of slots it
/// had. `docs/format/bitmap-silo-v1.md` specifies the bytes. No bytes are the empty page.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostingsPage<'a> {
    pair_count: usize,
    first_value: u64,
    markers: &'a [[u8; MARKER_BYTES]],
    values: Ascending<'a>,
    begins: Ascending<'a>,
    slots: PackedSlots<'a>,
    byte_count: usize,
}

/// Value and slot count of a marker.
#[inline]
fn read_marker(marker: &[u8; MARKER_BYTES]) -> (u64, u32) {
    let [v0, v1, v2, v3, v4, v5, v6, v7, c0, c1, c2, c3] = *marker;
    (u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]), u32::from_le_bytes([c0, c1, c2, c3]))
}

/// Value and slot count of markers, in order.
pub(super) type Marked<'a> =
    std::iter::Map<std::slice::Iter<'a, [u8; MARKER_BYTES]>, fn(&[u8; MARKER_BYTES]) -> (u64, u32)>;

/// Splits `len` bytes off `rest`, the tail of `total` bytes.
fn take<'a>(
    what: &'static str,
    rest: &'a [u8],
    len: usize,
    total: usize,
) -> Result<(&'a [u8], &'a [u8]), PostingsError> {
    rest.split_at_checked(len).ok_or_else(|| PostingsError::truncated(what, total - rest.len() + len, total))
}

impl<'a> PostingsPage<'a> {
    /// Opens a page from a store that has verified its checksum; O(1), nothing allocated.
    ///
    /// Bytes that are wrong all the same may answer wrongly, but reads stay inside of them and
    /// end.
    ///
    /// # Errors
    /// [`PostingsError`] where the header is none of a page or the parts it announces are not
    /// exactly what is there.
    pub fn open(bytes: &'a [u8]) -> Result<Self, PostingsError> {
        let total = bytes.len();
        if total == 0 {
            return Ok(Self::default());
        }
        let (header, rest) = take("the header of a page", bytes, HEADER_BYTES, total)?;
        let word = |at: usize| {
            let four = header.get(at..).and_then(<[u8]>::first_chunk).copied();
            u32::from_le_bytes(four.unwrap_or_default())
        };
        let value = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if !header.starts_with(&[TAG, VERSION, 0, 0]) {
            return Err(PostingsError::malformed("not a postings page of version 1", 0));
        }
        let [pair_count, value_count, marker_count, run_count] = [4, 8, 12, 32].map(|at| word(at) as usize);
        let (first, last) = (value(16), value(24));
        if pair_count > PAGE_PAIRS_MAX || marker_count > PAGE_PAIRS_MAX {
            return Err(PostingsError::malformed("more pairs or markers than a page can have", 4));
        }
        if value_count > pair_count || (value_count == 0) != (pair_count == 0) {
            return Err(PostingsError::malformed("more values than pairs, or pairs without a value", 8));
        }
        if run_count > pair_count || (run_count == 0) != (pair_count == 0) {
            return Err(PostingsError::malformed("more runs than pairs, or pairs without a run", 32));
        }
        let span = last
            .checked_sub(first)
            .filter(|span| *span >= (value_count as u64).saturating_sub(1))
            .ok_or_else(|| PostingsError::malformed("a last value too low for that many values", 24))?;
        if pair_count == 0 && last != 0 {
            return Err(PostingsError::malformed("bounds of a page without pairs", 16));
        }
        let (markers, rest) = take("the markers of a page", rest, MARKER_BYTES * marker_count, total)?;
        let sequence = |what, count, last, rest: &'a [u8]| {
            Ascending::open(count, last, rest)
                .map_err(|need| PostingsError::truncated(what, total - rest.len() + need, total))
        };
        let (values, rest) = sequence("the values of a page", value_count, span, rest)?;
        let with_end = |count: usize| if count == 0 { 0 } else { count + 1 };
        let end = pair_count as u64;
        let (begins, rest) = sequence("the begins of a page", with_end(value_count), end, rest)?;
        let (runs, rest) = sequence("the runs of a page", with_end(run_count), end, rest)?;
        let block_bytes = BLOCK_BYTES * run_count.div_ceil(BLOCK_LEN);
        let (blocks, residuals) = take("the blocks of a page", rest, block_bytes, total)?;
        let slots = PackedSlots::new(runs, blocks.as_chunks().0, residuals);
        let rest = slots.residual_bytes() + TAIL_BYTES;
        if residuals.len() < rest {
            let expected = total - residuals.len() + rest;
            return Err(PostingsError::truncated("the residuals of a page", expected, total));
        }
        if residuals.len() > rest {
            return Err(PostingsError::malformed("bytes behind the page", total - residuals.len() + rest));
        }
        let markers = markers.as_chunks().0;
        Ok(Self { pair_count, first_value: first, markers, values, begins, slots, byte_count: total })
    }

    /// Checks every byte; O(pairs).
    ///
    /// # Errors
    /// [`PostingsError`] that says which rule is broken and in which part.
    pub fn validate(&self) -> Result<(), PostingsError> {
        if self.byte_count == 0 {
            return Ok(());
        }
        let markers_end = HEADER_BYTES + MARKER_BYTES * self.markers.len();
        if !self.markers.is_sorted_by(|a, b| read_marker(a).0 < read_marker(b).0) {
            return Err(PostingsError::malformed("markers do not ascend strictly", HEADER_BYTES));
        }
        self.values.validate().map_err(|what| PostingsError::malformed(what, markers_end))?;
        self.begins.validate().map_err(|what| PostingsError::malformed(what, markers_end))?;
        self.slots.validate(TAIL_BYTES).map_err(|what| PostingsError::malformed(what, markers_end))?;
        for index in 0..self.values.len() {
            let (from, to) = self.pairs_of(index);
            let (ascend, _) = self.slots.fold(from, to, (true, None), |(ascend, before), slot| {
                (ascend && before.is_none_or(|before| before < slot), Some(slot))
            });
            if !ascend {
                return Err(PostingsError::malformed("slots of a value do not ascend strictly", markers_end));
            }
        }
        Ok(())
    }

    /// Number of pairs; those of promoted values are elsewhere. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.pair_count
    }

    /// Whether there is neither pair nor marker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pair_count == 0 && self.markers.is_empty()
    }

    /// Number of values with pairs; O(1).
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// Number of bytes of the page.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.byte_count
    }

    /// The lowest pair, a marker counting as (value, 0); O(1).
    #[must_use]
    pub fn first(&self) -> Option<(u64, u32)> {
        let pair = (self.pair_count > 0).then(|| (self.first_value, self.slots.get(0)));
        let marker = self.markers.first().map(|marker| (read_marker(marker).0, 0));
        pair.into_iter().chain(marker).min()
    }

    /// The highest pair, a marker counting as (value, 0); O(1).
    #[must_use]
    pub fn last(&self) -> Option<(u64, u32)> {
        let pair = self.pair_count.checked_sub(1);
        let pair = pair.map(|last| (self.value_at(self.values.len().wrapping_sub(1)), self.slots.get(last)));
        let marker = self.markers.last().map(|marker| (read_marker(marker).0, 0));
        pair.into_iter().chain(marker).max()
    }

    /// How many slots a promoted value had when it was; none where it is not promoted. O(log n).
    #[must_use]
    pub fn promoted(&self, value: u64) -> Option<u32> {
        let at = self.markers.binary_search_by_key(&value, |marker| read_marker(marker).0).ok()?;
        self.markers.get(at).map(|marker| read_marker(marker).1)
    }

    /// The slots of a value, ascending; O(log n) until the first.
    #[must_use]
    pub fn slots(&self, value: u64) -> Slots<'a> {
        let (from, to) = self.pairs_of_value(value);
        Slots::stored(self.slots, from, to)
    }

    /// Number of slots of a value; O(log n).
    #[must_use]
    pub fn count(&self, value: u64) -> usize {
        let (from, to) = self.pairs_of_value(value);
        to - from
    }

    /// Whether the pair is in; O(log n).
    #[must_use]
    pub fn contains(&self, value: u64, slot: u32) -> bool {
        let (from, to) = self.pairs_of_value(value);
        self.slots.contains(slot, from, to)
    }

    /// The slot of a value that has one, the lowest where it has several; O(log n), the fastest of
    /// the look-ups.
    #[must_use]
    #[inline]
    pub fn get_unique(&self, value: u64) -> Option<u32> {
        let index = self.values.search(value.checked_sub(self.first_value)?).ok()?;
        Some(self.slots.get(self.begin(index)))
    }

    /// Number of pairs with a value in the range; O(log n).
    #[must_use]
    pub fn range_count(&self, values: RangeInclusive<u64>) -> usize {
        let (from, to) = self.indices(&values);
        if from < to { self.pairs_of(to - 1).1.saturating_sub(self.pairs_of(from).0) } else { 0 }
    }

    /// The values in the range with their slots or markers, ascending.
    #[must_use]
    pub fn range(&self, values: RangeInclusive<u64>) -> Postings<'a> {
        PostingsView::from(*self).range(values)
    }

    /// The values in the range with their slots or markers, descending.
    #[must_use]
    pub fn range_descending(&self, values: RangeInclusive<u64>) -> Postings<'a> {
        PostingsView::from(*self).range_descending(values)
    }

    /// Index of the first pair of value number `index`.
    #[inline]
    fn begin(&self, index: usize) -> usize {
        // Not above the number of pairs where it matters, which has 24 bits.
        self.begins.get(index) as usize
    }

    /// The value at `index`.
    #[inline]
    fn value_at(&self, index: usize) -> u64 {
        self.first_value.wrapping_add(self.values.get(index))
    }

    /// Where the pairs of value number `index` begin and end.
    #[inline]
    pub(super) fn pairs_of(&self, index: usize) -> (usize, usize) {
        let (from, to) = self.begins.get_two(index);
        let to = (to as usize).min(self.pair_count);
        ((from as usize).min(to), to)
    }

    /// Where the pairs of a value begin and end.
    #[inline]
    fn pairs_of_value(&self, value: u64) -> (usize, usize) {
        let index = value.checked_sub(self.first_value).and_then(|value| self.values.search(value).ok());
        index.map_or((0, 0), |index| self.pairs_of(index))
    }

    /// Slots of the pairs from one index up to before another.
    #[inline]
    pub(super) fn slots_between(&self, (from, to): (usize, usize)) -> Slots<'a> {
        Slots::stored(self.slots, from, to)
    }

    /// The indices of the values in a range.
    pub(super) fn indices(&self, values: &RangeInclusive<u64>) -> (usize, usize) {
        let index = |value: u64| {
            value.checked_sub(self.first_value).map_or(0, |value| match self.values.search(value) {
                Ok(index) | Err(index) => index,
            })
        };
        let to = values.end().checked_add(1).map_or(self.values.len(), index);
        (index(*values.start()).min(to), to)
    }

    /// Lowest of the values, to which those of the sequences are relative.
    pub(super) fn first_value(&self) -> u64 {
        self.first_value
    }

    /// The distinct values, relative to the lowest.
    pub(super) fn values(&self) -> Ascending<'a> {
        self.values
    }

    /// Where the pairs of each value begin.
    pub(super) fn begins(&self) -> Ascending<'a> {
        self.begins
    }

    /// The markers of values in a range.
    pub(super) fn markers(&self, values: &RangeInclusive<u64>) -> Marked<'a> {
        let from = self.markers.partition_point(|marker| read_marker(marker).0 < *values.start());
        let to = self.markers.partition_point(|marker| read_marker(marker).0 <= *values.end());
        self.markers.get(from..to).unwrap_or(&[]).iter().map(read_marker as fn(&_) -> _)
    }
}
