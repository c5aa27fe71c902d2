//! The view over a blob.

use super::header::Header;
use crate::container::encode::body_bytes;
use crate::container::{ARRAY_MAX, ArrayRef, BitsetRef, ContainerKind, ContainerRef, RunsRef};
use crate::error::BitmapError;

/// Where bodies are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// By the offset header, which was checked.
    Table,
    /// By walking from the first body: the blob is too small for a header of offsets.
    Few,
    /// By walking from the first body: the offset header lies.
    Walk,
}

/// A read-only bitmap over the bytes of a portable Roaring blob, at any alignment.
///
/// The view is a few words long and cheap to copy; it borrows the bytes and never writes. It is
/// safe on every byte string: [`open`](Self::open) checks that the header is consistent and every
/// container inside the bytes, and no later call can panic or read elsewhere. What `open` does
/// not look at is the inside of containers. Bytes from a checked store need no more; bytes from
/// strangers go through [`from_untrusted`](Self::from_untrusted), which looks at all of them.
///
/// Slots are 32-bit; a *chunk* is the 65,536 slots that share their upper 16 bits, its *key*.
#[derive(Clone, Copy, Debug)]
pub struct FrozenBitmap<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) header: Header<'a>,
    pub(super) layout: Layout,
    /// Whether recorded cardinalities of run containers may be wrong.
    pub(super) recount: bool,
}

impl<'a> FrozenBitmap<'a> {
    /// Opens a blob written by this crate or another Roaring library.
    ///
    /// Reads the header only: O(containers) in time, nothing allocated, no container body
    /// touched (except the count of a last run container). Bytes after the blob are ignored.
    ///
    /// # Errors
    /// [`BitmapError`] where the header is cut short or inconsistent: keys not ascending, or
    /// offsets that are not those of bodies laid end to end inside the bytes.
    pub fn open(bytes: &'a [u8]) -> Result<Self, BitmapError> {
        let header = Header::parse(bytes)?;
        let mut view = Self { bytes, header, layout: Layout::Table, recount: false };
        let end = if header.offsets.is_some() {
            view.check_table()?
        } else {
            view.layout = Layout::Few;
            view.walk(header.container_count())?
        };
        view.check_keys()?;
        view.bytes = bytes.get(..end).unwrap_or(bytes);
        Ok(view)
    }

    /// Checks that keys ascend.
    pub(super) fn check_keys(&self) -> Result<(), BitmapError> {
        let ascending = self.header.descriptions.windows(2).fold(true, |ok, pair| match pair {
            [x, y] => ok & (u16::from_le_bytes([x[0], x[1]]) < u16::from_le_bytes([y[0], y[1]])),
            _ => ok,
        });
        if ascending { Ok(()) } else { Err(BitmapError::malformed("container keys do not ascend", 0)) }
    }

    /// Checks that recorded offsets are those of bodies laid end to end; answers the end.
    pub(super) fn check_table(&self) -> Result<usize, BitmapError> {
        let lie = || BitmapError::malformed("offsets are not those of bodies end to end", 0);
        let count = self.header.container_count();
        let offsets = self.header.offsets.unwrap_or(&[]);
        if self.header.offset(0).is_some_and(|first| first != self.header.bodies_start) {
            return Err(lie());
        }
        let true_offsets = if self.has_runs() {
            (1..count).all(|index| self.follows(index))
        } else {
            // The common case, without a branch per container.
            offsets.windows(2).zip(self.header.descriptions).fold(true, |ok, (pair, d)| {
                let [start, end] = pair else { return ok };
                let last_rank = u32::from(u16::from_le_bytes([d[2], d[3]]));
                let body = if last_rank < ARRAY_MAX { 2 * last_rank + 2 } else { 8192 };
                let start = u32::from_le_bytes(*start);
                ok & (start.wrapping_add(body) == u32::from_le_bytes(*end))
                    & (start <= start.wrapping_add(body))
            })
        };
        if !true_offsets {
            return Err(lie());
        }
        let end = match count.checked_sub(1) {
            None => self.header.bodies_start,
            Some(last) => {
                let start = self.header.offset(last).unwrap_or(usize::MAX);
                start.saturating_add(self.header.body_bytes_at(last, self.bytes, start)?)
            }
        };
        if end > self.bytes.len() {
            return Err(BitmapError::truncated("the containers", 0, end, self.bytes.len()));
        }
        Ok(end)
    }

    /// Whether the body of container `index` starts where the one before it ends. That of runs
    /// must be a count and at least one run; the stored count is compared when the bytes are not
    /// trusted.
    fn follows(&self, index: usize) -> bool {
        let (Some(start), Some(next)) = (self.header.offset(index - 1), self.header.offset(index)) else {
            return false;
        };
        if self.header.kind(index - 1) == ContainerKind::Runs {
            next >= start + 6 && (next - start - 2) % 4 == 0
        } else {
            let cardinality = self.header.cardinality(index - 1);
            next == start + body_bytes(self.header.kind(index - 1), cardinality, 0)
        }
    }

    /// Offset of the body of container `index`, or of the end, found by walking.
    pub(super) fn walk(&self, index: usize) -> Result<usize, BitmapError> {
        let mut offset = self.header.bodies_start;
        for before in 0..index {
            offset += self.header.body_bytes_at(before, self.bytes, offset)?;
        }
        Ok(offset)
    }

    /// The bytes of the blob, without what followed it.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of containers, which is the number of chunks that are not empty; O(1).
    #[must_use]
    pub fn container_count(&self) -> usize {
        self.header.container_count()
    }

    /// Whether the blob has run flags.
    pub(crate) fn has_runs(&self) -> bool {
        !self.header.run_flags.is_empty()
    }

    /// For each container, whether it has runs.
    pub(crate) fn run_flags(&self) -> impl Iterator<Item = bool> + 'a {
        let header = self.header;
        (0..header.container_count()).map(move |i| header.kind(i) == ContainerKind::Runs)
    }

    /// Keys and cardinalities as stored.
    pub(crate) fn descriptions(&self) -> &'a [[u8; 4]] {
        self.header.descriptions
    }

    /// All bodies, end to end.
    pub(crate) fn bodies(&self) -> &'a [u8] {
        self.bytes.get(self.header.bodies_start..).unwrap_or(&[])
    }

    /// Distance of each body from the first.
    pub(crate) fn body_offsets(&self) -> impl Iterator<Item = usize> + '_ {
        let start = self.header.bodies_start;
        (0..self.container_count())
            .map(move |index| self.extent(index).map_or(0, |(offset, _)| offset - start))
    }

    /// Key (upper 16 bits) of the `index`-th container; O(1).
    #[must_use]
    #[inline]
    pub fn key_at(&self, index: usize) -> Option<u16> {
        (index < self.container_count()).then(|| self.header.key(index))
    }

    /// Cardinality of the `index`-th container, or zero past the end; O(1).
    #[must_use]
    pub fn cardinality_at(&self, index: usize) -> u32 {
        if self.recount && self.header.kind(index) == ContainerKind::Runs {
            self.container_at(index).map_or(0, |(_, c)| c.cardinality())
        } else {
            self.header.cardinality(index)
        }
    }

    /// Start and end of the body of container `index`.
    #[inline]
    fn extent(&self, index: usize) -> Option<(usize, usize)> {
        match self.layout {
            Layout::Table => {
                let start = self.header.offset(index)?;
                Some((start, self.header.offset(index + 1).unwrap_or(self.bytes.len())))
            }
            Layout::Few | Layout::Walk => {
                let start = self.walk(index).ok()?;
                let len = self.header.body_bytes_at(index, self.bytes, start).ok()?;
                Some((start, start + len))
            }
        }
    }

    /// Key and container at `index`; O(1), or O(index) where the blob has no true offsets.
    #[must_use]
    #[inline]
    pub fn container_at(&self, index: usize) -> Option<(u16, ContainerRef<'a>)> {
        let description = self.header.descriptions.get(index)?;
        let [key_low, key_high, rank_low, rank_high] = *description;
        let key = u16::from_le_bytes([key_low, key_high]);
        let cardinality = u32::from(u16::from_le_bytes([rank_low, rank_high])) + 1;
        if self.layout != Layout::Table {
            return Some((key, self.walked_container_at(index, cardinality)?));
        }
        let start = self.header.offset(index)?;
        let container = if self.header.has_runs_at(index) {
            let end = self.header.offset(index + 1).unwrap_or(self.bytes.len());
            self.runs(self.bytes.get(start..end)?, cardinality)?
        } else if cardinality <= ARRAY_MAX {
            let body = self.bytes.get(start..start + 2 * cardinality as usize)?;
            ArrayRef::new(body.as_chunks().0).into()
        } else {
            let bits = self.bytes.get(start..)?.as_chunks().0.first_chunk()?;
            BitsetRef::new(bits, cardinality).into()
        };
        Some((key, container))
    }

    /// A container of a blob whose bodies are found by walking.
    fn walked_container_at(&self, index: usize, cardinality: u32) -> Option<ContainerRef<'a>> {
        let (start, end) = self.extent(index)?;
        let body = self.bytes.get(start..end)?;
        Some(match self.header.kind(index) {
            ContainerKind::Array => ArrayRef::new(body.as_chunks().0).into(),
            ContainerKind::Bitset => BitsetRef::new(body.as_chunks().0.first_chunk()?, cardinality).into(),
            ContainerKind::Runs => self.runs(body, cardinality)?,
        })
    }

    /// The run container with this body.
    #[inline]
    fn runs(&self, body: &'a [u8], cardinality: u32) -> Option<ContainerRef<'a>> {
        let runs = body.get(2..)?.as_chunks().0;
        Some(if self.recount {
            RunsRef::counted(runs).into()
        } else {
            RunsRef::new(runs, cardinality).into()
        })
    }

    /// Index of the first container whose key is at least `key`; O(log containers).
    #[must_use]
    #[inline]
    pub fn index_of_key(&self, key: u16) -> usize {
        self.header.descriptions.partition_point(|d| u16::from_le_bytes([d[0], d[1]]) < key)
    }

    /// Index of the first container at or after `from` whose key is at least `key`, found by
    /// doubling steps: O(log distance).
    #[inline]
    pub(crate) fn seek_key(&self, from: usize, key: u16) -> usize {
        let key_of = |d: &[u8; 4]| u16::from_le_bytes([d[0], d[1]]);
        let (mut low, mut high, mut step) = (from, from, 1);
        while self.header.descriptions.get(high).is_some_and(|d| key_of(d) < key) {
            low = high + 1;
            high += step;
            step *= 2;
        }
        let high = high.min(self.container_count());
        match self.header.descriptions.get(low..high) {
            Some(between) => low + between.partition_point(|d| key_of(d) < key),
            None => low,
        }
    }

    /// The container of a chunk, or none where the chunk is empty; O(log containers).
    #[must_use]
    #[inline]
    pub fn container(&self, key: u16) -> Option<ContainerRef<'a>> {
        // Where no chunk is empty, a key is an index.
        let guess = usize::from(key.wrapping_sub(self.header.key(0)));
        let index = if self.key_at(guess) == Some(key) { guess } else { self.index_of_key(key) };
        // Most chunks of a sparse bitmap are empty: nothing is read for those but keys.
        if self.key_at(index) != Some(key) {
            return None;
        }
        self.container_at(index).map(|(_, container)| container)
    }

    /// Keys and containers in ascending order, from either end.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'a> {
        Chunks { view: *self, front: 0, back: self.container_count() }
    }

    /// Number of slots in the bitmap; O(containers).
    #[must_use]
    pub fn len(&self) -> u64 {
        if !self.recount {
            return self.header.len();
        }
        (0..self.container_count()).map(|index| u64::from(self.cardinality_at(index))).sum()
    }

    /// Whether no slot is in; O(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.container_count() == 0
    }

    /// Whether `slot` is in; O(log containers), plus O(log n) in an array or run container.
    #[must_use]
    #[inline]
    pub fn contains(&self, slot: u32) -> bool {
        let (key, low) = split(slot);
        self.container(key).is_some_and(|container| container.contains(low))
    }

    /// Number of slots at most `slot`; O(containers) and one container.
    #[must_use]
    pub fn rank(&self, slot: u32) -> u64 {
        let (key, low) = split(slot);
        let index = self.index_of_key(key);
        let below: u64 = (0..index).map(|i| u64::from(self.cardinality_at(i))).sum();
        match self.container_at(index) {
            Some((found, container)) if found == key => below + u64::from(container.rank(low)),
            _ => below,
        }
    }

    /// The slot with `rank` slots below it; O(containers) and one container.
    #[must_use]
    pub fn select(&self, rank: u64) -> Option<u32> {
        let mut left = rank;
        for index in 0..self.container_count() {
            let cardinality = u64::from(self.cardinality_at(index));
            if left < cardinality {
                let (key, container) = self.container_at(index)?;
                let low = container.select(u32::try_from(left).ok()?)?;
                return Some(join(key, low));
            }
            left -= cardinality;
        }
        None
    }

    /// The smallest slot; one container.
    #[must_use]
    pub fn min(&self) -> Option<u32> {
        let (key, container) = self.container_at(0)?;
        Some(join(key, container.min()?))
    }

    /// The largest slot; one container.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        let (key, container) = self.container_at(self.container_count().checked_sub(1)?)?;
        Some(join(key, container.max()?))
    }
}

/// Key and low half of a slot.
#[expect(clippy::cast_possible_truncation, reason = "splits 32 bits into two halves")]
#[inline]
pub(crate) fn split(slot: u32) -> (u16, u16) {
    ((slot >> 16) as u16, slot as u16)
}

/// The slot with this key and low half.
#[inline]
pub(crate) fn join(key: u16, low: u16) -> u32 {
    u32::from(key) << 16 | u32::from(low)
}

/// Keys and containers of a bitmap in ascending order.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    view: FrozenBitmap<'a>,
    front: usize,
    back: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (u16, ContainerRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.front += 1;
        self.view.container_at(self.front - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.back - self.front;
        (len, Some(len))
    }
}

impl DoubleEndedIterator for Chunks<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back -= 1;
        self.view.container_at(self.back)
    }
}

impl ExactSizeIterator for Chunks<'_> {}
