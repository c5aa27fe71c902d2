//! Columns from other files, looked up by key.

mod store;
mod table;

use std::path::PathBuf;

use silo_engine::columns::{Column, RowBatch, Values};

use crate::error::{Cause, Error, Result};
use crate::read::{ReadOptions, Refusal, Sink};
use crate::spec::ColumnSpec;
use table::{Keys, Table};

/// A file whose rows are looked up by one of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The file.
    pub file: PathBuf,
    /// Its column that is the key.
    pub key: String,
    /// The column of the batches that is looked up, by position.
    pub column: usize,
    /// The file's columns that are appended: the last matching row's value, or for those with
    /// several values those of all matching rows.
    pub fields: Vec<ColumnSpec>,
}

/// A join as it is written on a command line: `FILE:KEY=COL[:FIELD,…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinText {
    /// The file.
    pub file: PathBuf,
    /// Its column that is the key.
    pub key: String,
    /// The column that is looked up.
    pub column: String,
    /// New names and names in the file; empty for all columns.
    pub fields: Vec<(String, String)>,
}

impl std::str::FromStr for JoinText {
    type Err = Error;

    /// Reads `FILE:KEY=COL[:FIELD,…]`, where a FIELD may be `NAME=FIELD` to give it another name.
    fn from_str(text: &str) -> Result<JoinText> {
        let parse = || {
            let (file, rest) = text.split_once('=')?;
            let (file, key) = file.rsplit_once(':')?;
            let (column, fields) = rest.split_once(':').unwrap_or((rest, ""));
            let named = |field: &str| {
                let (name, field) = field.split_once('=').unwrap_or((field, field));
                (!name.is_empty() && !field.is_empty()).then(|| (name.to_owned(), field.to_owned()))
            };
            let fields =
                if fields.is_empty() { Some(Vec::new()) } else { fields.split(',').map(named).collect() };
            let whole = !file.is_empty() && !key.is_empty() && !column.is_empty();
            let (key, column) = (key.to_owned(), column.to_owned());
            whole.then_some(JoinText { file: file.into(), key, column, fields: fields? })
        };
        parse().ok_or_else(|| {
            Error::Options(format!(
                "{text:?} is not a join: write FILE:KEY=COLUMN or FILE:KEY=COLUMN:FIELD,NAME=FIELD"
            ))
        })
    }
}

/// Files that are looked up, in memory.
#[derive(Debug)]
pub struct Joins {
    tables: Vec<(usize, Table)>,
}

impl Joins {
    /// Reads the files of joins. `options` are those that the batches are read with.
    ///
    /// # Errors
    ///
    /// As [`crate::read()`]; keys that are neither integers, times nor text; and any row of a joined file that cannot be read.
    pub fn load(joins: &[Join], options: &ReadOptions) -> Result<Joins> {
        let mut tables = Vec::new();
        for join in joins {
            let column = options.columns.get(join.column).ok_or_else(|| {
                Error::Options(format!(
                    "there is no column {} to look up in {}",
                    join.column,
                    join.file.display()
                ))
            })?;
            if column.multi.is_some() {
                let name = &column.name;
                return Err(Error::Options(format!(
                    "column {name:?} has several values and cannot be looked up"
                )));
            }
            let key = ColumnSpec { name: join.key.clone(), optional: false, ..column.clone() };
            tables.push((join.column, Table::load(&join.file, key, &join.fields, options)?));
        }
        Ok(Joins { tables })
    }

    /// Bytes of memory that the tables take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.tables.iter().map(|(_, table)| table.heap_bytes()).sum()
    }

    /// Appends the columns of all joins, in order, to a batch.
    ///
    /// # Errors
    ///
    /// Where so many rows match that a column's values have 4 GiB.
    pub fn append(&self, batch: &mut RowBatch) -> Result<()> {
        let mut groups = Vec::with_capacity(batch.rows);
        let mut columns: Vec<Column> = Vec::new();
        for (place, table) in &self.tables {
            groups.clear();
            if let Some(column) = batch.columns.get(*place) {
                look_up(column, table, batch.rows, &mut groups);
            }
            columns.extend(table.columns(&groups));
        }
        if columns.iter().any(|column| is_too_large(&column.values)) {
            let rows = batch.rows;
            return Err(Error::Options(format!(
                "the values joined to {rows} rows have 4 GiB: read smaller blocks"
            )));
        }
        batch.columns.append(&mut columns);
        Ok(())
    }
}

/// Whether positions among values need more than 32 bits.
fn is_too_large(values: &Values) -> bool {
    let beyond = |len: usize| len >= u32::MAX as usize;
    match values {
        Values::Text { bytes, .. } => beyond(bytes.len()),
        Values::List { items, .. } => beyond(crate::text::column::value_count(items)) || is_too_large(items),
        Values::Bool(_) | Values::Int(_) | Values::Float(_) => false,
    }
}

/// The rows of a table that match each row of a batch.
fn look_up(column: &Column, table: &Table, rows: usize, groups: &mut Vec<std::ops::Range<u32>>) {
    let null = |row: usize| column.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
    match &column.values {
        Values::Int(keys) => {
            let found = keys
                .iter()
                .enumerate()
                .map(|(row, &key)| if null(row) { 0..0 } else { table.rows(&Keys::Int(key)) });
            groups.extend(found);
        }
        Values::Text { ends, bytes } => {
            let mut from = 0;
            for (row, &end) in ends.iter().enumerate() {
                let key = bytes.get(from..end as usize).unwrap_or_default();
                from = end as usize;
                groups.push(if null(row) { 0..0 } else { table.rows(&Keys::Text(key)) });
            }
        }
        Values::Bool(_) | Values::Float(_) | Values::List { .. } => groups.resize(rows, 0..0),
    }
}

/// Appends the columns of joins to batches on their way to another sink.
pub struct JoinSink<'a> {
    joins: &'a Joins,
    inner: &'a dyn Sink,
}

impl std::fmt::Debug for JoinSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinSink").field("joins", self.joins).finish_non_exhaustive()
    }
}

impl<'a> JoinSink<'a> {
    /// In front of a sink.
    #[must_use]
    pub fn new(joins: &'a Joins, inner: &'a dyn Sink) -> JoinSink<'a> {
        JoinSink { joins, inner }
    }
}

impl Sink for JoinSink<'_> {
    fn batch(&self, mut batch: RowBatch) -> Result<Vec<Refusal>, Cause> {
        self.joins.append(&mut batch)?;
        self.inner.batch(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_are_written_as_text() {
        let join: JoinText = "data/planes.csv:tailnum=tailnum:planeYear=year,engine".parse().unwrap();
        let pair = |name: &str, field: &str| (name.to_owned(), field.to_owned());
        let expected = JoinText {
            file: "data/planes.csv".into(),
            key: "tailnum".into(),
            column: "tailnum".into(),
            fields: vec![pair("planeYear", "year"), pair("engine", "engine")],
        };
        assert_eq!(join, expected);
        let join: JoinText = "w:a.csv:id=postId".parse().unwrap();
        assert_eq!((join.file, join.fields), ("w:a.csv".into(), vec![]));
        for wrong in ["", "a.csv", "a.csv:k", "a.csv:k=", ":k=c", "a.csv:=c", "a=c", "a:k=c:x,", "a:k=c:=x"] {
            let error = wrong.parse::<JoinText>().unwrap_err().to_string();
            assert!(error.contains("is not a join"), "{wrong}");
        }
    }
}
