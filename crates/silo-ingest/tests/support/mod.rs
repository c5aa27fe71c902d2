//! Files to read and rows to compare.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use silo_engine::columns::{Column, RowBatch, Values};
use silo_ingest::{Cause, ColumnSpec, Progress, ReadOptions, ReadReport, Reject, RejectSink, Result};
use silo_engine::FieldType;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A rejected row: line, column, reason, row.
pub type Rejected = (u64, Option<String>, String, Vec<u8>);

/// Everything that a read gave.
#[derive(Debug)]
pub struct Outcome {
    pub rows: Vec<Vec<Value>>,
    pub rejects: Vec<Rejected>,
    pub report: ReadReport,
}

#[derive(Default)]
struct Rejects(Mutex<Vec<Rejected>>);

impl RejectSink for Rejects {
    fn reject(&self, reject: &Reject<'_>) -> Result<(), Cause> {
        let column = reject.column.map(str::to_owned);
        let row = (reject.line, column, reject.reason.to_string(), reject.row.to_vec());
        self.0.lock().unwrap().push(row);
        Ok(())
    }
}

fn value_at(values: &Values, row: usize) -> Value {
    let start = |ends: &[u32]| if row == 0 { 0 } else { ends[row - 1] as usize };
    match values {
        Values::Bool(all) => {
            assert!(all[row] < 2);
            Value::Bool(all[row] == 1)
        }
        Values::Int(all) => Value::Int(all[row]),
        Values::Float(all) => {
            assert!(!all[row].is_nan());
            Value::Float(all[row])
        }
        Values::Text { ends, bytes } => {
            Value::Text(String::from_utf8(bytes[start(ends)..ends[row] as usize].to_vec()).unwrap())
        }
        Values::List { ends, items } => {
            Value::List((start(ends)..ends[row] as usize).map(|item| value_at(items, item)).collect())
        }
    }
}

/// The rows of a batch, with the shape of its columns checked.
pub fn rows_of(batch: &RowBatch) -> Vec<Vec<Value>> {
    let cell = |column: &Column, row: usize| {
        assert!(column.nulls.is_empty() || column.nulls.len() == batch.rows.div_ceil(64));
        let null = column.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
        if null { Value::Null } else { value_at(&column.values, row) }
    };
    for column in &batch.columns {
        let count = match &column.values {
            Values::Bool(all) => all.len(),
            Values::Int(all) => all.len(),
            Values::Float(all) => all.len(),
            Values::Text { ends, bytes } => {
                assert_eq!(ends.last().copied().unwrap_or(0) as usize, bytes.len());
                ends.len()
            }
            Values::List { ends, .. } => ends.len(),
        };
        assert_eq!(count, batch.rows);
        if let Some(last) = column.nulls.last()
            && batch.rows % 64 != 0
        {
            assert_eq!(last >> (batch.rows % 64), 0, "bits behind the rows");
        }
    }
    (0..batch.rows).map(|row| batch.columns.iter().map(|column| cell(column, row)).collect()).collect()
}

/// Reads files and puts the rows in order.
pub fn read_files(files: &[PathBuf], options: &ReadOptions) -> Result<Outcome> {
    let batches: Mutex<Vec<RowBatch>> = Mutex::default();
    let rejects = Rejects::default();
    let sink = |batch| {
        batches.lock().unwrap().push(batch);
        Ok(())
    };
    let progress = Arc::new(Progress::default());
    let report = silo_ingest::read(files, options, &sink, &rejects, &progress)?;
    assert_eq!(progress.rows(), report.rows);
    assert_eq!(progress.rejected(), report.rejected);
    assert_eq!(progress.bytes(), progress.total_bytes());
    let mut batches = batches.into_inner().unwrap();
    batches.sort_by_key(|batch| batch.first_row);
    let mut rows = Vec::new();
    for batch in &batches {
        assert!(batch.first_row >= rows.len() as u64);
        rows.extend(rows_of(batch));
    }
    assert_eq!(rows.len() as u64, report.rows);
    let rejects = rejects.0.into_inner().unwrap();
    assert_eq!(rejects.len() as u64, report.rejected);
    Ok(Outcome { rows, rejects, report })
}

/// Writes a file into a folder, compressed as its name says.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => gzip(bytes),
        Some("zst") => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    };
    std::fs::write(&path, bytes).unwrap();
    path
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads bytes as a file of that name.
pub fn read_bytes(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), name, bytes);
    read_files(&[path], options)
}

pub const TEXT: FieldType = FieldType::String;
pub const I64: FieldType = FieldType::Signed(64);

/// Options for columns on one thread.
pub fn options(columns: &[(&str, FieldType)]) -> ReadOptions {
    let columns = columns.iter().map(|(name, kind)| ColumnSpec::new(*name, *kind)).collect();
    ReadOptions { threads: 1, ..ReadOptions::new(columns) }
}
