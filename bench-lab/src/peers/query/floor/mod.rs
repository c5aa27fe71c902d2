//! The floor: a program written by hand for exactly these queries, all in memory.
//!
//! Slots are ranks of ids. There is a `roaring` bitmap for each tag, words for those with many slots, a byte for each row with all small
//! fields, and for each sort field one permutation of the slots by (value, slot) with those bytes beside it. A page is either the first
//! matches of a walk along the permutation, or the best of the slots that a clause leaves, whichever is guessed to be cheaper; a walk that
//! takes much longer than was guessed is given up. Counts are sums of bits of words, never sets.

mod data;
mod filter;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Context, Result, bail};

use self::data::{Data, Sorted};
use self::filter::Filter;
use super::{Answer, Query, QueryEngine};
use crate::workload::{BASE_MODELS, Workload};

/// The program.
pub(super) struct Floor {
    data: Data,
}

impl Floor {
    pub(super) fn new(workload: &Workload) -> Self {
        Self { data: Data::new(workload) }
    }

    fn sorted(&self, field: &str) -> Result<&Sorted> {
        Ok(match field {
            "sortAt" => &self.data.sort_at,
            "reactionCount" => &self.data.reactions,
            "commentCount" => &self.data.comments,
            other => bail!("the floor has no sort field {other}"),
        })
    }

    fn page(&self, query: &Query, filter: &Filter<'_>) -> Result<Vec<u32>> {
        let (field, descending) = query.sort.as_ref().context("pages of the workload are sorted")?;
        let sorted = self.sorted(field)?;
        let wanted = query.offset + query.limit;
        // A range of the sort field itself is a part of its permutation.
        let range = match filter.times {
            Some((low, high)) if field == "sortAt" => sorted.range(low, high),
            _ => 0..sorted.order.len(),
        };
        let ids = |slots: Vec<u32>| slots.into_iter().map(|slot| self.data.ids[slot as usize]).collect();
        let all = sorted.order.len() as f64;
        let steps = (wanted as f64 / filter.share().max(1e-12)).min(all) * range.len() as f64 / all;
        let walk = steps * (1.5 + filter.tags_cost() + if filter.user.is_some() { 20.0 } else { 0.0 });
        let listed = filter.listed();
        let list = listed.as_ref().map_or(f64::INFINITY, |(_, count)| *count as f64 * 3.0);
        if walk <= list {
            let budget = if list.is_finite() { steps as usize * 4 + 1_000 } else { usize::MAX };
            let page = (query.offset, query.limit);
            let found = if *descending {
                walk_along(filter, sorted, range.rev(), page, budget)
            } else {
                walk_along(filter, sorted, range, page, budget)
            };
            if let Some(slots) = found {
                return Ok(ids(slots));
            }
        }
        let (listed, _) = listed.context("there is a clause to list")?;
        let mut best = Best::new(wanted, *descending);
        filter.for_each_of(&listed, |slot| best.add(sorted.values[slot as usize], slot));
        Ok(ids(best.finish().into_iter().skip(query.offset).collect()))
    }

    fn count(&self, filter: &Filter<'_>) -> Result<u64> {
        let mut total = 0;
        let words = self.data.ids.len().div_ceil(64) as u64;
        let listed = filter.listed();
        let is_rare = listed.as_ref().is_some_and(|(_, count)| *count < words / 2);
        if is_rare || !filter.for_each_block(|_, block| total += ones(block)) {
            let (listed, _) = listed.context("a count has a clause to list, or words")?;
            filter.for_each_of(&listed, |_| total += 1);
        }
        Ok(total)
    }

    fn facet(&self, filter: &Filter<'_>) -> Result<Answer> {
        let mut counts = [0_u64; 256];
        let listed = filter.listed().filter(|(_, count)| *count * 6 < self.data.ids.len() as u64);
        if let Some((listed, _)) = listed {
            filter.for_each_of(&listed, |slot| counts[usize::from(self.data.models[slot as usize])] += 1);
        } else {
            let mut matches = vec![0; self.data.ids.len().div_ceil(64)];
            let done =
                filter.for_each_block(|at, block| matches[at..at + block.len()].copy_from_slice(block));
            if !done {
                bail!("a facet is over a clause to list, or words");
            }
            for (model, count) in self.data.by_model.iter().zip(&mut counts) {
                // A word is about as quick as a slot.
                *count = match model.words.as_ref().filter(|words| model.len() > words.len() as u64) {
                    Some(words) => common(&matches, words),
                    None => {
                        model.bitmap.iter().map(|slot| matches[slot as usize / 64] >> (slot % 64) & 1).sum()
                    }
                };
            }
        }
        let named = BASE_MODELS.iter().zip(counts).filter(|(_, count)| *count > 0);
        Ok(Answer {
            facets: named.map(|(name, count)| ((*name).to_owned(), count)).collect(),
            ..Answer::default()
        })
    }
}

fn ones(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

fn common(a: &[u64], b: &[u64]) -> u64 {
    a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones())).sum()
}

/// The slots of a page along places of a permutation; none where it takes more steps than `budget`.
fn walk_along(
    filter: &Filter<'_>,
    sorted: &Sorted,
    places: impl Iterator<Item = usize>,
    (mut skipped, limit): (usize, usize),
    mut budget: usize,
) -> Option<Vec<u32>> {
    let mut found = Vec::with_capacity(limit);
    let has_rest = !filter.tags.is_empty() || filter.user.is_some() || filter.times.is_some();
    for at in places {
        if budget == 0 {
            return None;
        }
        budget -= 1;
        let holds = filter.packed[usize::from(sorted.packed[at])]
            && (!filter.by_model || filter.models[usize::from(sorted.models[at])])
            && (!has_rest || filter.holds_rest(sorted.order[at], None));
        if !holds {
            continue;
        }
        if skipped > 0 {
            skipped -= 1;
            continue;
        }
        found.push(sorted.order[at]);
        if found.len() == limit {
            break;
        }
    }
    Some(found)
}

/// The best so many by (value, slot).
struct Best {
    heap: BinaryHeap<Reverse<(u32, u32)>>,
    wanted: usize,
    descending: bool,
}

impl Best {
    fn new(wanted: usize, descending: bool) -> Self {
        Self { heap: BinaryHeap::with_capacity(wanted + 1), wanted, descending }
    }

    #[inline]
    fn add(&mut self, value: u32, slot: u32) {
        // Ascending order is descending order of complements.
        let entry = if self.descending { (value, slot) } else { (!value, !slot) };
        if self.heap.len() < self.wanted {
            self.heap.push(Reverse(entry));
        } else if let Some(mut worst) = self.heap.peek_mut().filter(|worst| worst.0 < entry) {
            *worst = Reverse(entry);
        }
    }

    /// Best first.
    fn finish(self) -> Vec<u32> {
        let mut kept: Vec<(u32, u32)> = self.heap.into_iter().map(|entry| entry.0).collect();
        kept.sort_unstable_by_key(|entry| Reverse(*entry));
        kept.into_iter().map(|(_, slot)| if self.descending { slot } else { !slot }).collect()
    }
}

impl QueryEngine for Floor {
    fn answer(&mut self, query: &Query) -> Result<Answer> {
        let filter = Filter::new(&self.data, &query.clauses)?;
        if query.count {
            return Ok(Answer { total: Some(self.count(&filter)?), ..Answer::default() });
        }
        if query.facet {
            return self.facet(&filter);
        }
        Ok(Answer { ids: self.page(query, &filter)?, ..Answer::default() })
    }
}
