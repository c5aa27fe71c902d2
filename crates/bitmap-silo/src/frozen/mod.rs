//! Portable Roaring blobs read in place.
//!
//! [`FrozenBitmap`] is a view over the bytes of a blob, [`BitmapBuf`] owns such bytes, and
//! [`BitmapWriter`] produces them chunk by chunk.

mod buf;
mod convert;
mod error_at;
pub(crate) mod header;
mod iter;
mod validate;
mod view;
mod writer;

pub use buf::BitmapBuf;
pub use iter::Iter;
pub use view::{Chunks, FrozenBitmap};
pub(crate) use view::{join as join_slot, split as split_slot};
pub use writer::BitmapWriter;
