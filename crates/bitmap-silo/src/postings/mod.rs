//! Postings: fields with many values, and ids, as sorted (value, slot) pairs in packed pages.
//!
//! [`PostingsPage`] reads a page in place, [`PostingsDelta`] holds operations on it that are
//! pending, [`PostingsView`] is the page as it is after them. [`build_pages`] and
//! [`PagesBuilder`] write pages from sorted pairs, [`fold`] and [`split`] write them anew from a
//! view. [`Splits`] lists where the pages of a field begin, [`sort_pairs`] sorts the pairs of a
//! load. `docs/format/bitmap-silo-v1.md` specifies the bytes.

mod ascending;
mod bits;
mod build;
mod delta;
mod error;
mod iter;
mod operand;
mod packed;
mod page;
mod sort;
mod splits;
mod view;

pub use build::{FirstAndPage, PagesBuilder, build_pages, fold, split};
pub use delta::{PostingOp, PostingsDelta};
pub use error::PostingsError;
pub use iter::{Posting, Postings, Slots};
pub use page::{PAGE_PAIRS_MAX, PostingsPage};
pub use sort::{par_sort_pairs, sort_pairs};
pub use splits::{PageSplit, Splits, encode_splits};
pub use view::PostingsView;
