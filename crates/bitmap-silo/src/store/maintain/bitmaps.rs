//! Bitmaps that became empty or huge.

use datasilo::{Batch, Durability, Silo};
use roaring::RoaringBitmap;

use super::{MaintainReport, STEP_OPS};
use crate::store::error::StoreResult;
use crate::store::handle::{Routes, Store};
use crate::store::keys::{BitmapId, Key, page_chunks};
use crate::store::operand::encode_ops;
use crate::store::stored::Bitmaps;
use crate::store::value::{PageSet, Unchanged, store_view};
use crate::view::BitmapView;

/// Bytes from which a bitmap that reaches beyond the first page is split into pages.
pub(crate) const PAGED_FROM: usize = 1 << 20;
/// Bitmaps that are split in one commit, so that a batch fits memory.
const STEP_SPLITS: usize = 16;

impl Store {
    /// Looks after the values of a field, or those that were touched.
    pub(super) fn maintain_bitmaps(
        &self,
        silo: &Silo,
        field: u32,
        touched: Option<&RoaringBitmap>,
        routes: &mut Routes,
        report: &mut MaintainReport,
    ) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let bitmaps = self.spaces.bitmaps(&snapshot);
        let candidates = match touched {
            Some(touched) => touched.iter().collect(),
            None => bitmaps.values(field)?.to_vec(),
        };
        let mut rest = &candidates[..];
        while !rest.is_empty() {
            let done = self.maintain_values(silo, bitmaps, field, rest, routes, report)?;
            rest = rest.get(done..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Looks after the first of some values, as many as one commit takes; answers how many.
    fn maintain_values(
        &self,
        silo: &Silo,
        bitmaps: Bitmaps<'_>,
        field: u32,
        candidates: &[u32],
        routes: &mut Routes,
        report: &mut MaintainReport,
    ) -> StoreResult<usize> {
        let mut batch = silo.batch();
        let (mut emptied, mut split) = (Vec::new(), Vec::new());
        let mut done = 0;
        for value in candidates.iter().take(STEP_OPS) {
            if split.len() >= STEP_SPLITS {
                break;
            }
            done += 1;
            let id = BitmapId::few(field, *value);
            if bitmaps.bitmap(id)?.is_empty() {
                self.remove_bitmap(bitmaps, id, &mut batch)?;
                emptied.push(*value);
            } else if self.split_bitmap(bitmaps, id, &mut batch)? {
                split.push(*value);
            }
        }
        let mut push = |key: Key, sets: &[u32], clears: &[u32]| -> StoreResult<()> {
            if !sets.is_empty() || !clears.is_empty() {
                let mut operand = Vec::new();
                encode_ops(sets, clears, &mut Vec::new(), &mut operand);
                batch.merge(&self.spaces.bitmaps, key, operand)?;
            }
            Ok(())
        };
        push(Key::values(field), &[], &emptied)?;
        let unpaged: Vec<u32> = emptied
            .iter()
            .copied()
            .filter(|value| routes.paged.contains(&BitmapId::few(field, *value)))
            .collect();
        push(Key::paged(field), &split, &unpaged)?;
        silo.commit(&mut batch, Durability::Process)?;
        for value in unpaged {
            routes.paged.remove(&BitmapId::few(field, value));
        }
        report.emptied_bitmaps += emptied.len() as u64;
        report.paged_bitmaps += split.len() as u64;
        routes.paged.extend(split.into_iter().map(|value| BitmapId::few(field, value)));
        Ok(done)
    }

    /// Deletes the keys of a bitmap.
    pub(super) fn remove_bitmap(
        &self,
        bitmaps: Bitmaps<'_>,
        id: BitmapId,
        batch: &mut Batch,
    ) -> StoreResult<()> {
        for page in bitmaps.pages(id)?.unwrap_or_default().iter() {
            batch.delete(&self.spaces.bitmaps, id.page_key(page))?;
        }
        Ok(batch.delete(&self.spaces.bitmaps, id.key())?)
    }

    /// Splits a bitmap into pages if it is large enough; answers whether it was.
    pub(super) fn split_bitmap(
        &self,
        bitmaps: Bitmaps<'_>,
        id: BitmapId,
        batch: &mut Batch,
    ) -> StoreResult<bool> {
        if bitmaps.base_bytes(id)? < PAGED_FROM {
            return Ok(false);
        }
        let bitmap = bitmaps.bitmap(id)?;
        if bitmap.view().highest_key() <= page_chunks(0).1 {
            return Ok(false);
        }
        let pages = pages_of(&bitmap.view(), Unchanged::Keep, |page, bytes| {
            Ok(batch.put(&self.spaces.bitmaps, id.page_key(page), bytes)?)
        })?;
        batch.put(&self.spaces.bitmaps, id.key(), pages.to_value())?;
        Ok(true)
    }

    /// Removes the entries of a dropped bitmap field, in steps.
    pub(crate) fn remove_bitmaps(&self, silo: &Silo, field: u32) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let bitmaps = self.spaces.bitmaps(&snapshot);
        let mut batch = silo.batch();
        for value in bitmaps.values(field)?.to_vec() {
            self.remove_bitmap(bitmaps, BitmapId::few(field, value), &mut batch)?;
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
    view: &BitmapView<'_>,
    unchanged: Unchanged,
    mut put: impl FnMut(u8, &[u8]) -> StoreResult<()>,
) -> StoreResult<PageSet> {
    let mut pages = PageSet::default();
    let mut bytes = Vec::new();
    let highest = view.highest_key();
    for page in 0..=u8::MAX {
        bytes.clear();
        let (first, last) = page_chunks(page);
        store_view(view, (first, last), unchanged, &mut bytes);
        if !bytes.is_empty() {
            put(page, &bytes)?;
            pages.insert(page);
        }
        if last >= highest {
            break;
        }
    }
    Ok(pages)
}
