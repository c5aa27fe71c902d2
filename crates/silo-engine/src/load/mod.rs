//! Bulk loads: row batches in, one commit out.

mod bitmaps;
mod columns;
mod encode;
mod order;
mod spool;

pub use encode::Target;
