//! Encoded documents between being read and being given their slots.

use std::io;
use std::ops::Range;

use super::spool::{Block, ColumnReader, Extent, Spool, SpooledColumn};

/// Bytes of documents in a block.
const MOST_BYTES: usize = 1 << 28;

/// Documents of all rows, in blocks.
#[derive(Debug, Default)]
pub(super) struct SpooledDocuments {
    /// Per row, the end of its document in the block's bytes; per block, where those bytes are.
    blocks: SpooledColumn,
}

/// Finished documents.
#[derive(Debug)]
pub(super) struct DocumentReader {
    blocks: ColumnReader,
}

/// Documents of consecutive rows, as they are collected.
#[derive(Debug, Default)]
pub(super) struct DocumentBlock {
    pub(super) bytes: Vec<u8>,
    ends: Vec<u32>,
    packed: Vec<u8>,
}

impl DocumentBlock {
    /// Ends the document whose bytes were appended last.
    pub(super) fn end_document(&mut self) {
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Whether more documents have room.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < MOST_BYTES
    }
}

impl SpooledDocuments {
    /// Adds the documents of a block, for rows from `first_row` on, and empties it.
    pub(super) fn append(&self, spool: &Spool, first_row: u64, block: &mut DocumentBlock) -> io::Result<()> {
        let extent = spool.append(&block.bytes)?;
        let rows = block.ends.len();
        let described = Block {
            nulls: Vec::new(),
            ends: std::mem::take(&mut block.ends),
            numbers: extent.to_numbers().to_vec(),
        };
        self.blocks.append(spool, first_row, rows, &described, &mut block.packed)?;
        block.ends = described.ends;
        block.ends.clear();
        block.bytes.clear();
        Ok(())
    }

    /// The documents for reading, in the order of rows.
    pub(super) fn into_reader(self) -> DocumentReader {
        DocumentReader { blocks: self.blocks.into_reader() }
    }
}

impl DocumentReader {
    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.blocks.rows()
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.blocks()
    }

    /// Calls `f` with row (counted densely) and document of every row of a block. Unless they are to be read again,
    /// `keep`, the room of the documents is given back.
    pub(super) fn for_each_in_block<E: From<io::Error>>(
        &self,
        spool: &Spool,
        at: usize,
        keep: bool,
        mut f: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut block, mut buffer) = (Block::default(), Vec::new());
        self.blocks.read_block(at, spool, &mut buffer, &mut block)?;
        let extent = Extent::from_numbers(&block.numbers);
        let bytes = spool.read(extent, &mut buffer)?;
        for (row, of_block) in self.blocks.rows_of(at).zip(0..) {
            f(row, bytes.get(super::encode::span(&block.ends, of_block)).unwrap_or_default())?;
        }
        if !keep {
            spool.release(extent);
        }
        Ok(())
    }

    /// Calls `f` with row (counted densely) and document of every row in a range.
    pub(super) fn for_each<E: From<io::Error>>(
        &self,
        spool: &Spool,
        rows: Range<usize>,
        mut f: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = Vec::new();
        self.blocks.for_each_block(spool, rows.clone(), |first, count, block| {
            let bytes = spool.read(Extent::from_numbers(&block.numbers), &mut buffer)?;
            for row in rows.start.saturating_sub(first)..count.min(rows.end.saturating_sub(first)) {
                f(first + row, bytes.get(super::encode::span(&block.ends, row)).unwrap_or_default())?;
            }
            Ok(())
        })
    }
}
