//! Files into batches, on several threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use silo_engine::FieldType;
use silo_engine::columns::RowBatch;

use crate::error::{Cause, Error, Result};
use crate::input::{self, Compression, Format};
use crate::progress::Progress;
use crate::reject::RejectSink;
use crate::spec::{ColumnSpec, Nulls};

/// Takes batches from several threads at a time, in any order.
pub trait Sink: Sync {
    /// Takes a batch.
    ///
    /// # Errors
    ///
    /// Any error ends the load.
    fn batch(&self, batch: RowBatch) -> Result<(), Cause>;
}

impl<F: Fn(RowBatch) -> Result<(), Cause> + Sync> Sink for F {
    fn batch(&self, batch: RowBatch) -> Result<(), Cause> {
        self(batch)
    }
}

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The columns of the batches, in order. A column of a file may be read several times.
    pub columns: Vec<ColumnSpec>,
    /// Spellings of null besides the empty field.
    pub nulls: Nulls,
    /// How many threads parse.
    pub threads: usize,
    /// The format of all files, where names and content do not tell it.
    pub format: Option<Format>,
    /// Text files are cut into blocks of about so many bytes; a batch has a block's rows.
    pub block_bytes: usize,
    /// Longer records are rejected.
    pub most_record_bytes: usize,
}

impl ReadOptions {
    /// Those for columns, with a thread for each processor.
    #[must_use]
    pub fn new(columns: Vec<ColumnSpec>) -> ReadOptions {
        ReadOptions {
            columns,
            nulls: Nulls::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            format: None,
            block_bytes: 512 << 10,
            most_record_bytes: 16 << 20,
        }
    }
}

/// What has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows handed on.
    pub rows: u64,
    /// Rows left out.
    pub rejected: u64,
    /// Floats that were no numbers, and became nulls.
    pub nans: u64,
    /// File by file.
    pub files: Vec<FileReport>,
}

/// What has been read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub file: PathBuf,
    /// What it holds.
    pub format: Format,
    /// How it was compressed.
    pub compression: Compression,
    /// Rows handed on.
    pub rows: u64,
    /// Rows left out.
    pub rejected: u64,
    /// Floats that were no numbers, and became nulls.
    pub nans: u64,
}

/// What a reader of one file is given.
pub(crate) struct Job<'a> {
    pub file: &'a Path,
    pub options: &'a ReadOptions,
    pub sink: &'a dyn Sink,
    pub rejects: &'a dyn RejectSink,
    pub progress: &'a Progress,
    /// The position of the file's first row.
    pub first_row: u64,
}

/// What a reader of one file gives back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub rows: u64,
    /// Positions taken, some perhaps by rejected rows.
    pub positions: u64,
    pub rejected: u64,
    pub nans: u64,
}

/// Reads files, one after the other, each on several threads. `-` is standard input.
///
/// # Errors
///
/// Files that cannot be read, columns that are not in them, and what the sinks say. Rows that cannot be taken are
/// no errors: they go to `rejects`.
pub fn read(
    files: &[PathBuf],
    options: &ReadOptions,
    sink: &dyn Sink,
    rejects: &dyn RejectSink,
    progress: &Arc<Progress>,
) -> Result<ReadReport> {
    check(options)?;
    progress.add_total_bytes(files.iter().map(|file| input::file_bytes(file)).sum());
    let mut report = ReadReport::default();
    let mut first_row = 0;
    for file in files {
        let opened = input::open(file, options.format, progress)?;
        let (format, compression) = (opened.format, opened.compression);
        let job = Job { file, options, sink, rejects, progress, first_row };
        let counts = match format {
            Format::Csv | Format::Tsv | Format::Ndjson => crate::text::read::read(&job, opened)?,
            #[cfg(feature = "parquet")]
            Format::Parquet => crate::parquet::read(&job, opened)?,
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(Error::input(file, "is a Parquet file; this program was built without")),
        };
        first_row += counts.positions;
        report.rows += counts.rows;
        report.rejected += counts.rejected;
        report.nans += counts.nans;
        let file = file.clone();
        let Counts { rows, rejected, nans, .. } = counts;
        report.files.push(FileReport { file, format, compression, rows, rejected, nans });
    }
    Ok(report)
}

fn check(options: &ReadOptions) -> Result<()> {
    let most = 1 << 30;
    if options.block_bytes > most || options.most_record_bytes > most {
        return Err(Error::Options("blocks and records can have at most 1 GiB".to_owned()));
    }
    if options.columns.is_empty() {
        return Err(Error::Options("no columns are asked for".to_owned()));
    }
    let odd = |kind| !matches!(kind, FieldType::Signed(8 | 16 | 32 | 64) | FieldType::Unsigned(8 | 16 | 32 | 64));
    for column in &options.columns {
        if matches!(column.kind, FieldType::Signed(_) | FieldType::Unsigned(_)) && odd(column.kind) {
            return Err(Error::Options(format!("column {:?} has integers of an odd width", column.name)));
        }
    }
    Ok(())
}

/// Runs a worker on several threads; the first error counts. `stop` must make the others end.
pub(crate) fn on_threads(
    threads: usize,
    stop: &(dyn Fn() + Sync),
    work: &(dyn Fn() -> Result<()> + Sync),
) -> Result<()> {
    /// Stops the others when a worker panics.
    struct Guard<'a>(&'a (dyn Fn() + Sync));
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                (self.0)();
            }
        }
    }
    let failed = Mutex::new(None);
    let run = || {
        let _guard = Guard(stop);
        if let Err(error) = work() {
            stop();
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    };
    if threads <= 1 {
        run();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(run);
            }
        });
    }
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// The place of each column among a file's names; none for an optional one that is not there.
pub(crate) fn locate(file: &Path, columns: &[ColumnSpec], names: &[String]) -> Result<Vec<Option<usize>>> {
    let place = |column: &ColumnSpec| {
        let place = names.iter().position(|name| *name == column.name);
        if place.is_none() && !column.optional {
            let what = format!("has no column {:?}; it has {}", column.name, names.join(", "));
            return Err(Error::input(file, what));
        }
        Ok(place)
    };
    columns.iter().map(place).collect()
}
