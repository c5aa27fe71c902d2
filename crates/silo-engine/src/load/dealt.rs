//! The rows of a load that adds values, dealt out to parts of the slots.
//!
//! Rows come in any order, mostly near that of their records. Each part of the slots gets the rows of its records in
//! blocks of its own in the spool; a part is then small enough to be put in order in memory.

use std::io;
use std::sync::{Mutex, PoisonError};

use bitmap_silo::store::UniqueCursor;
use rayon::prelude::*;

use super::encode::span;
use super::spool::{Block, ColumnReader, Extent, Spool, SpooledColumn};
use crate::engine::View;
use crate::error::{Error, Result};

/// Slots of a chunk of a bitmap: parts share none.
const CHUNK_SLOTS: u64 = 1 << 16;
/// Most chunks of a part.
const PART_CHUNKS: u64 = 16;
/// Numbers of a part, if records had equally many.
const PART_NUMBERS: u64 = 1 << 24;
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
}

/// Deals rows out; one for each thread.
struct Dealer<'a> {
    spool: &'a Spool,
    parts: &'a [PartSpool],
    part_slots: u64,
    collected: Vec<Rows>,
    /// What is being dealt out.
    keys: Block,
    lists: Block,
    packed: Vec<u8>,
}

impl<'a> Dealer<'a> {
    fn new(spool: &'a Spool, parts: &'a [PartSpool], part_slots: u64) -> Self {
        let collected = parts.iter().map(|_| Rows::default()).collect();
        let (keys, lists) = (Block::default(), Block::default());
        Self { spool, parts, part_slots, collected, keys, lists, packed: Vec::new() }
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

/// The rows of a load by part, and the records that it creates.
pub(super) struct Dealt {
    parts: Vec<PartSpool>,
    part_slots: u64,
    /// Keys of the ids that the silo does not have, ascending; their slots follow each other.
    pub(super) unknown: Vec<u64>,
    pub(super) first_new: u64,
}

impl Dealt {
    /// Looks the ids of rows up, and deals the rows' lists out.
    pub(super) fn deal(
        view: &View<'_>,
        ids: &ColumnReader,
        lists: &ColumnReader,
        spool: &Spool,
    ) -> Result<Self> {
        let first_new = view.slot_count();
        let part_slots = part_slots(first_new, lists.numbers());
        let mut parts = new_parts(0, first_new, part_slots);
        let postings = view.reader()?.postings(&view.engine.layout.slots)?;
        // Rows about records that are not there wait until it is known how many there are.
        let (waiting_ids, waiting_lists) = (SpooledColumn::default(), SpooledColumn::default());
        let deal_block =
            |dealer: &mut Dealer<'_>, cursor: &mut UniqueCursor<'_, '_>, at| -> Result<Vec<u64>> {
                let (mut keys, mut rows) =
                    (std::mem::take(&mut dealer.keys), std::mem::take(&mut dealer.lists));
                ids.read_block(at, spool, &mut dealer.packed, &mut keys)?;
                lists.read_block(at, spool, &mut dealer.packed, &mut rows)?;
                let mut waiting = Rows::default();
                for (row, key) in keys.numbers.iter().enumerate() {
                    let numbers = rows.numbers.get(span(&rows.ends, row)).unwrap_or_default();
                    match cursor.get(*key)? {
                        Some(slot) => dealer.deal(slot.into(), numbers)?,
                        None => waiting.push(*key, numbers),
                    }
                }
                let count = waiting.slots.numbers.len();
                if count > 0 {
                    waiting_ids.append(spool, at as u64, count, &waiting.slots, &mut dealer.packed)?;
                    waiting_lists.append(spool, at as u64, count, &waiting.lists, &mut dealer.packed)?;
                }
                (dealer.keys, dealer.lists) = (keys, rows);
                Ok(waiting.slots.numbers)
            };
        let dealt: Vec<Vec<u64>> = (0..ids.blocks())
            .into_par_iter()
            .try_fold(
                || (Dealer::new(spool, &parts, part_slots), postings.unique_cursor(), Vec::new()),
                |(mut dealer, mut cursor, mut unknown), at| {
                    let mut keys = deal_block(&mut dealer, &mut cursor, at)?;
                    keys.sort_unstable();
                    keys.dedup();
                    unknown.append(&mut keys);
                    Ok((dealer, cursor, unknown))
                },
            )
            .map(|dealt: Result<_>| {
                let (dealer, _, unknown) = dealt?;
                dealer.finish()?;
                Ok(unknown)
            })
            .collect::<Result<_>>()?;
        let mut unknown = dealt.concat();
        unknown.sort_unstable();
        unknown.dedup();

        let slot_count = first_new + unknown.len() as u64;
        if slot_count > 1 << 32 {
            return Err(Error::Load("more than 2^32 slots: split the records over several silos".into()));
        }
        parts.extend(new_parts(parts.len() as u64, slot_count, part_slots));
        let mut dealer = Dealer::new(spool, &parts, part_slots);
        let (ids, lists) = (waiting_ids.into_reader(), waiting_lists.into_reader());
        let (mut keys, mut rows, mut packed) = (Block::default(), Block::default(), Vec::new());
        for at in 0..ids.blocks() {
            ids.read_block(at, spool, &mut packed, &mut keys)?;
            lists.read_block(at, spool, &mut packed, &mut rows)?;
            for (row, key) in keys.numbers.iter().enumerate() {
                let slot = first_new + unknown.partition_point(|other| other < key) as u64;
                dealer.deal(slot, rows.numbers.get(span(&rows.ends, row)).unwrap_or_default())?;
            }
        }
        dealer.finish()?;
        Ok(Self { parts, part_slots, unknown, first_new })
    }

    /// Slots after the load.
    pub(super) fn slot_count(&self) -> u64 {
        self.first_new + self.unknown.len() as u64
    }

    /// Number of parts.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Reads the rows of a part, in place of what `rows` had.
    pub(super) fn read_part(&self, at: usize, spool: &Spool, rows: &mut PartRows) -> Result<()> {
        let PartRows { runs, numbers, slots, lists, packed } = rows;
        runs.clear();
        numbers.clear();
        let Some(part) = self.parts.get(at) else { return Ok(()) };
        let extents = std::mem::take(&mut *part.0.lock().unwrap_or_else(PoisonError::into_inner));
        for [slots_at, lists_at] in extents {
            spool.read(slots_at, packed)?;
            slots.unpack(packed)?;
            spool.read(lists_at, packed)?;
            lists.unpack(packed)?;
            let before = u32::try_from(numbers.len())
                .ok()
                .filter(|before| before.checked_add(lists.numbers.len() as u32).is_some());
            let Some(before) = before else {
                return Err(Error::Load(format!(
                    "more than 2^32 values for the records from slot {} on: load in parts",
                    at as u64 * self.part_slots
                )));
            };
            numbers.extend_from_slice(&lists.numbers);
            runs.extend(slots.numbers.iter().enumerate().map(|(row, slot)| {
                let numbers = span(&lists.ends, row);
                (*slot as u32, before + numbers.start as u32, before + numbers.end as u32)
            }));
        }
        if !runs.is_sorted() {
            runs.sort_unstable();
        }
        Ok(())
    }
}

/// Parts from number `from` on, up to that of the last slot.
fn new_parts(from: u64, slot_count: u64, part_slots: u64) -> Vec<PartSpool> {
    (from..slot_count.div_ceil(part_slots)).map(|_| PartSpool::default()).collect()
}

/// Slots of a part, whole chunks: few enough for the memory of a thread, and for every thread to have a part.
fn part_slots(slots: u64, numbers: u64) -> u64 {
    let chunks = slots.div_ceil(CHUNK_SLOTS).max(1);
    let by_numbers = PART_NUMBERS / numbers.div_ceil(chunks).max(1);
    let by_threads = chunks.div_ceil(rayon::current_num_threads() as u64);
    by_numbers.min(by_threads).clamp(1, PART_CHUNKS) * CHUNK_SLOTS
}

/// Rows of a part, in the order of slots, and room to read them in.
#[derive(Debug, Default)]
pub(super) struct PartRows {
    /// Slot, and start and end of its numbers; several of a slot follow each other.
    runs: Vec<(u32, u32, u32)>,
    numbers: Vec<u64>,
    slots: Block,
    lists: Block,
    packed: Vec<u8>,
}

impl PartRows {
    /// Calls `f` with every slot that has rows and its numbers, ascending and none twice.
    pub(super) fn for_each(&mut self, mut f: impl FnMut(u32, &[u64]) -> Result<()>) -> Result<()> {
        let Self { runs, numbers, .. } = self;
        let ascends = |numbers: &[u64]| numbers.is_sorted_by(|a, b| a < b);
        let mut several: Vec<u64> = Vec::new();
        for runs in runs.chunk_by(|a, b| a.0 == b.0) {
            let [(slot, start, end), others @ ..] = runs else { continue };
            let first = numbers.get_mut(*start as usize..*end as usize).unwrap_or_default();
            if others.is_empty() {
                first.sort_unstable();
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
            let average = numbers as f64 / slots.max(1) as f64;
            assert!(
                part == CHUNK_SLOTS || part as f64 * average <= 1.1 * PART_NUMBERS as f64,
                "{slots} {numbers}"
            );
        }
    }

    #[test]
    fn rows_come_back_by_part_and_slot() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path()).unwrap();
        let parts = new_parts(0, 200_001, CHUNK_SLOTS);
        assert_eq!(parts.len(), 4);
        let mut expected: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let mut dealers = [(); 2].map(|()| Dealer::new(&spool, &parts, CHUNK_SLOTS));
        for step in 0..90_000_u64 {
            // Ascending, with jumps back; some slots again, some lists empty.
            let slot = if step % 9 == 0 { step * 7919 % 200_001 } else { step * 2 };
            let numbers: Vec<u64> = (0..step % 4).map(|k| (step * 31 + k * 17) % 5 + (k << 40)).collect();
            dealers[(step / 1000 % 2) as usize].deal(slot, &numbers).unwrap();
            expected.entry(slot as u32).or_default().extend(numbers);
        }
        dealers.into_iter().for_each(|dealer| dealer.finish().unwrap());
        let dealt = Dealt { parts, part_slots: CHUNK_SLOTS, unknown: Vec::new(), first_new: 200_001 };
        let (mut found, mut rows) = (BTreeMap::new(), PartRows::default());
        for at in 0..dealt.parts() {
            dealt.read_part(at, &spool, &mut rows).unwrap();
            rows.for_each(|slot, numbers| {
                assert_eq!(u64::from(slot) / CHUNK_SLOTS, at as u64);
                assert!(numbers.is_sorted_by(|a, b| a < b));
                assert!(found.insert(slot, numbers.iter().copied().collect()).is_none());
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(found, expected);
    }
}
