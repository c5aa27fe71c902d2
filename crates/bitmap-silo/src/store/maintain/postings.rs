//! Pages of postings that have grown or become empty, and heavy values.

use std::collections::{BTreeMap, BTreeSet};

use datasilo::{Batch, Durability, Silo, Snapshot};

use super::{MaintainReport, STEP_OPS};
use crate::postings::{PageSplit, PostingOp, PostingsDelta, PostingsError, encode_splits, split};
use crate::store::error::{StoreError, StoreResult};
use crate::store::handle::{Routes, Store};
use crate::store::heavy::{encode_heavy, read_heavy};
use crate::store::keys::{BitmapId, Key};
use crate::store::lists::StoredPostings;
use crate::store::value::{Header, store_slots};

/// Most pairs and markers of a page after upkeep; docs/adr/0010 has when a field is kept in pages.
pub const PAGE_PAIRS: usize = 16_384;
/// Pairs of one value in a page that is too large from which the value gets a bitmap of its own.
pub const HEAVY_FROM: usize = PAGE_PAIRS / 2;
/// Bytes of pages after which what was split is committed.
const STEP_BYTES: usize = 32 << 20;

fn refused(field: u32) -> impl Fn(PostingsError) -> StoreError {
    move |error| StoreError::malformed(format!("postings of field {field}"), error.to_string())
}

impl Store {
    fn open_postings<'s>(&'s self, snapshot: &'s Snapshot, field: u32) -> StoreResult<StoredPostings<'s>> {
        StoredPostings::open(&self.spaces, self.cache(), snapshot, field)
    }

    /// Looks after the pages of a field, or those that were touched.
    pub(super) fn maintain_postings(
        &self,
        silo: &Silo,
        field: u32,
        touched: Option<&BTreeSet<u32>>,
        routes: &mut Routes,
        report: &mut MaintainReport,
    ) -> StoreResult<()> {
        let mut candidates = if let Some(touched) = touched {
            touched.clone()
        } else {
            let snapshot = silo.snapshot();
            self.open_postings(&snapshot, field)?.splits().iter().map(|split| split.page).collect()
        };
        for page in candidates.clone() {
            while let Some(value) = self.heavy_value(silo, field, page)? {
                candidates.extend(self.promote(silo, field, value, routes)?);
                report.promoted_values += 1;
            }
        }
        self.split_pages(silo, field, &candidates, report)?;
        self.maintain_heavy(silo, field, routes, report)
    }

    /// A value that has too many pairs in a page that is too large.
    fn heavy_value(&self, silo: &Silo, field: u32, page: u32) -> StoreResult<Option<u64>> {
        let snapshot = silo.snapshot();
        let page = self.open_postings(&snapshot, field)?.page(page)?;
        let view = page.view();
        if view.len() <= PAGE_PAIRS {
            return Ok(None);
        }
        let heavy = view.range(0..=u64::MAX).find(|posting| posting.slots.len() >= HEAVY_FROM);
        Ok(heavy.map(|posting| posting.value))
    }

    /// Moves the slots of a value to a bitmap; answers the pages that had some.
    fn promote(&self, silo: &Silo, field: u32, value: u64, routes: &mut Routes) -> StoreResult<Vec<u32>> {
        let snapshot = silo.snapshot();
        let postings = self.open_postings(&snapshot, field)?;
        let slots = postings.slots(value)?.to_vec();
        let mut bitmap = Vec::new();
        store_slots(&slots, Header::Counted, &mut bitmap);
        let mut batch = silo.batch();
        batch.put(&self.spaces.bitmaps, BitmapId::heavy(field, value).key(), bitmap)?;
        let mut heavy = read_heavy(&self.spaces, &snapshot, field)?;
        heavy.insert(value);
        batch.put(&self.spaces.splits, Key::heavy(field), encode_heavy(&heavy))?;
        let mut pages = Vec::new();
        let slot_count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        for (at, index) in postings.splits().pages_of_range(value..=value).enumerate() {
            let Some(split) = postings.splits().get(index) else { continue };
            let op = match at {
                0 => PostingOp::Promote { value, slot_count },
                _ => PostingOp::Clear { value },
            };
            self.merge_postings(field, split.page, op, &mut batch)?;
            pages.push(split.page);
        }
        silo.commit(&mut batch, Durability::Process)?;
        routes.heavy.insert(field, heavy);
        Ok(pages)
    }

    fn merge_postings(&self, field: u32, page: u32, op: PostingOp, batch: &mut Batch) -> StoreResult<()> {
        let mut operand = Vec::new();
        PostingsDelta::from_ops([op]).encode_into(&mut operand);
        Ok(batch.merge(&self.spaces.postings, Key::postings(field, page), operand)?)
    }

    /// Splits those of the pages that are too large, and removes those that are empty.
    fn split_pages(
        &self,
        silo: &Silo,
        field: u32,
        candidates: &BTreeSet<u32>,
        report: &mut MaintainReport,
    ) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let postings = self.open_postings(&snapshot, field)?;
        let mut splits: BTreeMap<(u64, u32), u32> =
            postings.splits().iter().map(|split| (split.first, split.page)).collect();
        let mut next_page = splits.values().max().map_or(0, |page| page + 1);
        let mut batch = silo.batch();
        let mut batch_bytes = 0;
        let mut done = MaintainReport::default();
        for PageSplit { first, page: number } in postings.splits().iter() {
            if !candidates.contains(&number) {
                continue;
            }
            let page = postings.page(number)?;
            let view = page.view();
            if view.is_empty() && splits.len() > 1 {
                // What belonged here belongs to a neighbour now.
                batch.delete(&self.spaces.postings, Key::postings(field, number))?;
                splits.remove(&first);
                done.emptied_pages += 1;
            } else if view.len() > PAGE_PAIRS {
                for (at, (begins, bytes)) in
                    split(&view, PAGE_PAIRS).map_err(refused(field))?.into_iter().enumerate()
                {
                    let target = if at == 0 { number } else { next_page };
                    batch_bytes += bytes.len();
                    batch.put(&self.spaces.postings, Key::postings(field, target), bytes)?;
                    if at > 0 {
                        splits.insert(begins, target);
                        next_page += 1;
                    }
                }
                done.split_pages += 1;
            }
            if batch_bytes > STEP_BYTES || batch.len() > STEP_OPS {
                self.commit_splits(silo, field, &splits, &mut batch)?;
                batch_bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.commit_splits(silo, field, &splits, &mut batch)?;
        }
        report.split_pages += done.split_pages;
        report.emptied_pages += done.emptied_pages;
        Ok(())
    }

    fn commit_splits(
        &self,
        silo: &Silo,
        field: u32,
        splits: &BTreeMap<(u64, u32), u32>,
        batch: &mut Batch,
    ) -> StoreResult<()> {
        let splits = splits.iter().map(|(first, page)| PageSplit { first: *first, page: *page });
        let splits = encode_splits(splits).map_err(refused(field))?;
        batch.put(&self.spaces.splits, Key::field(field), splits)?;
        silo.commit(batch, Durability::Process)?;
        Ok(())
    }

    /// Gives huge bitmaps of heavy values pages, and removes empty ones with their marker.
    fn maintain_heavy(
        &self,
        silo: &Silo,
        field: u32,
        routes: &mut Routes,
        report: &mut MaintainReport,
    ) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let bitmaps = self.spaces.bitmaps(&snapshot);
        let postings = self.open_postings(&snapshot, field)?;
        let mut heavy = read_heavy(&self.spaces, &snapshot, field)?;
        let mut batch = silo.batch();
        let (mut paged, mut emptied) = (Vec::new(), Vec::new());
        for value in &heavy {
            let id = BitmapId::heavy(field, *value);
            if bitmaps.bitmap(id)?.is_empty() {
                self.remove_bitmap(bitmaps, id, &mut batch)?;
                let index = postings.splits().page_of(*value, 0);
                if let Some(split) = index.and_then(|index| postings.splits().get(index)) {
                    self.merge_postings(field, split.page, PostingOp::Clear { value: *value }, &mut batch)?;
                }
                emptied.push(id);
            } else if self.split_bitmap(bitmaps, id, &mut batch)? {
                paged.push(id);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        heavy.retain(|value| !emptied.contains(&BitmapId::heavy(field, *value)));
        batch.put(&self.spaces.splits, Key::heavy(field), encode_heavy(&heavy))?;
        silo.commit(&mut batch, Durability::Process)?;
        routes.heavy.insert(field, heavy);
        report.emptied_bitmaps += emptied.len() as u64;
        report.paged_bitmaps += paged.len() as u64;
        routes.paged.retain(|id| !emptied.contains(id));
        routes.paged.extend(paged);
        Ok(())
    }

    /// Removes the entries of a dropped postings field, in steps.
    pub(crate) fn remove_postings(&self, silo: &Silo, field: u32) -> StoreResult<()> {
        let snapshot = silo.snapshot();
        let mut batch = silo.batch();
        for value in read_heavy(&self.spaces, &snapshot, field)? {
            let id = BitmapId::heavy(field, value);
            self.remove_bitmap(self.spaces.bitmaps(&snapshot), id, &mut batch)?;
        }
        for split in self.open_postings(&snapshot, field)?.splits().iter() {
            batch.delete(&self.spaces.postings, Key::postings(field, split.page))?;
            if batch.len() >= STEP_OPS {
                silo.commit(&mut batch, Durability::Process)?;
            }
        }
        // Last, so that what is left can be found after an interruption.
        batch.delete(&self.spaces.splits, Key::heavy(field))?;
        batch.delete(&self.spaces.splits, Key::field(field))?;
        silo.commit(&mut batch, Durability::Process)?;
        Ok(())
    }
}
