//! Where the pages of a field begin.

use std::ops::{Range, RangeInclusive};

use super::error::PostingsError;

/// First byte of splits.
const TAG: u8 = 0x53;
/// Second byte of splits.
const VERSION: u8 = 1;
/// Bytes before the entries.
const HEADER_BYTES: usize = 8;
/// Bytes of an entry.
const ENTRY_BYTES: usize = 16;

/// A page and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSplit {
    /// The pair, value and slot, at which the page begins.
    pub first: (u64, u32),
    /// The page's number.
    pub page: u32,
}

impl PageSplit {
    #[inline]
    fn read(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [v0, v1, v2, v3, v4, v5, v6, v7, s0, s1, s2, s3, p0, p1, p2, p3] = *bytes;
        Self {
            first: (
                u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]),
                u32::from_le_bytes([s0, s1, s2, s3]),
            ),
            page: u32::from_le_bytes([p0, p1, p2, p3]),
        }
    }
}

/// The pages of a field in order, over the stored bytes. No bytes are no pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Splits<'a> {
    entries: &'a [[u8; ENTRY_BYTES]],
}

impl<'a> Splits<'a> {
    /// Opens splits from a store that has verified their checksum; O(1), nothing allocated.
    ///
    /// # Errors
    /// [`PostingsError`] where the header is another or the entries are not exactly those it
    /// counts.
    pub fn open(bytes: &'a [u8]) -> Result<Self, PostingsError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let Some(([tag @ .., c0, c1, c2, c3], entries)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(PostingsError::truncated("the header of splits", HEADER_BYTES, bytes.len()));
        };
        if *tag != [TAG, VERSION, 0, 0] {
            return Err(PostingsError::malformed("not postings splits of version 1", 0));
        }
        let count = u32::from_le_bytes([*c0, *c1, *c2, *c3]) as usize;
        let (entries, rest) = entries.as_chunks();
        if entries.len() < count {
            let need = HEADER_BYTES + ENTRY_BYTES * count;
            return Err(PostingsError::truncated("the entries of splits", need, bytes.len()));
        }
        if entries.len() > count || !rest.is_empty() {
            let end = HEADER_BYTES + ENTRY_BYTES * count;
            return Err(PostingsError::malformed("bytes behind the splits", end));
        }
        Ok(Self { entries })
    }

    /// Checks every entry; O(pages).
    ///
    /// # Errors
    /// [`PostingsError::Malformed`] where first pairs do not ascend strictly.
    pub fn validate(&self) -> Result<(), PostingsError> {
        let firsts = || self.iter().map(|split| split.first);
        match firsts().zip(firsts().skip(1)).position(|(first, next)| first >= next) {
            None => Ok(()),
            Some(at) => {
                let offset = HEADER_BYTES + ENTRY_BYTES * (at + 1);
                Err(PostingsError::malformed("a page that does not begin above the one before", offset))
            }
        }
    }

    /// Number of pages; O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The page at `index` in the order of pairs; O(1).
    #[must_use]
    pub fn get(&self, index: usize) -> Option<PageSplit> {
        self.entries.get(index).map(PageSplit::read)
    }

    /// The pages in the order of their pairs.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = PageSplit> + ExactSizeIterator + use<'a> {
        self.entries.iter().map(PageSplit::read)
    }

    /// Index of the page to which a pair belongs: the last that does not begin above it, or else
    /// the first. None where there is no page. O(log n).
    #[must_use]
    pub fn page_of(&self, value: u64, slot: u32) -> Option<usize> {
        let not_above = self.entries.partition_point(|entry| PageSplit::read(entry).first <= (value, slot));
        let last = self.entries.len().checked_sub(1)?;
        Some(not_above.saturating_sub(1).min(last))
    }

    /// Indices of the pages that may have pairs or markers of values in the range; O(log n).
    #[must_use]
    pub fn pages_of_range(&self, values: RangeInclusive<u64>) -> Range<usize> {
        if values.is_empty() {
            return 0..0;
        }
        let (first, last) = (self.page_of(*values.start(), 0), self.page_of(*values.end(), u32::MAX));
        first.zip(last).map_or(0..0, |(first, last)| first..last + 1)
    }

    /// The stored form of these splits with the pages at `indices` replaced by others; O(pages).
    ///
    /// # Errors
    /// [`PostingsError::PairOrder`] where the first pairs would not ascend strictly.
    pub fn replaced(&self, indices: Range<usize>, by: &[PageSplit]) -> Result<Vec<u8>, PostingsError> {
        let before = self.iter().take(indices.start);
        encode_splits(before.chain(by.iter().copied()).chain(self.iter().skip(indices.end)))
    }
}

/// The stored form of pages in the order of their pairs; no bytes for no pages.
///
/// # Errors
/// [`PostingsError::PairOrder`] where the first pairs do not ascend strictly.
pub fn encode_splits(splits: impl IntoIterator<Item = PageSplit>) -> Result<Vec<u8>, PostingsError> {
    let mut out = vec![TAG, VERSION, 0, 0, 0, 0, 0, 0];
    let (mut count, mut last) = (0_u32, None);
    for PageSplit { first, page } in splits {
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(PostingsError::PairOrder { last, got: first });
        }
        last = Some(first);
        count += 1;
        out.extend_from_slice(&first.0.to_le_bytes());
        out.extend_from_slice(&first.1.to_le_bytes());
        out.extend_from_slice(&page.to_le_bytes());
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    if let Some(bytes) = out.get_mut(4..HEADER_BYTES) {
        bytes.copy_from_slice(&count.to_le_bytes());
    }
    Ok(out)
}
