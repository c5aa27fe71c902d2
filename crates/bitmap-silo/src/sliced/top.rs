//! The greatest or least numbers, by layers and zones.

use super::chunk::Layers;
use super::view::SlicedView;
use crate::Query;
use crate::column::{Direction, Zone};
use crate::container::{ContainerRef, Scratch};
use crate::frozen::join_slot;
use crate::topk::Hit;

impl<'a> SlicedView<'a> {
    /// The first `limit` slots of the filter, or of all, by (number, slot) in a direction. Chunks
    /// are taken by the best number they may have, and left out where that is no better than what
    /// was found.
    #[must_use]
    pub fn top(&self, filter: Option<&Query<'a>>, direction: Direction, limit: usize) -> Vec<Hit> {
        if limit == 0 {
            return Vec::new();
        }
        let bound = |zone: &Zone| match direction {
            Direction::Ascending => zone.lowest,
            Direction::Descending => zone.highest,
        };
        let mut zones: Vec<(u64, u16)> =
            self.zones.zones().iter().map(|zone| (bound(zone), zone.chunk)).collect();
        zones.sort_unstable_by(|a, b| direction.compare(a, b));
        let existing = self.existing(filter);
        let mut existing = existing.chunk_filter();
        let mut search = Search { layers: Layers::new(self), direction, limit };
        let mut best: Vec<(u64, u32)> = Vec::new();
        for (bound, chunk) in zones {
            // Zones come best first.
            let threshold = best.get(limit - 1).map(|(number, _)| *number);
            if threshold.is_some_and(|threshold| direction.precedes(&threshold, &bound)) {
                break;
            }
            if existing.bound(chunk) > 0 {
                let candidates = existing.evaluate(chunk);
                if !candidates.is_empty() {
                    search.chunk(chunk, candidates, threshold, &mut best);
                    best.sort_unstable_by(|a, b| direction.compare(a, b));
                    best.truncate(limit);
                }
            }
        }
        best.into_iter().map(|(number, slot)| Hit { slot, key: Some(number) }).collect()
    }
}

struct Search<'a> {
    layers: Layers<'a>,
    direction: Direction,
    limit: usize,
}

/// Candidates up to this many have their numbers put together one by one.
const BY_SLOT_MAX: u32 = 256;

impl Search<'_> {
    /// Adds the best candidates of a chunk: all that can be among the best, at most twice as many
    /// as wanted.
    fn chunk(
        &mut self,
        chunk: u16,
        candidates: ContainerRef<'_>,
        threshold: Option<u64>,
        best: &mut Vec<(u64, u32)>,
    ) {
        self.layers.load(chunk);
        let mut tied = Scratch::new();
        tied.load(candidates);
        let mut left = candidates.cardinality();
        let mut sure = Scratch::new();
        if let Some(threshold) = threshold.filter(|_| left > BY_SLOT_MAX) {
            left = self.at_least(threshold, left, &mut tied, &mut sure);
        }
        let too_many = left > BY_SLOT_MAX && left as usize > self.limit;
        if too_many {
            tied.or(sure.as_bitset(0).into());
            sure.clear();
            self.narrow(&mut tied, &mut sure);
        }
        let Self { layers, .. } = self;
        let tied_max = if too_many { self.limit } else { usize::MAX };
        let mut add = |low: u16| best.push((layers.number(low), join_slot(chunk, low)));
        sure.for_each(&mut add);
        // Of those tied at the end of the page, the first by slot.
        match self.direction {
            Direction::Ascending => {
                let mut slots = crate::container::cursor::Ascent::new(tied.as_bitset(0).into());
                let up = std::iter::from_fn(|| slots.next());
                up.take(tied_max).for_each(add);
            }
            Direction::Descending => {
                let mut slots = crate::container::cursor::Descent::from(tied.as_bitset(0).into(), u16::MAX);
                let down = std::iter::from_fn(|| slots.next());
                down.take(tied_max).for_each(add);
            }
        }
    }

    /// Leaves those of `left` candidates that are no worse than the threshold, or few more: in
    /// `sure` what is better, in `tied` the others. Reads layers from the highest bit down until
    /// few are left; answers how many.
    fn at_least(&self, threshold: u64, mut left: u32, tied: &mut Scratch, sure: &mut Scratch) -> u32 {
        let mut better = Scratch::new();
        for (bit, layer) in self.layers.containers().enumerate().rev() {
            let one = threshold >> bit & 1 == 1;
            if !one && layer.is_empty() {
                continue;
            }
            // Where the threshold has the better bit, candidates without it fall behind; where it
            // has the worse, those with the better one move ahead.
            if one != (self.direction == Direction::Descending) {
                better.words_mut().copy_from_slice(tied.words());
                if one {
                    better.and_not(layer);
                } else {
                    better.and(layer);
                }
                sure.or(better.as_bitset(0).into());
            }
            if one {
                tied.and(layer);
            } else {
                tied.and_not(layer);
            }
            left = tied.cardinality() + sure.cardinality();
            if left <= BY_SLOT_MAX {
                break;
            }
        }
        left
    }

    /// Splits candidates into those sure to be among the first, and those tied with the last,
    /// which are left.
    fn narrow(&self, tied: &mut Scratch, sure: &mut Scratch) {
        let mut sure_count = 0;
        for layer in self.layers.containers().rev() {
            let mut part = tied.clone();
            match self.direction {
                Direction::Ascending => part.and_not(layer),
                Direction::Descending => part.and(layer),
            }
            let count = part.cardinality() as usize;
            if sure_count + count > self.limit {
                *tied = part;
            } else {
                sure_count += count;
                sure.or(part.as_bitset(0).into());
                tied.and_not(part.as_bitset(0).into());
            }
            if sure_count == self.limit {
                tied.clear();
                return;
            }
        }
    }
}
