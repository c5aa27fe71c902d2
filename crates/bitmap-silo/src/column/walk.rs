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

/// Entries not yet walked of one list in (key, slot) order, with the next one at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    first: u32,
    end: u32,
    head: Option<(u64, u16)>,
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
        let mut walk = Self { page, delta, direction, base, tiers };
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
    fn best(&self) -> Option<((u64, u16), Option<usize>)> {
        let heads = self.tiers.iter().enumerate().filter_map(|(index, rest)| Some((rest.head?, Some(index))));
        self.base
            .head
            .map(|head| (head, None))
            .into_iter()
            .chain(heads)
            .reduce(|best, other| if self.direction.precedes(&other.0, &best.0) { other } else { best })
    }

    #[inline]
    fn advance_base(&mut self) {
        let Self { page, delta, direction, base, .. } = self;
        match delta {
            None => base.advance(*direction, |position| page.entry(position), |_| false),
            Some(delta) => {
                base.advance(*direction, |position| page.entry(position), |low| delta.changes(low));
            }
        }
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
