//! Walking a column in value order.

use std::sync::Arc;

use smallvec::SmallVec;

use super::delta::{ColumnDelta, Tier};
use super::page::ColumnPage;

/// Which way an order goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Lowest first; of equal keys the lowest slot first.
    #[default]
    Ascending,
    /// Highest first; of equal keys the highest slot first: the reverse of ascending.
    Descending,
}

impl Direction {
    /// Whether `a` comes before `b`.
    #[inline]
    pub(crate) fn precedes<T: Ord>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Ascending => a < b,
            Self::Descending => a > b,
        }
    }

    /// How `a` compares with `b` in this direction.
    #[inline]
    pub(crate) fn compare<T: Ord>(self, a: &T, b: &T) -> std::cmp::Ordering {
        match self {
            Self::Ascending => a.cmp(b),
            Self::Descending => b.cmp(a),
        }
    }
}

/// Most entries of a page that are looked up at once, so that their cache misses overlap.
const BATCH_MAX: usize = 16;
/// Entries of the first batch.
const BATCH_MIN: u32 = 4;

/// Positions not yet walked of one list in (key, slot) order, with the next entry at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    first: u32,
    end: u32,
    head: Option<(u64, u16)>,
}

/// Entries looked up ahead.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    entries: [(u64, u16); BATCH_MAX],
    at: usize,
    len: usize,
}

impl Ahead {
    /// The next entry of the page, of those at positions that `rest` has not walked.
    #[inline]
    fn next(&mut self, page: &ColumnPage<'_>, direction: Direction, rest: &mut Rest) -> Option<(u64, u16)> {
        if self.at >= self.len {
            self.refill(page, direction, rest);
        }
        let entry = self.entries.get(self.at).filter(|_| self.at < self.len).copied();
        self.at += 1;
        entry
    }

    #[inline(never)]
    fn refill(&mut self, page: &ColumnPage<'_>, direction: Direction, rest: &mut Rest) {
        let left = rest.end.saturating_sub(rest.first);
        let count = left.min((2 * super::presence::index(self.len)).max(BATCH_MIN));
        (self.at, self.len) = (0, 0);
        for (to, offset) in self.entries.iter_mut().zip(0..count) {
            let position = match direction {
                Direction::Ascending => rest.first + offset,
                Direction::Descending => rest.end - 1 - offset,
            };
            // Only bytes that break the format name a slot without a key.
            *to = page.entry(position).unwrap_or((page.min().unwrap_or(0), 0));
            self.len += 1;
        }
        let walked = super::presence::index(self.len);
        match direction {
            Direction::Ascending => rest.first += walked,
            Direction::Descending => rest.end -= walked,
        }
    }
}

impl Rest {
    /// Moves to the next entry that `entry` answers and that is not hidden.
    #[inline]
    fn advance(
        &mut self,
        direction: Direction,
        entry: impl Fn(u32) -> Option<(u64, u16)>,
        hidden: impl Fn(u16) -> bool,
    ) {
        self.head = loop {
            if self.first >= self.end {
                break None;
            }
            let position = match direction {
                Direction::Ascending => {
                    self.first += 1;
                    self.first - 1
                }
                Direction::Descending => {
                    self.end -= 1;
                    self.end
                }
            };
            if let Some(found) = entry(position).filter(|(_, low)| !hidden(*low)) {
                break Some(found);
            }
        };
    }
}

/// The entries of a column in (key, slot) order or its reverse, pending changes merged in.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    page: ColumnPage<'a>,
    delta: Option<Arc<ColumnDelta>>,
    direction: Direction,
    base: Rest,
    ahead: Ahead,
    tiers: SmallVec<[Rest; 4]>,
}

impl<'a> Walk<'a> {
    /// A walk over everything, or from the entry at or after `start` in the direction; after it
    /// only where `past` is set.
    pub(super) fn new(
        page: ColumnPage<'a>,
        delta: Option<Arc<ColumnDelta>>,
        direction: Direction,
        start: Option<(u64, u16)>,
        past: bool,
    ) -> Self {
        // Below which entries the walk starts: those before `start` go one way, the others the
        // other.
        let or_at = past == (direction == Direction::Ascending);
        let rest = |len: u32, bound: &dyn Fn(u64, u16) -> u32| {
            let at = start.map(|(key, low)| bound(key, low).min(len));
            match direction {
                Direction::Ascending => Rest { first: at.unwrap_or(0), end: len, head: None },
                Direction::Descending => Rest { first: 0, end: at.unwrap_or(len), head: None },
            }
        };
        let base = rest(page.len(), &|key, low| page.bound_of(key, low, or_at));
        let tier = |tier: &Arc<Tier>| rest(tier.set_count(), &|key, low| tier.bound_of(key, low, or_at));
        let tiers = delta.iter().flat_map(|delta| delta.tiers()).map(tier).collect();
        let mut walk = Self { page, delta, direction, base, ahead: Ahead::default(), tiers };
        walk.advance_base();
        for index in 0..walk.tiers.len() {
            walk.advance_tier(index);
        }
        walk
    }

    /// The next entry, without taking it.
    #[must_use]
    #[inline]
    pub fn peek(&self) -> Option<(u64, u16)> {
        if self.tiers.is_empty() { self.base.head } else { self.best().map(|(entry, _)| entry) }
    }

    /// The best head, and the tier it is of; none where it is the page's.
    #[inline]
    fn best(&self) -> Option<((u64, u16), Option<usize>)> {
        let mut best = self.base.head.map(|head| (head, None));
        for (index, rest) in self.tiers.iter().enumerate() {
            if let Some(head) = rest.head
                && best.is_none_or(|(best, _)| self.direction.precedes(&head, &best))
            {
                best = Some((head, Some(index)));
            }
        }
        best
    }

    #[inline]
    fn advance_base(&mut self) {
        let Self { page, delta, direction, base, ahead, .. } = self;
        base.head = loop {
            let entry = ahead.next(page, *direction, base);
            match (entry, &delta) {
                (Some((_, low)), Some(delta)) if delta.changes(low) => {}
                _ => break entry,
            }
        };
    }

    fn advance_tier(&mut self, index: usize) {
        let Self { delta: Some(delta), direction, tiers, .. } = self else { return };
        let (Some(rest), Some(tier)) = (tiers.get_mut(index), delta.tiers().get(index)) else { return };
        rest.advance(*direction, |position| tier.entry(position), |low| delta.changed_after(index, low));
    }
}

impl Iterator for Walk<'_> {
    type Item = (u64, u16);

    #[inline]
    fn next(&mut self) -> Option<(u64, u16)> {
        if self.tiers.is_empty() {
            let head = self.base.head?;
            self.advance_base();
            return Some(head);
        }
        let (entry, tier) = self.best()?;
        match tier {
            None => self.advance_base(),
            Some(index) => self.advance_tier(index),
        }
        Some(entry)
    }
}
