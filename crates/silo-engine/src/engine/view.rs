//! The records as of one moment.

use bitmap_silo::column::{ColumnView, Zone, Zones};
use bitmap_silo::store::{
    Field as StoreField, FieldsAt, StoreError, StoreReader, StoredBitmap, StoredColumn,
};
use bitmap_silo::topk::SortSource;
use bitmap_silo::{BitmapView, Expr, Query};
use datasilo::{IntKey, Snapshot};

use std::ops::Bound;
use std::sync::Arc;

use super::Engine;
use super::layout::{FieldIndexes, SLOTS_KEY, State};
use crate::document::{Document, FieldSet};
use crate::entries::text_hash;
use crate::error::{Error, Result};
use crate::filter::Test;
use crate::value::{Id, Value, integer_key, value_of_key};

/// The records as of one moment; what is written later is not in it.
///
/// A view keeps the files of its moment in use: drop it when done.
#[derive(Debug)]
pub struct View<'e> {
    pub(crate) engine: &'e Engine,
    snapshot: Snapshot,
    /// Slots below this were given out.
    slot_count: u64,
    /// The fields of the index store at this moment.
    fields: FieldsAt,
}

/// A column of a view, made ready for orders.
#[derive(Debug)]
pub(crate) struct Column<'v> {
    stored: StoredColumn<'v>,
    zones: Arc<Zones>,
}

impl SortSource for Column<'_> {
    type Error = StoreError;

    fn zones(&self) -> &[Zone] {
        self.zones.zones()
    }

    fn column(&self, chunk: u16) -> Result<ColumnView<'_>, StoreError> {
        self.stored.page(chunk)
    }
}

impl Column<'_> {
    /// The column of the chunk that a slot lies in.
    fn chunk_of(&self, slot: u32) -> Result<ColumnView<'_>> {
        Ok(self.stored.page((slot >> 16) as u16)?)
    }

    /// Calls `f` with every slot that has a key, and the key.
    pub(crate) fn for_each(&self, mut f: impl FnMut(u32, u64)) -> Result<()> {
        for zone in self.zones.zones() {
            let first = u32::from(zone.chunk) << 16;
            self.stored.page(zone.chunk)?.for_each(|low, key| f(first | u32::from(low), key));
        }
        Ok(())
    }
}

impl<'e> View<'e> {
    pub(super) fn new(engine: &'e Engine, snapshot: Snapshot) -> Result<Self> {
        let slot_count = match snapshot.get(&engine.spaces.engine, SLOTS_KEY)? {
            None => 0,
            Some(bytes) => {
                let bytes =
                    bytes.as_ref().try_into().map_err(|_| Error::damaged("slots", "not eight bytes"))?;
                u64::from_le_bytes(bytes)
            }
        };
        if slot_count > 1 << 32 {
            return Err(Error::damaged("slots", "more than 2^32"));
        }
        let fields = engine.store.fields_at(&snapshot)?;
        Ok(Self { engine, snapshot, slot_count, fields })
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Slots below this were given out.
    pub(crate) fn slot_count(&self) -> u64 {
        self.slot_count
    }

    pub(crate) fn reader(&self) -> StoreReader<'_> {
        self.engine.store.reader_with(&self.snapshot, &self.fields)
    }

    /// The indexes of the field at a position.
    pub(crate) fn indexes(&self, at: usize) -> Result<&FieldIndexes> {
        let indexes = self.engine.layout.fields.get(at);
        indexes.ok_or_else(|| Error::Query(format!("there is no field at position {at}")))
    }

    /// Slots in a state.
    pub(crate) fn state(&self, state: State) -> Result<StoredBitmap<'_>> {
        Ok(self.reader().bitmap(&self.engine.layout.state, state.code())?)
    }

    /// A column, by its field in the store.
    pub(crate) fn column(&self, field: &StoreField) -> Result<Column<'_>> {
        let stored = self.reader().column(field)?;
        let zones = stored.zones()?;
        Ok(Column { stored, zones })
    }

    /// The column of ids.
    pub(crate) fn ids(&self) -> Result<Column<'_>> {
        self.column(&self.engine.layout.id)
    }

    /// Number of records.
    ///
    /// # Errors
    /// Damage.
    pub fn len(&self) -> Result<u64> {
        Ok(self.state(State::Alive)?.len())
    }

    /// Whether there is no record.
    ///
    /// # Errors
    /// Damage.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// A record by its id, with some of its fields.
    ///
    /// # Errors
    /// [`Error::Document`] for an id of the wrong type, and damage.
    pub fn get(&self, id: &Id, fields: &FieldSet) -> Result<Option<Document>> {
        let id = self.engine.documents.id(id)?;
        self.slot_of(&id)?.map(|slot| self.document(slot, fields)).transpose()
    }

    /// The slot of a record.
    pub(crate) fn slot_of(&self, id: &Id) -> Result<Option<u32>> {
        let postings = self.reader().postings(&self.engine.layout.slots)?;
        match id {
            Id::Int(x) => Ok(postings.get_unique(integer_key(self.engine.schema().id.kind, *x))?),
            Id::Text(text) => {
                for slot in postings.slots(text_hash(text))?.to_vec() {
                    if self.id_of(slot)? == *id {
                        return Ok(Some(slot));
                    }
                }
                Ok(None)
            }
        }
    }

    /// First and last label of the text ids that pass a test for text; none where there is none.
    pub(crate) fn text_id_keys(&self, test: &Test) -> Result<Option<(u64, u64)>> {
        let ids = self.ids()?;
        let first = match test {
            Test::TextRange(low, _) => self.first_label(&ids, |id| match low {
                Bound::Included(low) => id >= low.as_str(),
                Bound::Excluded(low) => id > low.as_str(),
                Bound::Unbounded => true,
            })?,
            Test::Prefix(prefix) => self.first_label(&ids, |id| id >= prefix.as_str())?,
            _ => None,
        };
        let Some(first) = first else { return Ok(None) };
        let behind = match test {
            Test::TextRange(_, high) => self.first_label(&ids, |id| match high {
                Bound::Included(high) => id > high.as_str(),
                Bound::Excluded(high) => id >= high.as_str(),
                Bound::Unbounded => false,
            })?,
            Test::Prefix(prefix) => {
                self.first_label(&ids, |id| id > prefix.as_str() && !id.starts_with(prefix.as_str()))?
            }
            _ => None,
        };
        let last = behind.map_or(u64::MAX, |behind| behind.saturating_sub(1));
        Ok((first <= last).then_some((first, last)))
    }

    fn document_bytes(&self, slot: u32) -> Result<std::borrow::Cow<'_, [u8]>> {
        let bytes = self.snapshot.get(&self.engine.spaces.documents, IntKey::from(slot))?;
        bytes.ok_or_else(|| Error::damaged("indexes", format!("slot {slot} has no document")))
    }

    /// The record of a slot, with some of its fields.
    pub(crate) fn document(&self, slot: u32, fields: &FieldSet) -> Result<Document> {
        self.engine.documents.decode(&self.document_bytes(slot)?, fields)
    }

    /// The records of some slots, in their order; faster than one by one.
    pub(crate) fn documents(&self, slots: &[u32], fields: &FieldSet) -> Result<Vec<Document>> {
        let keys: Vec<IntKey> = slots.iter().map(|slot| IntKey::from(*slot)).collect();
        let mut found = Vec::with_capacity(slots.len());
        let mut failure = None;
        self.snapshot.multi_get_each(&self.engine.spaces.documents, &keys, |at, bytes| {
            let document = if let Some(bytes) = bytes {
                self.engine.documents.decode(&bytes, fields)
            } else {
                let slot = slots.get(at).copied().unwrap_or(0);
                Err(Error::damaged("indexes", format!("slot {slot} has no document")))
            };
            match document {
                Ok(document) => found.push(document),
                Err(error) => failure = failure.take().or(Some(error)),
            }
        })?;
        failure.map_or(Ok(found), Err)
    }

    /// The id of the record of a slot.
    pub(crate) fn id_of(&self, slot: u32) -> Result<Id> {
        self.engine.documents.decode_id(&self.document_bytes(slot)?)
    }

    /// The ids of some slots, from the column where ids are integers.
    pub(crate) fn ids_of(&self, ids: &Column<'_>, slots: &[u32]) -> Result<Vec<Id>> {
        let kind = self.engine.schema().id.kind;
        if self.engine.schema().id.is_string() {
            return slots.iter().map(|slot| self.id_of(*slot)).collect();
        }
        // A page is looked up once for all of its slots.
        let mut order: Vec<usize> = (0..slots.len()).collect();
        order.sort_unstable_by_key(|at| slots.get(*at).copied());
        let mut found = vec![Id::Int(0); slots.len()];
        let mut page: Option<(u32, ColumnView<'_>)> = None;
        for at in order {
            let (Some(slot), Some(to)) = (slots.get(at).copied(), found.get_mut(at)) else { continue };
            let view = match &page {
                Some((chunk, view)) if *chunk == slot >> 16 => view,
                _ => &page.insert((slot >> 16, ids.chunk_of(slot)?)).1,
            };
            #[expect(clippy::cast_possible_truncation, reason = "the slot within its chunk")]
            let key = view.get(slot as u16);
            *to = match key.map(|key| value_of_key(kind, key)) {
                Some(Value::Int(x)) => Id::Int(x),
                _ => return Err(Error::damaged("indexes", format!("slot {slot} has no id"))),
            };
        }
        Ok(found)
    }

    /// Slots below the number of slots without a record, at most so many.
    pub(crate) fn free_slots(&self, limit: usize) -> Result<Vec<u32>> {
        let alive = self.state(State::Alive)?;
        let Some(last) = self.slot_count.checked_sub(1).and_then(|last| u32::try_from(last).ok()) else {
            return Ok(Vec::new());
        };
        if alive.len() == self.slot_count {
            return Ok(Vec::new());
        }
        let given_out = Expr::bitmap(BitmapView::range(0, last));
        Ok(Query::new(given_out.and_not(alive.view().into()), self.slot_count).first(limit))
    }
}
