//! Publishing a load into a silo that holds records: every record's entries are compared with those it had.
//!
//! A first pass gives every row that counts its slot; then threads take stretches of rows, no two of which are about one
//! record.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bitmap_silo::store::{StoreBatch, StoreBulkWriter};
use datasilo::IntKey;
use rayon::prelude::*;

use super::documents::DocumentReader;
use super::encode::{Target, field_at};
use super::fresh::{Writers, order_of_texts};
use super::order::Order;
use super::spool::Spool;
use super::{LoadMode, LoadReport, Loader};
use crate::document::{Document, FieldSet, Merge};
use crate::engine::layout::SLOTS_KEY;
use crate::engine::{Engine, View};
use crate::entries::{difference, entries};
use crate::error::{Error, Result};
use crate::terms::{NewTerms, SharedTerms};
use crate::value::{Id, Value, integer_key};

/// Operations on indexes that are collected before they are written.
const FLUSH_OPS: usize = 1 << 18;
/// Rows that a thread takes at a time.
const STRETCH: usize = if cfg!(test) { 16 } else { 1 << 14 };

/// A load row by row.
struct Rows<'a> {
    engine: &'a Engine,
    view: &'a View<'a>,
    mode: LoadMode,
    /// Positions of the fields that rows set, and of those that they add to.
    sets: Vec<usize>,
    adds: Vec<usize>,
    all: FieldSet,
}

/// Where the rows go.
#[derive(Default)]
struct Places {
    /// The slot of each row that is the last of its id; of the others no slot.
    slots: Vec<Option<u32>>,
    /// What earlier rows of an id say, by the row that is its last.
    earlier: HashMap<usize, Document>,
    slot_count: u64,
    /// New records whose ids are texts.
    created: Vec<(u32, String)>,
}

/// What a thread works with.
struct Worker<'a> {
    terms: SharedTerms<'a>,
    ops: StoreBatch,
    bytes: Vec<u8>,
}

pub(super) fn publish(load: Loader<'_>) -> Result<LoadReport> {
    let Loader { engine, mode, targets, spool, documents, ids, .. } = load;
    let silo = engine.silo()?;
    let mut state = engine.lock_writer();
    let view = engine.view()?;
    let documents = documents.into_reader();
    let order = if engine.schema().id.is_string() {
        order_of_texts(engine, &documents, &spool)?
    } else {
        Order::of(&ids.into_reader(), &spool)?
    };
    let spaces = &engine.spaces;
    let positions = |wanted: fn(&Target) -> Option<usize>| targets.iter().filter_map(wanted).collect();
    let rows = Rows {
        engine,
        view: &view,
        mode,
        sets: positions(|target| if let Target::Field(at) = target { Some(*at) } else { None }),
        adds: positions(|target| if let Target::Add(at) = target { Some(*at) } else { None }),
        all: FieldSet::all(engine.schema()),
    };
    let mut report = LoadReport { rows: documents.rows() as u64, ..LoadReport::default() };
    let places = rows.places(&documents, &spool, &order, &mut report)?;
    let bulk = engine.store.bulk(silo, &[&spaces.engine, &spaces.documents, &spaces.terms])?;
    let terms = Mutex::new(NewTerms::default());
    let writers = Writers::new(&bulk);
    let idle: Mutex<Vec<Worker<'_>>> = Mutex::default();
    let workers = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    (0..documents.rows().div_ceil(STRETCH)).into_par_iter().try_for_each(|stretch| {
        let stretch = stretch * STRETCH..((stretch + 1) * STRETCH).min(documents.rows());
        let taken = workers().pop();
        let mut worker = taken.unwrap_or_else(|| Worker::new(&terms));
        writers.with(|writer| {
            documents
                .for_each(&spool, stretch, |row, bytes| rows.row(row, bytes, &places, &mut worker, writer))
        })?;
        workers().push(worker);
        Ok::<_, Error>(())
    })?;
    writers.with(|writer| {
        for worker in workers().iter_mut() {
            writer.append(&mut worker.ops)?;
        }
        let created: Vec<(u32, &str)> =
            places.created.iter().map(|(slot, id)| (*slot, id.as_str())).collect();
        let mut labels = StoreBatch::new();
        engine.push_labels(&view, &created, &[], &mut labels)?;
        writer.append(&mut labels)?;
        writer.documents().put(&spaces.engine, SLOTS_KEY, places.slot_count.to_le_bytes())?;
        let terms = terms.lock().unwrap_or_else(PoisonError::into_inner);
        terms.mutations(|key, value| Ok(writer.documents().put(&spaces.terms, key, value)?))
    })?;
    writers.close()?;
    bulk.finish()?;
    state.forget_free();
    Ok(report)
}

impl<'a> Worker<'a> {
    fn new(terms: &'a Mutex<NewTerms>) -> Self {
        Self { terms: SharedTerms::new(terms), ops: StoreBatch::new(), bytes: Vec::new() }
    }
}

impl Rows<'_> {
    /// Gives every row that counts its slot, and gathers what rows before it say of the same record.
    fn places(
        &self,
        documents: &DocumentReader,
        spool: &Spool,
        order: &Order,
        report: &mut LoadReport,
    ) -> Result<Places> {
        let types = self.engine.documents();
        let slots = Vec::with_capacity(documents.rows());
        let mut places = Places { slots, slot_count: self.view.slot_count(), ..Places::default() };
        let mut open: HashMap<Id, Document> = HashMap::new();
        let id_kind = self.engine.schema().id.kind;
        let postings = self.view.reader().postings(&self.engine.layout.slots)?;
        let mut cursor = postings.unique_cursor();
        documents.for_each(spool, 0..documents.rows(), |row, bytes| {
            let id = types.decode_id(bytes)?;
            if order.rank(row).is_none() {
                report.repeated += 1;
                if self.mode == LoadMode::Merge {
                    let document = types.decode(bytes, &self.all)?;
                    let combined = self.after_earlier(open.remove(&id), document);
                    open.insert(id, combined);
                }
                places.slots.push(None);
                return Ok::<_, Error>(());
            }
            if let Some(earlier) = open.remove(&id) {
                places.earlier.insert(row, earlier);
            }
            let known = match &id {
                Id::Int(number) => cursor.get(integer_key(id_kind, *number))?,
                Id::Text(_) => self.view.slot_of(&id)?,
            };
            let slot = if let Some(slot) = known {
                report.changed += 1;
                slot
            } else {
                report.created += 1;
                places.new_slot(id)?
            };
            places.slots.push(Some(slot));
            Ok(())
        })?;
        debug_assert!(open.is_empty(), "every id has a last row");
        Ok(places)
    }

    /// Takes a row.
    fn row(
        &self,
        row: usize,
        bytes: &[u8],
        places: &Places,
        worker: &mut Worker<'_>,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        let Some(slot) = places.slots.get(row).copied().flatten() else { return Ok(()) };
        let types = self.engine.documents();
        let of_row = types.decode(bytes, &self.all)?;
        let existed = u64::from(slot) < self.view.slot_count();
        let old = existed.then(|| self.view.document(slot, &self.all)).transpose()?;
        let new = match self.mode {
            LoadMode::Replace => of_row,
            LoadMode::Merge => {
                let combined = self.after_earlier(places.earlier.get(&row).cloned(), of_row);
                types.merged(old.as_ref(), &self.merge(combined)?)?
            }
        };
        self.change(slot, old.as_ref(), &new, worker, writer)
    }

    /// A row on top of the earlier ones of its id.
    fn after_earlier(&self, earlier: Option<Document>, mut row: Document) -> Document {
        let Some(mut earlier) = earlier else { return row };
        for at in &self.adds {
            let (Some(before), Some(now)) = (earlier.values.get_mut(*at), row.values.get_mut(*at)) else {
                continue;
            };
            *now = match (std::mem::take(before), std::mem::take(now)) {
                (Value::List(mut before), Value::List(now)) => {
                    before.extend(now);
                    before.sort_by(Value::compare);
                    before.dedup();
                    Value::List(before)
                }
                (Value::Null, one) | (one, _) => one,
            };
        }
        row
    }

    /// What a row changes.
    fn merge(&self, row: Document) -> Result<Merge> {
        let Document { id, mut values } = row;
        let mut merge = Merge { id, set: Vec::new(), add: Vec::new(), remove: Vec::new() };
        let schema = self.engine.schema();
        for at in &self.sets {
            let value = values.get_mut(*at).map(std::mem::take).unwrap_or_default();
            merge.set.push((field_at(schema, *at)?.name.clone(), value));
        }
        for at in &self.adds {
            let value = values.get_mut(*at).map(std::mem::take).unwrap_or_default();
            if !value.is_null() {
                merge.add.push((field_at(schema, *at)?.name.clone(), value));
            }
        }
        Ok(merge)
    }

    fn change(
        &self,
        slot: u32,
        old: Option<&Document>,
        new: &Document,
        worker: &mut Worker<'_>,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        if old == Some(new) {
            return Ok(());
        }
        let Worker { terms, ops, bytes } = worker;
        bytes.clear();
        self.engine.documents().encode_into(new, bytes);
        writer.documents().put(&self.engine.spaces.documents, IntKey::from(slot), &*bytes)?;
        let schema = self.engine.schema();
        let old = old.map(|old| entries(schema, old)).unwrap_or_default();
        let new = entries(schema, new);
        let (gone, come) = difference(&old, &new);
        // What goes first: a column has one entry per slot.
        for (list, add) in [(gone, false), (come, true)] {
            for entry in list {
                self.engine.push_entry(self.view, terms, slot, entry, add, ops)?;
            }
        }
        if ops.len() >= FLUSH_OPS {
            writer.append(ops)?;
            ops.clear();
        }
        Ok(())
    }
}

impl Places {
    /// A slot for a new record.
    fn new_slot(&mut self, id: Id) -> Result<u32> {
        let slot = u32::try_from(self.slot_count).map_err(|_| {
            Error::Load("all 2^32 slots are used: split the records over several silos".into())
        })?;
        self.slot_count += 1;
        if let Id::Text(text) = id {
            self.created.push((slot, text));
        }
        Ok(slot)
    }
}
