//! How many slots of an answer are in each of many bitmaps.
//!
//! The answer is evaluated chunk by chunk, and each chunk meets that chunk of every bitmap. A short list
//! asks for its slots one by one; where no slot is in two bitmaps, those found leave it, so that most
//! bitmaps are asked for little. A dense chunk is a bitset, of which ranks are made once: a run of
//! a bitmap is then counted by the ranks at its ends, however long it is.

use std::ops::ControlFlow;

use super::query::Query;
use crate::container::{ArrayRef, BitsetRef, ContainerRef, Scratch, pair};
use crate::kernels::{Bits, Ranks, kernels, no_ranks};
use crate::source::Source;
use crate::view::BitmapView;

/// Slots of a chunk up to which each is asked for.
const LIST_MAX: u32 = 128;
/// Groups whose chunks are fetched together.
const AHEAD: usize = 8;
/// Runs from which on ranks are made.
const RANKED_RUNS: usize = 64;

/// Number of slots that the query matches in each of the groups. With `disjoint`, no slot is in two of
/// them: groups with many slots are best first then, and a chunk is done once all its
/// slots were found.
#[must_use]
pub fn count_groups(query: &Query<'_>, groups: &[BitmapView<'_>], disjoint: bool) -> Vec<u64> {
    let mut sources: Vec<Source<'_>> = groups.iter().map(Source::new).collect();
    let mut counts = vec![0_u64; groups.len()];
    let mut meeting = Meeting { rest: Vec::new(), words: Scratch::new(), ranks: no_ranks() };
    let _ = query.for_each_chunk::<()>(|key, slots| {
        meeting.chunk(key, slots, &mut sources, disjoint, &mut counts);
        ControlFlow::Continue(())
    });
    counts
}

/// Room for what is made of a chunk.
struct Meeting {
    /// Slots of a short list that were not found yet.
    rest: Vec<u16>,
    words: Scratch,
    ranks: Box<Ranks>,
}

impl Meeting {
    fn chunk(
        &mut self,
        key: u16,
        slots: ContainerRef<'_>,
        sources: &mut [Source<'_>],
        disjoint: bool,
        counts: &mut [u64],
    ) {
        let total = slots.cardinality();
        let mut left = total;
        let is_list = total <= LIST_MAX;
        let mut bits: Option<&Bits> = None;
        if is_list {
            self.rest.clear();
            slots.for_each(|low| self.rest.push(low));
        } else if let ContainerRef::Bitset(bitset) = slots {
            bits = Some(bitset.bits());
        } else {
            self.words.load(slots);
        }
        let bits = bits.unwrap_or_else(|| self.words.bits());
        let mut ranked = false;
        for (sources, counts) in sources.chunks_mut(AHEAD).zip(counts.chunks_mut(AHEAD)) {
            let mut active = [false; AHEAD];
            for (source, active) in sources.iter_mut().zip(&mut active) {
                *active = source.seek(key) == Some(key) && source.load(key) != 0;
                if *active {
                    touch(source.container());
                }
            }
            for ((source, count), _) in sources.iter().zip(counts).zip(active).filter(|(_, active)| *active) {
                let group = source.container();
                let found = if is_list {
                    Self::count_list(&mut self.rest, group, disjoint)
                } else {
                    match group {
                        ContainerRef::Runs(runs) if ranked || runs.run_count() >= RANKED_RUNS => {
                            if !ranked {
                                (kernels().rank)(bits, &mut self.ranks);
                                ranked = true;
                            }
                            (kernels().count_runs)(&self.ranks, runs.pairs())
                        }
                        group => pair::intersection_len(BitsetRef::new(bits, total).into(), group),
                    }
                };
                *count += u64::from(found);
                left = left.saturating_sub(found);
                if disjoint && left == 0 {
                    return;
                }
            }
        }
    }

    /// Number of listed slots that a group has; with `disjoint` they leave the list.
    fn count_list(rest: &mut Vec<u16>, group: ContainerRef<'_>, disjoint: bool) -> u32 {
        let found = match group {
            _ if disjoint => {
                let before = rest.len();
                rest.retain(|low| !group.contains(*low));
                before - rest.len()
            }
            ContainerRef::Runs(runs) if runs.run_count() > rest.len() => {
                rest.iter().filter(|low| group.contains(**low)).count()
            }
            group => return pair::intersection_len(ArrayRef::from_values(rest).into(), group),
        };
        u32::try_from(found).unwrap_or(u32::MAX)
    }
}

/// Reads a byte of every cache line of a list or of runs, so that the misses overlap.
#[inline]
fn touch(container: ContainerRef<'_>) {
    let seen = match container {
        ContainerRef::Array(list) => list.values().iter().step_by(32).fold(0, |seen, [low, _]| seen ^ low),
        ContainerRef::Runs(runs) => runs.pairs().iter().step_by(16).fold(0, |seen, [low, ..]| seen ^ low),
        ContainerRef::Bitset(_) => 0,
    };
    std::hint::black_box(seen);
}
