//! Entries of all chunks of a column, best first.

use std::collections::{BinaryHeap, VecDeque};

use super::chunk::{Chunk, Prepared, Start};
use super::order::SortSource;
use crate::column::{ColumnView, Direction, Zone};
use crate::container::CHUNK_SLOTS;
use crate::eval::{ChunkFilter, Query};
use crate::frozen::{join_slot, split_slot};

/// What a stream is of.
pub(super) struct Candidates<'a, E> {
    pub(super) source: &'a dyn SortSource<Error = E>,
    pub(super) filter: Option<&'a Query<'a>>,
    /// Only slots whose key in this column is the one given, or that have none.
    pub(super) equals: Option<(&'a dyn SortSource<Error = E>, Option<u64>)>,
    pub(super) direction: Direction,
}

/// Where a stream begins, in its direction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    /// With the first entry that has this key or a later one.
    At(u64),
    /// After this record.
    After { key: u64, tie: Option<u64>, slot: u32 },
}

impl Begin {
    /// With everything, or after a record by (tie, slot) in a stream of the tie column.
    pub(super) fn of(direction: Direction, after: Option<(Option<u64>, u32)>) -> Self {
        match (after, direction) {
            (Some((Some(key), slot)), _) => Self::After { key, tie: None, slot },
            (_, Direction::Ascending) => Self::At(0),
            (_, Direction::Descending) => Self::At(u64::MAX),
        }
    }

    fn key(self) -> u64 {
        match self {
            Self::At(key) | Self::After { key, .. } => key,
        }
    }
}

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) slot: u32,
    /// Index of its chunk among the opened ones.
    chunk: usize,
    /// Whether the chunk's next candidate has the same key.
    tied: bool,
}

/// A chunk in the heap: what is greatest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The best key that the chunk can still give, flipped where the lowest is best.
    key: u64,
    /// The chunk, flipped likewise: of equal keys, slots decide.
    chunk: u16,
    /// Index among the opened chunks; of no meaning for others.
    index: usize,
}

/// Most chunks that are prepared before one of them is opened.
const AHEAD_MAX: usize = 16;

/// Entries that pass, by key and slot in the direction.
pub(super) struct Stream<'a, E> {
    of: Candidates<'a, E>,
    filter: Option<ChunkFilter<'a>>,
    tie: Option<&'a dyn SortSource<Error = E>>,
    /// Whether ties are ordered by look-ups, since the tie column does not ascend with slots.
    gathers_ties: bool,
    begin: Begin,
    /// The last key that belongs to the stream.
    last: Option<u64>,
    /// Places of opened chunks that have entries left.
    heap: BinaryHeap<Place>,
    opened: Vec<Chunk<'a>>,
    /// Places of chunks that were not looked at.
    unopened: BinaryHeap<Place>,
    /// Chunks taken from there, best first, whose bytes were asked for: their cache misses overlap.
    ahead: VecDeque<(Place, Prepared<'a>)>,
    /// What was gathered of those.
    slots: Vec<u16>,
}

/// Greater for what comes first in the direction.
fn flip_key(direction: Direction, key: u64) -> u64 {
    match direction {
        Direction::Ascending => !key,
        Direction::Descending => key,
    }
}

fn flip_chunk(direction: Direction, chunk: u16) -> u16 {
    match direction {
        Direction::Ascending => !chunk,
        Direction::Descending => chunk,
    }
}

/// The slot of a chunk that comes first in a direction.
fn first_low(direction: Direction) -> u16 {
    match direction {
        Direction::Ascending => 0,
        Direction::Descending => u16::MAX,
    }
}

impl<'a, E> Stream<'a, E> {
    /// A stream of all candidates from `begin` to the key `last`. Where there is a tie column, and
    /// it does not ascend with the slots, [`needs_ties`](Self::needs_ties) says which entries
    /// need more than their place.
    pub(super) fn new(
        of: Candidates<'a, E>,
        tie: Option<&'a dyn SortSource<Error = E>>,
        begin: Begin,
        last: Option<u64>,
    ) -> Self {
        let gathers_ties = tie.is_some_and(|tie| !are_disjoint(tie.zones()));
        let direction = of.direction;
        let place = |zone: &Zone| {
            let (best, worst) = match direction {
                Direction::Ascending => (zone.lowest, zone.highest),
                Direction::Descending => (zone.highest, zone.lowest),
            };
            let late = direction.precedes(&worst, &begin.key());
            let best = if direction.precedes(&best, &begin.key()) { begin.key() } else { best };
            let early = last.is_some_and(|last| direction.precedes(&last, &best));
            (!late && !early).then(|| Place {
                key: flip_key(direction, best),
                chunk: flip_chunk(direction, zone.chunk),
                index: 0,
            })
        };
        let unopened: Vec<Place> = of.source.zones().iter().filter_map(place).collect();
        Self {
            filter: of.filter.map(Query::chunk_filter),
            of,
            tie,
            gathers_ties,
            begin,
            last,
            heap: BinaryHeap::new(),
            opened: Vec::new(),
            unopened: unopened.into(),
            ahead: VecDeque::new(),
            slots: Vec::new(),
        }
    }

    /// The best place of a chunk that was not opened.
    fn best_unopened(&self) -> Option<&Place> {
        self.ahead.front().map(|(place, _)| place).or_else(|| self.unopened.peek())
    }

    /// The best place, and whether its chunk is opened.
    fn best(&self) -> Option<(Place, bool)> {
        match (self.heap.peek(), self.best_unopened()) {
            (Some(opened), Some(other)) if other >= opened => Some((*other, false)),
            (Some(opened), _) => Some((*opened, true)),
            (None, other) => other.map(|place| (*place, false)),
        }
    }

    /// The next entry that passes; where a key is given, only one with that key.
    pub(super) fn next(&mut self, only: Option<u64>) -> Result<Option<Entry>, E> {
        let direction = self.of.direction;
        while let Some((place, is_opened)) = self.best() {
            let key = flip_key(direction, place.key);
            let ends = self.last.is_some_and(|last| direction.precedes(&last, &key));
            if ends || only.is_some_and(|only| only != key) {
                return Ok(None);
            }
            if !is_opened {
                self.open_next()?;
                continue;
            }
            let Some(chunk) = self.opened.get_mut(place.index) else {
                unreachable!("places name opened chunks");
            };
            let taken = chunk.take(self.filter.as_mut());
            let head = chunk.head();
            let slot = taken.map(|(_, low)| join_slot(chunk.number, low));
            match (self.heap.peek_mut(), head) {
                (Some(mut top), Some((key, _))) => top.key = flip_key(direction, key),
                (Some(top), None) => {
                    std::collections::binary_heap::PeekMut::pop(top);
                }
                (None, _) => {}
            }
            if let (Some((key, _)), Some(slot)) = (taken, slot) {
                let tied = head.is_some_and(|(next, _)| next == key);
                return Ok(Some(Entry { key, slot, chunk: place.index, tied }));
            }
        }
        Ok(None)
    }

    /// Prepares the chunks that come next: the more, the more were opened, so that few are prepared in
    /// vain.
    fn prepare(&mut self) -> Result<(), E> {
        let direction = self.of.direction;
        let depth = (self.opened.len() / 2).clamp(1, AHEAD_MAX);
        self.slots.clear();
        while self.ahead.len() < depth {
            let Some(place) = self.unopened.pop() else { break };
            let number = flip_chunk(direction, place.chunk);
            let filter_bound = self.filter.as_ref().map_or(CHUNK_SLOTS, |filter| filter.bound(number));
            if filter_bound != 0 {
                let view = self.of.source.column(number)?;
                let filter = self.filter.as_mut();
                let prepared = Prepared::new(number, direction, view, filter, filter_bound, &mut self.slots);
                self.ahead.push_back((place, prepared));
            }
        }
        self.ahead.iter().for_each(|(_, prepared)| prepared.prefetch(direction));
        Ok(())
    }

    /// Opens the best chunk that is not, and puts it into the heap, unless it has nothing to give.
    fn open_next(&mut self) -> Result<(), E> {
        let direction = self.of.direction;
        if self.ahead.is_empty() {
            self.prepare()?;
        }
        let Some((place, prepared)) = self.ahead.pop_front() else { return Ok(()) };
        let number = prepared.number;
        let equals = match self.of.equals {
            Some((source, key)) => Some((source.column(number)?, key)),
            None => None,
        };
        let tie = match (self.begin, self.tie) {
            (Begin::After { .. }, Some(tie)) => Some(tie.column(number)?),
            _ => None,
        };
        // Within a chunk, slots stand for ties only where those ascend.
        self.gathers_ties |= tie.as_ref().is_some_and(|tie| !tie.ascends());
        let start = self.start(number, tie.as_ref());
        let chunk = Chunk::new(prepared, direction, equals, start, &self.slots);
        if let Some((key, _)) = chunk.head() {
            let key = flip_key(direction, key);
            self.heap.push(Place { key, index: self.opened.len(), ..place });
            self.opened.push(chunk);
        }
        Ok(())
    }

    /// Where the entries of a chunk begin.
    fn start(&self, number: u16, tie: Option<&ColumnView<'_>>) -> Start {
        let direction = self.of.direction;
        let (key, after_tie, slot) = match self.begin {
            Begin::At(key) => return Start { key, low: first_low(direction), past: false },
            Begin::After { key, tie, slot } => (key, tie, slot),
        };
        let (chunk, low) = split_slot(slot);
        let (first, last) = (first_low(direction), !first_low(direction));
        let all_of_key = Start { key, low: first, past: false };
        let none_of_key = Start { key, low: last, past: true };
        let (Some(tie), Some(after_tie)) = (tie, after_tie) else {
            return if self.tie.is_some() && self.gathers_ties {
                all_of_key
            } else if number == chunk {
                Start { key, low, past: true }
            } else if direction.precedes(&number, &chunk) {
                none_of_key
            } else {
                all_of_key
            };
        };
        if self.gathers_ties {
            return all_of_key;
        }
        // Ties ascend with slots: the first one after the cursor's says where to begin.
        let mut walk = if number == chunk {
            tie.walk_after(direction, after_tie, low)
        } else if direction.precedes(&number, &chunk) {
            tie.walk_after(direction, after_tie, last)
        } else {
            tie.walk_from(direction, after_tie, first)
        };
        walk.next().map_or(none_of_key, |(_, low)| Start { key, low, past: false })
    }

    /// Whether an entry just answered is one of several with its key that the tie column orders
    /// otherwise than slots do. Finds out whether that column ascends in the chunk, where it
    /// matters.
    pub(super) fn needs_ties(&mut self, entry: &Entry) -> Result<bool, E> {
        let Some(tie) = self.tie else { return Ok(false) };
        if entry.tied
            && !self.gathers_ties
            && let Some(chunk) = self.opened.get_mut(entry.chunk)
        {
            if chunk.ties_ascend.is_none() {
                chunk.ties_ascend = Some(tie.column(chunk.number)?.ascends());
            }
            self.gathers_ties = chunk.ties_ascend == Some(false);
        }
        if !self.gathers_ties {
            return Ok(false);
        }
        let key = flip_key(self.of.direction, entry.key);
        let more = self.best().is_some_and(|(top, _)| top.key == key);
        // What has the cursor's key has not been compared with the cursor.
        Ok(more || matches!(self.begin, Begin::After { key, .. } if key == entry.key))
    }

    /// The record after which the stream begins, if it has this key.
    pub(super) fn after(&self, key: u64) -> Option<(Option<u64>, u32)> {
        match self.begin {
            Begin::After { key: at, tie, slot } if at == key => Some((tie, slot)),
            _ => None,
        }
    }

    /// Leaves out all entries up to the last with this key.
    pub(super) fn skip_key(&mut self, key: u64) {
        let direction = self.of.direction;
        let next = match direction {
            Direction::Ascending => key.checked_add(1),
            Direction::Descending => key.checked_sub(1),
        };
        self.unopened.extend(self.ahead.drain(..).map(|(place, _)| place));
        let Some(next) = next else {
            self.heap.clear();
            self.unopened.clear();
            return;
        };
        self.begin = Begin::At(next);
        let (opened, flipped) = (&mut self.opened, flip_key(direction, next));
        let places = std::mem::take(&mut self.heap).into_vec().into_iter();
        let places = places.filter_map(|place| {
            let chunk = opened.get_mut(place.index)?;
            chunk.skip_to(Start { key: next, low: first_low(direction), past: false });
            let key = flip_key(direction, chunk.head()?.0);
            Some(Place { key: key.min(flipped), ..place })
        });
        self.heap = places.collect::<Vec<_>>().into();
        let unopened = std::mem::take(&mut self.unopened).into_vec().into_iter();
        let unopened = unopened.map(|place| Place { key: place.key.min(flipped), ..place });
        self.unopened = unopened.collect::<Vec<_>>().into();
    }
}

/// Whether chunks follow each other without overlap.
pub(super) fn are_disjoint(zones: &[Zone]) -> bool {
    zones.array_windows().all(|[before, after]| before.highest < after.lowest)
}
