//! Columns: one number per slot, stored chunk by chunk.
//!
//! A number is a 64-bit *sort key* ([`sort_key`]). The keys of one chunk of 65,536 slots are a
//! *page* ([`ColumnPage`]): packed values to look up, and the slots in the order of their keys, so
//! that ranges are binary searches and walking in value order costs what is taken. Changes that are
//! not folded into a page yet lie beside it ([`ColumnDelta`]); [`ColumnView`] reads both as one.
//! [`Zone`]s bound the keys of each chunk of a field.
//!
//! `docs/format/bitmap-silo-v1.md` specifies the bytes.

mod build;
mod delta;
mod error;
mod fold;
mod page;
mod positions;
mod presence;
pub mod sort_key;
mod view;
mod walk;
mod zones;

pub use build::PageBuilder;
pub use delta::ColumnDelta;
pub use error::ColumnError;
pub use fold::fold;
pub use page::ColumnPage;
pub use view::ColumnView;
pub use walk::{Direction, Walk};
pub use zones::{Zone, Zones};
