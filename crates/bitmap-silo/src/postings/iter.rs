//! Slots of a value and values of a page, patched and merged.

#![expect(clippy::cast_possible_truncation, reason = "numbers of pairs have 24 bits")]

use std::borrow::Cow;
use std::iter::Peekable;
use std::ops::RangeInclusive;

use super::ascending::AscendingIter;
use super::delta::{Op, PostingsDelta};
use super::packed::PackedSlots;
use super::page::{Marked, PostingsPage};
use super::view::PostingsView;

/// The slots of one value, ascending, from either end.
#[derive(Clone, Debug)]
pub struct Slots<'a> {
    stored: PackedSlots<'a>,
    /// What is left of the stored ones.
    from: usize,
    to: usize,
    /// A run of the stored ones: its first pair, the pair behind its last, its first slot.
    run: (usize, usize, u32),
    /// Operations on the value, slots ascending.
    ops: Cow<'a, [Op]>,
    /// What is left of them.
    first_op: usize,
    end_op: usize,
}

impl<'a> Slots<'a> {
    /// Stored slots from index `from` up to before `to`.
    #[inline]
    pub(super) fn stored(stored: PackedSlots<'a>, from: usize, to: usize) -> Self {
        Self { stored, from, to, run: (0, 0, 0), ops: Cow::Borrowed(&[]), first_op: 0, end_op: 0 }
    }

    /// These, with operations on the same value applied.
    pub(super) fn patched(self, ops: Cow<'a, [Op]>) -> Self {
        Self { first_op: 0, end_op: ops.len(), ops, ..self }
    }

    /// The stored slot at `index`.
    #[inline]
    fn stored_at(&mut self, index: usize) -> u32 {
        if index < self.run.0 || index >= self.run.1 {
            self.run = self.stored.run_of(index);
        }
        let (begin, _, first) = self.run;
        first.wrapping_add(index.wrapping_sub(begin) as u32)
    }

    /// The operations that are left.
    fn left(&self) -> &[Op] {
        self.ops.get(self.first_op..self.end_op).unwrap_or(&[])
    }

    /// Whether the slot is among the stored ones that are left.
    fn is_stored(&self, slot: u32) -> bool {
        self.stored.contains(slot, self.from, self.to)
    }

    /// Number of slots that are left; O(operations on the value · log n).
    #[must_use]
    pub fn len(&self) -> usize {
        self.left().iter().fold(self.to - self.from, |count, op| match (op.add, self.is_stored(op.slot)) {
            (true, false) => count + 1,
            (false, true) => count.saturating_sub(1),
            _ => count,
        })
    }

    /// Whether no slot is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        if self.first_op == self.end_op { self.from == self.to } else { self.clone().next().is_none() }
    }

    /// Whether the slot is among those left; O(log n).
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        match self.left().binary_search_by_key(&slot, |op| op.slot) {
            Ok(at) => self.left().get(at).is_some_and(|op| op.add),
            Err(_) => self.is_stored(slot),
        }
    }
}

impl Iterator for Slots<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        loop {
            let stored = (self.from < self.to).then(|| self.stored_at(self.from));
            let Some(op) = self.left().first().copied() else {
                self.from += usize::from(stored.is_some());
                return stored;
            };
            if let Some(slot) = stored {
                self.from += usize::from(slot <= op.slot);
                if slot < op.slot {
                    return stored;
                }
            }
            self.first_op += 1;
            if op.add {
                return Some(op.slot);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (stored, ops) = (self.to - self.from, self.end_op - self.first_op);
        (stored.saturating_sub(ops), Some(stored + ops))
    }

    /// Block by block where there are no operations: several times as fast as one by one.
    #[expect(clippy::while_let_on_iterator, reason = "a `for` loop would come back here")]
    #[inline]
    fn fold<B, F: FnMut(B, u32) -> B>(mut self, init: B, mut f: F) -> B {
        if self.first_op == self.end_op {
            return self.stored.fold(self.from, self.to, init, f);
        }
        let mut folded = init;
        while let Some(slot) = self.next() {
            folded = f(folded, slot);
        }
        folded
    }
}

impl DoubleEndedIterator for Slots<'_> {
    fn next_back(&mut self) -> Option<u32> {
        loop {
            let stored = (self.from < self.to).then(|| self.stored_at(self.to - 1));
            let Some(op) = self.left().last().copied() else {
                self.to -= usize::from(stored.is_some());
                return stored;
            };
            if let Some(slot) = stored {
                self.to -= usize::from(slot >= op.slot);
                if slot > op.slot {
                    return stored;
                }
            }
            self.end_op -= 1;
            if op.add {
                return Some(op.slot);
            }
        }
    }
}

/// A value with what belongs to it.
#[derive(Clone, Debug)]
pub struct Posting<'a> {
    /// The value.
    pub value: u64,
    /// Where the value was promoted to a bitmap of its own, how many slots it had then.
    pub promoted: Option<u32>,
    /// The slots of its pairs.
    pub slots: Slots<'a>,
}

impl Posting<'_> {
    /// Whether nothing belongs to the value.
    pub(super) fn is_empty(&self) -> bool {
        self.promoted.is_none() && self.slots.is_empty()
    }
}

/// Distinct values of a page in one direction, with where their pairs lie.
#[derive(Clone, Debug)]
pub(super) struct PageValues<'a> {
    page: PostingsPage<'a>,
    values: AscendingIter<'a>,
    /// Begins of the pairs of the values that are left, and their end.
    begins: AscendingIter<'a>,
    /// Where the pairs of the next value begin.
    begin: usize,
    descending: bool,
}

impl<'a> PageValues<'a> {
    fn new(page: &PostingsPage<'a>, range: &RangeInclusive<u64>, descending: bool) -> Self {
        Self::between(page, page.indices(range), descending)
    }

    /// Values from one index up to before another.
    pub(super) fn between(page: &PostingsPage<'a>, (from, to): (usize, usize), descending: bool) -> Self {
        let values = page.values().range(from, to);
        let mut begins = page.begins().range(from, if from < to { to + 1 } else { from });
        let begin = begins.next().map_or(0, |begin| begin as usize);
        Self { page: *page, values, begins, begin, descending }
    }
}

impl Iterator for PageValues<'_> {
    /// A value, where its pairs begin, where they end.
    type Item = (u64, (usize, usize));

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let first = self.page.first_value();
        if self.descending {
            let value = first.wrapping_add(self.values.next_back()?);
            return Some((value, self.page.pairs_of(self.values.end())));
        }
        let value = first.wrapping_add(self.values.next()?);
        let end = (self.begins.next().unwrap_or(0) as usize).min(self.page.len());
        let begin = std::mem::replace(&mut self.begin, end).min(end);
        Some((value, (begin, end)))
    }
}

/// Markers of a page in one direction.
#[derive(Clone, Debug)]
struct Markers<'a> {
    left: Marked<'a>,
    descending: bool,
}

impl Iterator for Markers<'_> {
    type Item = (u64, u32);

    fn next(&mut self) -> Option<Self::Item> {
        if self.descending { self.left.next_back() } else { self.left.next() }
    }
}

/// Values with operations in one direction, found as they are asked for.
#[derive(Clone, Debug)]
struct DeltaValues<'a> {
    left: Option<(&'a PostingsDelta, RangeInclusive<u64>)>,
    descending: bool,
}

impl Iterator for DeltaValues<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (delta, range) = self.left.take()?;
        let (value, rest) = if self.descending {
            let value = delta.last_value_in(&range)?;
            (value, value.checked_sub(1).map(|last| *range.start()..=last))
        } else {
            let value = delta.first_value_in(&range)?;
            (value, value.checked_add(1).map(|first| first..=*range.end()))
        };
        self.left = rest.filter(|range| !range.is_empty()).map(|range| (delta, range));
        Some(value)
    }
}

/// Values of a page and of operations on it in one direction, with what belongs to each. Values
/// to which nothing belongs are left out.
#[derive(Clone, Debug)]
pub struct Postings<'a> {
    view: PostingsView<'a>,
    stored: Peekable<PageValues<'a>>,
    markers: Peekable<Markers<'a>>,
    changed: Peekable<DeltaValues<'a>>,
    descending: bool,
}

impl<'a> Postings<'a> {
    pub(super) fn new(view: &PostingsView<'a>, range: &RangeInclusive<u64>, descending: bool) -> Self {
        let page = view.page();
        let left = view.delta().filter(|_| !range.is_empty()).map(|delta| (delta, range.clone()));
        Self {
            view: *view,
            stored: PageValues::new(page, range, descending).peekable(),
            markers: Markers { left: page.markers(range), descending }.peekable(),
            changed: DeltaValues { left, descending }.peekable(),
            descending,
        }
    }

    /// The value that comes next: of the sources' next ones, the first in the direction.
    #[inline]
    fn next_value(&mut self) -> Option<u64> {
        let stored = self.stored.peek().map(|stored| stored.0);
        let marked = self.markers.peek().map(|marker| marker.0);
        let changed = self.changed.peek().copied();
        let values = [stored, marked, changed].into_iter().flatten();
        if self.descending { values.max() } else { values.min() }
    }
}

impl<'a> Iterator for Postings<'a> {
    type Item = Posting<'a>;

    #[inline]
    fn next(&mut self) -> Option<Posting<'a>> {
        loop {
            let value = self.next_value()?;
            let pairs = self.stored.next_if(|stored| stored.0 == value).map_or((0, 0), |stored| stored.1);
            let promoted = self.markers.next_if(|marker| marker.0 == value).map(|marker| marker.1);
            let stored = Posting { value, promoted, slots: self.view.page().slots_between(pairs) };
            if self.changed.next_if_eq(&value).is_none() {
                return Some(stored);
            }
            let patched = self.view.patch(stored);
            if !patched.is_empty() {
                return Some(patched);
            }
        }
    }
}
