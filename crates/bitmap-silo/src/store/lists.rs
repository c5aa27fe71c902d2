//! Postings in a store.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use datasilo::Snapshot;
use smallvec::SmallVec;

use crate::column::Direction;
use crate::frozen::BitmapBuf;
use crate::postings::{PostingsDelta, PostingsError, PostingsPage, PostingsView, Splits, fold};
use crate::view::BitmapView;

use super::cache::DecodedCache;
use super::decoded::{Ops, Patched, read};
use super::error::{StoreError, StoreResult};
use super::handle::Spaces;
use super::keys::{BitmapId, Key};
use super::stored::StoredBitmap;

fn message(error: &PostingsError) -> String {
    error.to_string()
}

impl Ops for PostingsDelta {
    const OPERATOR: &'static str = "bitmap-silo.postings.v1";

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        PostingsDelta::decode(bytes).map_err(|error| message(&error))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    fn then(&self, newer: &Self) -> Self {
        self.then(newer)
    }

    fn fold(&self, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let page = PostingsPage::open(base.unwrap_or(&[])).map_err(|error| message(&error))?;
        fold(&PostingsView::patched(page, self)).map_err(|error| message(&error))
    }
}

/// A page of postings with what is pending on it.
#[derive(Clone, Debug)]
pub(crate) struct StoredPage<'s> {
    page: PostingsPage<'s>,
    ops: Option<Arc<PostingsDelta>>,
}

impl StoredPage<'_> {
    pub(crate) fn view(&self) -> PostingsView<'_> {
        match &self.ops {
            Some(ops) => PostingsView::patched(self.page, ops),
            None => self.page.into(),
        }
    }
}

/// The slots of one value of a postings field.
#[derive(Clone, Debug)]
pub struct PostingSlots<'s> {
    value: u64,
    pages: SmallVec<[StoredPage<'s>; 1]>,
    /// Where the value has very many slots.
    bitmap: Option<StoredBitmap<'s>>,
}

impl<'s> PostingSlots<'s> {
    /// The bitmap of the slots, where the value has very many: no page has a pair of it then.
    #[must_use]
    pub fn bitmap(&self) -> Option<&StoredBitmap<'s>> {
        self.bitmap.as_ref()
    }

    /// Number of slots; O(log n), and what is pending on the value.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.bitmap {
            Some(bitmap) => bitmap.len(),
            None => self.pages.iter().map(|page| page.view().count(self.value) as u64).sum(),
        }
    }

    /// Whether no slot has the value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the slot has the value; O(log n).
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        match &self.bitmap {
            Some(bitmap) => bitmap.contains(slot),
            None => self.pages.iter().any(|page| page.view().contains(self.value, slot)),
        }
    }

    /// The slots, ascending.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u32> {
        match &self.bitmap {
            Some(bitmap) => bitmap.to_vec(),
            // A value's pairs ascend from page to page.
            None => self
                .pages
                .iter()
                .flat_map(|page| page.view().slots(self.value).collect::<SmallVec<[u32; 8]>>())
                .collect(),
        }
    }

    /// The slots as an operand for expressions; copied unless the value has a bitmap.
    #[must_use]
    pub fn into_leaf(self) -> PostingLeaf<'s> {
        match self.bitmap {
            Some(bitmap) => PostingLeaf { leaf: Leaf::Stored(Box::new(bitmap)) },
            None => PostingLeaf { leaf: Leaf::Made(self.to_vec().into_iter().collect()) },
        }
    }
}

/// Slots of postings as a leaf of an expression, see [`PostingLeaf::view`].
#[derive(Clone, Debug)]
pub struct PostingLeaf<'s> {
    leaf: Leaf<'s>,
}

#[derive(Clone, Debug)]
enum Leaf<'s> {
    Stored(Box<StoredBitmap<'s>>),
    Made(BitmapBuf),
}

impl PostingLeaf<'_> {
    /// The slots as an operand.
    #[must_use]
    pub fn view(&self) -> BitmapView<'_> {
        match &self.leaf {
            Leaf::Stored(bitmap) => bitmap.view(),
            Leaf::Made(bitmap) => bitmap.into(),
        }
    }
}

/// The postings of a field as of one snapshot: pairs of a value and a slot, in order.
#[derive(Clone, Debug)]
pub struct StoredPostings<'s> {
    spaces: &'s Spaces,
    cache: &'s DecodedCache,
    snapshot: &'s Snapshot,
    field: u32,
    splits: Splits<'s>,
}

impl<'s> StoredPostings<'s> {
    pub(crate) fn open(
        spaces: &'s Spaces,
        cache: &'s DecodedCache,
        snapshot: &'s Snapshot,
        field: u32,
    ) -> StoreResult<Self> {
        let parts = snapshot.get_parts(&spaces.splits, Key::field(field))?;
        let bytes = parts.and_then(|parts| parts.base).map_or(Ok(&[][..]), |value| value.bytes())?;
        let splits = Splits::open(bytes).map_err(|error| {
            StoreError::malformed(format!("the splits of field {field}"), message(&error))
        })?;
        Ok(Self { spaces, cache, snapshot, field, splits })
    }

    pub(crate) fn splits(&self) -> Splits<'s> {
        self.splits
    }

    /// Number of pages.
    #[must_use]
    pub fn page_count(&self) -> usize {
        self.splits.len()
    }

    fn place(&self, page: u32) -> String {
        format!("field {}, postings page {page}", self.field)
    }

    /// The page of this number.
    pub(crate) fn page(&self, number: u32) -> StoreResult<StoredPage<'s>> {
        let place = || self.place(number);
        let key = Key::postings(self.field, number);
        let found = read::<PostingsDelta>(self.snapshot, &self.spaces.postings, self.cache, key, &place)?;
        let Patched { base, ops, .. } = found.unwrap_or(Patched { base: &[], ops: None, place: None });
        let page =
            PostingsPage::open(base).map_err(|error| StoreError::malformed(place(), message(&error)))?;
        Ok(StoredPage { page, ops })
    }

    pub(crate) fn page_at(&self, index: usize) -> StoreResult<StoredPage<'s>> {
        match self.splits.get(index) {
            Some(split) => self.page(split.page),
            None => Ok(StoredPage { page: PostingsPage::default(), ops: None }),
        }
    }

    /// The slots of a value; one look-up in most cases.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn slots(&self, value: u64) -> StoreResult<PostingSlots<'s>> {
        let mut pages = SmallVec::new();
        let mut bitmap = None;
        for index in self.splits.pages_of_range(value..=value) {
            let page = self.page_at(index)?;
            if page.view().promoted(value).is_some() {
                let id = BitmapId::heavy(self.field, value);
                bitmap = Some(self.spaces.bitmaps(self.snapshot).bitmap(id)?);
                break;
            }
            pages.push(page);
        }
        Ok(PostingSlots { value, pages, bitmap })
    }

    /// The slot of a value that has one, the lowest where it has several.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn get_unique(&self, value: u64) -> StoreResult<Option<u32>> {
        for index in self.splits.pages_of_range(value..=value) {
            let page = self.page_at(index)?;
            if let Some(slot) = page.view().get_unique(value) {
                return Ok(Some(slot));
            }
            if page.view().promoted(value).is_some() {
                let bitmap = self.spaces.bitmaps(self.snapshot).bitmap(BitmapId::heavy(self.field, value))?;
                return Ok(match bitmap.for_each(ControlFlow::Break) {
                    ControlFlow::Break(slot) => Some(slot),
                    ControlFlow::Continue(()) => None,
                });
            }
        }
        Ok(None)
    }

    /// Passes the values of a range that have slots to `visit`, in order, each with its slots
    /// ascending, until it breaks. The slots of one value may come in several portions, one after
    /// the other, in the direction too.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn for_each_in<B>(
        &self,
        values: RangeInclusive<u64>,
        direction: Direction,
        mut visit: impl FnMut(u64, &mut dyn DoubleEndedIterator<Item = u32>) -> ControlFlow<B>,
    ) -> StoreResult<ControlFlow<B>> {
        let indices = self.splits.pages_of_range(values.clone());
        let count = indices.len();
        for at in 0..count {
            let index = match direction {
                Direction::Ascending => indices.start + at,
                Direction::Descending => indices.end - 1 - at,
            };
            let page = self.page_at(index)?;
            let view = page.view();
            let postings = match direction {
                Direction::Ascending => view.range(values.clone()),
                Direction::Descending => view.range_descending(values.clone()),
            };
            for mut posting in postings {
                let flow = if posting.promoted.is_some() {
                    let id = BitmapId::heavy(self.field, posting.value);
                    let slots = self.spaces.bitmaps(self.snapshot).bitmap(id)?.to_vec();
                    visit(posting.value, &mut slots.into_iter())
                } else {
                    visit(posting.value, &mut posting.slots)
                };
                if flow.is_break() {
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The slots that have a value of the range: the leaf of `first <= field <= last`.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn slots_in(&self, values: RangeInclusive<u64>) -> StoreResult<BitmapBuf> {
        let mut slots = Vec::new();
        let _ = self.for_each_in::<()>(values, Direction::Ascending, |_, of_value| {
            slots.extend(of_value);
            ControlFlow::Continue(())
        })?;
        slots.sort_unstable();
        slots.dedup();
        Ok(slots.into_iter().collect())
    }
}
