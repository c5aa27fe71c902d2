//! Portable Roaring blobs read in place.
//!
//! [`FrozenBitmap`] is a view over the bytes of a blob, [`BitmapBuf`] owns such bytes, and
//! [`BitmapWriter`] produces them chunk by chunk.

mod buf;
mod error_at;
pub(crate) mod header;
mod validate;
mod view;
mod writer;

pub use buf::BitmapBuf;
pub use view::{Chunks, FrozenBitmap};
pub use writer::BitmapWriter;
