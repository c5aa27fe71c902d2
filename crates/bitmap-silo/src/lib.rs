//! Roaring bitmaps read in place from memory-mapped files.

#[cfg(target_endian = "big")]
compile_error!("bitmaps are read in place as little-endian words");

pub mod container;
mod error;
mod frozen;
mod kernels;

pub use error::BitmapError;
pub use frozen::{BitmapBuf, BitmapWriter, Chunks, FrozenBitmap};
