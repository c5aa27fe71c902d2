//! Roaring bitmaps read in place from memory-mapped files.

#[cfg(target_endian = "big")]
compile_error!("bitmaps are read in place as little-endian words");

pub mod container;
mod delta;
mod error;
mod frozen;
mod kernels;
mod small;

pub use delta::Delta;
pub use error::BitmapError;
pub use frozen::{BitmapBuf, BitmapWriter, Chunks, FrozenBitmap, Iter};
pub use small::{SmallBitmap, VARINTS_MAX, store_into};
