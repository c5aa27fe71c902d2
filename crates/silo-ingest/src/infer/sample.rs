//! Values of files, some of all where they are large.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::Table;
use super::stats::Stats;
use crate::error::{Error, Result};
use crate::input::{self, Content, Format};
use crate::progress::Progress;
use crate::text::cut::Records;
use crate::text::split::{Fields, split};
use crate::text::{Cells, Token, json, read};

/// The beginning of a file is read.
const FIRST_BYTES: usize = 32 << 20;
/// Then so many pieces, evenly spaced, of files that are mapped.
const PIECES: usize = 16;
const PIECE_BYTES: usize = 1 << 20;

/// Sees the values of a file.
pub(super) fn see(file: &Path, table: &mut Table) -> Result<()> {
    let progress = Arc::new(Progress::default());
    let opened = input::open(file, None, &progress)?;
    let delimiter = match opened.format {
        Format::Csv => Some(b','),
        Format::Tsv => Some(b'\t'),
        Format::Ndjson => None,
        #[cfg(feature = "parquet")]
        Format::Parquet => return super::parquet::see(file, opened.content, table),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            return Err(Error::input(file, "is a Parquet file; this program was built without"));
        }
    };
    let most_bytes = 16 << 20;
    let text = read::open(file, opened.content, delimiter, most_bytes)?;
    if delimiter.is_some() && text.header.is_empty() {
        return Err(Error::input(file, "is empty; a header with the names of the columns is needed"));
    }
    let records = delimiter.map_or(Records::Lines, Records::Delimited);
    let mut see = |data: &[u8]| match delimiter {
        Some(delimiter) => delimited(data, delimiter, &text.header, table),
        None => objects(data, table),
    };
    let (rows, seen, of) = match text.content {
        Content::Stream(mut reader) => {
            let mut data = text.carry;
            let wanted = FIRST_BYTES.saturating_sub(data.len()) as u64 + 1;
            let read = reader.by_ref().take(wanted).read_to_end(&mut data).map_err(Error::io(file))?;
            let whole = (read as u64) < wanted;
            let end = if whole { data.len() } else { records.cut(&data, 0, data.len()).last };
            let data = data.get(..end).unwrap_or_default();
            let rows = see(data);
            // How long the stream is cannot be known.
            (rows, data.len(), if whole { Some(data.len()) } else { None })
        }
        Content::Mapped(mapping) => {
            let data = mapping.as_ref().get(text.start..).unwrap_or_default();
            let first = records.cut(data, 0, FIRST_BYTES.min(data.len())).end;
            let mut rows = see(data.get(..first).unwrap_or_default());
            let mut seen = first;
            for piece in 0..PIECES {
                let rest = data.len() - first;
                if rest == 0 {
                    break;
                }
                let at = first + rest / PIECES * piece;
                // A guess that the next line break ends a record; pieces that contradict it are not counted.
                let from = records.cut(data, at, at + 1).end;
                let end =
                    records.cut(data, from, (at + PIECE_BYTES.min(rest / PIECES + 1)).min(data.len())).end;
                rows += see(data.get(from..end).unwrap_or_default());
                seen += end - from;
            }
            (rows, seen.min(data.len()), Some(data.len()))
        }
    };
    table.saw(rows, seen, of);
    Ok(())
}

/// Rows of delimited text; how many.
fn delimited(data: &[u8], delimiter: u8, header: &[String], table: &mut Table) -> u64 {
    let (mut fields, mut faults) = (Fields::default(), Vec::new());
    split(data, delimiter, header.len(), 16 << 20, &mut fields, &mut faults);
    let rows = fields.rows();
    if faults.len() > rows / 10 + 10 {
        return 0;
    }
    let mut scratch = Vec::new();
    let nulls = table.nulls.clone();
    for (column, name) in header.iter().enumerate() {
        let separator = table.separator(name);
        let stats = table.column(name);
        for cell in fields.column(column) {
            let cell = data.get(cell).unwrap_or_default();
            let bytes = match Fields::token(cell, &mut scratch) {
                Token::Value { bytes, .. } if !nulls.contains(bytes) => bytes,
                _ => &[],
            };
            match &separator {
                Some(separator) => items(stats, bytes, separator),
                None => stats.see(bytes, false),
            }
        }
    }
    rows as u64
}

/// The values of a text between separators.
fn items(stats: &mut Stats, bytes: &[u8], separator: &str) {
    stats.lists = true;
    let finder = memchr::memmem::Finder::new(separator);
    let mut from = 0;
    for to in finder.find_iter(bytes).chain([bytes.len()]) {
        let item = bytes.get(from..to).unwrap_or_default().trim_ascii();
        from = to + separator.len();
        if !item.is_empty() {
            stats.see(item, false);
        }
    }
    if bytes.is_empty() {
        stats.empty += 1;
    }
}

/// Objects, one a line; how many.
fn objects(data: &[u8], table: &mut Table) -> u64 {
    let mut rows = 0;
    let (mut scratch, mut key_scratch, mut item_scratch) = (Vec::new(), Vec::new(), Vec::new());
    let nulls = table.nulls.clone();
    for line in data.split(|&byte| byte == b'\n') {
        let mut found = Vec::new();
        if json::pairs(line, |_, key, value| found.push((key, value))).is_err() {
            continue;
        }
        rows += 1;
        for (key, value) in found {
            let Ok(name) = std::str::from_utf8(json::unescape(key, &mut key_scratch)) else { continue };
            let separator = table.separator(name);
            let stats = table.column(name);
            let value = line.get(value).unwrap_or_default();
            match (json::token(value, &mut scratch), &separator) {
                (Token::Value { bytes, .. }, _) if nulls.contains(bytes) => stats.empty += 1,
                (Token::Value { bytes, .. }, Some(separator)) => items(stats, bytes, separator),
                (Token::Array(array), _) => {
                    stats.lists = true;
                    for item in json::items(array) {
                        one(stats, item, &mut item_scratch);
                    }
                }
                _ => one(stats, value, &mut item_scratch),
            }
        }
    }
    rows
}

/// A JSON value that is not a list.
fn one(stats: &mut Stats, value: &[u8], scratch: &mut Vec<u8>) {
    match json::token(value, scratch) {
        Token::Null => stats.empty += 1,
        Token::Value { bytes, .. } => stats.see(bytes, value.first() == Some(&b'"')),
        Token::Array(text) | Token::Object(text) => {
            stats.objects = true;
            stats.see(text, true);
        }
    }
}
