//! From a column of a load to the bitmaps of its values.
//!
//! The column is cut into parts of some chunks. The bitmaps of a part are built in memory and written to the
//! spool; then the parts of each value are put end to end, which is a concatenation, as no two have a chunk in common.

use std::ops::Range;

use ahash::AHashMap;
use bitmap_silo::{BitmapBuf, BitmapError, FrozenBitmap, NO_VALUE, SmallBitmap, concatenate, store_into};
use bitmap_silo::{Rows, build_values};
use rayon::prelude::*;

use super::order::{ByRank, Cell};
use super::spool::{Extent, Spool};
use crate::error::{Error, Result};

/// Slots in a part (docs/adr/0010): some chunks, so that a part of ten values a record fits in about 100 MB.
const PART_SLOTS: usize = 16 << 16;
/// Bytes of bitmaps that are put together at a time.
const GROUP_BYTES: usize = 4 << 20;
/// Numbers below this are looked up in a table, others in a map.
const TABLE_NUMBERS: usize = 1 << 24;

/// Numbers of a column to 0, 1, 2, …, as [`build_values`] wants its values.
#[derive(Default)]
struct Dense {
    table: Vec<u32>,
    map: AHashMap<u64, u32>,
    numbers: Vec<u64>,
}

impl Dense {
    fn add(&mut self, number: u64) {
        let next = self.numbers.len() as u32;
        let place = match usize::try_from(number).ok().filter(|at| *at < TABLE_NUMBERS) {
            Some(at) => {
                if self.table.len() <= at {
                    self.table.resize((at + 1).next_power_of_two(), NO_VALUE);
                }
                self.table.get_mut(at)
            }
            None => Some(self.map.entry(number).or_insert(NO_VALUE)),
        };
        if let Some(place) = place.filter(|place| **place == NO_VALUE) {
            *place = next;
            self.numbers.push(number);
        }
    }

    fn get(&self, number: u64) -> u32 {
        match usize::try_from(number).ok().and_then(|at| self.table.get(at)) {
            Some(index) => *index,
            None => self.map.get(&number).copied().unwrap_or(NO_VALUE),
        }
    }
}

/// What a bitmap is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BitmapOf {
    /// Records without a value.
    Null,
    /// Records with an empty set.
    Empty,
    /// Records with this number.
    Number(u64),
}

/// The bitmaps of one part, by dense value, in the spool.
struct Part {
    extent: Extent,
    ends: Vec<usize>,
}

impl Part {
    fn span(&self, values: Range<usize>) -> Range<usize> {
        let start = values.start.checked_sub(1).and_then(|before| self.ends.get(before));
        let end = values.end.checked_sub(1).and_then(|last| self.ends.get(last));
        let start = start.copied().unwrap_or(0);
        start..end.copied().unwrap_or(start)
    }
}

/// Builds the bitmaps of a column: of its nulls, of its empty sets, and where `numbers` is true of each of its
/// numbers. Rank 0 is slot `first_slot`. `emit` gets every bitmap that is not empty in its stored form, on several
/// threads and in no order.
pub(super) fn build_bitmaps(
    column: &ByRank<'_>,
    records: u32,
    first_slot: u32,
    numbers: bool,
    spool: &Spool,
    emit: &(impl Fn(BitmapOf, &[u8]) -> Result<()> + Sync),
) -> Result<()> {
    let mut dense = Dense::default();
    if numbers {
        column.for_each(0..records as usize, |_, cell| {
            if let Cell::Numbers(numbers) = cell {
                for number in numbers {
                    dense.add(*number);
                }
            }
            Ok(())
        })?;
    }
    // Two more values stand for nulls and empty sets.
    let value_count = u32::try_from(dense.numbers.len() + 2)
        .ok()
        .filter(|count| *count < NO_VALUE)
        .ok_or_else(|| Error::Load("more than 2^32 - 3 values: index the field as \"high\"".into()))?;
    let (null, empty) = (value_count - 2, value_count - 1);

    let parts: Vec<Part> = part_ranges(records, first_slot)
        .into_par_iter()
        .map(|ranks| {
            let (mut slots, mut values) = (Vec::new(), Vec::new());
            column.for_each(ranks, |rank, cell| {
                let mut push = |value| {
                    slots.push(first_slot + rank);
                    values.push(value);
                };
                match cell {
                    Cell::Null => push(null),
                    Cell::Numbers([]) => push(empty),
                    Cell::Numbers(list) if numbers => list.iter().for_each(|n| push(dense.get(*n))),
                    Cell::Numbers(_) => {}
                }
                Ok(())
            })?;
            let built = build_values(Rows::Pairs { slots: &slots, values: &values }, value_count)
                .map_err(|why| broken(&why))?;
            let mut bytes = Vec::with_capacity(built.stored_bytes());
            let ends = (0..built.value_count())
                .map(|value| {
                    bytes.extend_from_slice(built.stored(value).unwrap_or_default());
                    bytes.len()
                })
                .collect();
            Ok(Part { extent: spool.append(&bytes)?, ends })
        })
        .collect::<Result<_>>()?;

    groups(&parts, value_count as usize).into_par_iter().try_for_each(|group| {
        let mut buffers = Vec::with_capacity(parts.len());
        for part in &parts {
            let mut buffer = Vec::new();
            spool.read(part.extent.part(part.span(group.clone())), &mut buffer)?;
            buffers.push(buffer);
        }
        for value in group.clone() {
            let pieces: Vec<&[u8]> = parts
                .iter()
                .zip(&buffers)
                .filter_map(|(part, buffer)| {
                    let start = part.span(group.start..value).len();
                    buffer.get(start..start + part.span(value..value + 1).len())
                })
                .filter(|piece| !piece.is_empty())
                .collect();
            let of = match dense.numbers.get(value) {
                Some(number) => BitmapOf::Number(*number),
                None if value == null as usize => BitmapOf::Null,
                None => BitmapOf::Empty,
            };
            match pieces.as_slice() {
                [] => {}
                [one] => emit(of, one)?,
                several => emit(of, &joined(several).map_err(|why| broken(&why))?)?,
            }
        }
        Ok(())
    })
}

/// A failure of what this module itself has put together.
fn broken(why: &BitmapError) -> Error {
    Error::Load(format!("the bitmaps of a column could not be built: {why}"))
}

/// Ranges of ranks that share no chunk of slots.
pub(super) fn part_ranges(records: u32, first_slot: u32) -> Vec<Range<usize>> {
    let (records, first_slot) = (records as usize, first_slot as usize);
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < records {
        let end = ((first_slot + start) / PART_SLOTS + 1) * PART_SLOTS - first_slot;
        ranges.push(start..end.min(records));
        start = end;
    }
    ranges
}

/// Ranges of values whose bitmaps are read together.
fn groups(parts: &[Part], values: usize) -> Vec<Range<usize>> {
    let bytes =
        |values: Range<usize>| parts.iter().map(|part| part.span(values.clone()).len()).sum::<usize>();
    let mut groups = Vec::new();
    let (mut start, mut total) = (0, 0);
    for value in 0..values {
        let more = bytes(value..value + 1);
        if total + more > GROUP_BYTES && value > start {
            groups.push(start..value);
            (start, total) = (value, 0);
        }
        total += more;
    }
    if start < values {
        groups.push(start..values);
    }
    groups
}

/// Stored bitmaps of ascending ranges of chunks as one.
fn joined(pieces: &[&[u8]]) -> Result<Vec<u8>, BitmapError> {
    let owned: Vec<Option<BitmapBuf>> = pieces
        .iter()
        .map(|piece| match FrozenBitmap::open(piece) {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(SmallBitmap::open(piece)?.iter().collect())),
        })
        .collect::<Result<_, BitmapError>>()?;
    let frozen: Vec<FrozenBitmap<'_>> = pieces
        .iter()
        .zip(&owned)
        .map(|(piece, owned)| owned.as_ref().map_or_else(|| FrozenBitmap::open(piece), |buf| Ok(buf.view())))
        .collect::<Result<_, BitmapError>>()?;
    let whole = concatenate(&frozen)?;
    let mut stored = Vec::new();
    store_into(&whole.view(), &mut stored);
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use bitmap_silo::BitmapView;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::order::Order;
    use super::super::spool::{Block, SpooledColumn};
    use super::*;

    #[test]
    fn bitmaps_hold_the_slots_of_their_values_over_several_parts() {
        let mut random = StdRng::seed_from_u64(7);
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path()).unwrap();
        let (ids, lists) = (SpooledColumn::default(), SpooledColumn::default());
        let first_slot = 2_900_000;
        let mut expected: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut packed = Vec::new();
        let mut row = 0_u32;
        for _ in 0..8 {
            let mut block = Block { nulls: vec![0; 1024], ..Block::default() };
            let first = row;
            for at in 0..60_000 {
                let slot = first_slot + row;
                row += 1;
                let mut add = |of: BitmapOf| {
                    let slots = expected.entry(format!("{of:?}")).or_default();
                    if slots.last() != Some(&slot) {
                        slots.push(slot);
                    }
                };
                match random.random_range(0..10) {
                    0 => {
                        block.nulls[at / 64] |= 1 << (at % 64);
                        add(BitmapOf::Null);
                    }
                    1 => add(BitmapOf::Empty),
                    _ => {
                        // A frequent number, a rare one, one beyond the table; one of them twice.
                        let numbers = [random.random_range(0..5), random.random_range(0..1 << 20), 5 << 40];
                        for number in &numbers[random.random_range(0..3)..] {
                            block.numbers.extend([*number; 2]);
                            add(BitmapOf::Number(*number));
                        }
                    }
                }
                block.ends.push(block.numbers.len() as u32);
            }
            lists.append(&spool, u64::from(first), 60_000, &block, &mut packed).unwrap();
            let id = Block { numbers: (u64::from(first)..u64::from(row)).collect(), ..Block::default() };
            ids.append(&spool, u64::from(first), 60_000, &id, &mut packed).unwrap();
        }
        let order = Order::of(&ids.into_reader(), &spool).unwrap();
        let lists = lists.into_reader();
        let column = ByRank::new(&lists, &spool, &order).unwrap();
        let built = Mutex::new(BTreeMap::new());
        build_bitmaps(&column, order.records(), first_slot, true, &spool, &|of, stored| {
            let view = BitmapView::open(stored).unwrap();
            let slots: Vec<u32> = view.to_bitmap().view().iter().collect();
            assert!(built.lock().unwrap().insert(format!("{of:?}"), slots).is_none());
            Ok(())
        })
        .unwrap();
        let built = built.into_inner().unwrap();
        assert!(built.len() > 10_000);
        assert_eq!(built, expected);
    }

    #[test]
    fn parts_share_no_chunk() {
        for (records, first_slot) in
            [(0, 0), (1, 0), (3_000_000, 0), (3_000_000, 2_900_000), (5, u32::MAX - 9)]
        {
            let ranges = part_ranges(records, first_slot);
            assert_eq!(ranges.iter().map(ExactSizeIterator::len).sum::<usize>(), records as usize);
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].end, pair[1].start);
                assert_eq!((first_slot as usize + pair[1].start) % 65_536, 0);
            }
        }
    }
}
