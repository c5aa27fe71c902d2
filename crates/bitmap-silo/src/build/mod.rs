//! Building bitmaps in bulk.
//!
//! Whoever builds owns whole chunks: a thread takes the rows of some chunks and emits their
//! containers, so that merging the parts of many threads is copying ([`concatenate`]). Rows that
//! come out of slot order are first partitioned by chunk.
//!
//! * [`concat`](mod@concat) — parts of one bitmap, end to end.
//! * [`values`] — the bitmaps of a field, one per value.
//! * [`rows`] — rows to bitmaps, by one of three ways: [`bitsets`] where values are few,
//!   [`chunks`] where they are many, [`gather`] where most have a handful of rows.

mod bitsets;
mod chunks;
mod concat;
mod gather;
mod rows;
mod values;

pub use concat::{concatenate, concatenate_into};
pub use rows::{NO_VALUE, Rows, build_values};
pub use values::ValueBitmaps;
