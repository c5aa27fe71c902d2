//! Pairs in order, of which some millions are in memory at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;

use super::spool::{Extent, Spool};

/// A number, and a slot or row.
pub(super) type Pair = (u64, u32);

/// Most pairs that are sorted at a time; runs of so many are merged from the spool.
const RUN_PAIRS: usize = 16 << 20;
/// Most pairs that all threads sort at a time, each some of its own: a GiB with the room that sorting takes.
const PAIRS_OF_ALL: usize = 32 << 20;
/// Bytes of a pair in the spool.
const PAIR_BYTES: usize = 12;
/// Pairs of a run that are written, and read, at a time.
const PIECE_PAIRS: usize = 1 << 16;

/// Memory to sort pairs in. Memory that is touched for the first time costs as much as a pass over it.
#[derive(Default)]
pub(super) struct SortMemory {
    pairs: Vec<Pair>,
    room: Vec<Pair>,
}

/// Sorts pairs: in memory, or what is more than fits there by merging runs from the spool.
pub(super) struct PairSorter<'a> {
    spool: &'a Spool,
    memory: &'a mut SortMemory,
    /// Sorts the first with room in the second.
    sort: fn(&mut Vec<Pair>, &mut Vec<Pair>),
    /// Pairs of a run.
    run_pairs: usize,
    runs: Vec<Vec<Extent>>,
}

impl<'a> PairSorter<'a> {
    pub(super) fn new(
        spool: &'a Spool,
        memory: &'a mut SortMemory,
        sort: fn(&mut Vec<Pair>, &mut Vec<Pair>),
    ) -> Self {
        memory.pairs.clear();
        let run_pairs = (PAIRS_OF_ALL / rayon::current_num_threads()).clamp(1, RUN_PAIRS);
        Self { spool, memory, sort, run_pairs, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, pair: Pair) -> io::Result<()> {
        self.memory.pairs.push(pair);
        if self.memory.pairs.len() < self.run_pairs { Ok(()) } else { self.end_run() }
    }

    /// Moves the pairs in memory to the spool.
    fn end_run(&mut self) -> io::Result<()> {
        let SortMemory { pairs, room } = &mut *self.memory;
        (self.sort)(pairs, room);
        let mut bytes = Vec::with_capacity(PIECE_PAIRS * PAIR_BYTES);
        let pieces = pairs.chunks(PIECE_PAIRS).map(|piece| {
            bytes.clear();
            for (number, slot) in piece {
                bytes.extend_from_slice(&number.to_le_bytes());
                bytes.extend_from_slice(&slot.to_le_bytes());
            }
            self.spool.append(&bytes)
        });
        self.runs.push(pieces.collect::<io::Result<_>>()?);
        pairs.clear();
        Ok(())
    }

    /// Calls `emit` with every pair, ascending.
    pub(super) fn finish<E: From<io::Error>>(
        self,
        mut emit: impl FnMut(Pair) -> Result<(), E>,
    ) -> Result<(), E> {
        let SortMemory { pairs, room } = self.memory;
        (self.sort)(pairs, room);
        if self.runs.is_empty() {
            return pairs.iter().try_for_each(|pair| emit(*pair));
        }
        let spooled = self
            .runs
            .into_iter()
            .map(|pieces| Run { pieces: pieces.into_iter(), pairs: Vec::new().into_iter() });
        let last = Run { pieces: Vec::new().into_iter(), pairs: std::mem::take(pairs).into_iter() };
        let mut runs: Vec<Run> = spooled.chain([last]).collect();
        let mut buffer = Vec::new();
        let mut heap = BinaryHeap::with_capacity(runs.len());
        for (at, run) in runs.iter_mut().enumerate() {
            if let Some(pair) = run.next(self.spool, &mut buffer)? {
                heap.push(Reverse((pair, at)));
            }
        }
        while let Some(mut least) = heap.peek_mut() {
            let Reverse((pair, at)) = *least;
            emit(pair)?;
            let next = runs.get_mut(at).map(|run| run.next(self.spool, &mut buffer)).transpose()?.flatten();
            match next {
                Some(next) => *least = Reverse((next, at)),
                None => drop(PeekMut::pop(least)),
            }
        }
        Ok(())
    }
}

/// A sorted run, the next pairs of which are in memory.
struct Run {
    /// Where the pairs behind them are.
    pieces: std::vec::IntoIter<Extent>,
    pairs: std::vec::IntoIter<Pair>,
}

impl Run {
    fn next(&mut self, spool: &Spool, buffer: &mut Vec<u8>) -> io::Result<Option<Pair>> {
        if let Some(pair) = self.pairs.next() {
            return Ok(Some(pair));
        }
        let Some(piece) = self.pieces.next() else { return Ok(None) };
        let bytes = spool.read(piece, buffer)?;
        let pairs: Vec<Pair> = bytes
            .as_chunks::<PAIR_BYTES>()
            .0
            .iter()
            .map(|[a, b, c, d, e, f, g, h, i, j, k, l]| {
                (u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), u32::from_le_bytes([*i, *j, *k, *l]))
            })
            .collect();
        spool.release(piece);
        self.pairs = pairs.into_iter();
        Ok(self.pairs.next())
    }
}

#[cfg(test)]
mod tests {
    use bitmap_silo::postings::{par_sort_pairs, sort_pairs};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn pairs_come_sorted_from_memory_and_from_runs() {
        let dir = tempfile::tempdir().unwrap();
        let mut random = StdRng::seed_from_u64(3);
        // Pairs of a run: all, some with a rest, none left over, and more than one piece.
        for (count, run_pairs) in [(0, 10), (5000, 5001), (5000, 700), (5000, 1000), (200_000, 70_000)] {
            for sort in [sort_pairs, par_sort_pairs] {
                let spool = Spool::create_in(dir.path(), 1 << 12).unwrap();
                let mut pairs: Vec<Pair> =
                    (0..count).map(|row| (random.random_range(0..2000), row % 4500)).collect();
                let mut memory = SortMemory::default();
                memory.pairs.push((7, 7));
                let mut sorter = PairSorter::new(&spool, &mut memory, sort);
                sorter.run_pairs = run_pairs;
                for pair in &pairs {
                    sorter.push(*pair).unwrap();
                }
                assert_eq!(sorter.runs.len(), count as usize / run_pairs);
                let mut emitted = Vec::new();
                sorter
                    .finish(|pair| {
                        emitted.push(pair);
                        io::Result::Ok(())
                    })
                    .unwrap();
                pairs.sort_unstable();
                assert_eq!(emitted, pairs);
            }
        }
    }
}
