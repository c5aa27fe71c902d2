//! Turning operations into operands.

use std::sync::{Arc, RwLockReadGuard};

use datasilo::{Batch, Snapshot};

use super::batch::{BitmapOps, StoreBatch};
use super::error::{StoreError, StoreResult};
use super::fields::{FieldKind, FieldList};
use super::handle::{Routes, Store};
use super::keys::{Key, page_of};
use super::operand::{encode_ops, encode_pages};
use super::stored::StoredBitmap;
use super::value::PageSet;

/// Most operations of a batch: their order has 31 bits.
const MAX_OPS: usize = 1 << 31;

/// A share in writing to a store; see [`Store::write`].
#[derive(Debug)]
pub struct Writer<'s> {
    store: &'s Store,
    routes: RwLockReadGuard<'s, Routes>,
    snapshot: Snapshot,
    fields: Arc<FieldList>,
}

/// What a batch brings into being, beside its operations.
#[derive(Debug, Default)]
struct News {
    /// Values that were not in use, by field.
    values: Vec<(u32, u32)>,
    /// Pages of huge bitmaps: field, value and page.
    pages: Vec<(u32, u32, u8)>,
}

/// Buffers for operands.
#[derive(Debug, Default)]
struct Encoder {
    sets: Vec<u32>,
    clears: Vec<u32>,
    part: Vec<u8>,
    operand: Vec<u8>,
}

impl Encoder {
    /// The operand of ascending operations.
    fn ops(&mut self, ops: impl Iterator<Item = (u32, bool)>) -> &[u8] {
        self.sets.clear();
        self.clears.clear();
        for (slot, set) in ops {
            if set { &mut self.sets } else { &mut self.clears }.push(slot);
        }
        self.operand.clear();
        encode_ops(&self.sets, &self.clears, &mut self.part, &mut self.operand);
        &self.operand
    }
}

impl<'s> Writer<'s> {
    pub(crate) fn new(
        store: &'s Store,
        routes: RwLockReadGuard<'s, Routes>,
        snapshot: Snapshot,
        fields: Arc<FieldList>,
    ) -> Self {
        Self { store, routes, snapshot, fields }
    }

    /// Appends the operations to a batch of the silo: one operand per key. O(n log n). The
    /// operations stay in `ops`: clear it once the batch is committed.
    ///
    /// # Errors
    /// [`StoreError::NoSuchField`], [`StoreError::FieldKind`], [`StoreError::Usage`] for more than 2³¹
    /// operations; the batch is as before. Those of the silo for damage in it.
    pub fn append(&self, ops: &mut StoreBatch, batch: &mut Batch) -> StoreResult<()> {
        if ops.len() >= MAX_OPS {
            return Err(StoreError::Usage("a batch takes less than 2^31 operations: split it".to_owned()));
        }
        ops.group_bits();
        let news = self.news(ops)?;
        self.push_bitmaps(ops, &news, batch)
    }

    /// Looks up what the operations need beside themselves.
    fn news(&self, ops: &StoreBatch) -> StoreResult<News> {
        let bitmaps = self.store.spaces.bitmaps(&self.snapshot);
        let mut news = News::default();
        let mut in_use: Option<(u32, StoredBitmap<'_>)> = None;
        for BitmapOps { field, value, ops } in ops.bitmaps() {
            let known = match &in_use {
                Some((of, known)) if *of == field => known,
                _ => {
                    match self.fields.by_id(field) {
                        Some(own) => own.expect(FieldKind::Bitmap)?,
                        None => return Err(StoreError::NoSuchField { name: String::new(), id: field }),
                    }
                    &in_use.insert((field, bitmaps.values(field)?)).1
                }
            };
            let sets = || ops.iter().filter(|(_, set)| *set);
            if sets().next().is_none() {
                continue;
            }
            if !known.contains(value) {
                news.values.push((field, value));
            }
            if let Some(pages) = self.routes.paged.get(&(field, value)) {
                let missing = || sets().map(|(slot, _)| page_of(*slot)).filter(|page| !pages.contains(*page));
                if missing().next().is_some() {
                    pages.learn(&bitmaps.pages(field, value)?.unwrap_or_default());
                    news.pages.extend(missing().map(|page| (field, value, page)));
                }
            }
        }
        Ok(news)
    }

    fn push_bitmaps(&self, ops: &StoreBatch, news: &News, batch: &mut Batch) -> StoreResult<()> {
        let keyspace = &self.store.spaces.bitmaps;
        let mut encoder = Encoder::default();
        for BitmapOps { field, value, ops } in ops.bitmaps() {
            if self.routes.paged.contains_key(&(field, value)) {
                for of_page in ops.chunk_by(|a, b| page_of(a.0) == page_of(b.0)) {
                    let page = of_page.first().map_or(0, |op| page_of(op.0));
                    let key = Key::bitmap_page(field, value, page);
                    batch.merge(keyspace, key, encoder.ops(of_page.iter().copied()))?;
                }
            } else {
                batch.merge(keyspace, Key::bitmap(field, value), encoder.ops(ops.iter().copied()))?;
            }
        }
        for of_field in news.values.chunk_by(|a, b| a.0 == b.0) {
            let field = of_field.first().map_or(0, |(field, _)| *field);
            let values = of_field.iter().map(|(_, value)| (*value, true));
            batch.merge(keyspace, Key::values(field), encoder.ops(values))?;
        }
        for of_value in news.pages.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some(&(field, value, _)) = of_value.first() else { continue };
            let mut pages = PageSet::default();
            of_value.iter().for_each(|(_, _, page)| pages.insert(*page));
            batch.merge(keyspace, Key::bitmap(field, value), encode_pages(&pages))?;
        }
        self.store.touched().note_bitmaps(ops.bitmaps().map(|ops| (ops.field, ops.value)));
        Ok(())
    }
}
