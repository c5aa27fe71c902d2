//! Loading many records from row batches, by several threads, published as one commit.
//!
//! A row gets its slot by its position in the input, its document is written as it comes, and its index
//! entries are gathered per index ([`sinks`]), as sorted runs that are spilled where they take too much
//! memory ([`runs`]). At the end every index is built from its merged entries ([`build`]). Entries
//! are derived column by column here ([`rows`]); tests prove them equal to [`crate::entries`]. Rows that
//! change records, instead of being whole ones, are sorted by record first ([`merge`]); pairs of an id and a number that
//! is added to a set go a shorter way ([`pairs`]).

mod batch;
mod build;
mod ids;
mod merge;
mod pairs;
mod rows;
mod runs;
mod sinks;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitmap_silo::store::{StoreBulk, StoreBulkWriter};
use foldhash::fast::FixedState;

use crate::columns::RowBatch;
use crate::engine::{Engine, View, WriterState};
use crate::error::{Error, Result};
use crate::schema::FieldType;
use crate::terms::{Coded, NewTerms};

pub use batch::LoadTarget;
use batch::Targets;
use ids::TextIds;
use merge::Partitions;
use rows::RowWriter;
use sinks::Sinks;

/// What a load does with the records that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMode {
    /// Rows are whole records; the silo must be empty.
    Create,
    /// Rows are whole records, added to those that are there; one with the same id is replaced.
    Append,
    /// Rows change the fields that have a column, of existing records or new ones.
    Merge,
}

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What to do with the records that are there.
    pub mode: LoadMode,
    /// Threads that build indexes at the end, and about so many that push rows.
    pub threads: usize,
    /// Memory for index entries, in bytes; what is more is spilled to the silo's device.
    pub memory_bytes: usize,
}

impl LoadOptions {
    /// Defaults: the threads of the machine, 1 GiB.
    #[must_use]
    pub fn new(mode: LoadMode) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { mode, threads, memory_bytes: 1 << 30 }
    }
}

/// What a load did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Rows that were pushed.
    pub rows: u64,
    /// Records that were not there before.
    pub created: u64,
    /// Records that were there before and were replaced or changed.
    pub changed: u64,
    /// Rows of whole records that a later row with the same id replaced.
    pub duplicates: u64,
    /// Bytes written to the silo.
    pub bytes: u64,
}

/// A load under way; see [`Engine::load`]. Other writers wait until it ends.
pub struct Loader<'e> {
    engine: &'e Engine,
    view: View<'e>,
    bulk: StoreBulk<'e>,
    /// Keeps other writers waiting.
    writer: MutexGuard<'e, WriterState>,
    targets: Targets,
    options: LoadOptions,
    /// The first slot that may be given out.
    first_slot: u64,
    shared: Mutex<Shared>,
    terms: Mutex<NewTerms>,
}

/// What the threads of a load hand over.
struct Shared {
    sinks: Sinks,
    text_ids: TextIds,
    partitions: Partitions,
    rows: u64,
    /// One past the last slot that was given out.
    slot_end: u64,
    open_writers: usize,
    failed: bool,
}

impl std::fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Codes of texts that a thread has met, by position of the field.
type CodeCache = Vec<HashMap<Vec<u8>, u32, FixedState>>;

impl Engine {
    /// Begins a load. Make a [`LoadWriter`] per thread with [`Loader::writer`], push row batches whose columns are
    /// for `targets`, close the writers, then [`Loader::finish`]. Dropped without that, or cut off by a crash, the load leaves
    /// no trace.
    ///
    /// ```
    /// use silo_engine::columns::{Column, RowBatch, Values};
    /// # use silo_engine::*;
    /// # let dir = tempfile::tempdir()?;
    /// # let level = Field::new("level", FieldType::Unsigned(8)).index(IndexKinds::none().filter());
    /// # let schema = Schema::new(IdField::new("id", FieldType::Signed(64)), vec![level])?;
    /// let engine = Engine::create(dir.path().join("x"), schema)?;
    /// let targets = [LoadTarget::Id, LoadTarget::Set("level".into())];
    /// let loader = engine.load(&targets, LoadOptions::new(LoadMode::Create))?;
    /// let mut writer = loader.writer()?;
    /// let ints = |values| Column { nulls: vec![], values: Values::Int(values) };
    /// writer.push(&RowBatch { first_row: 0, rows: 3, columns: vec![ints(vec![7, 8, 9]), ints(vec![1, 2, 1])] })?;
    /// writer.close()?;
    /// assert_eq!(loader.finish()?.created, 3);
    /// assert_eq!(engine.query(&Query::new(Filter::eq("level", 1)))?.ids, [9.into(), 7.into()]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Load`] for targets that do not fit the schema and for [`LoadMode::Create`] on a silo with records, and those of
    /// the store below.
    pub fn load(&self, targets: &[LoadTarget], options: LoadOptions) -> Result<Loader<'_>> {
        let silo = self.silo()?;
        let targets = Targets::new(self.documents(), targets)?;
        let writer = self.lock_writer();
        if options.mode == LoadMode::Create && !self.is_empty()? {
            return Err(Error::Load(
                "the silo holds records already: append to it, merge into it, or create another".to_owned(),
            ));
        }
        if options.mode != LoadMode::Merge && targets.fields.iter().any(|(_, _, add)| *add) {
            return Err(Error::Load("values are added to records by merging only".to_owned()));
        }
        let spaces = self.spaces();
        let also = [&spaces.documents, &spaces.engine, &spaces.terms];
        let bulk = self.store().bulk(silo, &also)?;
        let view = self.view()?;
        let first_slot = view.slot_count();
        let shared = Shared {
            sinks: Sinks::new(self.schema().fields.len(), usize::MAX),
            text_ids: TextIds::default(),
            partitions: Partitions::default(),
            rows: 0,
            slot_end: first_slot,
            open_writers: 0,
            failed: false,
        };
        let shared = Mutex::new(shared);
        Ok(Loader {
            engine: self,
            view,
            bulk,
            writer,
            targets,
            options,
            first_slot,
            shared,
            terms: Mutex::default(),
        })
    }
}

impl<'e> Loader<'e> {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A writer for one thread.
    ///
    /// # Errors
    /// Damage.
    pub fn writer(&self) -> Result<LoadWriter<'_, 'e>> {
        self.lock().open_writers += 1;
        let memory = self.options.memory_bytes / self.options.threads.max(1);
        let fields = self.engine.schema().fields.len();
        Ok(LoadWriter {
            loader: self,
            bulk: Some(self.bulk.writer()),
            rows: RowWriter::new(fields, memory),
            partitions: Partitions::new(memory),
            count: 0,
            slot_end: 0,
            closed: false,
        })
    }

    /// The code of a value with a bitmap, from the thread's own list if it is there.
    fn code(&self, cache: &mut CodeCache, at: usize, of: (u16, FieldType), coded: Coded) -> Result<u32> {
        let term = match coded {
            Coded::Direct(code) => return Ok(code),
            Coded::Listed(term) => term,
        };
        if cache.len() <= at {
            cache.resize_with(at + 1, HashMap::default);
        }
        let Some(known) = cache.get_mut(at) else { return Ok(0) };
        if let Some(code) = known.get(&term) {
            return Ok(*code);
        }
        let mut terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = Coded::Listed(term.clone());
        let code = terms.assign(&self.engine.terms, self.view.snapshot(), of, listed)?;
        known.insert(term, code);
        Ok(code)
    }

    /// Builds the indexes and publishes everything.
    ///
    /// # Errors
    /// [`Error::Load`] if a writer is still open or was dropped, and those of the store below. After an error, nothing of
    /// the load remains.
    pub fn finish(self) -> Result<LoadReport> {
        let Self { engine, view, bulk, mut writer, options, first_slot, shared, terms, targets } = self;
        let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        if shared.open_writers > 0 || shared.failed {
            return Err(Error::Load("a writer was not closed: close every one before `finish`".to_owned()));
        }
        let end = build::End {
            engine,
            view: &view,
            bulk: &bulk,
            options: &options,
            first_slot,
            terms: &terms,
            targets: &targets,
        };
        let mut report = end.write(shared)?;
        report.bytes = bulk.finish()?.bytes;
        // Slots that came free are looked for when they are needed.
        *writer = WriterState::default();
        Ok(report)
    }
}

/// One thread's part of a load. Close it: one that is dropped fails the load.
pub struct LoadWriter<'l, 'e> {
    loader: &'l Loader<'e>,
    bulk: Option<StoreBulkWriter<'l>>,
    rows: RowWriter,
    partitions: Partitions,
    count: u64,
    slot_end: u64,
    closed: bool,
}

impl std::fmt::Debug for LoadWriter<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadWriter").field("rows", &self.count).finish_non_exhaustive()
    }
}

impl LoadWriter<'_, '_> {
    /// Takes some rows. Batches may come in any order from any thread; `first_row` says where they belong.
    ///
    /// # Errors
    /// [`Error::Load`] for columns that do not fit their targets, and failures to write; the load cannot be finished then.
    pub fn push(&mut self, batch: &RowBatch) -> Result<()> {
        let result = self.push_checked(batch);
        if result.is_err() {
            self.loader.lock().failed = true;
        }
        result
    }

    fn push_checked(&mut self, batch: &RowBatch) -> Result<()> {
        let loader = self.loader;
        let documents = loader.engine.documents();
        let mut checked = batch::Checked::new(documents, &loader.targets, batch)?;
        self.count += batch.rows as u64;
        if batch.rows == 0 {
            return Ok(());
        }
        let dir = loader.engine.path();
        if loader.options.mode == LoadMode::Merge {
            self.partitions.take_batch(loader, &checked, batch.first_row)?;
            return self.partitions.make_room(dir);
        }
        checked.complete(documents, batch.first_row)?;
        let end = loader.first_slot + batch.first_row + batch.rows as u64;
        if end > 1 << 32 {
            return Err(Error::Load("more than 2^32 slots: split the records over several silos".to_owned()));
        }
        let first = u32::try_from(loader.first_slot + batch.first_row).unwrap_or(u32::MAX);
        self.slot_end = self.slot_end.max(end);
        if let Some(bulk) = &mut self.bulk {
            self.rows.push(loader, &checked, first, bulk.documents())?;
        }
        self.rows.sinks.make_room(dir)
    }

    /// Hands the writer's part to the load.
    ///
    /// # Errors
    /// Failures to write, after which the load cannot be finished.
    pub fn close(mut self) -> Result<()> {
        if let Some(bulk) = self.bulk.take() {
            bulk.close()?;
        }
        self.closed = true;
        let mut shared = self.loader.lock();
        shared.sinks.take(std::mem::replace(&mut self.rows.sinks, Sinks::new(0, 0)));
        shared.text_ids.take(std::mem::take(&mut self.rows.text_ids));
        shared.partitions.take(std::mem::take(&mut self.partitions));
        shared.rows += self.count;
        shared.slot_end = shared.slot_end.max(self.slot_end);
        shared.open_writers -= 1;
        Ok(())
    }
}

impl Drop for LoadWriter<'_, '_> {
    fn drop(&mut self) {
        if !self.closed {
            let mut shared = self.loader.lock();
            shared.open_writers = shared.open_writers.saturating_sub(1);
            shared.failed = true;
        }
    }
}
