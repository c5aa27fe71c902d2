//! The rows of a load that adds values, by part of the slots.
//!
//! A part of the slots is small enough for its rows to be put in order in memory. Rows come in any order, mostly near that
//! of their records: then a part's rows are in a few blocks of the input. Otherwise they are dealt out: each part gets the rows
//! of its records in blocks of its own in the spool.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bitmap_silo::store::UniqueCursor;
use rayon::prelude::*;

use super::encode::span;
use super::short_sort::sort_numbers;
use super::spool::{Block, ColumnReader, Extent, Spool, SpooledColumn};
use crate::engine::View;
use crate::error::{Error, Result};

/// Slots of a chunk of a bitmap: parts share none.
const CHUNK_SLOTS: u64 = 1 << 16;
/// Most chunks of a part.
const PART_CHUNKS: u64 = 16;
/// Numbers of a part, if records had equally many.
const PART_NUMBERS: u64 = 1 << 24;
/// Blocks of the input are read at most so many times on average; of a wilder input, rows are dealt out.
const MOST_READS: usize = 3;
/// Numbers that are collected for a part before they are written.
const BLOCK_NUMBERS: usize = 1 << 14;

/// Rows: slots, and lists of numbers.
#[derive(Debug, Default)]
struct Rows {
    slots: Block,
    lists: Block,
}

impl Rows {
    fn push(&mut self, slot: u64, numbers: &[u64]) {
        self.slots.numbers.push(slot);
        self.lists.numbers.extend_from_slice(numbers);
        self.lists.ends.push(self.lists.numbers.len() as u32);
    }
}

/// The blocks of a part: slots, and lists.
#[derive(Debug, Default)]
struct PartSpool(Mutex<Vec<[Extent; 2]>>);

impl PartSpool {
    /// Writes rows, and empties them.
    fn append(&self, spool: &Spool, rows: &mut Rows, packed: &mut Vec<u8>) -> io::Result<()> {
        if !rows.slots.numbers.is_empty() {
            let mut write = |block: &mut Block| {
                block.pack(packed);
                block.clear();
                spool.append(packed)
            };
            let extents = [write(&mut rows.slots)?, write(&mut rows.lists)?];
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(extents);
        }
        Ok(())
    }

    fn blocks(&self) -> Vec<[Extent; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Deals rows out; one for each thread.
struct Dealer<'a> {
    spool: &'a Spool,
    parts: &'a [PartSpool],
    part_slots: u64,
    collected: Vec<Rows>,
    packed: Vec<u8>,
}

impl<'a> Dealer<'a> {
    fn new(spool: &'a Spool, parts: &'a [PartSpool], part_slots: u64) -> Self {
        let collected = parts.iter().map(|_| Rows::default()).collect();
        Self { spool, parts, part_slots, collected, packed: Vec::new() }
    }

    fn deal(&mut self, slot: u64, numbers: &[u64]) -> Result<()> {
        let at = usize::try_from(slot / self.part_slots).unwrap_or(usize::MAX);
        let (Some(rows), Some(part)) = (self.collected.get_mut(at), self.parts.get(at)) else {
            unreachable!("there are parts for all slots")
        };
        rows.push(slot, numbers);
        if rows.lists.numbers.len() + rows.slots.numbers.len() >= BLOCK_NUMBERS {
            part.append(self.spool, rows, &mut self.packed)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        let mut parts = self.parts.iter().zip(&mut self.collected);
        Ok(parts.try_for_each(|(part, rows)| part.append(self.spool, rows, &mut self.packed))?)
    }
}

/// The rows of a load, and the records that it creates.
pub(super) struct AddedRows {
    /// Slots of the rows, in the blocks of `lists`; null and the key of its id for a row about a record that is not there.
    slots: ColumnReader,
    lists: ColumnReader,
    /// The range of slots of each block.
    ranges: Vec<Range<u64>>,
    /// How many parts have yet to read each block.
    readers: Vec<AtomicUsize>,
    part_slots: u64,
    /// The rows of each part, where they are dealt out.
    dealt: Option<Vec<PartSpool>>,
    /// Keys of the ids that the silo does not have, ascending; their slots follow each other.
    pub(super) unknown: Vec<u64>,
    pub(super) first_new: u64,
}

/// What is known of a block once its ids were looked up.
struct Resolved {
    block: usize,
    slots: Range<u64>,
    /// The first and the last key that the silo does not have.
    unknown: Option<(u64, u64)>,
}

impl AddedRows {
    /// Looks the ids of rows up, which are not read again.
    pub(super) fn find(
        view: &View<'_>,
        ids: &ColumnReader,
        lists: ColumnReader,
        spool: &Spool,
    ) -> Result<Self> {
        let postings = view.reader().postings(&view.engine.layout.slots)?;
        let found = SpooledColumn::default();
        let resolve =
            |cursor: &mut UniqueCursor<'_, '_>, room: &mut Room, at| -> Result<(Resolved, Vec<u64>)> {
                let Room { keys, slots, packed, .. } = room;
                ids.read_block(at, spool, packed, keys)?;
                ids.release_block(at, spool);
                slots.clear();
                let (mut lowest, mut behind) = (u64::MAX, 0);
                let mut unknown: Vec<u64> = Vec::new();
                for (row, key) in keys.numbers.iter().enumerate() {
                    if let Some(slot) = cursor.get(*key)? {
                        let slot = u64::from(slot);
                        slots.numbers.push(slot);
                        (lowest, behind) = (lowest.min(slot), behind.max(slot + 1));
                    } else {
                        slots.nulls.resize(keys.numbers.len().div_ceil(64), 0);
                        if let Some(word) = slots.nulls.get_mut(row / 64) {
                            *word |= 1 << (row % 64);
                        }
                        slots.numbers.push(*key);
                        unknown.push(*key);
                    }
                }
                found.append(spool, at as u64, slots.numbers.len(), slots, packed)?;
                unknown.sort_unstable();
                unknown.dedup();
                let ends = unknown.first().copied().zip(unknown.last().copied());
                Ok((Resolved { block: at, slots: lowest..behind, unknown: ends }, unknown))
            };
        let folded: Vec<(Vec<Resolved>, Vec<u64>)> = (0..ids.blocks())
            .into_par_iter()
            .try_fold(
                || (postings.unique_cursor(), Room::default(), (Vec::new(), Vec::new())),
                |(mut cursor, mut room, (mut all, mut unknown)), at| {
                    let (resolved, mut keys) = resolve(&mut cursor, &mut room, at)?;
                    all.push(resolved);
                    unknown.append(&mut keys);
                    Ok((cursor, room, (all, unknown)))
                },
            )
            .map(|folded: Result<_>| folded.map(|(_, _, known)| known))
            .collect::<Result<_>>()?;
        let (blocks, unknown): (Vec<_>, Vec<_>) = folded.into_iter().unzip();
        let (mut blocks, mut unknown) = (blocks.into_iter().flatten().collect::<Vec<_>>(), unknown.concat());
        blocks.sort_unstable_by_key(|resolved| resolved.block);
        unknown.sort_unstable();
        unknown.dedup();

        let first_new = view.slot_count();
        let mut this = Self {
            slots: found.into_reader(),
            part_slots: part_slots(first_new + unknown.len() as u64, lists.numbers()),
            lists,
            ranges: Vec::new(),
            readers: Vec::new(),
            dealt: None,
            unknown,
            first_new,
        };
        if this.slot_count() > 1 << 32 {
            return Err(Error::Load("more than 2^32 slots: split the records over several silos".into()));
        }
        let range = |Resolved { slots, unknown, .. }: &Resolved| match unknown {
            None => slots.clone(),
            Some((first, last)) => slots.start.min(this.new_slot(*first))..this.new_slot(*last) + 1,
        };
        this.ranges = blocks.iter().map(range).collect();
        this.count_readers();
        let reads: usize = this.readers.iter_mut().map(|readers| *readers.get_mut()).sum();
        if reads > MOST_READS * this.ranges.len() {
            this.dealt = Some(this.deal(spool)?);
        }
        Ok(this)
    }

    fn count_readers(&mut self) {
        let mut readers = vec![0; self.ranges.len()];
        for at in (0..self.parts()).flat_map(|part| self.blocks_of(part)) {
            readers.get_mut(at).into_iter().for_each(|count| *count += 1);
        }
        self.readers = readers.into_iter().map(AtomicUsize::new).collect();
    }

    /// The slot of a record that the load creates.
    fn new_slot(&self, key: u64) -> u64 {
        self.first_new + self.unknown.partition_point(|other| *other < key) as u64
    }

    /// Slots after the load.
    pub(super) fn slot_count(&self) -> u64 {
        self.first_new + self.unknown.len() as u64
    }

    /// Number of parts.
    pub(super) fn parts(&self) -> usize {
        usize::try_from(self.slot_count().div_ceil(self.part_slots)).unwrap_or(usize::MAX)
    }

    fn slots_of(&self, part: usize) -> Range<u64> {
        part as u64 * self.part_slots..(part as u64 + 1) * self.part_slots
    }

    /// Blocks of the input with rows of a part.
    fn blocks_of(&self, part: usize) -> impl Iterator<Item = usize> {
        let wanted = self.slots_of(part);
        let meets = move |slots: &Range<u64>| slots.start < wanted.end && wanted.start < slots.end;
        self.ranges.iter().enumerate().filter(move |(_, slots)| meets(slots)).map(|(at, _)| at)
    }

    /// Reads a block of the input: slots to `room.slots`, none of them null, and lists to `room.lists`.
    fn read_block(&self, at: usize, spool: &Spool, room: &mut Room) -> Result<()> {
        let Room { slots, lists, packed, .. } = room;
        self.slots.read_block(at, spool, packed, slots)?;
        self.lists.read_block(at, spool, packed, lists)?;
        if !slots.nulls.is_empty() {
            for row in 0..slots.numbers.len() {
                if slots.is_null(row)
                    && let Some(number) = slots.numbers.get_mut(row)
                {
                    *number = self.new_slot(*number);
                }
            }
        }
        Ok(())
    }

    /// Gives back the room of a block of the input.
    fn release_block(&self, at: usize, spool: &Spool) {
        self.slots.release_block(at, spool);
        self.lists.release_block(at, spool);
    }

    /// Deals all rows out.
    fn deal(&self, spool: &Spool) -> Result<Vec<PartSpool>> {
        let parts: Vec<PartSpool> = (0..self.parts()).map(|_| PartSpool::default()).collect();
        (0..self.ranges.len())
            .into_par_iter()
            .try_fold(
                || (Dealer::new(spool, &parts, self.part_slots), Room::default()),
                |(mut dealer, mut room), at| {
                    self.read_block(at, spool, &mut room)?;
                    self.release_block(at, spool);
                    for (row, slot) in room.slots.numbers.iter().enumerate() {
                        let list = room.lists.numbers.get(span(&room.lists.ends, row));
                        dealer.deal(*slot, list.unwrap_or_default())?;
                    }
                    Ok((dealer, room))
                },
            )
            .try_for_each(|dealt: Result<_>| dealt?.0.finish())?;
        Ok(parts)
    }

    /// Reads the rows of a part, in place of what `rows` had. A part is read once.
    pub(super) fn read_part(&self, part: usize, spool: &Spool, rows: &mut PartRows) -> Result<()> {
        rows.runs.clear();
        rows.numbers.clear();
        let wanted = self.slots_of(part);
        match &self.dealt {
            None => {
                for at in self.blocks_of(part) {
                    self.read_block(at, spool, &mut rows.room)?;
                    rows.take_block(&wanted)?;
                    if self.readers.get(at).is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 1) {
                        self.release_block(at, spool);
                    }
                }
            }
            Some(parts) => {
                let blocks = parts.get(part).map(PartSpool::blocks).unwrap_or_default();
                for [slots, lists] in blocks {
                    let Room { slots: to_slots, lists: to_lists, packed, .. } = &mut rows.room;
                    to_slots.unpack(&spool.read(slots, packed)?)?;
                    to_lists.unpack(&spool.read(lists, packed)?)?;
                    spool.release(slots);
                    spool.release(lists);
                    rows.take_block(&wanted)?;
                }
            }
        }
        if !rows.runs.is_sorted() {
            rows.runs.sort_unstable();
        }
        Ok(())
    }
}

/// Slots of a part, whole chunks: few enough for the memory of a thread, and for every thread to have a part.
fn part_slots(slots: u64, numbers: u64) -> u64 {
    let chunks = slots.div_ceil(CHUNK_SLOTS).max(1);
    let by_numbers = PART_NUMBERS / numbers.div_ceil(chunks).max(1);
    let by_threads = chunks.div_ceil(rayon::current_num_threads() as u64);
    by_numbers.min(by_threads).clamp(1, PART_CHUNKS) * CHUNK_SLOTS
}

/// Blocks that are being worked on.
#[derive(Debug, Default)]
struct Room {
    keys: Block,
    slots: Block,
    lists: Block,
    packed: Vec<u8>,
}

/// Rows of a part, in the order of slots, and room to read them in.
#[derive(Debug, Default)]
pub(super) struct PartRows {
    /// Slot, and start and end of its numbers; several of a slot follow each other.
    runs: Vec<(u32, u32, u32)>,
    numbers: Vec<u64>,
    room: Room,
}

impl PartRows {
    /// Adds the rows of the block that was read whose slots are wanted.
    fn take_block(&mut self, wanted: &Range<u64>) -> Result<()> {
        let Self { runs, numbers, room: Room { slots, lists, .. } } = self;
        let before = numbers.len();
        if u32::try_from(before + lists.numbers.len()).is_err() {
            return Err(Error::Load(format!(
                "more than 2^32 values for the records from slot {} on: load in parts",
                wanted.start
            )));
        }
        let before = before as u32;
        numbers.extend_from_slice(&lists.numbers);
        let rows = slots.numbers.iter().enumerate().filter(|(_, slot)| wanted.contains(slot));
        runs.extend(rows.map(|(row, slot)| {
            let list = span(&lists.ends, row);
            (*slot as u32, before + list.start as u32, before + list.end as u32)
        }));
        Ok(())
    }

    /// Calls `f` with every slot that has rows and its numbers, ascending and none twice.
    pub(super) fn for_each(&mut self, mut f: impl FnMut(u32, &[u64]) -> Result<()>) -> Result<()> {
        let Self { runs, numbers, .. } = self;
        let ascends = |numbers: &[u64]| numbers.is_sorted_by(|a, b| a < b);
        let mut several: Vec<u64> = Vec::new();
        for runs in runs.chunk_by(|a, b| a.0 == b.0) {
            let [(slot, start, end), others @ ..] = runs else { continue };
            let first = numbers.get_mut(*start as usize..*end as usize).unwrap_or_default();
            if others.is_empty() {
                sort_numbers(first);
                if ascends(first) {
                    f(*slot, first)?;
                    continue;
                }
            }
            several.clear();
            for (_, start, end) in runs {
                several.extend_from_slice(numbers.get(*start as usize..*end as usize).unwrap_or_default());
            }
            several.sort_unstable();
            several.dedup();
            f(*slot, &several)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn parts_hold_whole_chunks_and_no_more_than_fits() {
        for (slots, numbers) in
            [(0, 0), (1, 1), (14_600_000, 148_500_000), (1 << 32, 1 << 40), (70_000, 1 << 34)]
        {
            let part = part_slots(slots, numbers);
            assert!(part.is_multiple_of(CHUNK_SLOTS) && (1..=PART_CHUNKS).contains(&(part / CHUNK_SLOTS)));
            let of_part = u128::from(part) * u128::from(numbers) / u128::from(slots.max(1));
            assert!(
                part == CHUNK_SLOTS || of_part <= u128::from(PART_NUMBERS) * 11 / 10,
                "{slots} {numbers}"
            );
        }
    }

    /// Rows of a load in blocks: slots as they were found, and lists. The last thousand slots are of new records.
    fn added(slots: &[u64], spool: &Spool) -> (AddedRows, BTreeMap<u32, BTreeSet<u64>>) {
        let (found, lists) = (SpooledColumn::default(), SpooledColumn::default());
        let mut expected: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let (mut ranges, mut packed) = (Vec::new(), Vec::new());
        let first_new = 200_001;
        for (at, block) in slots.chunks(5000).enumerate() {
            let mut rows = Rows::default();
            rows.slots.nulls.resize(block.len().div_ceil(64), 0);
            for (row, slot) in block.iter().enumerate() {
                let numbers: Vec<u64> =
                    (0..slot % 4).map(|k| (slot * 31 + k * 17 + row as u64) % 5 + (k << 40)).collect();
                expected.entry(*slot as u32).or_default().extend(&numbers);
                let key = slot.checked_sub(first_new).map(|new| new * 10);
                rows.slots.nulls[row / 64] |= u64::from(key.is_some()) << (row % 64);
                rows.push(key.unwrap_or(*slot), &numbers);
            }
            ranges.push(*block.iter().min().unwrap()..*block.iter().max().unwrap() + 1);
            found.append(spool, at as u64, block.len(), &rows.slots, &mut packed).unwrap();
            lists.append(spool, at as u64, block.len(), &rows.lists, &mut packed).unwrap();
        }
        let unknown = (0..1000).map(|new| new * 10).collect();
        let (slots, lists) = (found.into_reader(), lists.into_reader());
        let readers = Vec::new();
        let part_slots = CHUNK_SLOTS;
        let mut rows =
            AddedRows { slots, lists, ranges, readers, part_slots, dealt: None, unknown, first_new };
        rows.count_readers();
        (rows, expected)
    }

    #[test]
    fn rows_come_back_by_part_and_slot() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path(), 1 << 12).unwrap();
        // Ascending, with jumps back; some slots again.
        let slots: Vec<u64> =
            (0..90_000).map(|step| if step % 9 == 0 { step * 7919 % 201_001 } else { step * 2 }).collect();
        for dealt in [false, true] {
            let (mut rows, expected) = added(&slots, &spool);
            assert_eq!(rows.parts(), 4);
            if dealt {
                rows.dealt = Some(rows.deal(&spool).unwrap());
            }
            let (mut found, mut part_rows) = (BTreeMap::new(), PartRows::default());
            for part in 0..rows.parts() {
                rows.read_part(part, &spool, &mut part_rows).unwrap();
                part_rows
                    .for_each(|slot, numbers| {
                        assert_eq!(u64::from(slot) / CHUNK_SLOTS, part as u64);
                        assert!(numbers.is_sorted_by(|a, b| a < b));
                        assert!(found.insert(slot, numbers.iter().copied().collect()).is_none());
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(found, expected);
        }
    }
}
