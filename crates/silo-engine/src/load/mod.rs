//! Bulk loads: row batches in, one commit out.
//!
//! Threads push batches, each through a [`LoadWriter`] of its own. Documents are encoded and, with the numbers by
//! which fields are indexed, written to temporary files; [`Loader::finish`] orders the records by id, which
//! gives them their slots, builds every index from its column, and publishes all in one commit. Until then the silo is
//! as it was, and readers and writers go on.
//!
//! * `encode` — rows to documents. `fields`, `terms` — values to numbers. `spool`, `documents` — temporary files.
//! * `order` — ids to slots. `bitmaps`, `columns` — columns to indexes. `pairs`, `short_sort` — sorting.
//! * `fresh` — publishes a load into an empty silo. `adds`, `added_rows` — one that adds to a field of records. `rows` — any
//!   other, row by row.

#![expect(
    clippy::cast_possible_truncation,
    reason = "slots, rows and what a batch holds are counted in 32 bits, which is checked where they come in"
)]

mod added_rows;
mod adds;
mod bitmaps;
mod columns;
mod documents;
mod encode;
mod fields;
mod fresh;
mod order;
mod pairs;
mod rows;
mod short_sort;
mod spool;
mod terms;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::columns::RowBatch;
use crate::engine::{Engine, View};
use crate::error::{Error, Result};

use documents::{DocumentBlock, SpooledDocuments};
pub use encode::Target;
use encode::{Rows, Scratch, field_at};
use fields::{FieldScratch, FieldSpool};
use spool::{Spool, SpooledColumn};

/// What a load does with records that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMode {
    /// A row is the whole record.
    Replace,
    /// A row changes the fields that it has columns for, and creates records that do not exist.
    Merge,
}

/// What a load did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Rows that were accepted.
    pub rows: u64,
    /// Records that were not there before.
    pub created: u64,
    /// Records that were there and were changed, or written again.
    pub changed: u64,
    /// Rows whose id a later row of the same load has (in a merge, an earlier or later one).
    pub repeated: u64,
    /// Rows that [`LoadWriter::push`] refused.
    pub refused: u64,
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its number in the batch, from 0.
    pub row: usize,
    /// Why.
    pub reason: String,
}

/// How a load is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The silo was empty when the load began: indexes are built from columns.
    Fresh,
    /// The load only adds to the field at this position.
    Adds(usize),
    /// Record by record.
    Rows,
}

/// A load under way. Dropped without [`Loader::finish`] it leaves no trace.
#[derive(Debug)]
pub struct Loader<'e> {
    engine: &'e Engine,
    mode: LoadMode,
    targets: Vec<Target>,
    way: Way,
    spool: Spool,
    documents: SpooledDocuments,
    ids: SpooledColumn,
    fields: Vec<FieldSpool>,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// In a merge whose rows do not bring it: the name of a field that no record may be without. They can change records
    /// only, of which this view knows.
    lacking: Option<(String, View<'e>)>,
}

/// One thread's part of a load.
#[derive(Debug)]
pub struct LoadWriter<'l> {
    loader: &'l Loader<'l>,
    scratch: Scratch,
    fields: FieldScratch,
    block: DocumentBlock,
    chosen: Vec<u32>,
}

impl Engine {
    /// Begins a load. `targets` says where each column of the batches goes: one column is the id, fields without a
    /// column are null or have their default. Up to `memory_bytes` of what was read stay in memory until it is indexed,
    /// more goes through temporary files. What else a load keeps in memory, besides what its threads work on and up to a
    /// GiB to sort in, is 20 bytes a row of a silo's first load, and up to 40 of others: places of documents, and ranks
    /// where ids do not ascend.
    ///
    /// # Errors
    /// [`Error::Load`] for targets that do not fit the schema or each other, and failures to make temporary files.
    pub fn loader(&self, mode: LoadMode, targets: Vec<Target>, memory_bytes: u64) -> Result<Loader<'_>> {
        self.silo()?;
        let schema = self.schema();
        if targets.iter().filter(|target| **target == Target::Id).count() != 1 {
            return Err(Error::Load(format!("exactly one column must be the id, {:?}", schema.id.name)));
        }
        let mut seen = vec![false; schema.fields.len()];
        for target in &targets {
            let (Target::Field(at) | Target::Add(at)) = target else { continue };
            let field = field_at(schema, *at)?;
            if seen.get_mut(*at).is_some_and(|seen| std::mem::replace(seen, true)) {
                return Err(Error::Load(format!("two columns go to field {:?}", field.name)));
            }
            if field.compute.is_some() {
                return Err(Error::Load(format!("field {:?} is computed and cannot be loaded", field.name)));
            }
            if matches!(target, Target::Add(_)) {
                if mode != LoadMode::Merge {
                    return Err(Error::Load("values are added to fields by a load in mode merge".into()));
                }
                if !field.multi {
                    return Err(Error::Load(format!(
                        "field {:?} has one value; values are added to fields with several (multi = true)",
                        field.name
                    )));
                }
            }
        }
        let way = match adds::added_field(schema, mode, &targets) {
            Some(at) => Way::Adds(at),
            None if mode == LoadMode::Replace && self.view()?.slot_count() == 0 => Way::Fresh,
            None => Way::Rows,
        };
        let brought = |at: usize| {
            targets.iter().any(|target| matches!(target, Target::Field(x) | Target::Add(x) if *x == at))
        };
        let mut required = schema
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| !field.nullable && field.default.is_none() && field.compute.is_none());
        let lacking = match required.find(|(at, _)| !brought(*at)) {
            Some((_, field)) if mode == LoadMode::Merge => Some((field.name.clone(), self.view()?)),
            _ => None,
        };
        Ok(Loader {
            engine: self,
            mode,
            targets,
            way,
            spool: Spool::create_in(self.path(), memory_bytes)?,
            documents: SpooledDocuments::default(),
            ids: SpooledColumn::default(),
            fields: schema.fields.iter().map(|_| FieldSpool::default()).collect(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lacking,
        })
    }
}

impl Loader<'_> {
    /// A writer for one thread.
    #[must_use]
    pub fn writer(&self) -> LoadWriter<'_> {
        LoadWriter {
            loader: self,
            scratch: Scratch::default(),
            fields: FieldScratch::default(),
            block: DocumentBlock::default(),
            chosen: Vec::new(),
        }
    }

    /// Bytes of temporary files so far.
    #[must_use]
    pub fn temporary_bytes(&self) -> u64 {
        self.spool.file_bytes()
    }

    /// Publishes the load, durably: all of it or, after an error, nothing. Works on the threads of the current rayon
    /// pool. Writers wait meanwhile; readers do not.
    ///
    /// # Errors
    /// [`Error::Load`] if records were written to an empty silo since the load began, and those of the store
    /// below.
    pub fn finish(self) -> Result<LoadReport> {
        let refused = self.refused.load(Ordering::Relaxed);
        let report = match self.way {
            Way::Fresh => fresh::publish(self)?,
            Way::Adds(at) => adds::publish(self, at)?,
            Way::Rows => rows::publish(self)?,
        };
        Ok(LoadReport { refused, ..report })
    }
}

impl LoadWriter<'_> {
    /// Takes a batch. Batches may come in any order; of two rows with one id the one at the later position counts.
    /// Returns the rows that were refused; the others are part of the load.
    ///
    /// # Errors
    /// [`Error::Load`] for columns of another type than the schema's, and failures to write, after which the load must be
    /// dropped.
    pub fn push(&mut self, batch: &RowBatch) -> Result<Vec<Refusal>> {
        let Loader { engine, mode, targets, way, spool, documents, ids, fields, accepted, refused, lacking } =
            self.loader;
        let (types, schema) = (engine.documents(), engine.schema());
        let whole = *mode == LoadMode::Replace;
        let rows = Rows::new(types, targets, batch, whole)?;
        let long = fields::with_long_texts(schema, &rows);
        let mut refusals = Vec::new();
        self.chosen.clear();
        let mut first = 0;
        let adds = matches!(way, Way::Adds(_));
        let unknown = match lacking {
            Some((field, view)) => rows.unknown(view, schema, field)?,
            None => Vec::new(),
        };
        let mut unknown = unknown.into_iter().peekable();
        if adds && long.is_empty() && unknown.peek().is_none() && rows.all_taken() {
            self.chosen.extend(0..rows.count as u32);
        }
        for row in self.chosen.len()..rows.count {
            let unknown = unknown.next_if(|refusal| refusal.row == row);
            let reason = rows
                .refusal(schema, row)
                .or_else(|| fields::refusal(schema, &rows, &long, row))
                .or_else(|| unknown.map(|refusal| refusal.reason));
            if let Some(reason) = reason {
                refusals.push(Refusal { row, reason });
                continue;
            }
            self.chosen.push(u32::try_from(row).unwrap_or(u32::MAX));
            if adds {
                continue;
            }
            rows.encode(types, row, &mut self.scratch, &mut self.block.bytes);
            self.block.end_document();
            if !self.block.has_room() {
                documents.append(spool, rows.first_row + first as u64, &mut self.block)?;
                first = row + 1;
            }
        }
        refused.fetch_add(refusals.len() as u64, Ordering::Relaxed);
        if self.chosen.is_empty() {
            return Ok(refusals);
        }
        accepted.fetch_add(self.chosen.len() as u64, Ordering::Relaxed);
        if let Way::Adds(at) = way {
            let columns = (ids, fields.get(*at));
            fields::append_added(schema, &rows, &self.chosen, spool, (*at, columns), &mut self.fields)?;
            return Ok(refusals);
        }
        fields::append_ids(schema, &rows, &self.chosen, spool, ids, &mut self.fields)?;
        if *way == Way::Fresh {
            fields::append(schema, &rows, &self.chosen, spool, fields, &mut self.fields)?;
        }
        documents.append(spool, rows.first_row + first as u64, &mut self.block)?;
        Ok(refusals)
    }
}
