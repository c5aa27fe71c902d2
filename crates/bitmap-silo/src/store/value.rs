//! The stored form of a bitmap in a store: a small form as it is, a blob behind a header, or the
//! list of the pages of a huge bitmap.

use crate::container::{ArrayRef, Layout};
use crate::error::BitmapError;
use crate::frozen::header::header_bytes;
use crate::frozen::{BitmapWriter, FrozenBitmap, split_slot};
use crate::small::{TAG_LIST, TAG_VARINTS, store_slots_into};
use crate::source::Source;
use crate::view::BitmapView;

/// First byte of a header with a blob behind it.
pub(crate) const TAG_BLOB: u8 = 4;
/// First byte of a list of pages.
pub(crate) const TAG_PAGES: u8 = 5;
/// Bytes of the header before a blob.
pub(crate) const HEADER_LEN: usize = 16;
/// Bytes of a list of pages.
pub(crate) const PAGES_LEN: usize = 36;

/// Which of 256 pages a huge bitmap has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageSet(pub(crate) [u8; 32]);

impl PageSet {
    pub(crate) fn contains(&self, page: u8) -> bool {
        self.0.get(usize::from(page / 8)).is_some_and(|bits| bits >> (page % 8) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, page: u8) {
        if let Some(bits) = self.0.get_mut(usize::from(page / 8)) {
            *bits |= 1 << (page % 8);
        }
    }

    pub(crate) fn union(&mut self, other: &PageSet) {
        self.0.iter_mut().zip(other.0).for_each(|(bits, more)| *bits |= more);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|page| self.contains(*page))
    }

    pub(crate) fn to_value(self) -> [u8; PAGES_LEN] {
        let mut value = [0; PAGES_LEN];
        value[0] = TAG_PAGES;
        value[4..].copy_from_slice(&self.0);
        value
    }
}

/// A stored bitmap, parsed.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "lists of pages are the rare case")]
pub(crate) enum StoredValue<'a> {
    Set { len: u64, view: BitmapView<'a> },
    Pages(PageSet),
}

impl<'a> StoredValue<'a> {
    /// Opens a stored bitmap; O(containers) or O(slots of a small form). No bytes are the empty
    /// bitmap.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, BitmapError> {
        match bytes.first() {
            None | Some(&(TAG_LIST | TAG_VARINTS)) => {
                let view = BitmapView::open(bytes)?;
                Ok(Self::Set { len: view.base_len(), view })
            }
            Some(&TAG_BLOB) => {
                let len = header_len(bytes)?;
                let view = FrozenBitmap::open(bytes.get(HEADER_LEN..).unwrap_or(&[]))?;
                Ok(Self::Set { len, view: view.into() })
            }
            Some(&TAG_PAGES) => match bytes.strip_prefix(&[TAG_PAGES, 0, 0, 0]) {
                Some(pages) => Ok(Self::Pages(PageSet(
                    pages
                        .try_into()
                        .map_err(|_| BitmapError::malformed("a list of pages that has not 36 bytes", 0))?,
                ))),
                None => Err(BitmapError::malformed("a list of pages of an unknown version", 1)),
            },
            Some(_) => Err(BitmapError::malformed("no tag of a stored bitmap", 0)),
        }
    }

    /// The set, where the value is no list of pages.
    pub(crate) fn set(self) -> Result<(u64, BitmapView<'a>), BitmapError> {
        match self {
            Self::Set { len, view } => Ok((len, view)),
            Self::Pages(_) => Err(BitmapError::malformed("a list of pages where there should be a set", 0)),
        }
    }

    /// Checks every byte, and that the header is true.
    pub(crate) fn validate(bytes: &'a [u8]) -> Result<(), BitmapError> {
        if let Self::Set { len, view } = Self::open(bytes)?
            && let Some(blob) = bytes.strip_prefix(&[TAG_BLOB]).and_then(|_| bytes.get(HEADER_LEN..))
        {
            let blob_view = FrozenBitmap::open(blob)?;
            blob_view.validate()?;
            if blob_view.as_bytes().len() != blob.len() {
                return Err(BitmapError::malformed("bytes behind the blob", HEADER_LEN + blob.len()));
            }
            if len != view.base_len() {
                return Err(BitmapError::malformed("the header's cardinality is not the blob's", 8));
            }
            let count = bytes.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
            if count as usize != blob_view.container_count() {
                return Err(BitmapError::malformed("the header's container count is not the blob's", 4));
            }
        }
        Ok(())
    }
}

/// Number of slots that the header before a blob records.
pub(crate) fn header_len(bytes: &[u8]) -> Result<u64, BitmapError> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Err(BitmapError::truncated("the header", 0, HEADER_LEN, bytes.len()));
    };
    let [TAG_BLOB, 0, 0, 0, _, _, _, _, len @ ..] = *header else {
        return Err(BitmapError::malformed("a header of an unknown version", 0));
    };
    let len = u64::from_le_bytes(len);
    if len > 1 << 32 {
        return Err(BitmapError::malformed("a cardinality past 2^32", 8));
    }
    Ok(len)
}

/// Whether a blob gets a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// For values.
    Counted,
    /// For the parts of operands.
    Absent,
}

/// Which encodings are considered for chunks that come unchanged from stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// All: the bytes may have been written for one use.
    Reencode,
    /// Only that which they have: they were stored before.
    Keep,
}

/// Appends the stored form of what a writer holds.
fn store_writer(writer: &BitmapWriter, header: Header, out: &mut Vec<u8>) {
    let slot_count = writer.len();
    if slot_count == 0 {
        return;
    }
    if slot_count * 4 < writer.blob_bytes() as u64 {
        let mut blob = Vec::new();
        writer.finish_into(&mut blob);
        if let Ok(view) = FrozenBitmap::open(&blob) {
            let slot_count = usize::try_from(slot_count).unwrap_or(usize::MAX);
            store_slots_into(view.iter(), slot_count, out);
        }
        return;
    }
    if header == Header::Counted {
        out.extend_from_slice(&[TAG_BLOB, 0, 0, 0]);
        let count = u32::try_from(writer.container_count()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&slot_count.to_le_bytes());
    }
    writer.finish_into(out);
}

/// Appends the stored form of the chunks from `first` to `last` of any bitmap.
pub(crate) fn store_view(
    view: &BitmapView<'_>,
    (first, last): (u16, u16),
    unchanged: Unchanged,
    out: &mut Vec<u8>,
) {
    let mut writer = BitmapWriter::new(Layout::Smallest);
    let mut source = Source::new(view);
    let mut from = Some(first);
    while let Some(key) = from.and_then(|key| source.seek(key)).filter(|key| *key <= last) {
        let cardinality = source.load(key);
        let keep = unchanged == Unchanged::Keep && source.is_lent();
        let layout = if keep { Layout::Quick } else { Layout::Smallest };
        let pushed = writer.push_in(key, source.container(), cardinality, layout);
        debug_assert!(pushed.is_ok(), "keys ascend");
        from = key.checked_add(1);
    }
    store_writer(&writer, Header::Counted, out);
}

/// Appends the stored form of ascending slots.
pub(crate) fn store_slots(slots: &[u32], header: Header, out: &mut Vec<u8>) {
    let chunk_count = slots.chunk_by(|a, b| a >> 16 == b >> 16).count();
    // A container costs at least eight bytes of header and two of a body: with few slots per chunk
    // the small form is certain to win.
    if slots.len() * 4 < header_bytes(chunk_count, true) + chunk_count * 2 {
        if !slots.is_empty() {
            store_slots_into(slots.iter().copied(), slots.len(), out);
        }
        return;
    }
    let mut writer = BitmapWriter::new(Layout::Smallest);
    let mut list = Vec::new();
    for chunk in slots.chunk_by(|a, b| a >> 16 == b >> 16) {
        list.clear();
        list.extend(chunk.iter().map(|slot| split_slot(*slot).1));
        let key = chunk.first().map_or(0, |slot| split_slot(*slot).0);
        let pushed = writer.push(key, ArrayRef::from_values(&list).into());
        debug_assert!(pushed.is_ok(), "keys ascend");
    }
    store_writer(&writer, header, out);
}
