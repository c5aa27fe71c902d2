//! From a column of a load to column pages and postings pages.

use std::io;

use bitmap_silo::column::PageBuilder;
use bitmap_silo::postings::sort_pairs;
use rayon::prelude::*;

use super::bitmaps::part_ranges;
use super::order::{ByRank, Cell};
use super::spool::{Extent, Spool};
use crate::error::{Error, Result};

/// A number and a slot.
type Pair = (u64, u32);

/// Pairs that are sorted at a time; runs of so many are merged from the spool.
const RUN_PAIRS: usize = 16 << 20;
/// Bytes of a pair in the spool.
const PAIR_BYTES: usize = 12;
/// Pairs of a run that are read at a time.
const READ_PAIRS: usize = 1 << 16;

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

/// Memory to sort pairs in. Memory that is touched for the first time costs as much as a pass over it.
#[derive(Default)]
pub(super) struct SortMemory {
    pairs: Vec<Pair>,
    room: Vec<Pair>,
}

/// Calls `emit` with every (number, slot) pair of a column in order, none twice; rank 0 is slot `first_slot`. Some
/// millions are sorted in memory at a time.
pub(super) fn sorted_pairs(
    column: &ByRank<'_>,
    records: u32,
    first_slot: u32,
    spool: &Spool,
    memory: &mut SortMemory,
    mut emit: impl FnMut(u64, u32) -> Result<()>,
) -> Result<()> {
    let SortMemory { pairs, room } = memory;
    pairs.clear();
    let mut runs: Vec<Extent> = Vec::new();
    let mut bytes = Vec::new();
    let mut push = |pair| {
        pairs.push(pair);
        if pairs.len() < RUN_PAIRS {
            return Ok(());
        }
        sort_pairs(pairs, room);
        bytes.clear();
        for (number, slot) in pairs.drain(..) {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&slot.to_le_bytes());
        }
        runs.push(spool.append(&bytes)?);
        Ok(())
    };
    column.for_each(0..records as usize, |rank, cell| match cell {
        Cell::Null => Ok(()),
        Cell::Numbers(numbers) => numbers.iter().try_for_each(|number| push((*number, first_slot + rank))),
    })?;
    sort_pairs(pairs, room);
    let mut last = None;
    let mut once = |pair: Pair| if last.replace(pair) == Some(pair) { Ok(()) } else { emit(pair.0, pair.1) };
    if runs.is_empty() {
        return pairs.iter().try_for_each(|pair| once(*pair));
    }
    merge_runs(spool, runs, std::mem::take(pairs), &mut once)
}

/// A sorted run, the next pairs of which are in memory.
struct Run {
    /// Where it is in the spool, if it is not in memory as a whole.
    extent: Option<Extent>,
    /// Pairs that were read from there.
    read: usize,
    pairs: std::vec::IntoIter<Pair>,
}

impl Run {
    fn next(&mut self, spool: &Spool, buffer: &mut Vec<u8>) -> io::Result<Option<Pair>> {
        if let Some(pair) = self.pairs.next() {
            return Ok(Some(pair));
        }
        let Some(extent) = self.extent else { return Ok(None) };
        let start = self.read * PAIR_BYTES;
        let len = (extent.len() - start).min(READ_PAIRS * PAIR_BYTES);
        if len == 0 {
            spool.release(extent);
            self.extent = None;
            return Ok(None);
        }
        let bytes = spool.read(extent.part(start..start + len), buffer)?;
        self.read += len / PAIR_BYTES;
        let pairs: Vec<Pair> = bytes
            .as_chunks::<PAIR_BYTES>()
            .0
            .iter()
            .map(|[a, b, c, d, e, f, g, h, i, j, k, l]| {
                (u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), u32::from_le_bytes([*i, *j, *k, *l]))
            })
            .collect();
        self.pairs = pairs.into_iter();
        Ok(self.pairs.next())
    }
}

fn merge_runs(
    spool: &Spool,
    extents: Vec<Extent>,
    last: Vec<Pair>,
    emit: &mut impl FnMut(Pair) -> Result<()>,
) -> Result<()> {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    use std::collections::binary_heap::PeekMut;

    let mut buffer = Vec::new();
    let spooled = extents.into_iter().map(|extent| Run {
        extent: Some(extent),
        read: 0,
        pairs: Vec::new().into_iter(),
    });
    let last = Run { extent: None, read: 0, pairs: last.into_iter() };
    let mut runs: Vec<Run> = spooled.chain([last]).collect();
    let mut heap = BinaryHeap::with_capacity(runs.len());
    for (at, run) in runs.iter_mut().enumerate() {
        if let Some(pair) = run.next(spool, &mut buffer)? {
            heap.push(Reverse((pair, at)));
        }
    }
    while let Some(mut least) = heap.peek_mut() {
        let Reverse((pair, at)) = *least;
        emit(pair)?;
        let next = runs.get_mut(at).map(|run| run.next(spool, &mut buffer)).transpose()?.flatten();
        match next {
            Some(next) => *least = Reverse((next, at)),
            None => drop(PeekMut::pop(least)),
        }
    }
    Ok(())
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
    fn pairs_come_sorted_from_memory_and_from_runs() {
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

        // The same pairs as runs in the spool and a rest in memory.
        let all: Vec<Pair> = expected.iter().copied().collect();
        let mut runs = Vec::new();
        for run in 0..3 {
            let part = all.iter().skip(run).step_by(4);
            let bytes: Vec<u8> =
                part.flat_map(|(n, s)| n.to_le_bytes().into_iter().chain(s.to_le_bytes())).collect();
            runs.push(spool.append(&bytes).unwrap());
        }
        let rest = all.iter().skip(3).step_by(4).copied().collect();
        let mut merged = Vec::new();
        merge_runs(&spool, runs, rest, &mut |pair| {
            merged.push(pair);
            Ok(())
        })
        .unwrap();
        assert_eq!(merged, all);
    }
}
