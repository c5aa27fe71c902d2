//! Upkeep that moves entries from key to key, which nobody else may write to meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use datasilo::{Batch, Durability, Silo};
use roaring::RoaringBitmap;

use super::error::StoreResult;
use super::fields::FieldKind;
use super::handle::{KnownPages, Routes, Store};
use super::keys::{Key, page_chunks};
use super::operand::encode_ops;
use super::stored::Bitmaps;
use super::value::{PageSet, Unchanged, store_view};

/// Bytes from which a bitmap that reaches beyond the first page is split into pages.
const PAGED_FROM: usize = 1 << 20;
/// Mutations of a batch that removes things.
const STEP_OPS: usize = 50_000;

/// What was written to since the last upkeep, in this process.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Values by field.
    bitmaps: BTreeMap<u32, RoaringBitmap>,
}

impl Touched {
    pub(crate) fn note_bitmaps(&mut self, touched: impl Iterator<Item = (u32, u32)>) {
        for (field, value) in touched {
            self.bitmaps.entry(field).or_default().insert(value);
        }
    }

    pub(crate) fn forget(&mut self, field: u32) {
        self.bitmaps.remove(&field);
    }
}

/// What [`Store::maintain`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// What was written to through this handle since the last upkeep.
    Touched,
    /// Everything: costs a look-up per value and page.
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
}

impl Store {
    /// Removes what became empty and splits what has grown, in one batch that changes no answer. Other
    /// writers wait meanwhile.
    ///
    /// # Errors
    /// Those of the silo; the store is as before.
    pub fn maintain(&self, silo: &Silo, upkeep: Upkeep) -> StoreResult<MaintainReport> {
        let mut routes = self.exclusive()?;
        let touched = std::mem::take(&mut *self.touched());
        let result = self.maintain_alone(silo, upkeep, &touched, &mut routes);
        if result.is_err() {
            // What was not looked after is looked after next time.
            let mut now = self.touched();
            for (field, values) in touched.bitmaps {
                *now.bitmaps.entry(field).or_default() |= values;
            }
        }
        result
    }

    fn maintain_alone(
        &self,
        silo: &Silo,
        upkeep: Upkeep,
        touched: &Touched,
        routes: &mut Routes,
    ) -> StoreResult<MaintainReport> {
        let snapshot = silo.snapshot();
        let fields = self.field_list(&snapshot)?;
        let mut batch = silo.batch();
        let mut report = MaintainReport::default();
        let mut paged = Vec::new();
        let mut unpaged = BTreeSet::new();
        for field in fields.live().iter().filter(|field| field.kind() == FieldKind::Bitmap) {
            let id = field.id();
            let bitmaps = self.spaces.bitmaps(&snapshot);
            let candidates = match upkeep {
                Upkeep::All => bitmaps.values(id)?.to_vec(),
                Upkeep::Touched => touched.bitmaps.get(&id).into_iter().flatten().collect(),
            };
            let in_use = bitmaps.values(id)?;
            let (mut emptied, mut split) = (Vec::new(), Vec::new());
            for value in candidates {
                if bitmaps.bitmap(id, value)?.is_empty() {
                    self.remove_bitmap(bitmaps, id, value, &mut batch)?;
                    if in_use.contains(value) {
                        emptied.push(value);
                    }
                    if routes.paged.contains_key(&(id, value)) {
                        unpaged.insert((id, value));
                    }
                } else if let Some(pages) = self.split_bitmap(bitmaps, id, value, &mut batch)? {
                    split.push(value);
                    paged.push(((id, value), KnownPages::of(&pages)));
                }
            }
            report.emptied_bitmaps += emptied.len() as u64;
            report.paged_bitmaps += split.len() as u64;
            let mut push = |key: Key, sets: &[u32], clears: &[u32]| -> StoreResult<()> {
                if !sets.is_empty() || !clears.is_empty() {
                    let mut operand = Vec::new();
                    encode_ops(sets, clears, &mut Vec::new(), &mut operand);
                    batch.merge(&self.spaces.bitmaps, key, operand)?;
                }
                Ok(())
            };
            push(Key::values(id), &[], &emptied)?;
            let single: Vec<u32> = unpaged.range((id, 0)..=(id, u32::MAX)).map(|(_, value)| *value).collect();
            push(Key::paged(id), &split, &single)?;
        }
        silo.commit(&mut batch, Durability::Process)?;
        routes.paged.retain(|key, _| !unpaged.contains(key));
        routes.paged.extend(paged);
        Ok(report)
    }

    /// Deletes the keys of a bitmap.
    fn remove_bitmap(
        &self,
        bitmaps: Bitmaps<'_>,
        field: u32,
        value: u32,
        batch: &mut Batch,
    ) -> StoreResult<()> {
        if let Some(pages) = bitmaps.pages(field, value)? {
            for page in pages.iter() {
                batch.delete(&self.spaces.bitmaps, Key::bitmap_page(field, value, page))?;
            }
        }
        batch.delete(&self.spaces.bitmaps, Key::bitmap(field, value))?;
        Ok(())
    }

    /// Splits a bitmap into pages if it is large enough; answers which it has then.
    fn split_bitmap(
        &self,
        bitmaps: Bitmaps<'_>,
        field: u32,
        value: u32,
        batch: &mut Batch,
    ) -> StoreResult<Option<PageSet>> {
        if bitmaps.base_bytes(field, value)?.is_none_or(|len| len < PAGED_FROM) {
            return Ok(None);
        }
        let bitmap = bitmaps.bitmap(field, value)?;
        if bitmap.view().highest_key() <= page_chunks(0).1 {
            return Ok(None);
        }
        let pages = pages_of(&bitmap.view(), |page, bytes| {
            Ok(batch.put(&self.spaces.bitmaps, Key::bitmap_page(field, value, page), bytes)?)
        })?;
        batch.put(&self.spaces.bitmaps, Key::bitmap(field, value), pages.to_value())?;
        Ok(Some(pages))
    }

    /// Removes the entries of a dropped bitmap field, in steps.
    pub(crate) fn remove_bitmaps(&self, silo: &Silo, field: u32) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let bitmaps = self.spaces.bitmaps(&snapshot);
        let mut batch = silo.batch();
        for value in bitmaps.values(field)?.to_vec() {
            self.remove_bitmap(bitmaps, field, value, &mut batch)?;
            if batch.len() >= STEP_OPS {
                silo.commit(&mut batch, Durability::Process)?;
            }
        }
        batch.delete(&self.spaces.bitmaps, Key::paged(field))?;
        // Last, so that what is left can be found after an interruption.
        batch.delete(&self.spaces.bitmaps, Key::values(field))?;
        silo.commit(&mut batch, Durability::Process)?;
        Ok(())
    }
}

/// Hands the stored form of every page that has slots to `put`; answers which there are.
pub(crate) fn pages_of(
    view: &crate::view::BitmapView<'_>,
    mut put: impl FnMut(u8, &[u8]) -> StoreResult<()>,
) -> StoreResult<PageSet> {
    let mut pages = PageSet::default();
    let mut bytes = Vec::new();
    for page in 0..=u8::MAX {
        bytes.clear();
        store_view(view, page_chunks(page), Unchanged::Keep, &mut bytes);
        if !bytes.is_empty() {
            put(page, &bytes)?;
            pages.insert(page);
        }
        if page_chunks(page).1 >= view.highest_key() {
            break;
        }
    }
    Ok(pages)
}
