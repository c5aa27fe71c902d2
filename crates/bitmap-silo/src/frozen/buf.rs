//! A blob in memory.

use super::header::Header;
use super::view::FrozenBitmap;
use crate::error::BitmapError;

/// A bitmap that owns the bytes of its portable blob.
#[derive(Clone, Debug, Default)]
pub struct BitmapBuf {
    /// Unused room, then a valid blob, or nothing for the empty bitmap.
    bytes: Vec<u8>,
    /// Where the blob starts.
    start: usize,
}

/// The blob of the empty bitmap.
const EMPTY: &[u8] = &[0x3a, 0x30, 0, 0, 0, 0, 0, 0];

impl BitmapBuf {
    /// Wraps a blob that a writer of this crate made.
    pub(crate) fn from_valid(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// Wraps bytes that hold a blob which a writer of this crate made from `start` on.
    pub(crate) fn from_valid_at(bytes: Vec<u8>, start: usize) -> Self {
        Self { bytes, start }
    }

    /// Takes bytes from a stranger after checking all of them; trailing bytes are cut off.
    ///
    /// # Errors
    /// As [`FrozenBitmap::from_untrusted`], and where offsets or cardinalities are not true.
    pub fn from_untrusted(mut bytes: Vec<u8>) -> Result<Self, BitmapError> {
        let view = FrozenBitmap::from_untrusted(&bytes)?;
        view.validate()?;
        let len = view.as_bytes().len();
        bytes.truncate(len);
        Ok(Self { bytes, start: 0 })
    }

    /// The blob.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self.bytes.get(self.start..) {
            Some([]) | None => EMPTY,
            Some(blob) => blob,
        }
    }

    /// The blob, by value; O(bytes).
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        if self.bytes.is_empty() {
            return EMPTY.to_vec();
        }
        self.bytes.drain(..self.start.min(self.bytes.len()));
        self.bytes
    }

    /// The bitmap as a view; O(containers).
    ///
    /// # Panics
    /// Never: the bytes were made by a writer of this crate or validated.
    #[must_use]
    pub fn view(&self) -> FrozenBitmap<'_> {
        match FrozenBitmap::open(self.as_bytes()) {
            Ok(view) => view,
            Err(error) => unreachable!("a bitmap buffer holds a valid blob: {error}"),
        }
    }

    /// Number of slots; O(containers).
    #[must_use]
    pub fn len(&self) -> u64 {
        Header::parse(self.as_bytes()).map_or(0, |header| header.len())
    }

    /// Whether no slot is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Header::parse(self.as_bytes()).map_or(true, |header| header.container_count() == 0)
    }
}
