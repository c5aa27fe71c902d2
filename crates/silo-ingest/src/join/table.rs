//! A joined file in memory: rows grouped by key, a key's rows side by side.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashTable;
use silo_engine::FieldType;
use silo_engine::columns::{Column, RowBatch, Values};
use xxhash_rust::xxh3::xxh3_64;

use super::store::{RowOf, Store};
use crate::error::{Cause, Error, Result};
use crate::progress::Progress;
use crate::read::{ReadOptions, read};
use crate::reject::{Reject, RejectSink};
use crate::spec::ColumnSpec;
use crate::text::column::{NullBits, no_values, value_count};
use crate::text::position;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keys<'k> {
    Int(i64),
    Text(&'k [u8]),
}

impl Keys<'_> {
    fn hash(&self) -> u64 {
        match self {
            Keys::Int(key) => xxh3_64(&key.to_le_bytes()),
            Keys::Text(key) => xxh3_64(key),
        }
    }
}

/// Where a key's group is.
#[derive(Debug)]
enum Groups {
    /// Integer keys that lie close together: the group is the difference to the lowest.
    Dense { low: i64 },
    /// Other keys, by hash.
    Integers { keys: Vec<i64>, groups: HashTable<u32> },
    Texts { ends: Vec<u64>, bytes: Vec<u8>, groups: HashTable<u32> },
}

/// A joined file.
#[derive(Debug)]
pub(super) struct Table {
    groups: Groups,
    /// Where each group's rows begin; one more than groups.
    starts: Vec<u32>,
    fields: Vec<(ColumnSpec, Store)>,
}

/// A row that cannot be read ends the load: it might be the one that is looked up.
struct NoRejects;

impl RejectSink for NoRejects {
    fn reject(&self, reject: &Reject<'_>) -> Result<(), Cause> {
        let column = reject.column.map(|column| format!("column {column:?}: ")).unwrap_or_default();
        Err(format!("{}, line {}: {column}{}", reject.file.display(), reject.line, reject.reason).into())
    }
}

impl Table {
    /// Reads a file.
    pub(super) fn load(
        file: &Path,
        key: ColumnSpec,
        fields: &[ColumnSpec],
        options: &ReadOptions,
    ) -> Result<Table> {
        if matches!(key.kind, FieldType::Bool | FieldType::Float(_)) {
            let what = format!("column {:?} is looked up by a {}; keys are integers, times or text", key.name, key.kind.name());
            return Err(Error::input(file, what));
        }
        let mut columns = vec![key];
        columns.extend_from_slice(fields);
        let options = ReadOptions { columns, format: None, ..options.clone() };
        let batches: Mutex<Vec<RowBatch>> = Mutex::default();
        let sink = |batch| {
            batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
            Ok(())
        };
        let progress = Arc::new(Progress::default());
        read(&[file.to_owned()], &options, &sink, &NoRejects, &progress).map_err(|error| match error {
            Error::Rejects(cause) => Error::input(file, format!("a joined file must have no bad rows: {cause}")),
            other => other,
        })?;
        let mut batches = batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        batches.sort_unstable_by_key(|batch| batch.first_row);
        let rows: usize = batches.iter().map(|batch| batch.rows).sum();
        if u32::try_from(rows).is_err() {
            return Err(Error::input(file, "has more than 4,294,967,295 rows, too many for a join"));
        }
        let mut order = keyed_rows(&batches);
        let (groups, starts) = group(&batches, &mut order);
        let stores = fields.iter().enumerate().map(|(at, field)| (field.clone(), Store::gather(&batches, at + 1, &order)));
        Ok(Table { groups, starts, fields: stores.collect() })
    }

    /// Bytes of memory.
    pub(super) fn heap_bytes(&self) -> usize {
        let groups = match &self.groups {
            Groups::Dense { .. } => 0,
            Groups::Integers { keys, groups } => keys.len() * 8 + groups.capacity() * 5,
            Groups::Texts { ends, bytes, groups } => ends.len() * 8 + bytes.len() + groups.capacity() * 5,
        };
        let fields: usize = self.fields.iter().map(|(_, store)| store.heap_bytes()).sum();
        groups + self.starts.len() * 4 + fields
    }

    /// The rows of a key.
    pub(super) fn rows(&self, key: &Keys<'_>) -> Range<u32> {
        let group = match (&self.groups, key) {
            (Groups::Dense { low }, Keys::Int(key)) => {
                usize::try_from(key.wrapping_sub(*low).cast_unsigned()).ok().filter(|_| key >= low)
            }
            (Groups::Integers { keys, groups }, Keys::Int(wanted)) => {
                groups.find(key.hash(), |&group| keys.get(group as usize) == Some(wanted)).map(|&group| group as usize)
            }
            (Groups::Texts { ends, bytes, groups }, Keys::Text(wanted)) => {
                let same = |group: &u32| text_of(ends, bytes, *group as usize) == *wanted;
                groups.find(key.hash(), same).map(|&group| group as usize)
            }
            _ => None,
        };
        let Some(group) = group else { return 0..0 };
        match (self.starts.get(group), self.starts.get(group.saturating_add(1))) {
            (Some(&from), Some(&to)) => from..to,
            _ => 0..0,
        }
    }

    /// A column per field of the rows that match each row of a batch.
    pub(super) fn columns(&self, groups: &[Range<u32>]) -> impl Iterator<Item = Column> {
        self.fields.iter().map(|(field, store)| {
            let rows = groups.len();
            let mut nulls = NullBits::default();
            let mut values = no_values(field.kind);
            let mut list_ends = Vec::new();
            for (row, group) in groups.iter().enumerate() {
                if field.multi.is_some() {
                    let mut any = false;
                    for matching in group.clone() {
                        any |= store.push_to(matching, &mut values);
                    }
                    if !any {
                        nulls.set(row, rows);
                    }
                    list_ends.push(position(value_count(&values)));
                } else if group.is_empty() || !store.push_to(group.end - 1, &mut values) {
                    nulls.set(row, rows);
                    push_nothing(&mut values);
                }
            }
            if field.multi.is_some() {
                values = Values::List { ends: list_ends, items: Box::new(values) };
            }
            Column { nulls: nulls.into_inner(), values }
        })
    }
}

/// Appends a null's placeholder.
fn push_nothing(values: &mut Values) {
    match values {
        Values::Bool(all) => all.push(0),
        Values::Int(all) => all.push(0),
        Values::Float(all) => all.push(0.0),
        Values::Text { ends, bytes } => ends.push(position(bytes.len())),
        Values::List { ends, items } => ends.push(position(value_count(items))),
    }
}

fn text_of<'k>(ends: &[u64], bytes: &'k [u8], group: usize) -> &'k [u8] {
    let at = |group: usize| ends.get(group).map_or(0, |&end| usize::try_from(end).unwrap_or(usize::MAX));
    bytes.get(group.checked_sub(1).map_or(0, at)..at(group)).unwrap_or_default()
}

/// The rows that have a key, in the file's order.
fn keyed_rows(batches: &[RowBatch]) -> Vec<RowOf> {
    let mut rows = Vec::new();
    for (batch, of) in batches.iter().enumerate() {
        let nulls = of.columns.first().map(|column| column.nulls.as_slice()).unwrap_or_default();
        let keyed = |row: &usize| !nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
        rows.extend((0..of.rows).filter(keyed).map(|row| (position(batch), position(row))));
    }
    rows
}

/// The key of a row.
fn key_of(batches: &[RowBatch], (batch, row): RowOf) -> Keys<'_> {
    let row = row as usize;
    match batches.get(batch as usize).and_then(|batch| batch.columns.first()).map(|column| &column.values) {
        Some(Values::Int(all)) => Keys::Int(all.get(row).copied().unwrap_or(0)),
        Some(Values::Text { ends, bytes }) => {
            let at = |row: usize| ends.get(row).map_or(0, |&end| end as usize);
            Keys::Text(bytes.get(row.checked_sub(1).map_or(0, at)..at(row)).unwrap_or_default())
        }
        _ => Keys::Int(0),
    }
}

/// Sorts rows by key, the rows of a key in the file's order, and says where the groups begin.
fn group(batches: &[RowBatch], order: &mut [RowOf]) -> (Groups, Vec<u32>) {
    order.sort_by(|a, b| key_of(batches, *a).cmp(&key_of(batches, *b)));
    let key_at = |at: usize| order.get(at).map(|&row| key_of(batches, row));
    let mut starts = Vec::new();
    if let (Some(Keys::Int(low)), Some(Keys::Int(high))) = (key_at(0), order.len().checked_sub(1).and_then(key_at)) {
        let width = high.wrapping_sub(low).cast_unsigned();
        if width < order.len() as u64 * 4 + 1_024 {
            // Also for keys that do not occur, a start: where the next begins.
            for (at, &row) in order.iter().enumerate() {
                let Keys::Int(key) = key_of(batches, row) else { continue };
                let group = usize::try_from(key.wrapping_sub(low)).unwrap_or(0);
                while starts.len() <= group {
                    starts.push(position(at));
                }
            }
            starts.push(position(order.len()));
            return (Groups::Dense { low }, starts);
        }
    }
    let (mut integers, mut ends, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut groups: HashTable<u32> = HashTable::new();
    let mut hashes: Vec<u64> = Vec::new();
    let mut last = None;
    for (at, &row) in order.iter().enumerate() {
        let key = key_of(batches, row);
        if last == Some(key) {
            continue;
        }
        last = Some(key);
        let group = position(starts.len());
        starts.push(position(at));
        hashes.push(key.hash());
        match key {
            Keys::Int(key) => integers.push(key),
            Keys::Text(text) => {
                bytes.extend_from_slice(text);
                ends.push(bytes.len() as u64);
            }
        }
        let hash_of = |group: &u32| hashes.get(*group as usize).copied().unwrap_or_default();
        groups.insert_unique(key.hash(), group, hash_of);
    }
    starts.push(position(order.len()));
    let groups = if ends.is_empty() {
        Groups::Integers { keys: integers, groups }
    } else {
        Groups::Texts { ends, bytes, groups }
    };
    (groups, starts)
}
