//! Turning operations into operands.

use std::sync::{Arc, RwLockReadGuard};

use datasilo::{Batch, BulkWriter, Keyspace, Snapshot};

use crate::column::{ColumnDelta, Zones};
use crate::postings::{PostingOp, PostingsDelta};

use super::batch::{BitmapOps, ChunkOps, PairOps, StoreBatch};
use super::error::{StoreError, StoreResult};
use super::fields::{FieldKind, FieldList};
use super::handle::{Routes, Store};
use super::keys::{BitmapId, Key, page_of};
use super::lists::StoredPostings;
use super::operand::{encode_ops, encode_pages};
use super::stored::StoredBitmap;
use super::value::PageSet;

/// Most operations of a batch: their order has 31 bits.
const MAX_OPS: usize = 1 << 31;

/// What takes operands: a batch, or a writer of a bulk session.
pub(crate) trait Sink {
    fn merge(&mut self, keyspace: &Keyspace, key: Key, operand: &[u8]) -> datasilo::Result<()>;
}

impl Sink for Batch {
    fn merge(&mut self, keyspace: &Keyspace, key: Key, operand: &[u8]) -> datasilo::Result<()> {
        Batch::merge(self, keyspace, key, operand)
    }
}

impl Sink for BulkWriter {
    fn merge(&mut self, keyspace: &Keyspace, key: Key, operand: &[u8]) -> datasilo::Result<()> {
        BulkWriter::merge(self, keyspace, key, operand)
    }
}

/// What a batch brings into being, beside its operations.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Values that were not in use: field and value, ascending.
    pub(crate) values: Vec<(u32, u32)>,
    /// Bounds that operations on columns widen, by field.
    pub(crate) zones: Vec<(u32, Zones)>,
    /// Pages of postings with operations: field and page.
    pub(crate) pages: Vec<(u32, u32)>,
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

/// The operand that puts values into use.
pub(crate) fn values_operand(values: impl Iterator<Item = u32>) -> Vec<u8> {
    Encoder::default().ops(values.map(|value| (value, true))).to_vec()
}

/// Where operations go as of one snapshot, while nobody moves things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Router<'a> {
    pub(crate) store: &'a Store,
    pub(crate) routes: &'a Routes,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) fields: &'a FieldList,
}

impl Router<'_> {
    fn check(&self, field: u32, kind: FieldKind) -> StoreResult<()> {
        match self.fields.by_id(field) {
            Some(own) => own.expect(kind),
            None => Err(StoreError::NoSuchField { name: "?".to_owned(), id: field }),
        }
    }

    /// Groups the operations and refuses those on fields that are not there.
    pub(crate) fn prepare(&self, ops: &mut StoreBatch) -> StoreResult<()> {
        if ops.len() >= MAX_OPS {
            return Err(StoreError::Usage("a batch takes less than 2^31 operations: split it".to_owned()));
        }
        ops.group();
        let mut last = None;
        let bitmaps = ops.bitmaps().map(|ops| (ops.field, FieldKind::Bitmap));
        let columns = ops.columns().map(|ops| (ops.field, FieldKind::Column));
        let postings = ops.postings().map(|ops| (ops.field, FieldKind::Postings));
        for found in bitmaps.chain(columns).chain(postings) {
            if last != Some(found) {
                self.check(found.0, found.1)?;
                last = Some(found);
            }
        }
        Ok(())
    }

    /// Passes the operands of prepared operations to `sink`; answers what else they need.
    pub(crate) fn push(&self, ops: &StoreBatch, sink: &mut impl Sink) -> StoreResult<News> {
        let mut news = News::default();
        let mut encoder = Encoder::default();
        self.push_bitmaps(ops, &mut news, &mut encoder, sink)?;
        self.push_columns(ops, &mut news, sink)?;
        for of_field in ops.postings() {
            self.push_postings(of_field, &mut news, &mut encoder, sink)?;
        }
        Ok(news)
    }

    fn push_bitmaps(
        &self,
        ops: &StoreBatch,
        news: &mut News,
        encoder: &mut Encoder,
        sink: &mut impl Sink,
    ) -> StoreResult<()> {
        let bitmaps = self.store.spaces.bitmaps(self.snapshot);
        let mut in_use: Option<(u32, StoredBitmap<'_>)> = None;
        for BitmapOps { field, value, ops } in ops.bitmaps() {
            let known = match &in_use {
                Some((of, known)) if *of == field => known,
                _ => &in_use.insert((field, bitmaps.values(field)?)).1,
            };
            // Also where nothing is set: whatever key there is must be found by its value.
            if !known.contains(value) {
                news.values.push((field, value));
            }
            self.push_bits(BitmapId::few(field, value), ops, encoder, sink)?;
        }
        Ok(())
    }

    /// Operations on one bitmap, slots ascending.
    fn push_bits(
        &self,
        id: BitmapId,
        ops: &[(u32, bool)],
        encoder: &mut Encoder,
        sink: &mut impl Sink,
    ) -> StoreResult<()> {
        let keyspace = &self.store.spaces.bitmaps;
        if !self.routes.paged.contains(&id) {
            return Ok(sink.merge(keyspace, id.key(), encoder.ops(ops.iter().copied()))?);
        }
        let known = self.store.spaces.bitmaps(self.snapshot).pages(id)?.unwrap_or_default();
        let mut new = PageSet::default();
        for of_page in ops.chunk_by(|a, b| page_of(a.0) == page_of(b.0)) {
            let page = of_page.first().map_or(0, |op| page_of(op.0));
            if !known.contains(page) {
                new.insert(page);
            }
            sink.merge(keyspace, id.page_key(page), encoder.ops(of_page.iter().copied()))?;
        }
        if new != PageSet::default() {
            sink.merge(keyspace, id.key(), &encode_pages(&new))?;
        }
        Ok(())
    }

    fn push_columns(&self, ops: &StoreBatch, news: &mut News, sink: &mut impl Sink) -> StoreResult<()> {
        for chunk_ops in ops.columns() {
            let ChunkOps { field, chunk, .. } = chunk_ops;
            let delta = ColumnDelta::from_ops(
                chunk_ops.ops().map(|(slot, key)| (crate::frozen::split_slot(slot).1, key)),
            );
            sink.merge(&self.store.spaces.columns, Key::column(field, chunk), &delta.encode())?;
            let zones = Zones::of_entries(chunk_ops.ops().filter_map(|(slot, key)| Some((slot, key?))));
            match news.zones.last_mut() {
                Some((of, wide)) if *of == field => *wide = wide.widened(&zones),
                _ => news.zones.push((field, zones)),
            }
        }
        Ok(())
    }

    fn push_postings(
        &self,
        pairs: PairOps<'_>,
        news: &mut News,
        encoder: &mut Encoder,
        sink: &mut impl Sink,
    ) -> StoreResult<()> {
        let field = pairs.field;
        let spaces = &self.store.spaces;
        let splits = StoredPostings::open(spaces, self.store.cache(), self.snapshot, field)?.splits();
        let heavy = self.routes.heavy.get(&field);
        let mut bits: Vec<(u32, bool)> = Vec::new();
        let mut of_page: Vec<PostingOp> = Vec::new();
        let mut page = 0;
        let mut flush = |page: u32, ops: &mut Vec<PostingOp>, sink: &mut _| -> StoreResult<()> {
            if !ops.is_empty() {
                let mut operand = Vec::new();
                PostingsDelta::from_ops(ops.drain(..)).encode_into(&mut operand);
                Sink::merge(sink, &spaces.postings, Key::postings(field, page), &operand)?;
                news.pages.push((field, page));
            }
            Ok(())
        };
        let mut rest = pairs.ops().peekable();
        while let Some((value, slot, add)) = rest.next() {
            if heavy.is_some_and(|heavy| heavy.contains(&value)) {
                bits.clear();
                bits.push((slot, add));
                while let Some((_, slot, add)) = rest.next_if(|op| op.0 == value) {
                    bits.push((slot, add));
                }
                self.push_bits(BitmapId::heavy(field, value), &bits, encoder, sink)?;
                continue;
            }
            let target =
                splits.page_of(value, slot).and_then(|at| splits.get(at)).map_or(0, |split| split.page);
            if target != page {
                flush(page, &mut of_page, sink)?;
                page = target;
            }
            of_page.push(if add {
                PostingOp::Add { value, slot }
            } else {
                PostingOp::Remove { value, slot }
            });
        }
        flush(page, &mut of_page, sink)
    }
}

/// A share in writing to a store; see [`Store::write`].
#[derive(Debug)]
pub struct Writer<'s> {
    store: &'s Store,
    routes: RwLockReadGuard<'s, Routes>,
    snapshot: Snapshot,
    fields: Arc<FieldList>,
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
    /// [`StoreError::NoSuchField`], [`StoreError::FieldKind`], [`StoreError::Usage`] for 2³¹ operations or
    /// more; the batch is as before. For damage in the silo, after which the batch has part of the
    /// operations: clear it.
    pub fn append(&self, ops: &mut StoreBatch, batch: &mut Batch) -> StoreResult<()> {
        let Self { store, routes, snapshot, fields } = self;
        let router = Router { store, routes, snapshot, fields };
        router.prepare(ops)?;
        let news = router.push(ops, batch)?;
        for of_field in news.values.chunk_by(|a, b| a.0 == b.0) {
            let field = of_field.first().map_or(0, |(field, _)| *field);
            let operand = values_operand(of_field.iter().map(|(_, value)| *value));
            batch.merge(&store.spaces.bitmaps, Key::values(field), operand)?;
        }
        for (field, zones) in news.zones.iter().filter(|(_, zones)| !zones.is_empty()) {
            batch.merge(&store.spaces.zones, Key::field(*field), zones.encode())?;
        }
        store.touched().note(ops, &news.pages);
        Ok(())
    }
}
