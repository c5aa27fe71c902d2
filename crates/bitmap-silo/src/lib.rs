//! Roaring bitmaps read in place from memory-mapped files, and boolean expressions over them
//! evaluated one chunk of 65,536 slots at a time.
//!
//! A bitmap is stored as one unmodified portable Roaring blob, or in a small form where that is
//! shorter; `docs/format/bitmap-silo-v1.md` specifies both. [`FrozenBitmap`] reads a blob without
//! copying it, [`BitmapView`] is any bitmap an operation takes (stored in either form, in memory,
//! a range, with pending operations on top), [`Expr`] combines views and [`Query`] evaluates the
//! combination: to a count, the first slots, a bitmap, or chunk by chunk to a consumer.
//! Fields with very many values, and ids, are kept as sorted pairs in packed pages: [`postings`].
//!
//! ```
//! use bitmap_silo::{BitmapBuf, BitmapView, Delta, Expr, Query};
//!
//! let safe: BitmapBuf = (0..100_000).collect();
//! let cats: BitmapBuf = (0..100_000).step_by(3).collect();
//! let dogs: BitmapBuf = (0..100_000).step_by(5).collect();
//! let hidden: BitmapBuf = [15, 30].into_iter().collect();
//!
//! // What a store would lend: bytes at any alignment.
//! let bytes = cats.as_bytes();
//! let cats = BitmapView::open(bytes)?;
//!
//! // Operations that are not folded into the bytes yet.
//! let pending = Delta::from_ops([(1, true), (3, false)]);
//!
//! let expr = Expr::and([
//!     Expr::bitmap(&safe),
//!     Expr::or([Expr::bitmap(cats.patched(&pending)), Expr::bitmap(&dogs)]),
//! ])
//! .and_not(Expr::bitmap(&hidden));
//! let query = Query::new(expr, 100_000);
//! assert_eq!(query.first(5), [0, 1, 5, 6, 9]);
//! assert_eq!(query.count(), query.to_bitmap().len());
//! println!("{}", query.explain());
//! # Ok::<(), bitmap_silo::BitmapError>(())
//! ```
//!
//! # What it is not for
//! Changing single bits of large sets in memory: that is `roaring`'s work, and a
//! `roaring::RoaringBitmap` is a fine operand here. 64-bit sets. Big-endian targets.
//!
//! # Limits
//! Slots are 32-bit. A blob has at most 65,536 containers and so at most 512 MiB. Offsets that
//! lie are accepted from strangers as the reference readers accept them, at the price of walking
//! ([`FrozenBitmap::from_untrusted`]).

#[cfg(target_endian = "big")]
compile_error!("bitmaps are read in place as little-endian words");

mod algebra;
mod build;
pub mod column;
pub mod container;
mod delta;
mod error;
mod eval;
mod expr;
mod frozen;
mod kernels;
mod pages;
pub mod postings;
pub mod sliced;
mod small;
mod source;
pub mod store;
pub mod topk;
mod view;

pub use algebra::{intersection, intersection_len, intersection_of_frozen, union, union_len};
pub use build::{NO_VALUE, Rows, ValueBitmaps, build_values, concatenate, concatenate_into};
pub use delta::Delta;
pub use error::BitmapError;
pub use eval::{ChunkFilter, Explanation, Query, count_groups};
pub use expr::Expr;
pub use frozen::{BitmapBuf, BitmapWriter, Chunks, FrozenBitmap, Iter};
pub use kernels::instruction_set;
pub use small::{SmallBitmap, VARINTS_MAX, store_into};
pub use view::BitmapView;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
