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

    /// The set of values in use of a field.
    pub(crate) fn values(field: u32) -> Self {
        Self::new(&[&field.to_le_bytes()])
    }

    /// The set of values of a field whose bitmaps have pages.
    pub(crate) fn paged(field: u32) -> Self {
        Self::new(&[&field.to_le_bytes(), &[0]])
    }

    /// The column of a chunk, in its keyspace.
    pub(crate) fn column(field: u32, chunk: u16) -> Self {
        Self::new(&[&field.to_le_bytes(), &chunk.to_le_bytes()])
    }

    /// What there is once for a field: its zones, its splits.
    pub(crate) fn field(field: u32) -> Self {
        Self::new(&[&field.to_le_bytes()])
    }

    /// A page of postings, in its keyspace.
    pub(crate) fn postings(field: u32, page: u32) -> Self {
        Self::new(&[&field.to_le_bytes(), &page.to_le_bytes()])
    }

    /// The values of a postings field that have bitmaps of their own, beside the splits.
    pub(crate) fn heavy(field: u32) -> Self {
        Self::new(&[&field.to_le_bytes(), &[0]])
    }
}

/// Whose bitmap it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BitmapId {
    pub(crate) field: u32,
    pub(crate) value: BitmapValue,
}

/// The value that a bitmap has the slots of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BitmapValue {
    /// A value of a bitmap field.
    Few(u32),
    /// A value of a postings field that has very many slots.
    Heavy(u64),
}

impl BitmapId {
    pub(crate) fn few(field: u32, value: u32) -> Self {
        Self { field, value: BitmapValue::Few(value) }
    }

    pub(crate) fn heavy(field: u32, value: u64) -> Self {
        Self { field, value: BitmapValue::Heavy(value) }
    }

    /// The key of the whole bitmap, or of the list of its pages.
    pub(crate) fn key(self) -> Key {
        let field = self.field.to_le_bytes();
        match self.value {
            BitmapValue::Few(value) => Key::new(&[&field, &value.to_le_bytes()]),
            BitmapValue::Heavy(value) => Key::new(&[&field, &value.to_le_bytes()]),
        }
    }

    /// The key of a page.
    pub(crate) fn page_key(self, page: u8) -> Key {
        Key::new(&[self.key().as_ref(), &[page]])
    }
}

impl std::fmt::Display for BitmapId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.value {
            BitmapValue::Few(value) => write!(f, "field {}, value {value}", self.field),
            BitmapValue::Heavy(value) => write!(f, "field {}, heavy value {value}", self.field),
        }
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
    Bitmap(BitmapId),
    Page(BitmapId, u8),
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
                let few = |value: &[u8; 4]| BitmapId::few(field, u32::from_le_bytes(*value));
                let heavy = |value: &[u8; 8]| BitmapId::heavy(field, u64::from_le_bytes(*value));
                let (value, page) = rest.split_at(rest.len() & !1);
                let id = match (value.as_array(), value.as_array()) {
                    (Some(value), _) => few(value),
                    (_, Some(value)) => heavy(value),
                    _ => return None,
                };
                match page {
                    [] => Self::Bitmap(id),
                    [page] => Self::Page(id, *page),
                    _ => return None,
                }
            }
        })
    }
}
