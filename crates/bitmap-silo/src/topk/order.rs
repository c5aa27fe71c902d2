//! What is asked for, and how it is answered.

use std::ops::RangeInclusive;

use super::absent;
use super::jump::{JUMP_MIN, Jump, Landing};
use super::stream::{Begin, Candidates, Stream};
use super::ties::Ties;
use crate::column::{ColumnView, Direction, Zone};
use crate::eval::Query;

/// A column of a field, chunk by chunk, as of one moment.
pub trait SortSource {
    /// What reading a page may fail with.
    type Error;

    /// Bounds of all chunks with keys, chunks ascending. They must be true; that they are tight is
    /// what makes top-k fast.
    fn zones(&self) -> &[Zone];

    /// The column of one chunk; asked for only where it can matter. Empty where the chunk has none.
    ///
    /// # Errors
    /// What the store under it fails with.
    fn column(&self, chunk: u16) -> Result<ColumnView<'_>, Self::Error>;
}

/// Where records without a key are placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nulls {
    /// Nowhere.
    #[default]
    Omit,
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// One record of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hit {
    /// Its slot.
    pub slot: u32,
    /// Its sort key.
    pub key: Option<u64>,
}

/// The last record of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Its sort key.
    pub key: Option<u64>,
    /// Its key in the column that breaks ties; none where there is no such column.
    pub tie: Option<u64>,
    /// Its slot; breaks ties that are left.
    pub slot: u32,
}

/// A sort order over records, to take the first ones of.
///
/// Records are ordered by (key, tie, slot) in one direction; a record is one slot. Every answer is
/// exact: pages that follow each other by cursor give every record once.
pub struct TopK<'a, E> {
    pub(super) sort: &'a dyn SortSource<Error = E>,
    pub(super) tie: Option<&'a dyn SortSource<Error = E>>,
    pub(super) filter: Option<&'a Query<'a>>,
    pub(super) direction: Direction,
    pub(super) nulls: Nulls,
    pub(super) after: Option<Cursor>,
    pub(super) keys: (u64, u64),
}

impl<E> Clone for TopK<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for TopK<'_, E> {}

impl<E> std::fmt::Debug for TopK<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopK")
            .field("direction", &self.direction)
            .field("nulls", &self.nulls)
            .field("after", &self.after)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl<'a, E> TopK<'a, E> {
    /// All records with a key in `sort`, ascending, ties by slot.
    #[must_use]
    pub fn new(sort: &'a dyn SortSource<Error = E>) -> Self {
        Self {
            sort,
            tie: None,
            filter: None,
            direction: Direction::Ascending,
            nulls: Nulls::Omit,
            after: None,
            keys: (0, u64::MAX),
        }
    }

    /// Orders in this direction, ties included.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Breaks ties by a second column before the slot. It must have a key for every record that can
    /// be in the answer; among equal sort keys, records without are in no particular place, and
    /// are left out of those without a sort key.
    #[must_use]
    pub fn ties(mut self, tie: &'a dyn SortSource<Error = E>) -> Self {
        self.tie = Some(tie);
        self
    }

    /// Keeps only records that the query matches.
    #[must_use]
    pub fn filter(mut self, filter: &'a Query<'a>) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Says where records without a key go. They are those of the filter, or without one those of
    /// the tie column; where there is neither, no such record is known.
    #[must_use]
    pub fn nulls(mut self, nulls: Nulls) -> Self {
        self.nulls = nulls;
        self
    }

    /// Keeps only records whose key lies in the range, which leaves out those without one. Cheaper
    /// than the same as a filter.
    #[must_use]
    pub fn between(mut self, keys: RangeInclusive<u64>) -> Self {
        self.keys = (*keys.start(), *keys.end());
        self.nulls = Nulls::Omit;
        self
    }

    /// Continues after a record, whether it still exists or not.
    #[must_use]
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.after = cursor;
        self
    }

    /// The first `limit` records.
    ///
    /// # Errors
    /// What the sources fail with.
    pub fn first(&self, limit: usize) -> Result<Vec<Hit>, E> {
        self.page(0, limit)
    }

    /// The `limit` records after the first `offset` ones. Many are counted, not walked: about a nanosecond
    /// for each entry of the order before the page, and a look at the filter in every chunk.
    ///
    /// # Errors
    /// What the sources fail with.
    pub fn page(&self, offset: usize, limit: usize) -> Result<Vec<Hit>, E> {
        let mut page = Page { skip: offset, limit, hits: Vec::with_capacity(limit.min(1 << 12)) };
        if limit == 0 {
            return Ok(page.hits);
        }
        let passed_nulls = self.after.is_some_and(|after| after.key.is_some());
        if self.nulls == Nulls::First && !passed_nulls {
            absent::collect(self, &mut page)?;
        }
        let passed_keys = self.nulls == Nulls::Last && self.after.is_some_and(|after| after.key.is_none());
        if !page.is_full() && !passed_keys && self.keys.0 <= self.keys.1 {
            self.collect_keys(&mut page)?;
        }
        if self.nulls == Nulls::Last && !page.is_full() {
            absent::collect(self, &mut page)?;
        }
        Ok(page.hits)
    }

    /// The cursor that continues after a hit of this order.
    ///
    /// # Errors
    /// What the tie column fails with.
    pub fn cursor(&self, hit: &Hit) -> Result<Cursor, E> {
        let (chunk, low) = crate::frozen::split_slot(hit.slot);
        let tie = match self.tie {
            Some(tie) => tie.column(chunk)?.get(low),
            None => None,
        };
        Ok(Cursor { key: hit.key, tie, slot: hit.slot })
    }

    /// The end of the key range at which an order in this direction ends.
    fn last_key(&self) -> u64 {
        match self.direction {
            Direction::Ascending => self.keys.1,
            Direction::Descending => self.keys.0,
        }
    }

    /// Where the entries of the order begin: a cursor whose key is in the range, or the range.
    fn begin(&self) -> Begin {
        let first = match self.direction {
            Direction::Ascending => self.keys.0,
            Direction::Descending => self.keys.1,
        };
        match self.after {
            // What is before all records does not matter.
            Some(Cursor { key: Some(key), tie, slot }) if !self.direction.precedes(&key, &first) => {
                Begin::After { key, tie, slot }
            }
            _ => Begin::At(first),
        }
    }

    /// The records with keys, in order, until the page is full.
    fn collect_keys(&self, page: &mut Page) -> Result<(), E> {
        let mut begin = self.begin();
        if let (Begin::At(from), true) = (begin, page.skipped_yet() >= JUMP_MIN) {
            let jump = Jump::new(self.sort, self.filter, self.direction).ties(self.tie);
            match jump.run(from, self.last_key(), page)? {
                Landing::At(key) => begin = Begin::At(key),
                Landing::End => return Ok(()),
            }
            if page.is_full() {
                return Ok(());
            }
        }
        let candidates =
            Candidates { source: self.sort, filter: self.filter, equals: None, direction: self.direction };
        let mut stream = Stream::new(candidates, self.tie, begin, Some(self.last_key()));
        let mut before = None;
        while !page.is_full() {
            let Some(entry) = stream.next(None)? else { break };
            let hit = Hit { slot: entry.slot, key: Some(entry.key) };
            if stream.needs_ties(&entry)? {
                Ties { order: self, stream: &mut stream, before }.collect(entry, page)?;
            } else {
                page.push(hit);
                before = Some(hit);
            }
        }
        Ok(())
    }
}

/// The answer as it fills.
#[derive(Debug)]
pub(super) struct Page {
    skip: usize,
    limit: usize,
    hits: Vec<Hit>,
}

impl Page {
    pub(super) fn is_full(&self) -> bool {
        self.hits.len() >= self.limit
    }

    /// Records that are still to be skipped.
    pub(super) fn skipped_yet(&self) -> usize {
        self.skip
    }

    /// Skips so many records, which are no more than those to be skipped.
    pub(super) fn skip(&mut self, count: usize) {
        debug_assert!(count <= self.skip, "records of the page are answered");
        self.skip = self.skip.saturating_sub(count);
    }

    /// Records that are still wanted, those to be skipped included.
    pub(super) fn wanted(&self) -> usize {
        self.skip.saturating_add(self.limit - self.hits.len())
    }

    pub(super) fn push(&mut self, hit: Hit) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if !self.is_full() {
            self.hits.push(hit);
        }
    }
}
