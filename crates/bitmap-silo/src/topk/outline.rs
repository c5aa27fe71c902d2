//! An outline of an order: keys at some places of each chunk.

use std::collections::BinaryHeap;
use std::ops::Range;

use smallvec::SmallVec;

use super::jump::{Jump, flip};
use crate::column::{Direction, Zone};

/// Entries from the beginning of a chunk's order to the first place behind it.
const FIRST_STEP: u32 = 32;
/// Share by which the outline goes deeper than it was asked for.
const MARGIN: f64 = 1.1;
/// How far from what was asked for a key may be.
const TOLERANCE: f64 = 0.1;

/// A chunk: what is greatest comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    /// No key behind the places known is better; flipped where the lowest is best.
    key: u64,
    zone: usize,
}

/// The known places of a chunk's order.
struct Places {
    /// Share of its entries that is expected to pass.
    density: f64,
    /// The position in its page with which the order begins, or before which it does where that descends.
    first: u32,
    /// Entries from there on.
    len: u32,
    /// Entries from the beginning, and the key there; flipped, so that keys do not ascend.
    known: SmallVec<[(u32, u64); 8]>,
}

/// The places of all chunks.
pub(super) struct Outline {
    direction: Direction,
    from: u64,
    /// What has this key or a later one is not in the order; none where all is.
    end: Option<u64>,
    heads: BinaryHeap<Head>,
    /// No key is better, flipped.
    best: u64,
    /// By the index of their zone; those that were opened.
    chunks: Vec<(usize, Places)>,
    /// By the index of the zone: where its places are.
    index: Vec<Option<usize>>,
    /// Records expected before the heads, at least.
    sure: f64,
}

impl Outline {
    /// The outline from the first entry with the key `from` or a later one up to that with the key `end`.
    pub(super) fn new(zones: &[Zone], direction: Direction, from: u64, end: Option<u64>) -> Self {
        let head = |(zone, bounds): (usize, &Zone)| {
            let (best, worst) = match direction {
                Direction::Ascending => (bounds.lowest, bounds.highest),
                Direction::Descending => (bounds.highest, bounds.lowest),
            };
            let late = end.is_some_and(|end| !direction.precedes(&best, &end));
            let key = flip(direction, best).min(flip(direction, from));
            (!late && !direction.precedes(&worst, &from)).then_some(Head { key, zone })
        };
        let heads: Vec<Head> = zones.iter().enumerate().filter_map(head).collect();
        Self {
            direction,
            from,
            end,
            best: heads.iter().map(|head| head.key).max().unwrap_or(0),
            heads: heads.into(),
            chunks: Vec::new(),
            index: vec![None; zones.len()],
            sure: 0.0,
        }
    }

    /// A key before which about so many records are expected, before any scale; the end of the order where
    /// there are not so many.
    pub(super) fn key_of<E>(&mut self, jump: &mut Jump<'_, E>, records: f64) -> Result<Option<u64>, E> {
        let end = self.end.map(|end| flip(self.direction, end));
        while self.sure < MARGIN * records {
            match self.heads.peek() {
                Some(head) if end.is_none_or(|end| head.key > end) => self.extend(jump)?,
                _ if self.expected(end.unwrap_or(0)) <= records => return Ok(self.end),
                _ => break,
            }
        }
        let (mut low, mut high) = (end.unwrap_or(0), self.best);
        if let Some(head) = self.heads.peek() {
            low = low.max(head.key);
        }
        let enough = records * (1.0 - TOLERANCE)..=records;
        while low < high {
            let middle = low + (high - low) / 2;
            let expected = self.expected(middle);
            if enough.contains(&expected) {
                return Ok(Some(flip(self.direction, middle)));
            }
            if expected > records {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Some(flip(self.direction, low)))
    }

    /// Bounds of the number of entries of a zone's chunk with keys before `key`, counted from the beginning of the
    /// order; nothing where little is known.
    pub(super) fn bracket(&self, zone: usize, key: u64) -> Option<Range<u32>> {
        let (_, places) = self.chunks.get(self.index.get(zone).copied().flatten()?)?;
        let key = flip(self.direction, key);
        let at = places.known.iter().position(|(_, known)| *known <= key)?;
        let (place, _) = *places.known.get(at)?;
        let (before, _) = *places.known.get(at.checked_sub(1)?)?;
        // The first place has the bound of the zone, not the key of an entry.
        Some(before + u32::from(before > 0)..place)
    }

    /// Records expected with keys better than a flipped key.
    fn expected(&self, key: u64) -> f64 {
        self.chunks.iter().map(|(_, places)| places.expected(key)).sum()
    }

    /// Looks up a further place of the chunk with the best head, or opens it.
    fn extend<E>(&mut self, jump: &mut Jump<'_, E>) -> Result<(), E> {
        let Some(Head { key, zone }) = self.heads.pop() else { return Ok(()) };
        let Some(opened) = jump.open(zone)? else { return Ok(()) };
        let page = opened.view.page();
        let Some(at) = self.index.get(zone).copied().flatten() else {
            let passed = page.before(self.direction, self.from);
            let (first, len) = match self.direction {
                Direction::Ascending => (passed.end, page.len().saturating_sub(passed.end)),
                Direction::Descending => (passed.start, passed.start),
            };
            if let Some(place) = self.index.get_mut(zone) {
                *place = Some(self.chunks.len());
            }
            let known = SmallVec::from_iter([(0, key)]);
            self.chunks.push((zone, Places { density: opened.density, first, len, known }));
            if len > 0 {
                self.heads.push(Head { key, zone });
            }
            return Ok(());
        };
        let Some((_, places)) = self.chunks.get_mut(at) else { return Ok(()) };
        let &[.., (place, key)] = &places.known[..] else { return Ok(()) };
        // All up to this place are better than any head now.
        let before = places.known.iter().rev().nth(1).map_or(0, |(before, _)| *before);
        self.sure += places.density * f64::from(place - before);
        let next = (2 * place).max(FIRST_STEP).min(places.len);
        // Behind the last entry is as good as at it.
        let distance = next.min(places.len.saturating_sub(1));
        let position = match self.direction {
            Direction::Ascending => places.first + distance,
            Direction::Descending => (places.first - 1).saturating_sub(distance),
        };
        // Bytes that break the format may have keys out of order; heads must not go back.
        let found = page.entry(position).map_or(0, |(key, _)| flip(self.direction, key)).min(key);
        places.known.push((next, found));
        if next < places.len {
            self.heads.push(Head { key: found, zone });
        }
        Ok(())
    }
}

impl Places {
    /// Records expected with keys better than a flipped key: between two places by their keys.
    fn expected(&self, key: u64) -> f64 {
        let mut before = (0, u64::MAX);
        for (place, known) in &self.known {
            if *known <= key {
                let share = if before.1 > *known && before.1 > key {
                    difference(before.1, key) / difference(before.1, *known)
                } else {
                    1.0
                };
                return self.density * (f64::from(before.0) + f64::from(place - before.0) * share);
            }
            before = (*place, *known);
        }
        self.density * f64::from(before.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn difference(high: u64, low: u64) -> f64 {
    high.saturating_sub(low) as f64
}
