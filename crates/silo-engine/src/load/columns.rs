//! From a column of a load to column pages and postings pages.

use bitmap_silo::column::PageBuilder;
use bitmap_silo::postings::sort_pairs;
use rayon::prelude::*;

use super::bitmaps::part_ranges;
use super::order::{ByRank, Cell};
use super::pairs::{PairSorter, SortMemory};
use super::spool::Spool;
use crate::error::{Error, Result};

/// Builds the pages of a column, chunk by chunk; rank 0 is slot `first_slot`. `emit` gets every chunk that has
/// an entry and its page, on several threads and in no order.
pub(super) fn build_column(
    column: &ByRank<'_>,
    records: u32,
    first_slot: u32,
    emit: &(impl Fn(u16, &[u8]) -> Result<()> + Sync),
) -> Result<()> {
    part_ranges(records, first_slot).into_par_iter().try_for_each(|ranks| {
        let mut builder = PageBuilder::new();
        let (mut slots, mut keys, mut page) = (Vec::new(), Vec::new(), Vec::new());
        let mut chunk = 0;
        let mut flush = |chunk: u16, slots: &mut Vec<u16>, keys: &mut Vec<u64>| -> Result<()> {
            if slots.is_empty() {
                return Ok(());
            }
            page.clear();
            builder
                .build_into(slots, keys, &mut page)
                .map_err(|why| Error::Load(format!("a column page could not be built: {why}")))?;
            emit(chunk, &page)?;
            slots.clear();
            keys.clear();
            Ok(())
        };
        column.for_each(ranks, |rank, cell| {
            let slot = first_slot + rank;
            let of_slot = (slot >> 16) as u16;
            if of_slot != chunk {
                flush(chunk, &mut slots, &mut keys)?;
                chunk = of_slot;
            }
            if let Cell::Numbers([key]) = cell {
                slots.push(slot as u16);
                keys.push(*key);
            }
            Ok(())
        })?;
        flush(chunk, &mut slots, &mut keys)
    })
}

/// Calls `emit` with every (number, slot) pair of a column in order, none twice; rank 0 is slot `first_slot`.
pub(super) fn sorted_pairs(
    column: &ByRank<'_>,
    records: u32,
    first_slot: u32,
    spool: &Spool,
    memory: &mut SortMemory,
    mut emit: impl FnMut(u64, u32) -> Result<()>,
) -> Result<()> {
    let mut sorter = PairSorter::new(spool, memory, sort_pairs);
    column.for_each(0..records as usize, |rank, cell| match cell {
        Cell::Null => Ok(()),
        Cell::Numbers(numbers) => {
            Ok(numbers.iter().try_for_each(|number| sorter.push((*number, first_slot + rank)))?)
        }
    })?;
    let mut last = None;
    sorter.finish(|pair| if last.replace(pair) == Some(pair) { Ok(()) } else { emit(pair.0, pair.1) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use bitmap_silo::column::ColumnPage;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::order::Order;
    use super::super::spool::{Block, ColumnReader, SpooledColumn};
    use super::*;

    /// Numbers of random rows, some null, in blocks.
    fn column(rows: usize, spool: &Spool) -> (ColumnReader, Order, Vec<Option<u64>>) {
        let mut random = StdRng::seed_from_u64(rows as u64);
        let cells: Vec<Option<u64>> =
            (0..rows).map(|_| random.random_bool(0.8).then(|| random.random_range(0..50_000))).collect();
        let (ids, numbers) = (SpooledColumn::default(), SpooledColumn::default());
        let mut packed = Vec::new();
        for (at, part) in cells.chunks(70_000).enumerate() {
            let mut block = Block { nulls: vec![0; part.len().div_ceil(64)], ..Block::default() };
            for (row, cell) in part.iter().enumerate() {
                block.nulls[row / 64] |= u64::from(cell.is_none()) << (row % 64);
                block.numbers.push(cell.unwrap_or(0));
            }
            let first = at as u64 * 70_000;
            numbers.append(spool, first, part.len(), &block, &mut packed).unwrap();
            let id = Block { numbers: (first..first + part.len() as u64).collect(), ..Block::default() };
            ids.append(spool, first, part.len(), &id, &mut packed).unwrap();
        }
        let order = Order::of(&ids.into_reader(), spool).unwrap();
        (numbers.into_reader(), order, cells)
    }

    #[test]
    fn pages_hold_the_keys_of_every_chunk() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path(), 1 << 12).unwrap();
        let (reader, order, cells) = column(300_000, &spool);
        let by_rank = ByRank::new(&reader, &spool, &order).unwrap();
        let first_slot = 1_000_000;
        let seen = Mutex::new(vec![None; cells.len()]);
        build_column(&by_rank, order.records(), first_slot, &|chunk, page| {
            let page = ColumnPage::open(page).unwrap();
            page.validate().unwrap();
            let mut seen = seen.lock().unwrap();
            page.for_each(|low, key| {
                let slot = u32::from(chunk) << 16 | u32::from(low);
                assert_eq!(seen[(slot - first_slot) as usize].replace(key), None);
            });
            Ok(())
        })
        .unwrap();
        assert_eq!(seen.into_inner().unwrap(), cells);
    }

    #[test]
    fn pairs_of_a_column_come_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path(), 1 << 12).unwrap();
        let (reader, order, cells) = column(200_000, &spool);
        let by_rank = ByRank::new(&reader, &spool, &order).unwrap();
        let expected: BTreeSet<(u64, u32)> =
            cells.iter().zip(9..).filter_map(|(cell, slot)| Some(((*cell)?, slot))).collect();
        let mut sorted = Vec::new();
        let mut memory = SortMemory::default();
        sorted_pairs(&by_rank, order.records(), 9, &spool, &mut memory, |number, slot| {
            sorted.push((number, slot));
            Ok(())
        })
        .unwrap();
        assert!(sorted.iter().eq(&expected));
    }
}
