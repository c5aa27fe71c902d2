//! Publishing a load into a silo that holds records, row by row: every record's entries are compared with those it had.

use std::collections::HashMap;

use bitmap_silo::store::StoreBatch;
use datasilo::IntKey;

use super::encode::{Target, field_at};
use super::fresh::order_of_texts;
use super::order::Order;
use super::{LoadMode, LoadReport, Loader};
use crate::document::{Document, FieldSet, Merge};
use crate::engine::layout::SLOTS_KEY;
use crate::engine::{Engine, View};
use crate::entries::{difference, entries};
use crate::error::{Error, Result};
use crate::terms::NewTerms;
use crate::value::{Id, Value};

/// Operations on indexes that are collected before they are written.
const FLUSH_OPS: usize = 1 << 18;

/// A load row by row.
struct Rows<'a> {
    engine: &'a Engine,
    view: &'a View<'a>,
    mode: LoadMode,
    /// Positions of the fields that rows set, and of those that they add to.
    sets: Vec<usize>,
    adds: Vec<usize>,
    all: FieldSet,
    /// What earlier rows of an id say, where a later one follows.
    earlier: HashMap<Id, Document>,
    slot_count: u64,
    created: Vec<(u32, String)>,
    terms: NewTerms,
    ops: StoreBatch,
    bytes: Vec<u8>,
    report: LoadReport,
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
    let bulk = engine.store.bulk(silo, &[&spaces.engine, &spaces.documents, &spaces.terms])?;
    let positions = |wanted: fn(&Target) -> Option<usize>| targets.iter().filter_map(wanted).collect();
    let mut rows = Rows {
        engine,
        view: &view,
        mode,
        sets: positions(|target| if let Target::Field(at) = target { Some(*at) } else { None }),
        adds: positions(|target| if let Target::Add(at) = target { Some(*at) } else { None }),
        all: FieldSet::all(engine.schema()),
        earlier: HashMap::new(),
        slot_count: view.slot_count(),
        created: Vec::new(),
        terms: NewTerms::default(),
        ops: StoreBatch::new(),
        bytes: Vec::new(),
        report: LoadReport { rows: documents.rows() as u64, ..LoadReport::default() },
    };
    let mut writer = bulk.writer();
    documents.for_each(&spool, 0..documents.rows(), |row, bytes| {
        rows.row(bytes, order.rank(row).is_some(), &mut writer)
    })?;
    debug_assert!(rows.earlier.is_empty(), "every id has a last row");
    let created: Vec<(u32, &str)> = rows.created.iter().map(|(slot, id)| (*slot, id.as_str())).collect();
    engine.push_labels(&view, &created, &[], &mut rows.ops)?;
    writer.append(&mut rows.ops)?;
    writer.documents().put(&spaces.engine, SLOTS_KEY, rows.slot_count.to_le_bytes())?;
    rows.terms.mutations(|key, value| Ok(writer.documents().put(&spaces.terms, key, value)?))?;
    writer.close()?;
    let report = rows.report;
    bulk.finish()?;
    state.forget_free();
    Ok(report)
}

type Writer<'b> = bitmap_silo::store::StoreBulkWriter<'b>;

impl Rows<'_> {
    /// Takes the next row; `last` says that no later one has its id.
    fn row(&mut self, bytes: &[u8], last: bool, writer: &mut Writer<'_>) -> Result<()> {
        let types = self.engine.documents();
        if !last {
            self.report.repeated += 1;
            if self.mode == LoadMode::Merge {
                let row = types.decode(bytes, &self.all)?;
                let combined = self.after_earlier(row);
                self.earlier.insert(combined.id.clone(), combined);
            }
            return Ok(());
        }
        let row = types.decode(bytes, &self.all)?;
        let slot = self.view.slot_of(&row.id)?;
        let old = slot.map(|slot| self.view.document(slot, &self.all)).transpose()?;
        let new = match self.mode {
            LoadMode::Replace => row,
            LoadMode::Merge => {
                let combined = self.after_earlier(row);
                types.merged(old.as_ref(), &self.merge(combined)?)?
            }
        };
        self.change(slot, old.as_ref(), &new, writer)
    }

    /// A row on top of the earlier ones of its id.
    fn after_earlier(&mut self, mut row: Document) -> Document {
        let Some(mut earlier) = self.earlier.remove(&row.id) else { return row };
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
        &mut self,
        slot: Option<u32>,
        old: Option<&Document>,
        new: &Document,
        writer: &mut Writer<'_>,
    ) -> Result<()> {
        let slot = if let Some(slot) = slot {
            self.report.changed += 1;
            slot
        } else {
            self.report.created += 1;
            self.new_slot(&new.id)?
        };
        if old == Some(new) {
            return Ok(());
        }
        self.bytes.clear();
        self.engine.documents().encode_into(new, &mut self.bytes);
        writer.documents().put(&self.engine.spaces.documents, IntKey::from(slot), &self.bytes)?;
        let schema = self.engine.schema();
        let old = old.map(|old| entries(schema, old)).unwrap_or_default();
        let new = entries(schema, new);
        let (gone, come) = difference(&old, &new);
        // What goes first: a column has one entry per slot.
        for (list, add) in [(gone, false), (come, true)] {
            for entry in list {
                self.engine.push_entry(self.view, &mut self.terms, slot, entry, add, &mut self.ops)?;
            }
        }
        if self.ops.len() >= FLUSH_OPS {
            writer.append(&mut self.ops)?;
            self.ops.clear();
        }
        Ok(())
    }

    fn new_slot(&mut self, id: &Id) -> Result<u32> {
        let slot = u32::try_from(self.slot_count).map_err(|_| {
            Error::Load("all 2^32 slots are used: split the records over several silos".into())
        })?;
        self.slot_count += 1;
        if let Id::Text(text) = id {
            self.created.push((slot, text.clone()));
        }
        Ok(slot)
    }
}
