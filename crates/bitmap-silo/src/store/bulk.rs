//! Loading a store: whole bitmaps, pages and operations from many threads, published at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLockWriteGuard};

use datasilo::{BulkReport, BulkSession, BulkWriter, Keyspace, Silo, Snapshot};
use roaring::RoaringBitmap;

use crate::column::{ColumnPage, Zone, Zones};
use crate::postings::{PageSplit, PostingsPage, encode_splits};
use crate::view::{Base, BitmapView};

use super::batch::StoreBatch;
use super::error::{StoreError, StoreResult};
use super::fields::{Field, FieldKind, FieldList};
use super::handle::{Routes, Store, lock};
use super::heavy::{encode_heavy, read_heavy};
use super::keys::{BitmapId, BitmapValue, Key, page_chunks};
use super::lists::StoredPostings;
use super::maintain::{PAGED_FROM, pages_of};
use super::value::{Header, Unchanged, store_slots, store_view};
use super::write::{Router, values_operand};

/// What writers note for the end of the load, by field.
#[derive(Debug, Default)]
struct Gathered {
    values: BTreeMap<u32, RoaringBitmap>,
    paged: BTreeMap<u32, RoaringBitmap>,
    zones: BTreeMap<u32, Vec<Zone>>,
    splits: BTreeMap<u32, Vec<PageSplit>>,
    heavy: BTreeMap<u32, BTreeSet<u64>>,
    /// Writers that were dropped without being closed.
    lost_writers: usize,
}

/// What one writer noted; dropped before it is handed over, it spoils the load.
#[derive(Debug)]
struct Notes<'b> {
    own: Gathered,
    shared: &'b Mutex<Gathered>,
    handed_over: bool,
}

impl Notes<'_> {
    fn hand_over(mut self) {
        self.handed_over = true;
        lock(self.shared).add(std::mem::take(&mut self.own));
    }
}

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        if !self.handed_over {
            lock(self.shared).lost_writers += 1;
        }
    }
}

impl Gathered {
    fn add(&mut self, other: Self) {
        for (field, values) in other.values {
            *self.values.entry(field).or_default() |= values;
        }
        for (field, values) in other.paged {
            *self.paged.entry(field).or_default() |= values;
        }
        for (field, zones) in other.zones {
            self.zones.entry(field).or_default().extend(zones);
        }
        for (field, splits) in other.splits {
            self.splits.entry(field).or_default().extend(splits);
        }
        for (field, heavy) in other.heavy {
            self.heavy.entry(field).or_default().extend(heavy);
        }
    }
}

/// A load under way; see [`Store::bulk`].
#[derive(Debug)]
pub struct StoreBulk<'s> {
    store: &'s Store,
    silo: &'s Silo,
    routes: RwLockWriteGuard<'s, Routes>,
    session: BulkSession<'s>,
    snapshot: Snapshot,
    fields: Arc<FieldList>,
    /// The next page of each postings field.
    next_page: BTreeMap<u32, AtomicU32>,
    gathered: Mutex<Gathered>,
}

impl Store {
    /// Begins a load of the store, which it has to itself until it ends: writers, upkeep, and creating and
    /// dropping fields wait. `also` are further keyspaces of the session, for documents.
    /// Threads write with [`StoreBulk::writer`]s; [`StoreBulk::finish`] publishes everything at once.
    /// Dropped without it, the load leaves no trace.
    ///
    /// # Errors
    /// [`StoreError::Usage`] if the store was opened for reading, and those of [`Silo::bulk`].
    pub fn bulk<'s>(&'s self, silo: &'s Silo, also: &[&Keyspace]) -> StoreResult<StoreBulk<'s>> {
        let routes = self.exclusive()?;
        let keyspaces: Vec<&Keyspace> =
            self.spaces.of_entries().into_iter().chain(also.iter().copied()).collect();
        let session = silo.bulk(&keyspaces)?;
        let snapshot = silo.snapshot();
        let fields = self.field_list(&snapshot)?;
        let postings = fields.live().iter().filter(|field| field.kind() == FieldKind::Postings);
        let next_page = postings.map(|field| (field.id(), AtomicU32::new(0))).collect();
        let gathered = Mutex::default();
        Ok(StoreBulk { store: self, silo, routes, session, snapshot, fields, next_page, gathered })
    }
}

impl StoreBulk<'_> {
    /// A writer for one thread.
    #[must_use]
    pub fn writer(&self) -> StoreBulkWriter<'_> {
        StoreBulkWriter {
            store: self.store,
            routes: &self.routes,
            snapshot: &self.snapshot,
            fields: &self.fields,
            next_page: &self.next_page,
            writer: self.session.writer(),
            notes: Notes { own: Gathered::default(), shared: &self.gathered, handed_over: false },
            bytes: Vec::new(),
        }
    }

    /// Publishes everything that the writers wrote, durably.
    ///
    /// # Errors
    /// [`StoreError::Usage`] if a writer was dropped, [`StoreError::Postings`] for pages of postings that begin with the same pair, and those of
    /// [`BulkSession::finish`]. After an error, nothing of the load remains.
    pub fn finish(self) -> StoreResult<BulkReport> {
        let Self { store, silo, mut routes, session, snapshot, gathered, .. } = self;
        let gathered = gathered.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if gathered.lost_writers > 0 {
            let count = gathered.lost_writers;
            return Err(StoreError::Usage(format!(
                "{count} writers of the load were dropped: close each, and load again"
            )));
        }
        let spaces = &store.spaces;
        let mut writer = session.writer();
        for (field, values) in &gathered.values {
            writer.merge(&spaces.bitmaps, Key::values(*field), values_operand(values.iter()))?;
        }
        for (field, values) in &gathered.paged {
            writer.merge(&spaces.bitmaps, Key::paged(*field), values_operand(values.iter()))?;
        }
        for (field, zones) in gathered.zones {
            writer.merge(&spaces.zones, Key::field(field), Zones::of(zones).encode())?;
        }
        for (field, mut splits) in gathered.splits {
            splits.sort_unstable_by_key(|split| split.first);
            writer.put(&spaces.splits, Key::field(field), encode_splits(splits)?)?;
        }
        for (field, mut heavy) in gathered.heavy {
            heavy.extend(read_heavy(spaces, &snapshot, field)?);
            writer.put(&spaces.splits, Key::heavy(field), encode_heavy(&heavy))?;
        }
        writer.close()?;
        let report = session.finish()?;
        *routes = Routes::load(spaces, &silo.snapshot())?;
        Ok(report)
    }
}

/// One thread's part of a load. Close it to hand its part over: with one that is dropped, the load
/// cannot be finished.
#[derive(Debug)]
pub struct StoreBulkWriter<'b> {
    store: &'b Store,
    routes: &'b Routes,
    snapshot: &'b Snapshot,
    fields: &'b FieldList,
    next_page: &'b BTreeMap<u32, AtomicU32>,
    writer: BulkWriter,
    notes: Notes<'b>,
    bytes: Vec<u8>,
}

impl StoreBulkWriter<'_> {
    /// The session's writer, for the keyspaces that the load was begun with.
    pub fn documents(&mut self) -> &mut BulkWriter {
        &mut self.writer
    }

    /// Stores the bitmap of a value, in place of the one there is. Each value once in a load.
    ///
    /// # Errors
    /// [`StoreError::NoSuchField`], [`StoreError::FieldKind`], and those of [`BulkWriter::put`].
    pub fn put_bitmap<'v>(
        &mut self,
        field: &Field,
        value: u32,
        bitmap: impl Into<BitmapView<'v>>,
    ) -> StoreResult<()> {
        self.fields.check(field, FieldKind::Bitmap)?;
        if self.put(BitmapId::few(field.id(), value), &bitmap.into())? {
            self.notes.own.paged.entry(field.id()).or_default().insert(value);
        }
        self.notes.own.values.entry(field.id()).or_default().insert(value);
        Ok(())
    }

    /// Stores the bitmap of a value of postings that has very many slots; the page to which the pair
    /// (value, 0) belongs must have the value's marker.
    ///
    /// # Errors
    /// As of [`StoreBulkWriter::put_bitmap`].
    pub fn put_heavy<'v>(
        &mut self,
        field: &Field,
        value: u64,
        bitmap: impl Into<BitmapView<'v>>,
    ) -> StoreResult<()> {
        self.fields.check(field, FieldKind::Postings)?;
        self.put(BitmapId::heavy(field.id(), value), &bitmap.into())?;
        self.notes.own.heavy.entry(field.id()).or_default().insert(value);
        Ok(())
    }

    /// Writes a bitmap; answers whether it got pages.
    fn put(&mut self, id: BitmapId, bitmap: &BitmapView<'_>) -> StoreResult<bool> {
        let keyspace = &self.store.spaces.bitmaps;
        self.bytes.clear();
        match bitmap {
            BitmapView { base: Base::Small(small), delta: None } => {
                let slots: Vec<u32> = small.iter().collect();
                store_slots(&slots, Header::Counted, &mut self.bytes);
            }
            _ => store_view(bitmap, (0, u16::MAX), Unchanged::Reencode, &mut self.bytes),
        }
        // One that has pages already keeps them: the set of paged values is only added to.
        let in_pages = self.routes.paged.contains(&id)
            || (self.bytes.len() >= PAGED_FROM && bitmap.highest_key() > page_chunks(0).1);
        if !in_pages {
            self.writer.put(keyspace, id.key(), &self.bytes)?;
            return Ok(false);
        }
        let before = self.store.spaces.bitmaps(self.snapshot).pages(id)?.unwrap_or_default();
        let pages = pages_of(bitmap, Unchanged::Reencode, |page, bytes| {
            Ok(self.writer.put(keyspace, id.page_key(page), bytes)?)
        })?;
        for page in before.iter().filter(|page| !pages.contains(*page)) {
            self.writer.delete(keyspace, id.page_key(page))?;
        }
        self.writer.put(keyspace, id.key(), pages.to_value())?;
        Ok(matches!(id.value, BitmapValue::Few(_)))
    }

    /// Stores the column page of a chunk, as a [`PageBuilder`](crate::column::PageBuilder) made it, in
    /// place of the one there is. Each chunk once in a load.
    ///
    /// # Errors
    /// [`StoreError::Column`] for bytes that are no page, and as of [`StoreBulkWriter::put_bitmap`].
    pub fn put_column_page(&mut self, field: &Field, chunk: u16, page: &[u8]) -> StoreResult<()> {
        self.fields.check(field, FieldKind::Column)?;
        let view = ColumnPage::open(page)?;
        self.writer.put(&self.store.spaces.columns, Key::column(field.id(), chunk), page)?;
        if let (Some(lowest), Some(highest)) = (view.min(), view.max()) {
            let zone = Zone { chunk, count: view.len(), lowest, highest };
            self.notes.own.zones.entry(field.id()).or_default().push(zone);
        }
        Ok(())
    }

    /// Stores a page of postings that begins with the pair `first`, as
    /// [`build_pages`](crate::postings::build_pages) made it; all pages of a load together are the
    /// field's. Pages may come in any order from any thread, but not overlap.
    ///
    /// # Errors
    /// [`StoreError::Usage`] if the field has pairs already, [`StoreError::Postings`] for bytes that
    /// are no page, and as of [`StoreBulkWriter::put_bitmap`].
    pub fn put_postings_page(&mut self, field: &Field, first: (u64, u32), page: &[u8]) -> StoreResult<()> {
        self.fields.check(field, FieldKind::Postings)?;
        PostingsPage::open(page)?;
        let splits = self.notes.own.splits.entry(field.id()).or_default();
        if splits.is_empty() {
            // Asked once a writer.
            let store = self.store;
            let stored = StoredPostings::open(&store.spaces, store.cache(), self.snapshot, field.id())?;
            if stored.page_count() > 1 || !stored.page(0)?.view().is_empty() {
                return Err(StoreError::Usage(format!(
                    "field {:?} has postings: pages are loaded into empty fields only, append operations instead",
                    field.name()
                )));
            }
        }
        let number = match self.next_page.get(&field.id()) {
            Some(next) => next.fetch_add(1, Ordering::Relaxed),
            None => return Err(StoreError::NoSuchField { name: field.name().to_owned(), id: field.id() }),
        };
        self.writer.put(&self.store.spaces.postings, Key::postings(field.id(), number), page)?;
        splits.push(PageSplit { first, page: number });
        Ok(())
    }

    /// Writes operations, on top of what there was before the load. Operations of several batches on the
    /// same thing count in the order in which the writers were made. Not to be mixed with whole bitmaps
    /// and pages of the same fields.
    ///
    /// # Errors
    /// As of [`Writer::append`](super::Writer::append).
    pub fn append(&mut self, ops: &mut StoreBatch) -> StoreResult<()> {
        let Self { store, routes, snapshot, fields, .. } = *self;
        let router = Router { store, routes, snapshot, fields };
        router.prepare(ops)?;
        let news = router.push(ops, &mut self.writer)?;
        for (field, value) in news.values {
            self.notes.own.values.entry(field).or_default().insert(value);
        }
        for (field, zones) in news.zones {
            self.notes.own.zones.entry(field).or_default().extend(zones.zones());
        }
        store.touched().note(ops, &news.pages);
        Ok(())
    }

    /// Hands the writer's part to the load.
    ///
    /// # Errors
    /// Failures to write, after which the load cannot be finished.
    pub fn close(self) -> StoreResult<()> {
        self.writer.close()?;
        self.notes.hand_over();
        Ok(())
    }
}
