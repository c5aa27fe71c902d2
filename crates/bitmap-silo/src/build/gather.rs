//! Millions of values with a handful of rows each: rows are partitioned by the upper bits of
//! their value, so that each partition's counters and slots fit the cache, and grouped there.

#![expect(
    clippy::indexing_slicing,
    reason = "values were checked against the value count that all tables are sized by"
)]

use super::rows::Rows;
use super::values::{ValueBitmaps, ValuesWriter};
use crate::container::{ArrayRef, ContainerRef};
use crate::error::BitmapError;
use crate::frozen::header::header_bytes;
use crate::frozen::split_slot;

/// Values of one partition: their counters take 16 KiB.
const PARTITION_BITS: u32 = 12;
const PARTITION_VALUES: usize = 1 << PARTITION_BITS;

pub(super) fn build(rows: Rows<'_>, value_count: u32) -> Result<ValueBitmaps, BitmapError> {
    let value_count = value_count as usize;
    let partitions = value_count.div_ceil(PARTITION_VALUES);
    let (pairs, ends) = partition(rows, partitions);
    let mut values = ValuesWriter::with_capacity(value_count, 5 * pairs.len());
    let mut slots = Vec::new();
    let mut lists: Vec<(u16, Vec<u16>)> = Vec::new();
    // Rows of consecutive slots stay in order when grouped.
    let ordered = matches!(rows, Rows::Consecutive { .. });
    let mut start = 0;
    for (index, end) in ends.into_iter().enumerate() {
        let here = PARTITION_VALUES.min(value_count - index * PARTITION_VALUES);
        let value_ends = group(&pairs[start..end], &mut slots);
        start = end;
        let mut from = 0;
        for to in &value_ends[..here] {
            let list = &mut slots[from..*to as usize];
            from = *to as usize;
            if !ordered && !list.is_sorted() {
                list.sort_unstable();
            }
            push(list, &mut lists, &mut values)?;
        }
    }
    Ok(values.finish())
}

/// Counting sort by partition into pairs of (slot, lower bits of the value); answers where each
/// partition ends.
fn partition(rows: Rows<'_>, partitions: usize) -> (Vec<(u32, u32)>, Vec<usize>) {
    let mut ends = vec![0_usize; partitions];
    rows.for_each(|_, value| ends[(value >> PARTITION_BITS) as usize] += 1);
    let mut start = 0;
    for end in &mut ends {
        let count = *end;
        *end = start;
        start += count;
    }
    let mut pairs = vec![(0_u32, 0_u32); start];
    rows.for_each(|slot, value| {
        let at = &mut ends[(value >> PARTITION_BITS) as usize];
        pairs[*at] = (slot, value & ((1 << PARTITION_BITS) - 1));
        *at += 1;
    });
    (pairs, ends)
}

/// Counting sort of a partition by value; answers where the slots of each value end.
fn group(pairs: &[(u32, u32)], slots: &mut Vec<u32>) -> Box<[u32; PARTITION_VALUES]> {
    let mut ends = Box::new([0_u32; PARTITION_VALUES]);
    for (_, value) in pairs {
        ends[*value as usize] += 1;
    }
    let mut start = 0;
    for end in ends.iter_mut() {
        let count = *end;
        *end = start;
        start += count;
    }
    slots.clear();
    slots.resize(pairs.len(), 0);
    for (slot, value) in pairs {
        let at = &mut ends[*value as usize];
        slots[*at as usize] = *slot;
        *at += 1;
    }
    ends
}

/// Writes a value's bitmap from sorted slots, which may repeat.
fn push(
    slots: &[u32],
    lists: &mut Vec<(u16, Vec<u16>)>,
    values: &mut ValuesWriter,
) -> Result<(), BitmapError> {
    if slots.is_empty() {
        values.push_empty();
        return Ok(());
    }
    // A container costs at least eight bytes of header and two of a body: with few slots per chunk
    // the small form is certain to win.
    let (mut chunk_count, mut distinct) = (1, true);
    for pair in slots.windows(2) {
        chunk_count += usize::from(pair[0] >> 16 != pair[1] >> 16);
        distinct &= pair[0] != pair[1];
    }
    if distinct && 4 * slots.len() < header_bytes(chunk_count, true) + chunk_count * 2 {
        values.push_small(slots.iter().copied(), slots.len());
        return Ok(());
    }
    lists.clear();
    for same_chunk in slots.chunk_by(|x, y| x >> 16 == y >> 16) {
        let mut list: Vec<u16> = same_chunk.iter().map(|slot| split_slot(*slot).1).collect();
        list.dedup();
        lists.push((split_slot(same_chunk[0]).0, list));
    }
    let containers = lists.iter().map(|(key, list)| (*key, ContainerRef::from(ArrayRef::from_values(list))));
    values.push_chunks(containers)
}
