//! Looking many values up that have one slot each.

use std::ops::RangeInclusive;

use super::error::StoreResult;
use super::lists::StoredPostings;

/// Looks up the slot of one value after the other, see [`StoredPostings::unique_cursor`].
#[derive(Clone, Debug)]
pub struct UniqueCursor<'p, 's> {
    postings: &'p StoredPostings<'s>,
    /// The page of the last look-up that was not among the decoded pairs.
    last: Option<usize>,
    /// Values whose pairs, if there are any, were decoded.
    values: RangeInclusive<u64>,
    decoded: Vec<(u64, u32)>,
    /// Where the last look-up among them ended.
    at: usize,
    /// The page has values with bitmaps of their own.
    promoted: bool,
}

impl<'s> StoredPostings<'s> {
    /// A cursor for look-ups as of [`StoredPostings::get_unique`] that mostly ascend: of a page that is
    /// asked twice in succession, it decodes all pairs. Memory: those pairs.
    #[must_use]
    pub fn unique_cursor(&self) -> UniqueCursor<'_, 's> {
        #[expect(clippy::reversed_empty_ranges, reason = "nothing is decoded yet")]
        let values = 1..=0;
        UniqueCursor { postings: self, last: None, values, decoded: Vec::new(), at: 0, promoted: false }
    }
}

impl UniqueCursor<'_, '_> {
    /// The slot of a value that has one, the lowest where it has several. O(log n) of a page, O(1) close above
    /// the look-up before.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn get(&mut self, value: u64) -> StoreResult<Option<u32>> {
        if !self.values.contains(&value) {
            let pages = self.postings.splits().pages_of_range(value..=value);
            let page = (pages.len() == 1).then_some(pages.start);
            let again = page.is_some() && page == self.last;
            self.last = page;
            match page.filter(|_| again) {
                Some(page) => self.decode(page)?,
                None => return self.postings.get_unique(value),
            }
            if !self.values.contains(&value) {
                return self.postings.get_unique(value);
            }
        }
        // From the last look-up on in doubling steps.
        let passed = |at: usize| self.decoded.get(at).is_some_and(|pair| pair.0 < value);
        let (mut from, mut step) = (if passed(self.at) { self.at } else { 0 }, 1);
        while step < 64 && passed(from + step) {
            from += step;
            step *= 2;
        }
        let to = if passed(from + step) { self.decoded.len() } else { (from + step).min(self.decoded.len()) };
        let within = self.decoded.get(from..to).unwrap_or_default();
        self.at = from + within.partition_point(|pair| pair.0 < value);
        match self.decoded.get(self.at) {
            Some((found, slot)) if *found == value => Ok(Some(*slot)),
            _ if self.promoted => self.postings.get_unique(value),
            _ => Ok(None),
        }
    }

    fn decode(&mut self, index: usize) -> StoreResult<()> {
        let splits = self.postings.splits();
        // A value at which a page begins may have pairs in the page before.
        let begins_at = |index: usize| splits.get(index).map(|split| split.first.0);
        let lowest =
            if index == 0 { Some(0) } else { begins_at(index).and_then(|first| first.checked_add(1)) };
        let highest = begins_at(index + 1).map_or(Some(u64::MAX), |next| next.checked_sub(1));
        let (Some(lowest), Some(highest)) = (lowest, highest) else { return Ok(()) };
        self.decoded.clear();
        self.promoted = false;
        let page = self.postings.page_at(index)?;
        for mut posting in page.view().range(lowest..=highest) {
            self.promoted |= posting.promoted.is_some();
            if let Some(slot) = posting.slots.next() {
                self.decoded.push((posting.value, slot));
            }
        }
        self.values = lowest..=highest;
        self.at = 0;
        Ok(())
    }
}
