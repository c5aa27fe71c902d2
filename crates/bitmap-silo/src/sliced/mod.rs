//! Bit-sliced integers: a number per slot, as one bitmap per bit.
//!
//! The other form of a column: layer `b` has the slots whose number has bit `b`, and a bitmap of
//! existence has all slots with a number. The layers are ordinary bitmaps, so they are stored and
//! changed as such. Sums and quantiles under dense filters are counts over layers; comparisons
//! are boolean work, a chunk at a time. O'Neil and Quass, Improved Query Performance with Variant
//! Indexes (1997).
//!
//! * `build` — layers by transposing the bits of whole chunks.
//! * `view` — layers to read, and their check.
//! * `chunk` — the layers of one chunk at a time.
//! * `compare` — numbers that compare with one or two given ones.
//! * `summary` — sums, bounds, quantiles.
//! * `top` — the greatest or least numbers.
//! * `changes` — setting and clearing numbers as operations on the layers.

mod build;
mod changes;
mod chunk;
mod compare;
mod error;
mod summary;
mod top;
mod view;

pub use build::{SlicedBuf, SlicedBuilder};
pub use changes::{SlicedDelta, changes};
pub use compare::Comparison;
pub use error::SlicedError;
pub use view::SlicedView;

/// Most bits of a number.
pub const WIDTH_MAX: usize = 64;
