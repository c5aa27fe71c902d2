//! The candidates of one chunk.

use std::collections::BinaryHeap;

use crate::column::{ColumnView, Direction, Walk};
use crate::container::{ContainerRef, Scratch};
use crate::eval::ChunkFilter;
use crate::frozen::join_slot;

/// Slots are gathered and looked up where the filter has at most so many in the chunk.
const GATHER_MAX: u32 = 256;
/// Entries for which the filter is asked slot by slot before it is evaluated for the chunk.
const PROBES: u32 = 48;

/// The entry at which a chunk begins, in the direction; or after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) key: u64,
    pub(super) low: u16,
    pub(super) past: bool,
}

/// An opened chunk.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    /// The upper 16 bits of its slots.
    pub(super) number: u16,
    direction: Direction,
    view: ColumnView<'a>,
    /// Only slots whose key in this column is the one given, or that have none.
    equals: Option<(ColumnView<'a>, Option<u64>)>,
    entries: Entries<'a>,
    passes: Passes,
    /// Entries taken since the chunk was opened.
    taken: u32,
    /// Whether the tie column ascends here, once that was asked.
    pub(super) ties_ascend: Option<bool>,
}

/// Entries still to be taken, best first.
#[derive(Debug)]
enum Entries<'a> {
    /// All of the column, in its order.
    Walk(Box<Walk<'a>>),
    /// Those of the filter; greatest first, so flipped where the lowest is best.
    Gathered(BinaryHeap<(u64, u16)>),
}

/// How an entry is known to be in the filter.
#[derive(Debug)]
enum Passes {
    /// There is no filter, or entries were gathered from it.
    Always,
    /// By asking for the slot.
    Probe,
    /// By the evaluated chunk, which has so many slots.
    Bits { words: Box<Scratch>, cardinality: u32 },
}

impl<'a> Chunk<'a> {
    /// The chunk with its candidates from `start` on; the filter has at most `filter_bound` slots
    /// in it.
    pub(super) fn new(
        number: u16,
        direction: Direction,
        view: ColumnView<'a>,
        equals: Option<(ColumnView<'a>, Option<u64>)>,
        start: Start,
        filter: Option<&mut ChunkFilter<'_>>,
        filter_bound: u32,
    ) -> Self {
        let none = Entries::Gathered(BinaryHeap::new());
        let mut chunk = Self {
            number,
            direction,
            view,
            equals,
            entries: none,
            passes: Passes::Always,
            taken: 0,
            ties_ascend: None,
        };
        match filter {
            Some(filter) if filter_bound <= GATHER_MAX => chunk.gather(filter.evaluate(number), start),
            Some(_) => {
                chunk.passes = Passes::Probe;
                chunk.walk(start);
            }
            None => chunk.walk(start),
        }
        chunk
    }

    fn walk(&mut self, start: Start) {
        let Start { key, low, past } = start;
        let walk = if past {
            self.view.walk_after(self.direction, key, low)
        } else {
            self.view.walk_from(self.direction, key, low)
        };
        self.entries = Entries::Walk(Box::new(walk));
    }

    /// Looks up the keys of slots, in place of walking on.
    fn gather(&mut self, slots: ContainerRef<'_>, start: Start) {
        let count = slots.cardinality() as usize;
        let (mut lows, mut keys) = (Vec::with_capacity(count), Vec::with_capacity(count));
        slots.for_each(|low| lows.push(low));
        self.view.get_many(&lows, &mut keys);
        let direction = self.direction;
        let mut found = Vec::with_capacity(count);
        for (low, key) in lows.into_iter().zip(keys) {
            let Some(key) = key else { continue };
            let at = direction.compare(&(key, low), &(start.key, start.low));
            if at.is_gt() || (at.is_eq() && !start.past) {
                found.push(flip(direction, (key, low)));
            }
        }
        self.entries = Entries::Gathered(found.into());
        self.passes = Passes::Always;
    }

    /// The best entry left, which may not pass.
    pub(super) fn head(&self) -> Option<(u64, u16)> {
        match &self.entries {
            Entries::Walk(walk) => walk.peek(),
            Entries::Gathered(heap) => heap.peek().map(|entry| flip(self.direction, *entry)),
        }
    }

    /// Takes the best entry; answers it if it passes.
    #[inline]
    pub(super) fn take(&mut self, filter: Option<&mut ChunkFilter<'_>>) -> Option<(u64, u16)> {
        let (key, low) = match &mut self.entries {
            Entries::Walk(walk) => walk.next()?,
            Entries::Gathered(heap) => flip(self.direction, heap.pop()?),
        };
        self.taken += 1;
        let passes = match &self.passes {
            Passes::Always => true,
            Passes::Probe => {
                filter.as_ref().is_none_or(|filter| filter.contains(join_slot(self.number, low)))
            }
            Passes::Bits { words, .. } => words.contains(low),
        };
        if let Some(filter) = filter {
            self.settle(filter, Start { key, low, past: true });
        }
        let equal = || self.equals.as_ref().is_none_or(|(column, key)| column.get(low) == *key);
        (passes && equal()).then_some((key, low))
    }

    /// Changes how the filter is asked, once the way so far has cost as much as the next.
    fn settle(&mut self, filter: &mut ChunkFilter<'_>, start: Start) {
        match &self.passes {
            Passes::Probe if self.taken >= PROBES => {
                let container = filter.evaluate(self.number);
                let cardinality = container.cardinality();
                if cardinality <= GATHER_MAX {
                    self.gather(container, start);
                } else {
                    let mut words = Box::new(Scratch::new());
                    words.load(container);
                    self.passes = Passes::Bits { words, cardinality };
                }
            }
            // Most of what was taken did not pass, and what is left would take longer to reach
            // than to look up.
            Passes::Bits { cardinality, .. } if self.taken > 2 * cardinality => {
                let Passes::Bits { words, cardinality } = std::mem::replace(&mut self.passes, Passes::Always)
                else {
                    return;
                };
                self.gather(words.as_bitset(cardinality).into(), start);
            }
            _ => {}
        }
    }

    /// Leaves out what comes before `start`.
    pub(super) fn skip_to(&mut self, start: Start) {
        match &mut self.entries {
            Entries::Walk(_) => self.walk(start),
            Entries::Gathered(heap) => {
                let first = flip(self.direction, (start.key, start.low));
                heap.retain(|entry| *entry <= first);
            }
        }
    }
}

/// Greater for what comes first in the direction; its own inverse.
fn flip(direction: Direction, (key, low): (u64, u16)) -> (u64, u16) {
    match direction {
        Direction::Ascending => (!key, !low),
        Direction::Descending => (key, low),
    }
}
