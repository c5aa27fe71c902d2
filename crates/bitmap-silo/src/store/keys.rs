//! Keys of the store's keyspaces. Integers are little-endian; a key's length says what it is.

use crate::container::CHUNK_SLOTS;

/// Chunks of a page of a huge bitmap.
pub(crate) const PAGE_CHUNKS: u32 = 256;
/// Slots of a page of a huge bitmap.
pub(crate) const PAGE_SLOTS: u32 = PAGE_CHUNKS * CHUNK_SLOTS;

/// The page that a slot lies in.
#[expect(clippy::cast_possible_truncation, reason = "there are 2^8 pages of 2^24 slots")]
pub(crate) fn page_of(slot: u32) -> u8 {
    (slot / PAGE_SLOTS) as u8
}

/// First and last chunk of a page.
pub(crate) fn page_chunks(page: u8) -> (u16, u16) {
    let first = u16::from(page) << 8;
    (first, first | 0xff)
}

/// A key of at most 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    bytes: [u8; 16],
    len: u8,
}

impl Key {
    fn new(parts: &[&[u8]]) -> Self {
        let mut key = Self { bytes: [0; 16], len: 0 };
        for part in parts {
            let at = usize::from(key.len);
            if let Some(to) = key.bytes.get_mut(at..at + part.len()) {
                to.copy_from_slice(part);
                key.len += u8::try_from(part.len()).unwrap_or(0);
            }
        }
        key
    }

    /// The whole bitmap of a value, or the list of its pages.
    pub(crate) fn bitmap(field: u32, value: u32) -> Self {
        Self::new(&[&field.to_le_bytes(), &value.to_le_bytes()])
    }

    /// A page of a huge bitmap.
    pub(crate) fn bitmap_page(field: u32, value: u32, page: u8) -> Self {
        Self::new(&[&field.to_le_bytes(), &value.to_le_bytes(), &[page]])
    }

    /// The set of values in use of a field.
    pub(crate) fn values(field: u32) -> Self {
        Self::new(&[&field.to_le_bytes()])
    }

    /// The set of values of a field whose bitmaps have pages.
    pub(crate) fn paged(field: u32) -> Self {
        Self::new(&[&field.to_le_bytes(), &[0]])
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// What a key of the bitmap keyspace stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BitmapKey {
    Bitmap { field: u32, value: u32 },
    Page { field: u32, value: u32, page: u8 },
    Values { field: u32 },
    Paged { field: u32 },
}

impl BitmapKey {
    pub(crate) fn parse(key: &[u8]) -> Option<Self> {
        let (field, rest) = key.split_first_chunk()?;
        let field = u32::from_le_bytes(*field);
        Some(match rest {
            [] => Self::Values { field },
            [0] => Self::Paged { field },
            _ => {
                let (value, rest) = rest.split_first_chunk()?;
                let value = u32::from_le_bytes(*value);
                match rest {
                    [] => Self::Bitmap { field, value },
                    [page] => Self::Page { field, value, page: *page },
                    _ => return None,
                }
            }
        })
    }
}
