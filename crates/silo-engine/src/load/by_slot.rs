//! From (row, number) to (slot, numbers): the rows of a load that adds values, gathered by record.

use ahash::AHashMap;

use super::columns::sort_spilled;
use super::spool::{Block, ColumnReader, Spool, SpooledColumn};
use crate::engine::View;
use crate::error::{Error, Result};

/// Slots of a chunk, which is a block of the gathered column.
const CHUNK_SLOTS: u64 = 1 << 16;

/// The records that rows are about: those of the silo, and those that the load creates.
pub(super) struct Records {
    /// Per block of rows, the runs of rows with one id: where each ends, and its slot, or its id's key where the
    /// null bit is set.
    runs: ColumnReader,
    /// Keys of the ids that the silo does not have, ascending; their slots follow each other.
    pub(super) unknown: Vec<u64>,
    pub(super) first_new: u64,
    /// The slots of the runs ascend.
    ascend: bool,
}

impl Records {
    /// Looks the ids of all rows up.
    pub(super) fn find(view: &View<'_>, ids: &ColumnReader, spool: &Spool) -> Result<Self> {
        let postings = view.reader()?.postings(&view.engine.layout.slots)?;
        let runs = SpooledColumn::default();
        let mut unknown = Vec::new();
        let mut ascend = true;
        let mut last: Option<(u64, Option<u32>)> = None;
        let mut last_slot = None;
        let (mut block, mut packed) = (Block::default(), Vec::new());
        ids.for_each_block(spool, 0..ids.rows(), |first, rows, ids| {
            block.clear();
            block.nulls.resize(rows.div_ceil(64), 0);
            let mut run_key = None;
            for (row, key) in ids.numbers.iter().enumerate() {
                if run_key == Some(*key) {
                    if let Some(end) = block.ends.last_mut() {
                        *end = row as u32 + 1;
                    }
                    continue;
                }
                run_key = Some(*key);
                let slot = match last {
                    Some((before, slot)) if before == *key => slot,
                    _ => postings.get_unique(*key)?,
                };
                last = Some((*key, slot));
                ascend &= slot.is_some() && last_slot <= slot;
                last_slot = slot;
                if slot.is_none() {
                    let run = block.ends.len();
                    if let Some(word) = block.nulls.get_mut(run / 64) {
                        *word |= 1 << (run % 64);
                    }
                    if unknown.last() != Some(key) {
                        unknown.push(*key);
                    }
                }
                block.numbers.push(slot.map_or(*key, u64::from));
                block.ends.push(row as u32 + 1);
            }
            runs.append(spool, first as u64, rows, &block, &mut packed)?;
            Ok::<(), Error>(())
        })?;
        unknown.sort_unstable();
        unknown.dedup();
        Ok(Self { runs: runs.into_reader(), unknown, first_new: view.slot_count(), ascend })
    }

    /// Slots after the load.
    pub(super) fn slot_count(&self) -> Result<u64> {
        let count = self.first_new + self.unknown.len() as u64;
        if count > 1 << 32 {
            return Err(Error::Load("more than 2^32 slots: split the records over several silos".into()));
        }
        Ok(count)
    }

    /// Calls `f` with slot and numbers of every row of a column of lists, in the order of rows.
    fn for_each_row(
        &self,
        column: &ColumnReader,
        spool: &Spool,
        mut f: impl FnMut(u32, &[u64]) -> Result<()>,
    ) -> Result<()> {
        let mut runs = Block::default();
        self.runs.for_each_block(spool, 0..self.runs.rows(), |first, rows, block| {
            runs.clone_from(block);
            column.for_each_block(spool, first..first + rows, |_, _, lists| {
                let mut run = 0;
                for row in 0..rows {
                    while runs.ends.get(run).is_some_and(|end| *end as usize <= row) {
                        run += 1;
                    }
                    let number = runs.numbers.get(run).copied().unwrap_or(0);
                    let slot = if runs.is_null(run) {
                        self.first_new + self.unknown.partition_point(|key| *key < number) as u64
                    } else {
                        number
                    };
                    let numbers =
                        if lists.is_null(row) { 0..0 } else { super::encode::span(&lists.ends, row) };
                    f(
                        u32::try_from(slot).unwrap_or(u32::MAX),
                        lists.numbers.get(numbers).unwrap_or_default(),
                    )?;
                }
                Ok(())
            })
        })
    }

    /// A column of lists by slot: every slot's numbers, ascending and none twice; null where no row is about it.
    pub(super) fn gather(&self, column: &ColumnReader, spool: &Spool) -> Result<ColumnReader> {
        let mut gathered = Gathered::new(spool, self.slot_count()?);
        if self.ascend {
            self.for_each_row(column, spool, |slot, numbers| gathered.push(slot, numbers))?;
            return gathered.finish();
        }
        // Sorted by slot; numbers stand for numbers, to fit beside a slot.
        let mut index: AHashMap<u64, u32> = AHashMap::new();
        let mut numbers_of: Vec<u64> = Vec::new();
        let mut number = |number: u64| -> Result<u32> {
            let next = u32::try_from(numbers_of.len()).map_err(|_| {
                Error::Load("more than 2^32 different values are added: load in parts".into())
            })?;
            Ok(*index.entry(number).or_insert_with(|| {
                numbers_of.push(number);
                next
            }))
        };
        let mut empty_rows = Vec::new();
        let sorted = sort_spilled(spool, |push| {
            self.for_each_row(column, spool, |slot, numbers| {
                if numbers.is_empty() {
                    empty_rows.push(slot);
                }
                numbers.iter().try_for_each(|n| push((u64::from(slot), number(*n)?)))
            })
        })?;
        // A record about which rows say nothing is created all the same.
        empty_rows.sort_unstable();
        empty_rows.dedup();
        let mut empty = empty_rows.into_iter().peekable();
        sorted.for_each(|(slot, number)| {
            let slot = slot as u32;
            while let Some(before) = empty.next_if(|before| *before < slot) {
                gathered.push(before, &[])?;
            }
            empty.next_if_eq(&slot);
            gathered.push(slot, &[numbers_of.get(number as usize).copied().unwrap_or(0)])
        })?;
        empty.try_for_each(|slot| gathered.push(slot, &[]))?;
        gathered.finish()
    }
}

/// Collects numbers in the order of slots.
struct Gathered<'a> {
    spool: &'a Spool,
    column: SpooledColumn,
    slot_count: u64,
    /// The first slot of the block.
    first: u64,
    block: Block,
    /// Numbers of the last slot begin here.
    start: usize,
    packed: Vec<u8>,
}

impl<'a> Gathered<'a> {
    fn new(spool: &'a Spool, slot_count: u64) -> Self {
        Self {
            spool,
            column: SpooledColumn::default(),
            slot_count,
            first: 0,
            block: Block::default(),
            start: 0,
            packed: Vec::new(),
        }
    }

    /// Adds numbers to a slot; slots must not descend.
    fn push(&mut self, slot: u32, numbers: &[u64]) -> Result<()> {
        let slot = u64::from(slot);
        debug_assert!(slot + 1 >= self.first + self.block.ends.len() as u64, "slots ascend");
        if slot + 1 != self.first + self.block.ends.len() as u64 {
            self.fill_to(slot)?;
            self.start = self.block.numbers.len();
            self.block.ends.push(0);
        }
        self.block.numbers.extend_from_slice(numbers);
        Ok(())
    }

    /// Ends the last slot's numbers.
    fn end_slot(&mut self) {
        let Some(end) = self.block.ends.last_mut() else { return };
        let last = self.block.numbers.get_mut(self.start..).unwrap_or_default();
        last.sort_unstable();
        let mut kept = self.start;
        for at in self.start..self.block.numbers.len() {
            let number = self.block.numbers.get(at).copied().unwrap_or(0);
            if kept == self.start || self.block.numbers.get(kept - 1) != Some(&number) {
                if let Some(place) = self.block.numbers.get_mut(kept) {
                    *place = number;
                }
                kept += 1;
            }
        }
        self.block.numbers.truncate(kept);
        *end = kept as u32;
        self.start = kept;
    }

    /// Nulls for the slots before `slot`, writing the blocks that are full.
    fn fill_to(&mut self, slot: u64) -> Result<()> {
        self.end_slot();
        loop {
            let rows = CHUNK_SLOTS.min(slot - self.first);
            let rows = usize::try_from(rows).unwrap_or(0);
            let end = self.block.numbers.len() as u32;
            self.block.nulls.resize(rows.div_ceil(64), 0);
            for row in self.block.ends.len()..rows {
                if let Some(word) = self.block.nulls.get_mut(row / 64) {
                    *word |= 1 << (row % 64);
                }
            }
            if self.block.ends.len() < rows {
                self.block.ends.resize(rows, end);
            }
            if rows as u64 == CHUNK_SLOTS {
                self.column.append(self.spool, self.first, rows, &self.block, &mut self.packed)?;
                self.block.clear();
                self.first += CHUNK_SLOTS;
                self.start = 0;
            } else {
                return Ok(());
            }
        }
    }

    fn finish(mut self) -> Result<ColumnReader> {
        self.fill_to(self.slot_count)?;
        let rows = self.block.ends.len();
        if rows > 0 {
            self.column.append(self.spool, self.first, rows, &self.block, &mut self.packed)?;
        }
        Ok(self.column.into_reader())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use std::io;

    #[test]
    fn numbers_are_gathered_by_slot() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path()).unwrap();
        for slots in [
            vec![],
            vec![(0, 3)],
            vec![(5, 1), (5, 0), (70_000, 9), (200_000, 2)],
            vec![(65_535, 1), (65_536, 1)],
        ] {
            let count = 200_001;
            let mut gathered = Gathered::new(&spool, count);
            let mut expected: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for (slot, most) in slots {
                for numbers in [[7 * most, most], [most, 1]] {
                    gathered.push(slot, &numbers).unwrap();
                    expected.entry(u64::from(slot)).or_default().extend(numbers);
                }
            }
            for numbers in expected.values_mut() {
                numbers.sort_unstable();
                numbers.dedup();
            }
            let column = gathered.finish().unwrap();
            assert_eq!(column.rows() as u64, count);
            let mut found = BTreeMap::new();
            column
                .for_each_block(&spool, 0..column.rows(), |first, rows, block| {
                    for row in 0..rows {
                        if !block.is_null(row) {
                            let span = super::super::encode::span(&block.ends, row);
                            found.insert((first + row) as u64, block.numbers[span].to_vec());
                        }
                    }
                    io::Result::Ok(())
                })
                .unwrap();
            assert_eq!(found, expected);
        }
    }
}
