//! A page with pending operations on top.

use std::ops::RangeInclusive;

use super::delta::PostingsDelta;
use super::iter::{Posting, Postings, Slots};
use super::page::PostingsPage;

/// A page, or none, as it is after pending operations, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostingsView<'a> {
    page: PostingsPage<'a>,
    delta: Option<&'a PostingsDelta>,
}

impl<'a> From<PostingsPage<'a>> for PostingsView<'a> {
    fn from(page: PostingsPage<'a>) -> Self {
        Self { page, delta: None }
    }
}

impl<'a> PostingsView<'a> {
    /// The page after the operations.
    #[must_use]
    pub fn patched(page: PostingsPage<'a>, delta: &'a PostingsDelta) -> Self {
        Self { page, delta: Some(delta).filter(|delta| !delta.is_empty()) }
    }

    pub(super) fn page(&self) -> &PostingsPage<'a> {
        &self.page
    }

    pub(super) fn delta(&self) -> Option<&'a PostingsDelta> {
        self.delta
    }

    /// What is stored for a value, after the operations on it.
    pub(super) fn patch(&self, stored: Posting<'a>) -> Posting<'a> {
        let Some(delta) = self.delta else { return stored };
        let Posting { value, promoted, slots } = stored;
        let (reset, ops) = delta.of(value);
        let (promoted, slots) = match reset {
            Some(reset) => (reset.promoted, self.page.slots_between((0, 0))),
            None => (promoted, slots),
        };
        Posting { value, promoted, slots: slots.patched(ops) }
    }

    /// What belongs to a value; O(log n).
    #[must_use]
    pub fn get(&self, value: u64) -> Posting<'a> {
        self.patch(Posting { value, promoted: self.page.promoted(value), slots: self.page.slots(value) })
    }

    /// The slots of a value, ascending; O(log n) until the first.
    #[must_use]
    pub fn slots(&self, value: u64) -> Slots<'a> {
        self.get(value).slots
    }

    /// Number of slots of a value; O(log n), and that for each operation on the value.
    #[must_use]
    pub fn count(&self, value: u64) -> usize {
        self.slots(value).len()
    }

    /// How many slots a promoted value had when it was; none where it is not promoted. O(log n).
    #[must_use]
    pub fn promoted(&self, value: u64) -> Option<u32> {
        match self.delta.and_then(|delta| delta.of(value).0) {
            Some(reset) => reset.promoted,
            None => self.page.promoted(value),
        }
    }

    /// Whether the pair is in; O(log n).
    #[must_use]
    pub fn contains(&self, value: u64, slot: u32) -> bool {
        let decided = self.delta.and_then(|delta| delta.get(value, slot));
        decided.unwrap_or_else(|| self.page.contains(value, slot))
    }

    /// The slot of a value that has one, the lowest where it has several; O(log n), the fastest of
    /// the look-ups.
    #[must_use]
    pub fn get_unique(&self, value: u64) -> Option<u32> {
        match self.delta {
            None => self.page.get_unique(value),
            Some(_) => self.slots(value).next(),
        }
    }

    /// Number of pairs; O(log n) for each operation.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range_count(0..=u64::MAX)
    }

    /// Whether there is neither pair nor promoted value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range(0..=u64::MAX).next().is_none()
    }

    /// Number of pairs with a value in the range; O(log n), and that for each operation in it.
    #[must_use]
    pub fn range_count(&self, values: RangeInclusive<u64>) -> usize {
        let mut count = self.page.range_count(values.clone());
        let mut left = Some(values).filter(|values| !values.is_empty());
        while let Some((delta, values)) = self.delta.zip(left) {
            let Some(value) = delta.first_value_in(&values) else { break };
            count = (count + self.count(value)).saturating_sub(self.page.count(value));
            left = value.checked_add(1).filter(|next| next <= values.end()).map(|next| next..=*values.end());
        }
        count
    }

    /// The values in the range with their slots or markers, ascending; O(log n) until the first.
    #[must_use]
    pub fn range(&self, values: RangeInclusive<u64>) -> Postings<'a> {
        Postings::new(self, &values, false)
    }

    /// The values in the range with their slots or markers, descending; O(log n) until the first.
    #[must_use]
    pub fn range_descending(&self, values: RangeInclusive<u64>) -> Postings<'a> {
        Postings::new(self, &values, true)
    }
}
