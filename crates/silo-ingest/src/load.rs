//! Files into an engine: read, joined, numbered, stored, all or nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use silo_engine::columns::RowBatch;
use silo_engine::{Engine, LoadMode, LoadReport, LoadWriter, Loader, Target};

use crate::error::{Cause, Error, Result};
use crate::join::{JoinSink, Joins};
use crate::plan::{Destination, Numbering, Plan};
use crate::progress::Progress;
use crate::read::{ReadOptions, ReadReport, Refusal, Sink, read};
use crate::reject::RejectSink;
use crate::spec::Nulls;

/// Blocks are not made smaller than this, whatever the memory.
const LEAST_BLOCK_BYTES: u64 = 64 << 10;
/// What a thread holds of a block at a time, in blocks: its bytes, the columns, the documents, their pages on the way out.
const BLOCKS_A_THREAD: u64 = 16;
/// The part of the memory left that is for what was read: more was not seen to save time (ADR 9).
const SPOOL_SHARE: u64 = 8;

/// How files are loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What becomes of records that exist.
    pub mode: LoadMode,
    /// Where columns go.
    pub plan: Plan,
    /// Spellings of null besides the empty field.
    pub nulls: Nulls,
    /// The number of the first record, where records are numbered.
    pub first_number: i64,
    /// Threads that parse, and that build indexes.
    pub threads: usize,
    /// Heap for joined files, blocks that are being parsed, and an eighth of the rest for what was read: joined files that do
    /// not fit are refused, blocks shrink to fit, what was read goes through temporary files.
    pub memory_bytes: u64,
}

/// What was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadSummary {
    /// What was read.
    pub read: ReadReport,
    /// What was stored.
    pub stored: LoadReport,
}

/// Loads files into an engine: all of them or, after an error, nothing. `building` is called when all rows were read and indexes
/// are about to be built.
///
/// # Errors
///
/// As [`crate::read()`], and those of the engine.
pub fn load(
    engine: &Engine,
    files: &[PathBuf],
    options: &LoadOptions,
    rejects: &dyn RejectSink,
    progress: &Arc<Progress>,
    building: &(dyn Fn() + Sync),
) -> Result<LoadSummary> {
    let LoadOptions { mode, plan, nulls, first_number, threads, memory_bytes } = options;
    let mut how = ReadOptions::new(plan.columns.clone());
    how.nulls = nulls.clone();
    how.threads = *threads;
    let joins = Joins::load(&plan.joins, &how)?;
    let left = memory_bytes.saturating_sub(joins.heap_bytes() as u64);
    let block = left / (*threads as u64).max(1) / BLOCKS_A_THREAD;
    if block < LEAST_BLOCK_BYTES {
        return Err(Error::Options(format!(
            "{memory_bytes} bytes of memory are not enough for {threads} threads and {} bytes of joined files: raise the memory or use fewer threads",
            joins.heap_bytes()
        )));
    }
    how.block_bytes = usize::try_from(block).map_or(how.block_bytes, |block| block.min(how.block_bytes));
    let blocks = how.block_bytes as u64 * *threads as u64 * BLOCKS_A_THREAD;
    let memory = left.saturating_sub(blocks) / SPOOL_SHARE;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(*threads).build();
    let pool =
        pool.map_err(|error| Error::Options(format!("{threads} threads cannot be started: {error}")))?;

    let targets = plan.destinations.iter().map(|destination| match destination {
        Destination::Id => Target::Id,
        Destination::Field(at) => Target::Field(*at),
        Destination::Add(at) => Target::Add(*at),
        Destination::Ignore => Target::Ignore,
    });
    let loader = engine.loader(*mode, targets.collect(), memory).map_err(store_error)?;
    let store = Store { loader: &loader, idle: Mutex::new(Vec::new()) };
    let numbering = Numbering::new(*first_number, &store);
    let inner: &dyn Sink = if plan.numbered { &numbering } else { &store };
    let joined = JoinSink::new(&joins, inner);
    let sink: &dyn Sink = if plan.joins.is_empty() { inner } else { &joined };
    let read = read(files, &how, sink, rejects, progress)?;
    drop(store);
    building();
    let stored = pool.install(|| loader.finish()).map_err(store_error)?;
    Ok(LoadSummary { read, stored })
}

fn store_error(error: silo_engine::Error) -> Error {
    Error::Sink(error.into())
}

/// Hands batches to writers of a load; there are as many as there are threads.
struct Store<'l> {
    loader: &'l Loader<'l>,
    idle: Mutex<Vec<LoadWriter<'l>>>,
}

impl Sink for Store<'_> {
    fn batch(&self, batch: RowBatch) -> Result<Vec<Refusal>, Cause> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut writer = idle.unwrap_or_else(|| self.loader.writer());
        let refused = writer.push(&batch)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
        Ok(refused.into_iter().map(|refusal| Refusal { row: refusal.row, why: refusal.reason }).collect())
    }
}

/// Copies standard input to a temporary file, which can be read more than once. Its name does not tell its format; its
/// content does.
///
/// # Errors
///
/// Failures to read and to write.
pub fn keep_standard_input() -> Result<tempfile::NamedTempFile> {
    let name = Path::new("-");
    let mut file = tempfile::NamedTempFile::new().map_err(Error::io(name))?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file).map_err(Error::io(name))?;
    Ok(file)
}
