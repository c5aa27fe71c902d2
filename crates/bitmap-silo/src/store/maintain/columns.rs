//! Zones that are wider than they need be.

use datasilo::{Durability, Silo};

use super::MaintainReport;
use crate::column::{Zone, Zones};
use crate::store::columns::StoredColumn;
use crate::store::error::StoreResult;
use crate::store::handle::Store;
use crate::store::keys::Key;

impl Store {
    /// Puts the true bounds of a column in place of those that changes have widened, and removes chunks
    /// without keys.
    pub(super) fn measure_zones(
        &self,
        silo: &Silo,
        field: u32,
        report: &mut MaintainReport,
    ) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let column = StoredColumn::new(&self.spaces, self.cache(), self.places(), &snapshot, field);
        let before = column.zones()?;
        let mut zones = Vec::with_capacity(before.zones().len());
        let mut batch = silo.batch();
        for zone in before.zones() {
            let page = column.page(zone.chunk)?;
            if let (Some(lowest), Some(highest)) = (page.min(), page.max()) {
                zones.push(Zone { chunk: zone.chunk, count: page.len(), lowest, highest });
            } else {
                batch.delete(&self.spaces.columns, Key::column(field, zone.chunk))?;
                report.emptied_chunks += 1;
            }
        }
        let zones = Zones::of(zones);
        if zones != *before {
            batch.put(&self.spaces.zones, Key::field(field), zones.encode())?;
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
