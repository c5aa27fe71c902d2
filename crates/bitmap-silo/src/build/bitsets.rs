//! Few values: a bitset per value, filled chunk by chunk.

use super::rows::{ByChunk, Rows};
use super::values::{ValueBitmaps, ValuesWriter};
use crate::container::{Layout, Scratch};
use crate::error::BitmapError;
use crate::frozen::BitmapWriter;

pub(super) fn build(rows: Rows<'_>, value_count: u32) -> Result<ValueBitmaps, BitmapError> {
    let value_count = value_count as usize;
    let by_chunk = ByChunk::of(rows);
    let mut writers = vec![BitmapWriter::new(Layout::Smallest); value_count];
    let mut bitsets = vec![Scratch::new(); value_count];
    for (key, rows) in by_chunk.iter(rows) {
        fill(rows, &mut bitsets);
        for (bitset, writer) in bitsets.iter_mut().zip(&mut writers) {
            let cardinality = bitset.cardinality();
            if cardinality > 0 {
                writer.push_counted(key, bitset.as_bitset(cardinality).into(), cardinality)?;
                bitset.clear();
            }
        }
    }
    let mut values =
        ValuesWriter::with_capacity(value_count, writers.iter().map(BitmapWriter::blob_bytes).sum());
    for writer in &writers {
        values.push_writer(writer)?;
    }
    Ok(values.finish())
}

/// Adds the slots of a chunk to the bitsets of their values.
fn fill(rows: Rows<'_>, bitsets: &mut [Scratch]) {
    if let Rows::Consecutive { first_slot, values } = rows
        && first_slot.is_multiple_of(64)
    {
        fill_words(first_slot, values, bitsets);
    } else {
        rows.for_each(|slot, value| {
            if let Some(bitset) = bitsets.get_mut(value as usize) {
                bitset.insert(crate::frozen::split_slot(slot).1);
            }
        });
    }
}

/// Consecutive rows: a word of each bitset at a time, by comparing 64 values with one.
fn fill_words(first_slot: u32, values: &[u32], bitsets: &mut [Scratch]) {
    let first_word = (first_slot & 0xffff) as usize / 64;
    // Past a few values most comparisons fail, and setting bits one by one is cheaper.
    if bitsets.len() > 16 {
        for (slot, value) in (first_slot..).zip(values) {
            if let Some(bitset) = bitsets.get_mut(*value as usize) {
                bitset.insert(crate::frozen::split_slot(slot).1);
            }
        }
        return;
    }
    for (value, bitset) in (0_u32..).zip(bitsets) {
        if let Some(words) = bitset.words_mut().get_mut(first_word..) {
            (crate::kernels::kernels().equal_masks)(values, value, words);
        }
    }
}
