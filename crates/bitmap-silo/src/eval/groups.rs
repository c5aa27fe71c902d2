//! How many slots of an answer are in each of many bitmaps.
//!
//! The answer is evaluated chunk by chunk, and each chunk meets that chunk of every bitmap. A short list
//! asks for its slots one by one; where no slot is in two bitmaps, those found leave it, so that most
//! bitmaps are asked for little. A dense chunk is a bitset, of which ranks are made once: a run of
//! a bitmap is then counted by the ranks at its ends, however long it is.

use std::ops::ControlFlow;

use super::query::Query;
use crate::container::{ArrayRef, BitsetRef, ContainerRef, Scratch, pair};
use crate::kernels::{Bits, NO_RANKS, Ranks, kernels};
use crate::source::Source;
use crate::view::BitmapView;

/// Slots of a chunk up to which each is asked for.
const LIST_MAX: u32 = 128;
/// Runs from which on ranks are made.
const RANKED_RUNS: usize = 64;

/// Number of slots that the query matches in each of the groups. With `disjoint`, no slot is in two of
/// them: groups with many slots are best first then, and a chunk is done once all its
/// slots were found.
#[must_use]
pub fn count_groups(query: &Query<'_>, groups: &[BitmapView<'_>], disjoint: bool) -> Vec<u64> {
    let mut sources: Vec<Source<'_>> = groups.iter().map(Source::new).collect();
    let mut counts = vec![0_u64; groups.len()];
    let mut meeting = Meeting { rest: Vec::new(), words: Scratch::new(), ranks: Box::new(NO_RANKS) };
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
        for (source, count) in sources.iter_mut().zip(counts) {
            if source.seek(key) != Some(key) || source.load(key) == 0 {
                continue;
            }
            let group = source.container();
            let found = if is_list {
                let before = self.rest.len();
                if disjoint {
                    self.rest.retain(|low| !group.contains(*low));
                    before - self.rest.len()
                } else {
                    match group {
                        ContainerRef::Runs(runs) if runs.run_count() > self.rest.len() => {
                            self.rest.iter().filter(|low| group.contains(**low)).count()
                        }
                        group => {
                            let list = ArrayRef::from_values(&self.rest);
                            pair::intersection_len(list.into(), group) as usize
                        }
                    }
                }
            } else {
                match group {
                    ContainerRef::Runs(runs) if runs.run_count() >= RANKED_RUNS => {
                        if !ranked {
                            (kernels().rank)(bits, &mut self.ranks);
                            ranked = true;
                        }
                        (kernels().count_runs)(&self.ranks, runs.pairs()) as usize
                    }
                    ContainerRef::Runs(runs) if ranked => {
                        (kernels().count_runs)(&self.ranks, runs.pairs()) as usize
                    }
                    group => {
                        pair::intersection_len(BitsetRef::new(bits, total).into(), group) as usize
                    }
                }
            };
            *count += found as u64;
            left = left.saturating_sub(u32::try_from(found).unwrap_or(u32::MAX));
            if disjoint && left == 0 {
                return;
            }
        }
    }
}
