//! Which row becomes which record.
//!
//! Records get their slots in the order of their ids. Where the ids of the input ascend, as those of dumps mostly
//! do, a row's rank is its position; otherwise (id, row) pairs are sorted. Of several rows with one id the
//! last is the record.

use std::io;
use std::ops::Range;

use bitmap_silo::postings::par_sort_pairs;
use rayon::prelude::*;

use super::pairs::{Pair, PairSorter, SortMemory};
use super::spool::{Block, ColumnReader, Spool};
use crate::error::{Error, Result};

/// The mark of a row that a later one replaces.
const REPLACED: u32 = u32::MAX;

/// Ranks that are gathered at a time.
const WINDOW_RANKS: usize = if cfg!(test) { 8 } else { 16 << 16 };
/// Blocks are read at most so many times on average; in a wilder order, columns are gathered as a whole.
const MOST_READS: usize = 4;

/// The rank of every row's record among the records of the load.
#[derive(Debug)]
pub(super) enum Order {
    /// Rows are records, in order.
    Identity { records: u32 },
    /// Rank by row, [`REPLACED`] for rows that are no record.
    Ranked { ranks: Vec<u32>, records: u32 },
}

impl Order {
    /// The order of rows by a column of ids.
    pub(super) fn of(ids: &ColumnReader, spool: &Spool) -> Result<Self> {
        let rows = row_count(ids.rows())?;
        let mut last = None;
        let mut ascends = true;
        ids.for_each_block(spool, 0..ids.rows(), |_, _, block| {
            for id in &block.numbers {
                ascends &= last.is_none_or(|last| last < *id);
                last = Some(*id);
            }
            io::Result::Ok(())
        })?;
        if ascends {
            return Ok(Self::Identity { records: rows });
        }
        let mut memory = SortMemory::default();
        let mut sorter = PairSorter::new(spool, &mut memory, par_sort_pairs);
        let mut numbers = 0..rows;
        ids.for_each_block(spool, 0..ids.rows(), |_, _, block| {
            block.numbers.iter().zip(&mut numbers).try_for_each(|(id, row)| sorter.push((*id, row)))
        })?;
        // Ascending by id, then row: the last row of an id is the record.
        let mut ranks = Ranks::of(ids.rows());
        let mut before: Option<Pair> = None;
        sorter.finish(|(id, row)| {
            if let Some((other, last_row)) = before.replace((id, row))
                && other != id
            {
                ranks.push(last_row);
            }
            io::Result::Ok(())
        })?;
        if let Some((_, row)) = before {
            ranks.push(row);
        }
        Ok(ranks.into_order())
    }

    /// The order of rows by a comparison, after which equal rows are one record.
    pub(super) fn by(rows: usize, compare: impl Fn(u32, u32) -> std::cmp::Ordering + Sync) -> Result<Self> {
        let count = row_count(rows)?;
        let mut sorted: Vec<u32> = (0..count).collect();
        sorted.par_sort_unstable_by(|a, b| compare(*a, *b).then(a.cmp(b)));
        let last_of_id =
            |at: usize, row: u32| sorted.get(at + 1).is_none_or(|next| compare(row, *next).is_ne());
        let mut ranks = Ranks::of(rows);
        let records = sorted.iter().enumerate().filter(|(at, row)| last_of_id(*at, **row));
        records.for_each(|(_, row)| ranks.push(*row));
        Ok(ranks.into_order())
    }

    /// Number of records.
    pub(super) fn records(&self) -> u32 {
        match self {
            Self::Identity { records } | Self::Ranked { records, .. } => *records,
        }
    }

    /// The rank of a row's record; none for a row that a later one replaces.
    pub(super) fn rank(&self, row: usize) -> Option<u32> {
        match self {
            Self::Identity { records } => u32::try_from(row).ok().filter(|row| row < records),
            Self::Ranked { ranks, .. } => ranks.get(row).copied().filter(|rank| *rank != REPLACED),
        }
    }
}

/// Ranks as they are given out.
struct Ranks {
    of_rows: Vec<u32>,
    records: u32,
}

impl Ranks {
    fn of(rows: usize) -> Self {
        Self { of_rows: vec![REPLACED; rows], records: 0 }
    }

    /// Gives a row the next rank.
    fn push(&mut self, row: u32) {
        if let Some(rank) = self.of_rows.get_mut(row as usize) {
            *rank = self.records;
        }
        self.records += 1;
    }

    /// The order in which the rows that have a rank are the records.
    fn into_order(self) -> Order {
        Order::Ranked { ranks: self.of_rows, records: self.records }
    }
}

fn row_count(rows: usize) -> Result<u32> {
    u32::try_from(rows)
        .ok()
        .filter(|rows| *rows < u32::MAX)
        .ok_or_else(|| Error::Load("more than 2^32 - 2 rows: load them in parts".into()))
}

/// A column by rank of the record: read from the blocks as they lie where rows are records, else gathered.
pub(super) struct ByRank<'a> {
    records: usize,
    source: Source<'a>,
}

enum Source<'a> {
    Blocks(&'a ColumnReader, &'a Spool),
    /// Rows are near their ranks: gathered window by window.
    Windows(Windows<'a>),
    Gathered(Gathered),
}

/// What one record has in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    /// One number, or the members of a set, in no order and maybe twice.
    Numbers(&'a [u64]),
}

impl<'a> ByRank<'a> {
    /// A column in the order of ranks.
    pub(super) fn new(column: &'a ColumnReader, spool: &'a Spool, order: &'a Order) -> Result<Self> {
        let records = order.records() as usize;
        let source = match order {
            Order::Identity { .. } => Source::Blocks(column, spool),
            Order::Ranked { ranks, .. } => {
                let windows = Windows::new(column, spool, ranks);
                if windows.blocks_read(records) <= MOST_READS * column.blocks() {
                    Source::Windows(windows)
                } else {
                    let mut all = Gathered::default();
                    windows.gather(0..records, &mut all)?;
                    Source::Gathered(all)
                }
            }
        };
        Ok(Self { records, source })
    }

    /// A column of one number a record.
    pub(super) fn computed(records: u32, number: impl FnMut(u32) -> u64) -> Self {
        let numbers = (0..records).map(number).collect();
        let gathered = Gathered { numbers, ..Gathered::default() };
        Self { records: records as usize, source: Source::Gathered(gathered) }
    }

    /// Calls `f` with rank and cell of every record in a range of ranks, in order.
    pub(super) fn for_each(
        &self,
        ranks: Range<usize>,
        mut f: impl FnMut(u32, Cell<'_>) -> Result<()>,
    ) -> Result<()> {
        let ranks = ranks.start..ranks.end.min(self.records);
        let mut visit = |first: usize, rows: usize, nulls: &[u64], ends: &[u32], numbers: &[u64]| {
            let from = ranks.start.saturating_sub(first);
            let to = rows.min(ranks.end.saturating_sub(first));
            for row in from..to {
                let null = nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
                let span = if ends.is_empty() { row..row + 1 } else { super::encode::span(ends, row) };
                let cell =
                    if null { Cell::Null } else { Cell::Numbers(numbers.get(span).unwrap_or_default()) };
                f((first + row) as u32, cell)?;
            }
            Ok(())
        };
        match &self.source {
            Source::Gathered(all) => visit(0, self.records, &all.nulls, &all.ends, &all.numbers),
            Source::Windows(windows) => {
                let mut window = Gathered::default();
                let mut start = ranks.start;
                while start < ranks.end {
                    let end = (start / WINDOW_RANKS + 1) * WINDOW_RANKS;
                    let end = end.min(ranks.end);
                    windows.gather(start..end, &mut window)?;
                    visit(start, end - start, &window.nulls, &window.ends, &window.numbers)?;
                    start = end;
                }
                Ok(())
            }
            Source::Blocks(column, spool) => {
                column.for_each_block(spool, ranks.clone(), |first, rows, block| {
                    visit(first, rows, &block.nulls, &block.ends, &block.numbers)
                })
            }
        }
    }
}

/// Cells of consecutive ranks.
#[derive(Default)]
struct Gathered {
    nulls: Vec<u64>,
    /// Ends of the records in `numbers`; empty for a column of one number a row.
    ends: Vec<u32>,
    numbers: Vec<u64>,
    block: Block,
    packed: Vec<u8>,
}

/// A column whose rows have ranks, and which ranks each of its blocks has.
struct Windows<'a> {
    column: &'a ColumnReader,
    spool: &'a Spool,
    ranks: &'a [u32],
    /// Rows of each block, and the range of their ranks.
    blocks: Vec<(Range<usize>, Range<usize>)>,
}

impl<'a> Windows<'a> {
    fn new(column: &'a ColumnReader, spool: &'a Spool, ranks: &'a [u32]) -> Self {
        let blocks = (0..column.blocks()).map(|at| {
            let rows = column.rows_of(at);
            let ranks = ranks.get(rows.clone()).unwrap_or_default();
            let (lowest, highest) = ranks
                .iter()
                .filter(|rank| **rank != REPLACED)
                .fold((u32::MAX, 0), |(low, high), rank| (low.min(*rank), high.max(rank + 1)));
            (rows, lowest as usize..highest as usize)
        });
        Self { column, spool, ranks, blocks: blocks.collect() }
    }

    /// How many blocks are read to gather all ranks window by window.
    fn blocks_read(&self, records: usize) -> usize {
        let windows = (0..records).step_by(WINDOW_RANKS).map(|start| start..start + WINDOW_RANKS);
        windows.map(|window| self.blocks.iter().filter(|(_, ranks)| meet(ranks, &window)).count()).sum()
    }

    /// Gathers a range of ranks, in memory.
    fn gather(&self, wanted: Range<usize>, out: &mut Gathered) -> Result<()> {
        let Gathered { nulls, ends, numbers, block, packed } = out;
        let place = |row: usize| {
            let rank = *self.ranks.get(row)?;
            (rank != REPLACED)
                .then(|| (rank as usize).checked_sub(wanted.start))?
                .filter(|at| *at < wanted.len())
        };
        nulls.clear();
        nulls.resize(wanted.len().div_ceil(64), 0);
        ends.clear();
        numbers.clear();
        numbers.resize(wanted.len(), 0);
        let meeting = || self.blocks.iter().enumerate().filter(|(_, (_, ranks))| meet(ranks, &wanted));
        for (at, (rows, _)) in meeting() {
            self.column.read_block(at, self.spool, packed, block)?;
            if !block.ends.is_empty() && ends.is_empty() {
                ends.resize(wanted.len(), 0);
            }
            for row in 0..rows.len() {
                let Some(at) = place(rows.start + row) else { continue };
                if block.is_null(row) {
                    if let Some(word) = nulls.get_mut(at / 64) {
                        *word |= 1 << (at % 64);
                    }
                } else if block.ends.is_empty() {
                    if let (Some(place), Some(number)) = (numbers.get_mut(at), block.numbers.get(row)) {
                        *place = *number;
                    }
                } else if let Some(len) = ends.get_mut(at) {
                    *len = super::encode::span(&block.ends, row).len() as u32;
                }
            }
        }
        if ends.is_empty() {
            return Ok(());
        }
        // Lists: now that every length is known, each list has its place.
        let mut end = 0u32;
        for len in &mut *ends {
            end = end.checked_add(*len).ok_or_else(|| {
                Error::Load("more than 2^32 values in one column: load the rows in parts".into())
            })?;
            *len = end;
        }
        numbers.clear();
        numbers.resize(end as usize, 0);
        for (at, (rows, _)) in meeting() {
            self.column.read_block(at, self.spool, packed, block)?;
            for row in 0..rows.len() {
                let Some(at) = place(rows.start + row) else { continue };
                let from = block.numbers.get(super::encode::span(&block.ends, row));
                let to = numbers.get_mut(super::encode::span(ends, at));
                if let (Some(from), Some(to)) = (from, to)
                    && from.len() == to.len()
                {
                    to.copy_from_slice(from);
                }
            }
        }
        Ok(())
    }
}

/// Whether ranges have a rank in common.
fn meet(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::super::spool::{Block, SpooledColumn};
    use super::*;

    /// Ids, one number a row (null where it is divisible by 3), and lists of `id % 4` numbers.
    fn columns(ids: &[u64]) -> (tempfile::TempDir, Spool, [ColumnReader; 3]) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path(), 1 << 12).unwrap();
        let columns = [(); 3].map(|()| SpooledColumn::default());
        let mut packed = Vec::new();
        for (at, part) in ids.chunks(5).enumerate() {
            let first = at as u64 * 5;
            let mut one = Block { nulls: vec![0], ..Block::default() };
            let mut list = Block::default();
            for (row, id) in part.iter().enumerate() {
                one.nulls[0] |= u64::from(id % 3 == 0) << row;
                one.numbers.push((first + row as u64) * 10);
                list.numbers.extend((0..id % 4).map(|k| first + row as u64 + k));
                list.ends.push(list.numbers.len() as u32);
            }
            let id = Block { numbers: part.to_vec(), ..Block::default() };
            for (column, block) in columns.iter().zip([id, one, list]) {
                column.append(&spool, first, part.len(), &block, &mut packed).unwrap();
            }
        }
        (dir, spool, columns.map(SpooledColumn::into_reader))
    }

    fn cells(
        column: &ColumnReader,
        spool: &Spool,
        order: &Order,
        ranks: std::ops::Range<usize>,
    ) -> Vec<Option<Vec<u64>>> {
        let mut cells = Vec::new();
        let mut next = ranks.start as u32;
        ByRank::new(column, spool, order)
            .unwrap()
            .for_each(ranks, |rank, cell| {
                assert_eq!(rank, next);
                next += 1;
                cells.push(match cell {
                    Cell::Null => None,
                    Cell::Numbers(numbers) => Some(numbers.to_vec()),
                });
                Ok(())
            })
            .unwrap();
        cells
    }

    #[test]
    fn records_are_ranked_by_id_and_the_last_row_of_an_id_wins() {
        for ids in [
            (10..40).collect::<Vec<u64>>(),
            vec![5, 9, 7, 5, 100, 1, 7, 8, 5, 2, 3, 4],
            vec![u64::MAX, 0, u64::MAX],
            // In the wildest order, and near their places.
            (0..90).map(|row| row * 37 % 91).collect(),
            (0..90).map(|row| row ^ 5).collect(),
            vec![],
        ] {
            let (_dir, spool, [id, one, list]) = columns(&ids);
            let order = Order::of(&id, &spool).unwrap();
            let mut last_rows = std::collections::BTreeMap::new();
            for (row, id) in ids.iter().enumerate() {
                last_rows.insert(*id, row as u64);
            }
            assert_eq!(order.records() as usize, last_rows.len());
            assert_eq!(matches!(order, Order::Identity { .. }), ids.is_sorted_by(|a, b| a < b));
            let ones: Vec<_> =
                last_rows.iter().map(|(id, row)| (id % 3 != 0).then(|| vec![row * 10])).collect();
            let lists: Vec<_> =
                last_rows.iter().map(|(id, row)| Some((0..id % 4).map(|k| row + k).collect())).collect();
            for start in 0..=last_rows.len() {
                for end in start..=last_rows.len() {
                    assert_eq!(cells(&one, &spool, &order, start..end), ones[start..end]);
                    assert_eq!(cells(&list, &spool, &order, start..end), lists[start..end]);
                }
            }
        }
    }
}
