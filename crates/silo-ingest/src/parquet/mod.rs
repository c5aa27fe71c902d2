//! Parquet files into batches: row groups on several threads, each column by the format's own types.

mod convert;
mod decode;
pub(crate) mod layout;
pub(crate) mod write;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use silo_engine::columns::{Column, RowBatch};

use crate::error::{Error, Result};
use crate::input::{Content, Input};
use crate::read::{Counts, Job, on_threads};
use crate::reject::{Reason, Reject};
use crate::text::column::{Context, all_null};
use crate::text::{compact, position};
use decode::Decoder;
use layout::Leaf;

/// Rows of a batch.
const BATCH_ROWS: u64 = 16_384;

/// Opens a file's metadata.
pub(crate) fn open(file: &std::path::Path, content: Content) -> Result<SerializedFileReader<Bytes>> {
    let Content::Mapped(mapping) = content else {
        return Err(Error::input(file, "is a Parquet file that could not be mapped"));
    };
    let bytes = Bytes::from_owner(mapping);
    let len = bytes.len() as u64;
    let reader = caught(|| SerializedFileReader::new(bytes)).map_err(|error| damaged(file, &error))?;
    // The library takes these for granted.
    for chunk in
        reader.metadata().row_groups().iter().flat_map(parquet::file::metadata::RowGroupMetaData::columns)
    {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let sizes = [start, chunk.data_page_offset(), chunk.compressed_size(), chunk.num_values()];
        let [start, data, size, values] = sizes.map(|size| u64::try_from(size).unwrap_or(u64::MAX));
        let inside = start.checked_add(size).is_some_and(|end| end <= len) && data <= len;
        if !inside || values == u64::MAX {
            return Err(Error::input(file, "cannot be read as Parquet: a column lies outside of the file"));
        }
    }
    Ok(reader)
}

/// The names of a file's columns.
pub(crate) fn names(file: &std::path::Path, content: Content) -> Result<Vec<String>> {
    let reader = open(file, content)?;
    let leaves = layout::leaves(reader.metadata().file_metadata().schema_descr());
    Ok(leaves.into_iter().map(|leaf| leaf.name).collect())
}

/// Runs a part of the Parquet library, which panics on some damaged files.
fn caught<T>(work: impl FnOnce() -> parquet::errors::Result<T>) -> parquet::errors::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(ParquetError::General("the file is damaged".to_owned())))
}

fn damaged(file: &std::path::Path, error: &ParquetError) -> Error {
    Error::input(file, format!("cannot be read as Parquet: {error}"))
}

/// Reads a file.
pub(crate) fn read(job: &Job<'_>, input: Input) -> Result<Counts> {
    let plain = input.compression == crate::Compression::Plain;
    read_rows(job, open(job.file, input.content)?, plain)
}

/// Reads an opened file; `plain` if its bytes have yet to be told as progress.
pub(crate) fn read_rows(job: &Job<'_>, reader: SerializedFileReader<Bytes>, plain: bool) -> Result<Counts> {
    let leaves = layout::leaves(reader.metadata().file_metadata().schema_descr());
    let sources = layout::locate(job.file, &job.options.columns, &leaves)?;
    let mut starts = Vec::new();
    let mut rows = 0u64;
    for group in reader.metadata().row_groups() {
        starts.push(rows);
        // Bounded, so that no sum of positions overflows.
        let more = u32::try_from(group.num_rows()).map_err(|_| {
            Error::input(job.file, format!("has a row group that claims {} rows", group.num_rows()))
        })?;
        rows += u64::from(more);
    }
    let work = Work {
        job,
        reader,
        sources,
        starts,
        next: AtomicUsize::new(0),
        stopped: AtomicBool::new(false),
        rows: AtomicU64::new(0),
        rejected: AtomicU64::new(0),
        nans: AtomicU64::new(0),
        total_rows: rows,
        total_bytes: if plain { crate::input::file_bytes(job.file) } else { 0 },
        bytes: AtomicU64::new(0),
    };
    let stop = || work.stopped.store(true, Ordering::Relaxed);
    on_threads(job.options.threads, &stop, &|| work.run())?;
    if plain {
        let counted = work.bytes.load(Ordering::Relaxed);
        job.progress.add_bytes(work.total_bytes.saturating_sub(counted));
    }
    Ok(Counts {
        rows: work.rows.into_inner(),
        positions: rows,
        rejected: work.rejected.into_inner(),
        nans: work.nans.into_inner(),
    })
}

struct Work<'a> {
    job: &'a Job<'a>,
    reader: SerializedFileReader<Bytes>,
    /// The leaf of each column asked for.
    sources: Vec<Option<Leaf>>,
    /// The first row of each row group.
    starts: Vec<u64>,
    next: AtomicUsize,
    stopped: AtomicBool,
    rows: AtomicU64,
    rejected: AtomicU64,
    nans: AtomicU64,
    total_rows: u64,
    /// The file's size, told as progress by shares of the rows; a stream's bytes have been told as they were read.
    total_bytes: u64,
    bytes: AtomicU64,
}

impl Work<'_> {
    fn run(&self) -> Result<()> {
        loop {
            let group = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&start) = self.starts.get(group) else { return Ok(()) };
            let reader = caught(|| self.reader.get_row_group(group))
                .map_err(|error| damaged(self.job.file, &error))?;
            self.group(&*reader, start)?;
            let rows = u128::try_from(reader.metadata().num_rows()).unwrap_or(0);
            let share = u128::from(self.total_bytes) * rows / u128::from(self.total_rows).max(1);
            let share = u64::try_from(share).unwrap_or(0);
            self.bytes.fetch_add(share, Ordering::Relaxed);
            self.job.progress.add_bytes(share);
        }
    }

    fn group(&self, reader: &dyn RowGroupReader, start: u64) -> Result<()> {
        let job = self.job;
        let error = |error: ParquetError| damaged(job.file, &error);
        let mut decoders = Vec::new();
        for source in &self.sources {
            decoders.push(match source {
                Some(leaf) => {
                    let column = caught(|| reader.get_column_reader(leaf.index)).map_err(error)?;
                    Some(Decoder::new(column, leaf))
                }
                None => None,
            });
        }
        let rows = u64::try_from(reader.metadata().num_rows()).unwrap_or(0);
        let mut done = 0;
        while done < rows && !self.stopped.load(Ordering::Relaxed) {
            let count = usize::try_from((rows - done).min(BATCH_ROWS)).unwrap_or(0);
            let mut context = Context::new(&job.options.nulls);
            let mut columns = Vec::new();
            for (asked, (decoder, spec)) in decoders.iter_mut().zip(&job.options.columns).enumerate() {
                columns.push(match decoder {
                    Some(decoder) => {
                        caught(|| decoder.column(count, asked, spec, &mut context)).map_err(error)?
                    }
                    None => all_null(spec, count),
                });
            }
            self.hand_on(start + done, count, columns, context)?;
            done += count as u64;
        }
        Ok(())
    }

    fn hand_on(&self, first: u64, rows: usize, mut columns: Vec<Column>, context: Context<'_>) -> Result<()> {
        let job = self.job;
        let tell = |row: u32, column, reason: &Reason| {
            let line = first + u64::from(row) + 1;
            let reject = Reject { file: job.file, line, column, reason, row: &[] };
            job.rejects.reject(&reject).map_err(Error::Rejects)
        };
        let mut faults = context.faults;
        faults.sort_by_key(|(row, column, _)| (*row, *column));
        faults.dedup_by_key(|(row, ..)| *row);
        for (row, column, reason) in &faults {
            let column = job.options.columns.get(*column).map(|column| column.name.as_str());
            tell(*row, column, reason)?;
        }
        let dropped: Vec<u32> = faults.iter().map(|(row, ..)| *row).collect();
        if !dropped.is_empty() {
            for column in &mut columns {
                compact::drop_rows(column, rows, &dropped);
            }
        }
        let kept = rows - dropped.len();
        let mut refused = 0;
        if kept > 0 {
            let batch = RowBatch { first_row: job.first_row + first, rows: kept, columns };
            let mut lines: Vec<u32> = (0..position(rows)).collect();
            compact::drop_plain(&mut lines, rows, &dropped);
            for refusal in job.sink.batch(batch).map_err(Error::Sink)? {
                let Some(&row) = lines.get(refusal.row) else { continue };
                tell(row, None, &Reason::Refused { why: refusal.why })?;
                refused += 1;
            }
        }
        let rejected = dropped.len() as u64 + refused;
        self.rows.fetch_add(kept as u64 - refused, Ordering::Relaxed);
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.nans.fetch_add(context.nans, Ordering::Relaxed);
        job.progress.add_rows(kept as u64 - refused, rejected);
        Ok(())
    }
}
