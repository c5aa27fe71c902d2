//! Columns in a store.

use std::sync::Arc;

use datasilo::Snapshot;

use crate::column::{ColumnDelta, ColumnError, ColumnPage, ColumnView, Zones, fold};

use super::cache::DecodedCache;
use super::decoded::{Ops, read};
use super::error::{StoreError, StoreResult};
use super::handle::Spaces;
use super::keys::Key;
use super::places::{PlaceCache, Places};

fn message(error: &ColumnError) -> String {
    error.to_string()
}

impl Ops for ColumnDelta {
    const OPERATOR: &'static str = "bitmap-silo.column.v1";

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        ColumnDelta::decode(bytes).map_err(|error| message(&error))
    }

    fn encode(&self) -> Vec<u8> {
        self.encode()
    }

    fn then(&self, newer: &Self) -> Self {
        self.then(newer)
    }

    fn stacked(&self, newer: &Self) -> Self {
        self.stacked(newer)
    }

    fn fold(&self, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let page = ColumnPage::open(base.unwrap_or(&[])).map_err(|error| message(&error))?;
        Ok(fold(&page, self))
    }
}

impl Ops for Zones {
    const OPERATOR: &'static str = "bitmap-silo.zones.v1";

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        Zones::decode(bytes).map_err(|error| message(&error))
    }

    fn encode(&self) -> Vec<u8> {
        self.encode()
    }

    fn then(&self, newer: &Self) -> Self {
        self.widened(newer)
    }

    fn fold(&self, base: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let base = Zones::decode(base.unwrap_or(&[])).map_err(|error| message(&error))?;
        Ok(base.widened(self).encode())
    }
}

/// The column of a field as of one snapshot.
#[derive(Clone, Debug)]
pub struct StoredColumn<'s> {
    spaces: &'s Spaces,
    cache: &'s DecodedCache,
    snapshot: &'s Snapshot,
    field: u32,
    places: Option<Arc<Places>>,
}

impl<'s> StoredColumn<'s> {
    pub(crate) fn new(
        spaces: &'s Spaces,
        cache: &'s DecodedCache,
        places: &PlaceCache,
        snapshot: &'s Snapshot,
        field: u32,
    ) -> Self {
        Self { spaces, cache, snapshot, field, places: places.of(snapshot, field) }
    }

    /// The column of a chunk; empty where no slot of it has a key. One look-up.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn page(&self, chunk: u16) -> StoreResult<ColumnView<'s>> {
        let place = || format!("field {}, column of chunk {chunk}", self.field);
        let key = Key::column(self.field, chunk);
        let open = |bytes: &'s [u8]| {
            ColumnPage::open(bytes).map_err(|error| StoreError::malformed(place(), message(&error)))
        };
        let known = self.places.as_ref().and_then(|places| places.get(chunk));
        if let Some(bytes) = known.and_then(|at| self.snapshot.get_at(&self.spaces.columns, key, at)) {
            return Ok(open(bytes)?.into());
        }
        let found = read::<ColumnDelta>(self.snapshot, &self.spaces.columns, self.cache, key, &place)?;
        let Some(found) = found else {
            return Ok(ColumnView::default());
        };
        if let (Some(places), Some(at), None) = (&self.places, found.place, known) {
            places.set(chunk, at);
        }
        Ok(ColumnView::new(Some(open(found.base)?), found.ops))
    }

    /// Bounds of the keys, chunk by chunk: those of chunks that have keys, and perhaps of some that had.
    /// One look-up; the zones are decoded when they changed.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn zones(&self) -> StoreResult<Arc<Zones>> {
        let place = || format!("the zones of field {}", self.field);
        let key = Key::field(self.field);
        let found = read::<Zones>(self.snapshot, &self.spaces.zones, self.cache, key, &place)?;
        let Some(found) = found else {
            return Ok(Arc::default());
        };
        let base = self
            .cache
            .get(self.snapshot, found.base, Zones::decode)
            .map_err(|error| StoreError::malformed(place(), message(&error)))?;
        Ok(match found.ops {
            None => base,
            Some(ops) => Arc::new(base.widened(&ops)),
        })
    }

    /// The key of a slot.
    ///
    /// # Errors
    /// Damage in the silo.
    pub fn get(&self, slot: u32) -> StoreResult<Option<u64>> {
        let (chunk, low) = crate::frozen::split_slot(slot);
        Ok(self.page(chunk)?.get(low))
    }
}
