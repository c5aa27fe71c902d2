//! Upkeep that moves entries from key to key, which nobody else may write to meanwhile.
//!
//! * [`bitmaps`] — bitmaps that became empty go with their value, huge ones get pages.
//! * [`columns`] — zones are measured anew.
//! * [`postings`] — pages that have grown are split, heavy values get bitmaps, empty pages go.

mod bitmaps;
mod columns;
mod postings;

use std::collections::{BTreeMap, BTreeSet};

use datasilo::Silo;
use roaring::RoaringBitmap;

use super::batch::StoreBatch;
use super::error::StoreResult;
use super::fields::FieldKind;
use super::handle::{Routes, Store};

pub(crate) use bitmaps::{PAGED_FROM, pages_of};
pub use postings::{HEAVY_FROM, PAGE_PAIRS};

/// Mutations of a batch that removes things.
const STEP_OPS: usize = 50_000;

/// What was written to since the last upkeep, in this process.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Values of bitmap fields, by field.
    bitmaps: BTreeMap<u32, RoaringBitmap>,
    /// Chunks of columns, by field.
    columns: BTreeMap<u32, BTreeSet<u16>>,
    /// Pages of postings fields, by field.
    postings: BTreeMap<u32, BTreeSet<u32>>,
}

impl Touched {
    /// Notes what operations on bitmaps and columns, and on these pages of postings, touch.
    pub(crate) fn note(&mut self, ops: &StoreBatch, pages: &[(u32, u32)]) {
        for ops in ops.bitmaps() {
            self.bitmaps.entry(ops.field).or_default().insert(ops.value);
        }
        for ops in ops.columns() {
            self.columns.entry(ops.field).or_default().insert(ops.chunk);
        }
        for (field, page) in pages {
            self.postings.entry(*field).or_default().insert(*page);
        }
    }

    pub(crate) fn forget(&mut self, field: u32) {
        self.bitmaps.remove(&field);
        self.columns.remove(&field);
        self.postings.remove(&field);
    }

    fn add(&mut self, other: Self) {
        for (field, values) in other.bitmaps {
            *self.bitmaps.entry(field).or_default() |= values;
        }
        for (field, chunks) in other.columns {
            self.columns.entry(field).or_default().extend(chunks);
        }
        for (field, pages) in other.postings {
            self.postings.entry(field).or_default().extend(pages);
        }
    }
}

/// What [`Store::maintain`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// What was written to through this handle since the last upkeep; of columns, the zones of the
    /// chunks written to.
    Touched,
    /// Everything: costs a look-up per value and page, and a pass over all columns, whose zones are
    /// measured anew.
    All,
}

/// What an upkeep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintainReport {
    /// Bitmaps that had become empty and were removed, with their value.
    pub emptied_bitmaps: u64,
    /// Bitmaps that were split into pages.
    pub paged_bitmaps: u64,
    /// Postings pages that were split.
    pub split_pages: u64,
    /// Postings pages that had become empty and were removed.
    pub emptied_pages: u64,
    /// Values of postings that got a bitmap of their own.
    pub promoted_values: u64,
    /// Chunks of columns that had become empty and were removed.
    pub emptied_chunks: u64,
}

impl Store {
    /// Removes what became empty and splits what has grown. Each step is one batch that changes no
    /// answer. Other writers wait meanwhile.
    ///
    /// # Errors
    /// Those of the silo; what was done until then stays, and nothing is done by halves.
    pub fn maintain(&self, silo: &Silo, upkeep: Upkeep) -> StoreResult<MaintainReport> {
        let mut routes = self.exclusive()?;
        let touched = std::mem::take(&mut *self.touched());
        let mut report = MaintainReport::default();
        let result = self.maintain_alone(silo, upkeep, &touched, &mut routes, &mut report);
        if result.is_err() {
            // What was not looked after is looked after next time.
            self.touched().add(touched);
        }
        result.map(|()| report)
    }

    fn maintain_alone(
        &self,
        silo: &Silo,
        upkeep: Upkeep,
        touched: &Touched,
        routes: &mut Routes,
        report: &mut MaintainReport,
    ) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let fields = self.field_list(&snapshot)?;
        drop(snapshot);
        for field in fields.live() {
            let id = field.id();
            match field.kind() {
                FieldKind::Bitmap => {
                    let touched = touched.bitmaps.get(&id).filter(|_| upkeep == Upkeep::Touched);
                    if touched.is_some() || upkeep == Upkeep::All {
                        self.maintain_bitmaps(silo, id, touched, routes, report)?;
                    }
                }
                FieldKind::Column => {
                    let touched = touched.columns.get(&id).filter(|_| upkeep == Upkeep::Touched);
                    if touched.is_some() || upkeep == Upkeep::All {
                        self.measure_zones(silo, id, touched, report)?;
                    }
                }
                FieldKind::Postings => {
                    let touched = touched.postings.get(&id).filter(|_| upkeep == Upkeep::Touched);
                    if touched.is_some() || upkeep == Upkeep::All {
                        self.maintain_postings(silo, id, touched, routes, report)?;
                    }
                }
            }
        }
        Ok(())
    }
}
