//! A bitmap as it is found in a snapshot.

use std::ops::ControlFlow;
use std::sync::Arc;

use datasilo::{Keyspace, Pending, Snapshot};

use crate::delta::Delta;
use crate::eval::Query;
use crate::pages::{Page, StoredOps};
use crate::view::{Base, BitmapView};

use super::error::{StoreError, StoreResult};
use super::keys::{BitmapId, Key, page_chunks};
use super::operand::{BitmapDelta, Operand};
use super::value::{HEADER_LEN, PageSet, StoredValue, TAG_BLOB, TAG_PAGES, header_len};

/// A bitmap of a store as of one snapshot: bytes in place, and what is pending on them.
///
/// [`StoredBitmap::view`] is the operand for expressions.
#[derive(Clone, Debug)]
pub struct StoredBitmap<'s> {
    parts: Parts<'s>,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the common one")]
enum Parts<'s> {
    /// Nothing but operations in memory is pending.
    One {
        base: BitmapView<'s>,
        base_len: u64,
        delta: Option<Arc<Delta>>,
    },
    Pages(Vec<Page<'s>>),
}

impl StoredBitmap<'_> {
    pub(crate) const EMPTY: Self =
        Self { parts: Parts::One { base: BitmapView::EMPTY, base_len: 0, delta: None } };

    /// The bitmap as an operand; O(1).
    #[must_use]
    pub fn view(&self) -> BitmapView<'_> {
        match &self.parts {
            Parts::One { base, delta, .. } => match delta {
                Some(delta) => base.patched(delta),
                None => *base,
            },
            Parts::Pages(pages) => BitmapView { base: Base::Pages(pages), delta: None },
        }
    }

    /// Number of slots as of the last fold, without what is pending; O(pages).
    #[must_use]
    pub fn folded_len(&self) -> u64 {
        match &self.parts {
            Parts::One { base_len, .. } => *base_len,
            Parts::Pages(pages) => pages.iter().map(|page| page.base_len).sum(),
        }
    }

    /// Number of slots, exact: O(pages), and the chunks that pending operations touch.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.parts {
            Parts::One { base_len, delta: None, .. } => *base_len,
            _ => self.view().len(),
        }
    }

    /// Number of slots at most, without a look at chunks: O(pages, chunks with operations in memory).
    #[must_use]
    pub fn len_bound(&self) -> u64 {
        match &self.parts {
            Parts::One { base_len, delta, .. } => {
                base_len.saturating_add(delta.as_ref().map_or(0, |delta| delta.total_set_count()))
            }
            Parts::Pages(_) => self.view().len_bound(),
        }
    }

    /// Whether no slot is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// Whether `slot` is in; O(log containers).
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.view().contains(slot)
    }

    /// Passes the slots to `visit`, ascending, until it breaks.
    pub fn for_each<B>(&self, mut visit: impl FnMut(u32) -> ControlFlow<B>) -> ControlFlow<B> {
        Query::new(self.view(), 1 << 32).for_each_chunk(|key, container| {
            let base = u32::from(key) << 16;
            let mut ascent = crate::container::cursor::Ascent::new(container);
            while let Some(low) = ascent.next() {
                visit(base | u32::from(low))?;
            }
            ControlFlow::Continue(())
        })
    }

    /// All slots, ascending.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u32> {
        let mut slots = Vec::with_capacity(usize::try_from(self.len()).unwrap_or(0));
        let _ = self.for_each::<()>(|slot| {
            slots.push(slot);
            ControlFlow::Continue(())
        });
        slots
    }

    /// Whether a part of it has operations that are not folded.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        match &self.parts {
            Parts::One { delta, .. } => delta.is_some(),
            Parts::Pages(pages) => pages.iter().any(|page| page.delta.is_some() || page.ops.is_some()),
        }
    }

    /// How many pages it is stored in.
    #[must_use]
    pub fn page_count(&self) -> usize {
        match &self.parts {
            Parts::One { .. } => 1,
            Parts::Pages(pages) => pages.len(),
        }
    }
}

impl<'a> From<&'a StoredBitmap<'_>> for BitmapView<'a> {
    fn from(bitmap: &'a StoredBitmap<'_>) -> Self {
        bitmap.view()
    }
}

/// What a key of the bitmap keyspace has.
#[expect(clippy::large_enum_variant, reason = "the large one is the common one")]
enum Found<'s> {
    Set(Page<'s>),
    Pages(PageSet),
}

/// Bitmaps in the keyspace of a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bitmaps<'s> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) keyspace: &'s Keyspace,
}

impl<'s> Bitmaps<'s> {
    fn find(self, key: Key, place: &dyn Fn() -> String) -> StoreResult<Option<Found<'s>>> {
        let Some(parts) = self.snapshot.get_parts(self.keyspace, key)? else {
            return Ok(None);
        };
        let base = match parts.base {
            Some(value) => Some(StoredValue::open(value.bytes()?).map_err(StoreError::bitmap(place))?),
            None => None,
        };
        let refused = |what: String| StoreError::malformed(place(), what);
        let mut ops: Option<Box<StoredOps<'s>>> = None;
        let mut newer: Option<BitmapDelta> = None;
        for (at, pending) in parts.pending.iter().enumerate() {
            match pending {
                Pending::Operand(value) => {
                    let bytes = value.bytes()?;
                    match Operand::open(bytes).map_err(StoreError::bitmap(place))? {
                        // The oldest one is read in place; a second one is a matter of moments.
                        Operand::Ops(stored) if at == 0 => ops = Some(Box::new(stored)),
                        _ => newer = Some(BitmapDelta::of(newer.as_ref(), &[bytes]).map_err(refused)?),
                    }
                }
                Pending::Delta(delta) => {
                    let delta = delta
                        .as_any()
                        .downcast_ref::<BitmapDelta>()
                        .ok_or_else(|| refused("operations of another operator".to_owned()))?;
                    newer = Some(match newer {
                        None => delta.clone(),
                        Some(older) => older.then(delta).map_err(refused)?,
                    });
                }
            }
        }
        let mixed = || refused("operations on slots and on pages under one key".to_owned());
        Ok(Some(match (base, newer) {
            (Some(StoredValue::Pages(_)) | None, Some(BitmapDelta::Pages(_))) if ops.is_some() => {
                return Err(mixed());
            }
            (Some(StoredValue::Pages(mut pages)), Some(BitmapDelta::Pages(more))) => {
                pages.union(&more);
                Found::Pages(pages)
            }
            (None, Some(BitmapDelta::Pages(pages))) => Found::Pages(pages),
            (Some(StoredValue::Pages(pages)), None) if ops.is_none() => Found::Pages(pages),
            (Some(StoredValue::Pages(_)), _)
            | (Some(StoredValue::Set { .. }), Some(BitmapDelta::Pages(_))) => {
                return Err(mixed());
            }
            (base, newer) => {
                let (base_len, base) = match base {
                    Some(StoredValue::Set { len, view }) => (len, view),
                    _ => (0, BitmapView::EMPTY),
                };
                let delta = match newer {
                    Some(BitmapDelta::Ops(delta)) if !delta.is_empty() => Some(delta),
                    _ => None,
                };
                Found::Set(Page { first: 0, last: u16::MAX, base, base_len, ops, delta })
            }
        }))
    }

    /// A bitmap that is never paged.
    pub(crate) fn single(self, key: Key, place: &dyn Fn() -> String) -> StoreResult<StoredBitmap<'s>> {
        match self.find(key, place)? {
            None => Ok(StoredBitmap::EMPTY),
            Some(Found::Set(page)) => Ok(single_page(page)),
            Some(Found::Pages(_)) => Err(StoreError::malformed(place(), "a list of pages in place of a set")),
        }
    }

    /// The set of values in use of a field.
    pub(crate) fn values(self, field: u32) -> StoreResult<StoredBitmap<'s>> {
        self.single(Key::values(field), &|| format!("the values of field {field}"))
    }

    /// The set of values of a field whose bitmaps have pages.
    pub(crate) fn paged(self, field: u32) -> StoreResult<StoredBitmap<'s>> {
        self.single(Key::paged(field), &|| format!("the paged values of field {field}"))
    }

    /// The pages of a bitmap, if it has any.
    pub(crate) fn pages(self, id: BitmapId) -> StoreResult<Option<PageSet>> {
        Ok(match self.find(id.key(), &|| id.to_string())? {
            Some(Found::Pages(pages)) => Some(pages),
            _ => None,
        })
    }

    /// A bitmap; empty where there is none.
    pub(crate) fn bitmap(self, id: BitmapId) -> StoreResult<StoredBitmap<'s>> {
        match self.find(id.key(), &|| id.to_string())? {
            None => Ok(StoredBitmap::EMPTY),
            Some(Found::Set(page)) => Ok(single_page(page)),
            Some(Found::Pages(numbers)) => {
                let mut pages = Vec::new();
                for number in numbers.iter() {
                    let place = || format!("{id}, page {number}");
                    match self.find(id.page_key(number), &place)? {
                        None => {}
                        Some(Found::Set(page)) => {
                            let (first, last) = page_chunks(number);
                            pages.push(Page { first, last, ..page });
                        }
                        Some(Found::Pages(_)) => {
                            return Err(StoreError::malformed(place(), "a page that is a list of pages"));
                        }
                    }
                }
                Ok(StoredBitmap { parts: Parts::Pages(pages) })
            }
        }
    }

    /// Number of slots as of the last fold: a look-up and a header.
    pub(crate) fn folded_len(self, id: BitmapId) -> StoreResult<u64> {
        let parts = self.snapshot.get_parts(self.keyspace, id.key())?;
        let Some(base) = parts.and_then(|parts| parts.base) else {
            return Ok(0);
        };
        let head = base.range(0..HEADER_LEN)?;
        match head.first() {
            Some(&TAG_BLOB) => header_len(head).map_err(StoreError::bitmap(|| id.to_string())),
            Some(&TAG_PAGES) => Ok(self.bitmap(id)?.folded_len()),
            _ => {
                let set = StoredValue::open(base.bytes()?).and_then(StoredValue::set);
                Ok(set.map_err(StoreError::bitmap(|| id.to_string()))?.0)
            }
        }
    }

    /// Bytes of the base value of a bitmap, without its pages; zero where it has no base.
    pub(crate) fn base_bytes(self, id: BitmapId) -> StoreResult<usize> {
        let parts = self.snapshot.get_parts(self.keyspace, id.key())?;
        Ok(parts.and_then(|parts| parts.base).map_or(0, |base| base.len()))
    }
}

fn single_page(page: Page<'_>) -> StoredBitmap<'_> {
    let parts = match page {
        Page { base, base_len, ops: None, delta, .. } => Parts::One { base, base_len, delta },
        page => Parts::Pages(vec![page]),
    };
    StoredBitmap { parts }
}
