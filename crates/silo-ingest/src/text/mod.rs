//! Text records: from blocks of bytes to columns.

pub(crate) mod column;
pub(crate) mod compact;
pub(crate) mod cut;
pub(crate) mod json;
mod masks;
pub(crate) mod read;
pub(crate) mod split;
pub(crate) mod value;

use std::ops::Range;

use crate::reject::Reason;

/// A record that is left out.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Where it lies in the block.
    pub record: Range<u32>,
    /// The faulty column among those that were asked for.
    pub column: Option<usize>,
    /// What is wrong.
    pub reason: Reason,
}

/// What stands in a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'c> {
    /// Nothing.
    Null,
    /// A value's text; quoted ones are never null in text columns.
    Value { bytes: &'c [u8], quoted: bool },
    /// The text of a JSON array.
    Array(&'c [u8]),
    /// The text of a JSON object.
    Object(&'c [u8]),
}

/// A table of cells in a block.
pub(crate) trait Cells {
    /// How many rows.
    fn rows(&self) -> usize;
    /// Where each row's record begins in the block.
    fn starts(&self) -> &[u32];
    /// Where the cells of a column of the file lie in the block.
    fn column(&self, column: usize) -> impl Iterator<Item = Range<usize>>;
    /// What a cell means.
    fn token<'c>(cell: &'c [u8], scratch: &'c mut Vec<u8>) -> Token<'c>;
    /// Whether a cell is a text that means itself.
    fn is_plain(cell: &[u8]) -> bool;
}

/// A position in a block or in a batch's values. Blocks, and so what is read from them, are shorter than 4 GiB;
/// joins, which may multiply values, check their batches.
#[inline]
pub(crate) fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
