//! Columns of Parquet files: their types are declared, their values are counted.

use std::path::Path;

use parquet::file::reader::FileReader;
use silo_engine::columns::Values;
use silo_engine::{FieldType, TimeUnit};
use xxhash_rust::xxh3::xxh3_64;

use super::Table;
use super::stats::Stats;
use crate::error::{Cause, Error, Result};
use crate::input::Content;
use crate::parquet::layout::{Leaf, Meaning, leaves};
use crate::read::{Job, ReadOptions};
use crate::reject::IgnoreRejects;
use crate::spec::{ColumnSpec, Multi};

/// So many rows are counted.
const MOST_ROWS: u64 = 1 << 18;

/// Ends the reading of a file of which enough has been seen.
#[derive(Debug, thiserror::Error)]
#[error("enough rows")]
struct Enough;

/// Sees the values of a file.
pub(super) fn see(file: &Path, content: Content, table: &mut Table) -> Result<()> {
    let reader = crate::parquet::open(file, content)?;
    let metadata = reader.metadata().file_metadata();
    let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
    let schema = metadata.schema_descr();
    let mut columns = Vec::new();
    for leaf in leaves(schema) {
        let bits = schema.column(leaf.index).physical_type() == parquet::basic::Type::INT32;
        let Some(kind) = kind(&leaf, bits) else { continue };
        let stats = table.column(&leaf.name);
        stats.declared = Some(match stats.declared {
            Some(other) if other != kind => FieldType::String,
            _ => kind,
        });
        stats.lists |= leaf.levels.item.is_some();
        let spec = ColumnSpec::new(leaf.name, kind);
        columns.push(if leaf.levels.item.is_some() { spec.multi(Multi::Lists) } else { spec });
    }
    if columns.is_empty() {
        return Err(Error::input(file, "has no column of a type that is supported"));
    }
    let options = ReadOptions { threads: 1, ..ReadOptions::new(columns) };
    let seen = std::sync::Mutex::new((0u64, table));
    let sink = |batch: silo_engine::columns::RowBatch| -> std::result::Result<(), Cause> {
        let mut seen = seen.lock().map_err(|_| "a thread failed")?;
        for (column, spec) in batch.columns.iter().zip(&options.columns) {
            let stats = seen.1.column(&spec.name);
            let nulls: u32 = column.nulls.iter().map(|word| word.count_ones()).sum();
            stats.empty += u64::from(nulls);
            let null = |row: usize| column.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
            match &column.values {
                Values::List { items, .. } => count(stats, items, &|_| false),
                values => count(stats, values, &null),
            }
        }
        seen.0 += batch.rows as u64;
        if seen.0 >= MOST_ROWS { Err(Box::new(Enough)) } else { Ok(()) }
    };
    let progress = crate::Progress::default();
    let job = Job { file, options: &options, sink: &sink, rejects: &IgnoreRejects, progress: &progress, first_row: 0 };
    match crate::parquet::read_rows(&job, reader, false) {
        Err(Error::Sink(cause)) if cause.is::<Enough>() => {}
        result => {
            result?;
        }
    }
    let (rows, table) = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let clamp = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    table.saw(rows, clamp(rows), Some(clamp(total)));
    Ok(())
}

fn kind(leaf: &Leaf, narrow: bool) -> Option<FieldType> {
    let bits = if narrow { 32 } else { 64 };
    Some(match leaf.meaning.as_ref().ok()? {
        Meaning::Bool => FieldType::Bool,
        Meaning::Signed | Meaning::Decimal(0) => FieldType::Signed(bits),
        Meaning::Unsigned => FieldType::Unsigned(bits),
        Meaning::Float | Meaning::Decimal(_) => FieldType::Float(64),
        Meaning::Text => FieldType::String,
        Meaning::Time(TimeUnit::Days) => FieldType::Time(TimeUnit::Days),
        Meaning::Time(unit) => FieldType::Time(*unit),
    })
}

fn count(stats: &mut Stats, values: &Values, null: &dyn Fn(usize) -> bool) {
    let mut hash = |row: usize, bytes: &[u8]| {
        if !null(row) {
            stats.see_hash(xxh3_64(bytes), bytes.len());
        }
    };
    match values {
        Values::Bool(all) => all.iter().enumerate().for_each(|(row, value)| hash(row, &[*value])),
        Values::Int(all) => all.iter().enumerate().for_each(|(row, value)| hash(row, &value.to_le_bytes())),
        Values::Float(all) => all.iter().enumerate().for_each(|(row, value)| hash(row, &value.to_le_bytes())),
        Values::Text { ends, bytes } => {
            let mut from = 0;
            for (row, &end) in ends.iter().enumerate() {
                hash(row, bytes.get(from..end as usize).unwrap_or_default());
                from = end as usize;
            }
        }
        Values::List { .. } => {}
    }
}
