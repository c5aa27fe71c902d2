//! Rows that are left out, and where they are told.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::Cause;

/// A row that was left out.
#[derive(Debug, Clone, Copy)]
pub struct Reject<'a> {
    /// The file.
    pub file: &'a Path,
    /// The line on which the record begins, from 1; in Parquet files the row, from 1.
    pub line: u64,
    /// The name of the column that is at fault, where one is.
    pub column: Option<&'a str>,
    /// What is wrong.
    pub reason: &'a Reason,
    /// The record as it stands in the file, or what of it was kept; the faulty value for Parquet.
    pub row: &'a [u8],
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It has too few or too many fields.
    FieldCount {
        /// The header's number.
        expected: usize,
        /// The row's.
        found: usize,
    },
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// It is longer than records may be.
    Overlong {
        /// Its length.
        bytes: u64,
    },
    /// A quoted field runs to the end of the input.
    Unclosed {
        /// Lines from the record's start to the end of the input.
        lines: u64,
    },
    /// Not a JSON object on one line.
    Json {
        /// What the tokenizer did not find.
        expected: &'static str,
        /// Where in the line, from 0.
        at: usize,
    },
    /// A value that is not of its field's type.
    NotA {
        /// The type in words.
        expected: &'static str,
    },
    /// A number or time that its field cannot hold.
    OutOfRange {
        /// The type in words.
        expected: &'static str,
    },
    /// Several values for a field that takes one.
    Several,
    /// The receiver of the batches did not take it.
    Refused {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::FieldCount { expected, found } => {
                write!(f, "{found} fields where the header has {expected}")
            }
            Reason::NotUtf8 => write!(f, "not UTF-8"),
            Reason::Overlong { bytes } => write!(f, "a record of {bytes} bytes is too long"),
            Reason::Unclosed { lines } => {
                write!(f, "a quoted field is never closed and takes the last {lines} lines")
            }
            Reason::Json { expected, at } => write!(f, "not a JSON object: expected {expected} at byte {at}"),
            Reason::NotA { expected } => write!(f, "not {expected}"),
            Reason::OutOfRange { expected } => write!(f, "out of range for {expected}"),
            Reason::Refused { why } => write!(f, "{why}"),
            Reason::Several => write!(f, "a list of values for a field that takes one"),
        }
    }
}

/// Takes rejected rows. Those of one file that cannot be read come in the order of their lines, those that the sink refuses as
/// it refuses them.
pub trait RejectSink: Sync {
    /// Takes one.
    ///
    /// # Errors
    ///
    /// Any error ends the load.
    fn reject(&self, reject: &Reject<'_>) -> Result<(), Cause>;
}

/// Forgets rejected rows; the report still counts them.
#[derive(Debug, Clone, Copy, Default)]
pub struct IgnoreRejects;

impl RejectSink for IgnoreRejects {
    fn reject(&self, _: &Reject<'_>) -> Result<(), Cause> {
        Ok(())
    }
}

/// Writes rejected rows as CSV: `file,line,reason,row`.
#[derive(Debug)]
pub struct RejectWriter<W: Write + Send>(Mutex<W>);

impl<W: Write + Send> RejectWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn new(mut writer: W) -> std::io::Result<RejectWriter<W>> {
        writer.write_all(b"file,line,reason,row\n")?;
        Ok(RejectWriter(Mutex::new(writer)))
    }

    /// Flushes and gives the writer back.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn finish(self) -> std::io::Result<W> {
        let mut writer = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        writer.flush()?;
        Ok(writer)
    }
}

impl<W: Write + Send> RejectSink for RejectWriter<W> {
    fn reject(&self, reject: &Reject<'_>) -> Result<(), Cause> {
        let mut line = Vec::with_capacity(reject.row.len() + 80);
        quote(&mut line, reject.file.as_os_str().as_encoded_bytes());
        write!(line, ",{},", reject.line)?;
        let reason = match reject.column {
            Some(column) => format!("{column}: {}", reject.reason),
            None => reject.reason.to_string(),
        };
        quote(&mut line, reason.as_bytes());
        line.push(b',');
        quote(&mut line, reject.row);
        line.push(b'\n');
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)?)
    }
}

/// Appends a field of CSV, quoted where needed.
fn quote(line: &mut Vec<u8>, field: &[u8]) {
    if !field.iter().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r')) {
        line.extend_from_slice(field);
        return;
    }
    line.push(b'"');
    for &byte in field {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}
