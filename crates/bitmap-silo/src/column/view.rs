//! A page and its pending changes, read as one.

use std::sync::Arc;

use super::delta::ColumnDelta;
use super::page::ColumnPage;
use super::walk::{Direction, Walk};
use crate::container::Scratch;

/// Keys that are decoded at once.
const KEYS_BATCH: usize = 512;

/// The column of one chunk as of one moment: a page, patched by pending changes.
///
/// Cheap to make and to clone; nothing is read before it is asked for.
#[derive(Clone, Debug)]
pub struct ColumnView<'a> {
    page: ColumnPage<'a>,
    delta: Option<Arc<ColumnDelta>>,
}

impl Default for ColumnView<'_> {
    fn default() -> Self {
        Self { page: ColumnPage::EMPTY, delta: None }
    }
}

impl<'a> From<ColumnPage<'a>> for ColumnView<'a> {
    fn from(page: ColumnPage<'a>) -> Self {
        Self { page, delta: None }
    }
}

impl<'a> ColumnView<'a> {
    /// A page with changes on top; no page is the empty one.
    #[must_use]
    pub fn new(page: Option<ColumnPage<'a>>, delta: Option<Arc<ColumnDelta>>) -> Self {
        Self { page: page.unwrap_or(ColumnPage::EMPTY), delta: delta.filter(|delta| !delta.is_empty()) }
    }

    /// The page underneath.
    #[must_use]
    pub fn page(&self) -> &ColumnPage<'a> {
        &self.page
    }

    /// The changes on top.
    #[must_use]
    pub fn delta(&self) -> Option<&ColumnDelta> {
        self.delta.as_deref()
    }

    /// The key of a slot; as fast as [`ColumnPage::get`] and a few searches in what is pending.
    #[must_use]
    #[inline]
    pub fn get(&self, low: u16) -> Option<u64> {
        match self.delta.as_ref().and_then(|delta| delta.get(low)) {
            Some(changed) => changed,
            None => self.page.get(low),
        }
    }

    /// Whether a slot has a key.
    #[must_use]
    pub fn contains(&self, low: u16) -> bool {
        self.get(low).is_some()
    }

    /// Makes `keys` the keys of the slots, in their order. Nothing else is done between the
    /// look-ups, so that their cache misses overlap.
    pub fn get_many(&self, slots: &[u16], keys: &mut Vec<Option<u64>>) {
        keys.clear();
        match &self.delta {
            None => keys.extend(slots.iter().map(|low| self.page.get(*low))),
            Some(_) => keys.extend(slots.iter().map(|low| self.get(*low))),
        }
    }

    /// Calls `f` with those of the slots that have a key and the key, in the order of the slots.
    #[inline]
    pub(crate) fn for_each_of(&self, slots: &[u16], mut f: impl FnMut(u16, u64)) {
        let mut offer = |low: u16, key: Option<u64>| {
            if let Some(key) = key {
                f(low, key);
            }
        };
        match &self.delta {
            None => slots.iter().for_each(|low| offer(*low, self.page.get(*low))),
            Some(_) => slots.iter().for_each(|low| offer(*low, self.get(*low))),
        }
    }

    /// Calls `f` with every slot that has a key and the key, in slot order.
    pub fn for_each(&self, mut f: impl FnMut(u16, u64)) {
        let Some(delta) = &self.delta else {
            return self.page.for_each(f);
        };
        let ops = delta.resolved();
        let mut ops = ops.iter().peekable();
        self.page.for_each(|low, key| {
            while let Some((before, changed)) = ops.next_if(|(slot, _)| *slot < low) {
                if let Some(key) = changed {
                    f(*before, *key);
                }
            }
            match ops.next_if(|(slot, _)| *slot == low) {
                Some((_, Some(key))) => f(low, *key),
                Some((_, None)) => {}
                None => f(low, key),
            }
        });
        for (low, changed) in ops {
            if let Some(key) = changed {
                f(*low, *key);
            }
        }
    }

    /// Calls `f` with the keys of all slots, in slot order, some hundred at a time.
    pub fn for_each_batch(&self, mut f: impl FnMut(&[u64])) {
        let mut keys = [0; KEYS_BATCH];
        if self.delta.is_none() {
            let mut rank = 0;
            loop {
                let len = self.page.decode(rank, &mut keys);
                if len == 0 {
                    return;
                }
                f(keys.get(..len).unwrap_or(&[]));
                rank += super::presence::index(len);
            }
        }
        let mut len = 0;
        self.for_each(|_, key| {
            if let Some(to) = keys.get_mut(len) {
                *to = key;
            }
            len += 1;
            if len == KEYS_BATCH {
                f(&keys);
                len = 0;
            }
        });
        f(keys.get(..len).unwrap_or(&[]));
    }

    /// Number of slots with a key; O(pending changes).
    #[must_use]
    pub fn len(&self) -> u32 {
        self.corrected(self.page.len(), |_| true)
    }

    /// Whether no slot has a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sum of all keys.
    #[must_use]
    pub fn sum(&self) -> u128 {
        let Some(delta) = &self.delta else { return self.page.sum() };
        let number = |key: Option<u64>| u128::from(key.unwrap_or(0));
        let ops = delta.resolved();
        let added: u128 = ops.iter().map(|(_, key)| number(*key)).sum();
        let gone: u128 = ops.iter().map(|(low, _)| number(self.page.get(*low))).sum();
        (self.page.sum() + added).saturating_sub(gone)
    }

    /// An upper bound of the number of slots with a key; O(1).
    #[must_use]
    pub fn len_bound(&self) -> u32 {
        let more = self.delta.as_ref().map_or(0, |delta| delta.op_bound());
        self.page.len().saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
    }

    /// The lowest key.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        self.walk(Direction::Ascending).peek().map(|(key, _)| key)
    }

    /// The highest key.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.walk(Direction::Descending).peek().map(|(key, _)| key)
    }

    /// The entries in (key, slot) order, or its reverse.
    #[must_use]
    pub fn walk(&self, direction: Direction) -> Walk<'a> {
        Walk::new(self.page, self.delta.clone(), direction, None, false)
    }

    /// As [`walk`](Self::walk), starting with the entry at or after (`key`, `low`) in the
    /// direction. O(log n).
    #[must_use]
    pub fn walk_from(&self, direction: Direction, key: u64, low: u16) -> Walk<'a> {
        Walk::new(self.page, self.delta.clone(), direction, Some((key, low)), false)
    }

    /// As [`walk_from`](Self::walk_from), without the entry at (`key`, `low`) itself.
    #[must_use]
    pub fn walk_after(&self, direction: Direction, key: u64, low: u16) -> Walk<'a> {
        Walk::new(self.page, self.delta.clone(), direction, Some((key, low)), true)
    }

    /// Number of slots whose key is from `lowest` to `highest`, both inclusive; O(log n) and
    /// O(pending changes).
    #[must_use]
    pub fn range_count(&self, lowest: u64, highest: u64) -> u32 {
        self.corrected(self.page.range_count(lowest, highest), |key| (lowest..=highest).contains(&key))
    }

    /// A count of the page's keys for which `counts` holds, corrected by the changes.
    fn corrected(&self, base: u32, counts: impl Fn(u64) -> bool) -> u32 {
        let Some(delta) = &self.delta else { return base };
        let counts = |key: Option<u64>| u32::from(key.is_some_and(&counts));
        delta
            .resolved()
            .iter()
            .fold(base, |sum, (low, key)| (sum + counts(*key)).saturating_sub(counts(self.page.get(*low))))
    }

    /// Makes `words` the slots whose key is from `lowest` to `highest`, both inclusive; answers how
    /// many.
    pub fn range_into(&self, lowest: u64, highest: u64, words: &mut Scratch) -> u32 {
        let found = self.page.range_into(lowest, highest, words);
        self.patch(found, words, |key| (lowest..=highest).contains(&key))
    }

    /// Makes `words` the slots with a key; answers how many.
    pub fn present_into(&self, words: &mut Scratch) -> u32 {
        self.page.present_into(words);
        self.patch(self.page.len(), words, |_| true)
    }

    fn patch(&self, found: u32, words: &mut Scratch, is_in: impl Fn(u64) -> bool) -> u32 {
        let Some(delta) = &self.delta else { return found };
        delta.for_each_in_order(|low, key| match key {
            Some(key) if is_in(key) => words.insert(low),
            _ => words.remove(low),
        });
        words.cardinality()
    }

    /// Whether keys are known never to descend from one slot to the next. Pending changes keep
    /// this up where they clear slots, or append slots and keys above those of the page.
    /// O(pending changes).
    #[must_use]
    pub fn ascends(&self) -> bool {
        let Some(delta) = &self.delta else { return self.page.ascends() };
        let ops = delta.resolved();
        let set = || ops.iter().filter_map(|(low, key)| Some((*low, (*key)?)));
        let above = set().next().is_none_or(|(low, key)| {
            self.page.last_slot().is_none_or(|last| low > last)
                && self.page.max().is_none_or(|max| key >= max)
        });
        self.page.ascends() && above && set().is_sorted_by_key(|(_, key)| key)
    }
}
