//! From a column of a load to the bitmaps of its values.
//!
//! The column is cut into parts of some chunks. The bitmaps of a part are built in memory and written to the
//! spool; then the parts of each value are put end to end, which is a concatenation, as no two have a chunk in common.

use std::io;
use std::ops::Range;

use ahash::AHashMap;
use bitmap_silo::{BitmapBuf, BitmapError, FrozenBitmap, NO_VALUE, SmallBitmap, concatenate, store_into};
use bitmap_silo::{Rows, build_values};
use rayon::prelude::*;

use super::order::{ByRank, Cell};
use super::spool::{Bytes, Extent, Spool};
use crate::error::{Error, Result};

/// Slots in a part (docs/adr/0010): some chunks, so that a part of ten values a record fits in about 100 MB.
const PART_SLOTS: usize = 16 << 16;
/// Bytes of bitmaps that are put together at a time.
const GROUP_BYTES: usize = 4 << 20;
/// Numbers below this are looked up in a table, others in a map.
const TABLE_NUMBERS: usize = 1 << 24;

/// What a bitmap is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BitmapOf {
    /// Records without a value.
    Null,
    /// Records with an empty set.
    Empty,
    /// Records with this number.
    Number(u64),
}

/// Gathers the bitmaps of a part of the slots.
#[derive(Default)]
pub(super) struct PartBuilder {
    slots: Vec<u32>,
    /// Per slot, what it is in, as an index of `of`.
    values: Vec<u32>,
    of: Vec<BitmapOf>,
    null: Option<u32>,
    empty: Option<u32>,
    /// Indices of low numbers, [`NO_VALUE`] where there is none; and of others.
    table: Vec<u32>,
    map: AHashMap<u64, u32>,
}

impl PartBuilder {
    /// Adds a slot to a bitmap. Slots must not descend.
    pub(super) fn push(&mut self, slot: u32, of: BitmapOf) {
        let next = self.of.len() as u32;
        let index = match of {
            BitmapOf::Null => self.null.get_or_insert(next),
            BitmapOf::Empty => self.empty.get_or_insert(next),
            BitmapOf::Number(number) => match usize::try_from(number).ok().filter(|at| *at < TABLE_NUMBERS) {
                Some(at) => {
                    if self.table.len() <= at {
                        self.table.resize((at + 1).next_power_of_two(), NO_VALUE);
                    }
                    let Some(place) = self.table.get_mut(at) else { return };
                    if *place == NO_VALUE {
                        *place = next;
                    }
                    place
                }
                None => self.map.entry(number).or_insert(next),
            },
        };
        if *index == next {
            self.of.push(of);
        }
        self.slots.push(slot);
        self.values.push(*index);
    }

    /// The bitmaps of what was pushed, which is forgotten.
    pub(super) fn finish(&mut self, spool: &Spool) -> Result<Part> {
        // Slots and indices are counted in 32 bits, and a part has far fewer slots than there are.
        let count = u32::try_from(self.of.len())
            .ok()
            .filter(|count| *count < NO_VALUE)
            .ok_or_else(|| Error::Load("more than 2^32 - 2 values: index the field as \"high\"".into()))?;
        let built = build_values(Rows::Pairs { slots: &self.slots, values: &self.values }, count)
            .map_err(|why| broken(&why))?;
        self.slots.clear();
        self.values.clear();
        self.table.fill(NO_VALUE);
        self.map.clear();
        (self.null, self.empty) = (None, None);
        let of = std::mem::take(&mut self.of);
        let mut sorted: Vec<(BitmapOf, u32)> = of.into_iter().zip(0..).collect();
        sorted.sort_unstable();
        let mut bytes = Vec::with_capacity(built.stored_bytes());
        let ends = sorted
            .iter()
            .map(|(_, index)| {
                bytes.extend_from_slice(built.stored(*index as usize).unwrap_or_default());
                bytes.len()
            })
            .collect();
        let of = sorted.into_iter().map(|(of, _)| of).collect();
        Ok(Part { of, bytes: spool.append_vec(bytes)?, ends })
    }
}

/// The bitmaps of one part.
pub(super) struct Part {
    /// What they are of, ascending.
    of: Vec<BitmapOf>,
    bytes: Extent,
    ends: Vec<usize>,
}

impl Part {
    fn span(&self, indices: Range<usize>) -> Range<usize> {
        let before = |end: usize| end.checked_sub(1).and_then(|at| self.ends.get(at)).copied().unwrap_or(0);
        before(indices.start)..before(indices.end)
    }
}

/// Builds the bitmaps of a column: of its nulls, of its empty sets, and where `numbers` is true of each of its
/// numbers. Rank 0 is slot `first_slot`. `emit` is that of [`emit_bitmaps`].
pub(super) fn build_bitmaps(
    column: &ByRank<'_>,
    records: u32,
    first_slot: u32,
    numbers: bool,
    spool: &Spool,
    emit: &(impl Fn(BitmapOf, &[u8]) -> Result<()> + Sync),
) -> Result<()> {
    let parts: Vec<Part> = part_ranges(records, first_slot)
        .into_par_iter()
        .map(|ranks| {
            let mut part = PartBuilder::default();
            column.for_each(ranks, |rank, cell| {
                let slot = first_slot + rank;
                match cell {
                    Cell::Null => part.push(slot, BitmapOf::Null),
                    Cell::Numbers([]) => part.push(slot, BitmapOf::Empty),
                    Cell::Numbers(list) if numbers => {
                        for number in list {
                            part.push(slot, BitmapOf::Number(*number));
                        }
                    }
                    Cell::Numbers(_) => {}
                }
                Ok(())
            })?;
            part.finish(spool)
        })
        .collect::<Result<_>>()?;
    emit_bitmaps(&parts, spool, emit)
}

/// Puts the bitmaps of parts of the slots, in their order, end to end, and gives back their room. `emit` gets every
/// bitmap that is not empty in its stored form, on several threads and in no order.
pub(super) fn emit_bitmaps(
    parts: &[Part],
    spool: &Spool,
    emit: &(impl Fn(BitmapOf, &[u8]) -> Result<()> + Sync),
) -> Result<()> {
    groups(parts).into_par_iter().try_for_each(|group| {
        let spans = parts.iter().zip(&group).map(|(part, indices)| (part, part.span(indices.clone())));
        let mut room = vec![Vec::new(); parts.len()];
        let buffers =
            spans.zip(&mut room).map(|((part, span), room)| spool.read(part.bytes.part(span), room));
        let buffers: Vec<Bytes<'_>> = buffers.collect::<io::Result<_>>()?;
        let mut heads: Vec<usize> = group.iter().map(|indices| indices.start).collect();
        let mut at: Vec<usize> = vec![0; parts.len()];
        let mut pieces: Vec<Range<usize>> = vec![0..0; parts.len()];
        while let Some(of) = lowest(parts, &heads, &group) {
            for (part, ((head, at), piece)) in
                parts.iter().zip(heads.iter_mut().zip(&mut at).zip(&mut pieces))
            {
                let len = if part.of.get(*head) == Some(&of) {
                    *head += 1;
                    part.span(*head - 1..*head).len()
                } else {
                    0
                };
                *piece = *at..*at + len;
                *at += len;
            }
            let pieces = buffers.iter().zip(&pieces).filter_map(|(buffer, piece)| buffer.get(piece.clone()));
            let pieces: Vec<&[u8]> = pieces.filter(|piece| !piece.is_empty()).collect();
            match pieces.as_slice() {
                [] => {}
                [one] => emit(of, one)?,
                several => emit(of, &joined(several).map_err(|why| broken(&why))?)?,
            }
        }
        Ok::<_, Error>(())
    })?;
    for part in parts {
        spool.release(part.bytes);
    }
    Ok(())
}

/// The first of what the parts have at their heads, within a group.
fn lowest(parts: &[Part], heads: &[usize], group: &[Range<usize>]) -> Option<BitmapOf> {
    let within =
        parts.iter().zip(heads.iter().zip(group)).filter(|(_, (head, indices))| **head < indices.end);
    within.filter_map(|(part, (head, _))| part.of.get(*head)).min().copied()
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

/// Stretches of values whose bitmaps are read together: of each part, the range of its bitmaps.
fn groups(parts: &[Part]) -> Vec<Vec<Range<usize>>> {
    let whole: Vec<Range<usize>> = parts.iter().map(|part| 0..part.of.len()).collect();
    let mut groups = Vec::new();
    let mut starts = vec![0; parts.len()];
    let mut heads = starts.clone();
    let mut bytes = 0;
    let mut end = |starts: &mut Vec<usize>, heads: &[usize]| {
        groups.push(starts.iter().zip(heads).map(|(start, end)| *start..*end).collect());
        starts.clear();
        starts.extend_from_slice(heads);
    };
    while let Some(of) = lowest(parts, &heads, &whole) {
        if bytes >= GROUP_BYTES {
            end(&mut starts, &heads);
            bytes = 0;
        }
        for (part, head) in parts.iter().zip(&mut heads) {
            if part.of.get(*head) == Some(&of) {
                *head += 1;
                bytes += part.span(*head - 1..*head).len();
            }
        }
    }
    end(&mut starts, &heads);
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
        let spool = Spool::create_in(dir.path(), 1 << 12).unwrap();
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
