//! The candidates of one chunk.

use std::collections::BinaryHeap;
use std::ops::Range;

use crate::column::{ColumnView, Direction, Walk};
use crate::container::{ContainerRef, Scratch};
use crate::eval::{ChunkFilter, ChunkProbe};
use crate::frozen::join_slot;

/// Slots are gathered and looked up where the filter has at most so many in the chunk.
const GATHER_MAX: u32 = 256;
/// Entries for which the filter is asked slot by slot before it is evaluated for the chunk.
const PROBES: u32 = 48;
/// Slots at the start of a walk whose keys are asked for ahead.
const FETCHED: usize = 4;

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
    passes: Passes<'a>,
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
    /// Those of the filter, the greatest first and flipped where the lowest is best; no heap until
    /// one of them is taken, as most chunks give none.
    Best(Vec<(u64, u16)>),
    /// The same once one was taken.
    Gathered(BinaryHeap<(u64, u16)>),
}

/// How an entry is known to be in the filter.
#[derive(Debug)]
enum Passes<'a> {
    /// There is no filter, or entries were gathered from it.
    Always,
    /// By asking for the slot in every bitmap.
    Ask,
    /// By asking for it in what was found of the chunk.
    Probe(ChunkProbe<'a>),
    /// By the evaluated chunk, which has so many slots.
    Bits { words: Box<Scratch>, cardinality: u32 },
}

impl<'a> Chunk<'a> {
    /// The prepared chunk with its candidates from `start` on. `slots` are those that were gathered
    /// of all prepared chunks.
    pub(super) fn new(
        prepared: Prepared<'a>,
        direction: Direction,
        equals: Option<(ColumnView<'a>, Option<u64>)>,
        start: Start,
        slots: &[u16],
    ) -> Self {
        let Prepared { number, view, candidates } = prepared;
        let mut chunk = Self {
            number,
            direction,
            view,
            equals,
            entries: Entries::Best(Vec::new()),
            passes: Passes::Always,
            taken: 0,
            ties_ascend: None,
        };
        match candidates {
            Given::Slots(range) => chunk.gather(slots.get(range).unwrap_or(&[]), start),
            Given::All(passes) => {
                chunk.passes = passes;
                chunk.walk(start);
            }
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
    fn gather(&mut self, slots: &[u16], start: Start) {
        let direction = self.direction;
        let mut found = Vec::with_capacity(slots.len());
        self.view.for_each_of(slots, |low, key| {
            let at = direction.compare(&(key, low), &(start.key, start.low));
            if at.is_gt() || (at.is_eq() && !start.past) {
                found.push(flip(direction, (key, low)));
            }
        });
        let best = (0..found.len()).max_by_key(|index| found.get(*index));
        if let Some(best) = best {
            found.swap(0, best);
        }
        self.entries = Entries::Best(found);
        self.passes = Passes::Always;
    }

    /// The best entry left, which may not pass.
    pub(super) fn head(&self) -> Option<(u64, u16)> {
        match &self.entries {
            Entries::Walk(walk) => walk.peek(),
            Entries::Best(found) => found.first().map(|entry| flip(self.direction, *entry)),
            Entries::Gathered(heap) => heap.peek().map(|entry| flip(self.direction, *entry)),
        }
    }

    /// Removes the best entry.
    #[inline]
    fn pop(&mut self) -> Option<(u64, u16)> {
        if let Entries::Best(found) = &mut self.entries {
            self.entries = Entries::Gathered(std::mem::take(found).into());
        }
        match &mut self.entries {
            Entries::Walk(walk) => walk.next(),
            Entries::Gathered(heap) => heap.pop().map(|entry| flip(self.direction, entry)),
            Entries::Best(_) => None,
        }
    }

    /// Whether the filter has a slot of the chunk.
    #[inline]
    fn passes(&self, low: u16, filter: Option<&ChunkFilter<'_>>) -> bool {
        match &self.passes {
            Passes::Always => true,
            Passes::Ask => filter.is_none_or(|filter| filter.contains(join_slot(self.number, low))),
            Passes::Probe(probe) => probe.contains(low),
            Passes::Bits { words, .. } => words.contains(low),
        }
    }

    /// Takes the best entry; answers it if it passes.
    #[inline]
    pub(super) fn take(&mut self, filter: Option<&mut ChunkFilter<'_>>) -> Option<(u64, u16)> {
        let (key, low) = self.pop()?;
        self.taken += 1;
        let passes = self.passes(low, filter.as_deref());
        if let Some(filter) = filter {
            self.settle(filter, Start { key, low, past: true });
        }
        let equal = || self.equals.as_ref().is_none_or(|(column, key)| column.get(low) == *key);
        (passes && equal()).then_some((key, low))
    }

    /// Changes how the filter is asked, once the way so far has cost as much as the next.
    fn settle(&mut self, filter: &mut ChunkFilter<'_>, start: Start) {
        match &self.passes {
            Passes::Ask | Passes::Probe(_) if self.taken >= PROBES => {
                let container = filter.evaluate(self.number);
                let cardinality = container.cardinality();
                if cardinality <= GATHER_MAX {
                    self.gather(&slots_of(container), start);
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
                self.gather(&slots_of(words.as_bitset(cardinality).into()), start);
            }
            _ => {}
        }
    }

    /// Leaves out what comes before `start`.
    pub(super) fn skip_to(&mut self, start: Start) {
        match &mut self.entries {
            Entries::Walk(_) => self.walk(start),
            Entries::Best(found) => {
                let first = flip(self.direction, (start.key, start.low));
                found.retain(|entry| *entry <= first);
                self.entries = Entries::Gathered(std::mem::take(found).into());
            }
            Entries::Gathered(heap) => {
                let first = flip(self.direction, (start.key, start.low));
                heap.retain(|entry| *entry <= first);
            }
        }
    }
}

fn slots_of(container: ContainerRef<'_>) -> Vec<u16> {
    let mut slots = Vec::with_capacity(container.cardinality() as usize);
    container.for_each(|low| slots.push(low));
    slots
}

/// A chunk that may be opened next, and whose bytes were asked for.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    /// The upper 16 bits of its slots.
    pub(super) number: u16,
    view: ColumnView<'a>,
    candidates: Given<'a>,
}

/// Where the candidates of a chunk come from.
#[derive(Debug)]
enum Given<'a> {
    /// From the filter: these of the slots gathered.
    Slots(Range<usize>),
    /// From the column, if they pass.
    All(Passes<'a>),
}

impl<'a> Prepared<'a> {
    /// Asks for what opening the chunk will read first; the filter has at most `filter_bound` slots
    /// in it. Gathered slots are appended to `slots`.
    pub(super) fn new(
        number: u16,
        direction: Direction,
        view: ColumnView<'a>,
        filter: Option<&mut ChunkFilter<'a>>,
        filter_bound: u32,
        slots: &mut Vec<u16>,
    ) -> Self {
        let candidates = match filter {
            Some(filter) if filter_bound <= GATHER_MAX => {
                let start = slots.len();
                filter.evaluate(number).for_each(|low| {
                    view.page().prefetch(low);
                    slots.push(low);
                });
                Given::Slots(start..slots.len())
            }
            filter => {
                view.page().prefetch_order(direction);
                Given::All(match filter {
                    Some(filter) => filter.probe(number).map_or(Passes::Ask, Passes::Probe),
                    None => Passes::Always,
                })
            }
        };
        Self { number, view, candidates }
    }

    /// Asks for what the first entries lead to, once these are at hand.
    pub(super) fn prefetch(&self, direction: Direction) {
        let Given::All(passes) = &self.candidates else { return };
        for low in self.view.page().first_slots(direction, FETCHED) {
            self.view.page().prefetch(low);
            if let Passes::Probe(probe) = passes {
                probe.prefetch(low);
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
