//! Roaring bitmaps read in place from memory-mapped files.

#[cfg(target_endian = "big")]
compile_error!("bitmaps are read in place as little-endian words");

mod algebra;
mod build;
pub mod container;
mod delta;
mod error;
mod eval;
mod expr;
mod frozen;
mod kernels;
mod small;
mod source;
mod view;

pub use algebra::{intersection, intersection_len, intersection_of_frozen, union, union_len};
pub use build::{NO_VALUE, Rows, ValueBitmaps, build_values, concatenate, concatenate_into};
pub use delta::Delta;
pub use error::BitmapError;
pub use eval::{Explanation, Query};
pub use expr::Expr;
pub use frozen::{BitmapBuf, BitmapWriter, Chunks, FrozenBitmap, Iter};
pub use small::{SmallBitmap, VARINTS_MAX, store_into};
pub use view::BitmapView;

/// Name of the instruction set whose kernels this process runs: `scalar`, `avx2` or `avx512`.
#[must_use]
pub fn instruction_set() -> &'static str {
    kernels::kernels().name
}
