//! Zones that are wider than they need be.

use std::collections::BTreeSet;

use datasilo::{Durability, Silo};

use super::MaintainReport;
use crate::column::{Zone, Zones};
use crate::store::columns::StoredColumn;
use crate::store::error::StoreResult;
use crate::store::handle::Store;
use crate::store::keys::Key;

impl Store {
    /// Puts the true bounds of a column in place of those that changes have widened, and removes chunks
    /// without keys: of the chunks named, or of all. Of named ones, a count that alone is too high stays.
    pub(super) fn measure_zones(
        &self,
        silo: &Silo,
        field: u32,
        touched: Option<&BTreeSet<u16>>,
        report: &mut MaintainReport,
    ) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let column = StoredColumn::new(&self.spaces, self.cache(), self.places(), &snapshot, field);
        let before = column.zones()?;
        let mut zones = Vec::with_capacity(before.zones().len());
        let mut batch = silo.batch();
        let mut changed = false;
        for zone in before.zones() {
            if touched.is_some_and(|touched| !touched.contains(&zone.chunk)) {
                zones.push(*zone);
                continue;
            }
            let page = column.page(zone.chunk)?;
            if let (Some(lowest), Some(highest)) = (page.min(), page.max()) {
                let measured = Zone { chunk: zone.chunk, count: page.len(), lowest, highest };
                let bounds_differ = (lowest, highest) != (zone.lowest, zone.highest);
                changed |= bounds_differ || (touched.is_none() && measured != *zone);
                zones.push(measured);
            } else {
                batch.delete(&self.spaces.columns, Key::column(field, zone.chunk))?;
                report.emptied_chunks += 1;
                changed = true;
            }
        }
        if changed {
            batch.put(&self.spaces.zones, Key::field(field), Zones::of(zones).encode())?;
            silo.commit(&mut batch, Durability::Process)?;
        }
        Ok(())
    }

    /// Removes the entries of a dropped column field.
    pub(crate) fn remove_column(&self, silo: &Silo, field: u32) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let mut batch = silo.batch();
        // Not only the chunks that zones name: those that only ever lost keys have pages too.
        for chunk in 0..=u16::MAX {
            if snapshot.contains(&self.spaces.columns, Key::column(field, chunk))? {
                batch.delete(&self.spaces.columns, Key::column(field, chunk))?;
            }
        }
        batch.delete(&self.spaces.zones, Key::field(field))?;
        silo.commit(&mut batch, Durability::Process)?;
        Ok(())
    }
}
