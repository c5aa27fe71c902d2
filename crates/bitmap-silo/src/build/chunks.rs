//! Many values with many rows each: a counting sort by value within every chunk, then one walk
//! over all chunks per value.

#![expect(
    clippy::indexing_slicing,
    reason = "values were checked against the value count that all tables are sized by"
)]

use super::rows::{ByChunk, Rows};
use super::values::{ValueBitmaps, ValuesWriter};
use crate::container::{ArrayRef, ContainerRef};
use crate::error::BitmapError;
use crate::frozen::header::header_bytes;
use crate::frozen::{join_slot, split_slot};

/// The rows of one chunk, grouped by value.
struct Grouped {
    key: u16,
    /// Where the slots of each value end.
    ends: Vec<u32>,
    /// Low halves of the slots, by value, ascending.
    slots: Vec<u16>,
}

pub(super) fn build(rows: Rows<'_>, value_count: u32) -> Result<ValueBitmaps, BitmapError> {
    let by_chunk = ByChunk::of(rows);
    let groups: Vec<Grouped> =
        by_chunk.iter(rows).map(|(key, rows)| group(key, rows, value_count as usize)).collect();
    let total: usize = groups.iter().map(|group| group.slots.len()).sum();
    let mut values = ValuesWriter::with_capacity(value_count as usize, 4 * total);
    // Where the next value's slots start in each chunk.
    let mut starts = vec![0_u32; groups.len()];
    let mut lists: Vec<(u16, &[u16])> = Vec::with_capacity(groups.len());
    for value in 0..value_count as usize {
        lists.clear();
        for (group, start) in groups.iter().zip(&mut starts) {
            let end = group.ends[value];
            if *start != end {
                lists.push((group.key, &group.slots[*start as usize..end as usize]));
                *start = end;
            }
        }
        push(&lists, &mut values)?;
    }
    Ok(values.finish())
}

/// Counting sort of a chunk's rows by value.
fn group(key: u16, rows: Rows<'_>, value_count: usize) -> Grouped {
    let mut ends = vec![0_u32; value_count];
    let mut count = 0_u32;
    rows.for_each(|_, value| {
        ends[value as usize] += 1;
        count += 1;
    });
    let mut start = 0;
    for end in &mut ends {
        let count = *end;
        *end = start;
        start += count;
    }
    let mut slots = vec![0_u16; count as usize];
    let (mut ordered, mut previous) = (true, None);
    rows.for_each(|slot, value| {
        let at = &mut ends[value as usize];
        slots[*at as usize] = split_slot(slot).1;
        *at += 1;
        ordered &= previous < Some(slot);
        previous = Some(slot);
    });
    let mut grouped = Grouped { key, ends, slots };
    if !ordered {
        grouped.sort();
    }
    grouped
}

impl Grouped {
    /// Sorts the slots of every value and removes repeated ones.
    fn sort(&mut self) {
        let (mut start, mut kept) = (0, 0);
        for end in &mut self.ends {
            let list = &mut self.slots[start..*end as usize];
            start = *end as usize;
            list.sort_unstable();
            let list_start = start - list.len();
            let mut previous = None;
            for at in list_start..start {
                let slot = self.slots[at];
                if previous != Some(slot) {
                    self.slots[kept] = slot;
                    kept += 1;
                    previous = Some(slot);
                }
            }
            *end = u32::try_from(kept).unwrap_or(u32::MAX);
        }
        self.slots.truncate(kept);
    }
}

/// Writes a value's bitmap in whichever stored form is right for its lists.
fn push(lists: &[(u16, &[u16])], values: &mut ValuesWriter) -> Result<(), BitmapError> {
    let containers =
        || lists.iter().map(|(key, list)| (*key, ContainerRef::from(ArrayRef::from_values(list))));
    let slot_count: usize = lists.iter().map(|(_, list)| list.len()).sum();
    if slot_count == 0 {
        values.push_empty();
        return Ok(());
    }
    // Arrays only would be this long; the blob is no longer than that.
    if 4 * slot_count < header_bytes(lists.len(), false) + 2 * slot_count
        && 4 * slot_count < blob_bytes(lists)
    {
        let slots = lists.iter().flat_map(|(key, list)| list.iter().map(move |slot| join_slot(*key, *slot)));
        values.push_small(slots, slot_count);
        return Ok(());
    }
    values.push_chunks(containers())
}

/// Bytes of the blob of short lists, each as an array or as runs.
fn blob_bytes(lists: &[(u16, &[u16])]) -> usize {
    let (mut bodies, mut has_runs) = (0, false);
    for (_, list) in lists {
        let run_count = ContainerRef::from(ArrayRef::from_values(list)).run_count() as usize;
        let (as_array, as_runs) = (2 * list.len(), 2 + 4 * run_count);
        has_runs |= as_runs < as_array;
        bodies += as_array.min(as_runs);
    }
    header_bytes(lists.len(), has_runs) + bodies
}
