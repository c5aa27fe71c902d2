//! A text file on several threads: header, blocks, columns, rejects.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use silo_engine::columns::{Column, RowBatch};

use super::column::{self, Context};
use super::cut::Records;
use super::json::{self, Keys, Objects};
use super::split::{self, Fields, unquote};
use super::{Cells, Fault, compact, position};
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::input::blocks::{Block, Blocks};
use crate::input::{BYTE_ORDER_MARK, Content, Format, Input};
use crate::read::{Counts, Job, locate, on_threads};
use crate::reject::{Reason, Reject};

/// Reads a file.
pub(crate) fn read(job: &Job<'_>, input: Input) -> Result<Counts> {
    let options = job.options;
    let (records, delimiter) = match input.format {
        Format::Tsv => (Records::Delimited(b'\t'), Some(b'\t')),
        Format::Ndjson | Format::Parquet => (Records::Lines, None),
        Format::Csv => (Records::Delimited(b','), Some(b',')),
    };
    let opened = open(job.file, input.content, delimiter, options.most_record_bytes)?;
    let (layout, sources) = match delimiter {
        Some(delimiter) => {
            if opened.header.is_empty() {
                return Err(Error::input(job.file, "is empty; a header with the names of the columns is needed"));
            }
            let sources = locate(job.file, &options.columns, &opened.header)?;
            (Layout::Delimited { delimiter, width: opened.header.len() }, sources)
        }
        None => {
            let mut names: Vec<String> = options.columns.iter().map(|column| column.name.clone()).collect();
            names.sort();
            names.dedup();
            let sources = locate(job.file, &options.columns, &names)?;
            (Layout::Objects(names), sources)
        }
    };
    let blocks = Blocks::new(
        records,
        options.block_bytes,
        options.most_record_bytes,
        opened.content,
        opened.start,
        opened.carry,
    );
    let start = Place { row: job.first_row, line: opened.lines + 1 };
    let reader = Reader { job, layout, sources, records, blocks, places: Chain::new(start), nans: AtomicU64::new(0), rejected: AtomicU64::new(0) };
    if reader.blocks.is_mapped() {
        job.progress.add_bytes(opened.start as u64);
    }
    let stop = || {
        reader.blocks.stop();
        reader.places.stop();
    };
    on_threads(options.threads, &stop, &|| reader.work())?;
    let rows = reader.places.last().row - job.first_row;
    let rejected = reader.rejected.into_inner();
    Ok(Counts { rows, positions: rows, rejected, nans: reader.nans.into_inner() })
}

/// A text file behind its header.
pub(crate) struct Opened {
    /// Names of the columns; none for lines.
    pub header: Vec<String>,
    pub content: Content,
    /// Where the records begin in a mapping.
    pub start: usize,
    /// What has been read of a stream, from the first record on.
    pub carry: Vec<u8>,
    /// Lines before the first record.
    pub lines: u64,
}

/// Reads the header.
pub(crate) fn open(file: &Path, mut content: Content, delimiter: Option<u8>, most_bytes: usize) -> Result<Opened> {
    let mut carry = Vec::new();
    let mut header = Vec::new();
    let (start, lines) = match &mut content {
        Content::Mapped(mapping) => head(file, mapping.as_ref(), delimiter, true, &mut header)?,
        Content::Stream(reader) => loop {
            let wanted = (64 << 10).max(carry.len()) as u64;
            let read = reader.by_ref().take(wanted).read_to_end(&mut carry).map_err(Error::io(file))?;
            let whole = (read as u64) < wanted || carry.len() > most_bytes;
            let (start, lines) = head(file, &carry, delimiter, whole, &mut header)?;
            if !header.is_empty() || whole || (delimiter.is_none() && !carry.is_empty()) {
                break (start, lines);
            }
        },
    };
    carry.drain(..start.min(carry.len()));
    Ok(Opened { header, content, start, carry, lines })
}

/// The header at the beginning of data: its bytes and lines. It is left empty where the data ends within it, unless that is `whole`.
fn head(
    file: &Path,
    data: &[u8],
    delimiter: Option<u8>,
    whole: bool,
    header: &mut Vec<String>,
) -> Result<(usize, u64)> {
    let mut start = if data.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let Some(delimiter) = delimiter else { return Ok((start, 0)) };
    let mut lines = 0;
    // Blank lines are nothing, here too.
    let blank = |rest: &[u8]| if rest.starts_with(b"\n") { 1 } else if rest.starts_with(b"\r\n") { 2 } else { 0 };
    loop {
        let skipped = blank(data.get(start..).unwrap_or_default());
        if skipped == 0 {
            break;
        }
        start += skipped;
        lines += 1;
    }
    let rest = data.get(start..).unwrap_or_default();
    let cut = Records::Delimited(delimiter).cut(rest, 0, 1.min(rest.len()));
    if !cut.complete && !whole || rest.is_empty() {
        return Ok((start, lines));
    }
    if cut.open {
        return Err(Error::input(file, "has a quoted name in its header that is not closed"));
    }
    let record = rest.get(..cut.end).unwrap_or_default();
    let (mut fields, mut faults) = (Fields::default(), Vec::new());
    // The width is not known yet: the fault of a record without fields tells it.
    lines += split::split(record, delimiter, 0, usize::MAX, &mut fields, &mut faults);
    let width = faults.iter().find_map(|fault| match fault.reason {
        Reason::FieldCount { found, .. } => Some(found),
        _ => None,
    });
    faults.clear();
    split::split(record, delimiter, width.unwrap_or(0), usize::MAX, &mut fields, &mut faults);
    for column in 0..width.unwrap_or(0) {
        let cell = fields.column(column).next().and_then(|cell| record.get(cell)).unwrap_or_default();
        let mut scratch = Vec::new();
        let name = match cell {
            [b'"', rest @ ..] => unquote(rest, &mut scratch),
            _ => cell,
        };
        let place = column + 1;
        let name = std::str::from_utf8(name)
            .map_err(|_| Error::input(file, format!("the name of column {place} is not UTF-8")))?;
        if name.is_empty() || header.iter().any(|other| other == name) {
            let fault = if name.is_empty() { "has no name".to_owned() } else { format!("{name:?} has the name of another") };
            return Err(Error::input(file, format!("column {place} {fault}; correct the header")));
        }
        header.push(name.to_owned());
    }
    Ok((start + cut.end, lines))
}

/// How cells are found.
enum Layout {
    Delimited { delimiter: u8, width: usize },
    Objects(Vec<String>),
}

/// Where a block begins.
#[derive(Clone, Copy)]
struct Place {
    row: u64,
    line: u64,
}

struct Reader<'a> {
    job: &'a Job<'a>,
    layout: Layout,
    sources: Vec<Option<usize>>,
    records: Records,
    blocks: Blocks,
    places: Chain<Place>,
    nans: AtomicU64,
    rejected: AtomicU64,
}

/// A block's columns.
struct Parsed {
    rows: usize,
    columns: Vec<Column>,
    nans: u64,
}

impl Reader<'_> {
    fn work(&self) -> Result<()> {
        let mut buffer = Vec::new();
        let mut faults = Vec::new();
        match &self.layout {
            Layout::Delimited { delimiter, width } => {
                let mut fields = Fields::default();
                let most = self.job.options.most_record_bytes;
                self.blocks(&mut buffer, &mut faults, &mut |data, faults| {
                    let lines = split::split(data, *delimiter, *width, most, &mut fields, faults);
                    (lines, self.columns(&fields, data, faults))
                })
            }
            Layout::Objects(names) => {
                let mut objects = Objects::default();
                let mut keys = Keys::new(names.iter().map(String::as_str));
                let most = self.job.options.most_record_bytes;
                self.blocks(&mut buffer, &mut faults, &mut |data, faults| {
                    let lines = json::split(data, &mut keys, most, &mut objects, faults);
                    (lines, self.columns(&objects, data, faults))
                })
            }
        }
    }

    /// Takes blocks until there are none.
    fn blocks(
        &self,
        buffer: &mut Vec<u8>,
        faults: &mut Vec<Fault>,
        parse: &mut dyn FnMut(&[u8], &mut Vec<Fault>) -> (u64, Parsed),
    ) -> Result<()> {
        let job = self.job;
        while let Some(block) = self.blocks.take(buffer).map_err(Error::io(job.file))? {
            let data = self.blocks.data(&block, buffer);
            faults.clear();
            let (lines, parsed) = parse(data, faults);
            let Some(place) = self.places.wait(block.ordinal) else { return Ok(()) };
            faults.sort_by_key(|fault| (fault.record.start, fault.column));
            let rejected = self.reject(data, faults, &block, place.line, lines)?;
            let lines = lines + block.tail.as_ref().map_or(0, |tail| tail.lines);
            self.places.publish(Place { row: place.row + parsed.rows as u64, line: place.line + lines });
            self.rejected.fetch_add(rejected, Ordering::Relaxed);
            self.nans.fetch_add(parsed.nans, Ordering::Relaxed);
            job.progress.add_bytes(block.new_bytes);
            job.progress.add_rows(parsed.rows as u64, rejected);
            if parsed.rows > 0 {
                let batch = RowBatch { first_row: place.row, rows: parsed.rows, columns: parsed.columns };
                job.sink.batch(batch).map_err(Error::Sink)?;
            }
        }
        Ok(())
    }

    /// Reads the columns of all rows that can be taken.
    fn columns<C: Cells>(&self, cells: &C, data: &[u8], faults: &mut Vec<Fault>) -> Parsed {
        let options = self.job.options;
        let rows = cells.rows();
        let mut context = Context::new(&options.nulls);
        let mut columns: Vec<Column> = options
            .columns
            .iter()
            .zip(&self.sources)
            .enumerate()
            .map(|(asked, (spec, source))| match source {
                Some(index) => column::read(cells, data, *index, asked, spec, &mut context),
                None => column::all_null(spec, rows),
            })
            .collect();
        let mut dropped: Vec<u32> = Vec::new();
        for (row, column, reason) in context.faults {
            let record = self.record(cells, data, row);
            faults.push(Fault { record, column: Some(column), reason });
            dropped.push(row);
        }
        if std::str::from_utf8(data).is_err() {
            for row in 0..position(rows) {
                let record = self.record(cells, data, row);
                let bytes = data.get(record.start as usize..record.end as usize).unwrap_or_default();
                if std::str::from_utf8(bytes).is_err() {
                    faults.push(Fault { record, column: None, reason: Reason::NotUtf8 });
                    dropped.push(row);
                }
            }
        }
        dropped.sort_unstable();
        dropped.dedup();
        if !dropped.is_empty() {
            for column in &mut columns {
                compact::drop_rows(column, rows, &dropped);
            }
        }
        Parsed { rows: rows - dropped.len(), columns, nans: context.nans }
    }

    /// Where a row's record lies, without its line break.
    fn record<C: Cells>(&self, cells: &C, data: &[u8], row: u32) -> std::ops::Range<u32> {
        let start = cells.starts().get(row as usize).copied().unwrap_or_default();
        let cut = self.records.cut(data, start as usize, start as usize + 1);
        let record = data.get(start as usize..cut.end).unwrap_or_default();
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        start..start + position(record.len())
    }

    /// Tells the rejected records of a block, one fault each; how many they are.
    fn reject(&self, data: &[u8], faults: &[Fault], block: &Block, line: u64, lines: u64) -> Result<u64> {
        let job = self.job;
        let tell = |line, column, reason: &Reason, row: &[u8]| {
            job.rejects.reject(&Reject { file: job.file, line, column, reason, row }).map_err(Error::Rejects)
        };
        let (mut rejected, mut at, mut at_line) = (0, 0, line);
        let mut last = None;
        for fault in faults {
            let (start, end) = (fault.record.start as usize, fault.record.end as usize);
            if last == Some(start) {
                continue;
            }
            last = Some(start);
            at_line += memchr::memchr_iter(b'\n', data.get(at..start).unwrap_or_default()).count() as u64;
            at = start;
            let column = fault.column.and_then(|column| job.options.columns.get(column));
            let row = data.get(start..end).unwrap_or_default();
            tell(at_line, column.map(|column| column.name.as_str()), &fault.reason, row)?;
            rejected += 1;
        }
        if let Some(tail) = &block.tail {
            tell(line + lines, None, &tail.reason, &tail.sample)?;
            rejected += 1;
        }
        Ok(rejected)
    }
}
