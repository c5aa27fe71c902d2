//! Publishing a load that adds integers to one field of records, such as a file of (record, tag) pairs.
//!
//! Numbers are gathered by record; documents are rewritten with the grown set spliced in, and the bitmap of each
//! value is united with the one that was there. Values of the field apart, the result is that of the rows one by one.

use std::sync::{Mutex, PoisonError};

use bitmap_silo::store::{StoreBatch, StoreBulkWriter};
use bitmap_silo::{BitmapView, union};
use datasilo::IntKey;
use rayon::prelude::*;

use super::bitmaps::{BitmapOf, build_bitmaps, part_ranges};
use super::by_slot::Records;
use super::fresh::Writers;
use super::order::{ByRank, Cell, Order};
use super::{LoadMode, LoadReport, Loader, Target};
use crate::document::{Merge, SetBefore, SetRoom};
use crate::engine::layout::{FieldIndexes, SLOTS_KEY, State};
use crate::engine::{Engine, View};
use crate::entries::{Entry, entries};
use crate::error::{Error, Result};
use crate::schema::{Field, Schema};
use crate::terms::{NewTerms, code_of_key};
use crate::value::{Id, Value, value_of_key};

/// Operations on indexes that are collected before they are written.
const FLUSH_OPS: usize = 1 << 16;
/// Documents that are looked up together.
const WINDOW: usize = 32;

/// The position of the field to which a load adds, if that is all it does.
pub(super) fn added_field(schema: &Schema, mode: LoadMode, targets: &[Target]) -> Option<usize> {
    let mut found = None;
    for target in targets {
        match target {
            Target::Id | Target::Ignore => {}
            Target::Add(at) if found.is_none() => found = Some(*at),
            Target::Add(_) | Target::Field(_) => return None,
        }
    }
    let field = schema.fields.get(found?)?;
    let plain = field.kind.is_integer() && field.default.is_none() && schema.id.kind.is_integer();
    (mode == LoadMode::Merge && plain).then_some(found?)
}

/// What the parts of the load share.
struct Adds<'a, 'b> {
    engine: &'a Engine,
    view: &'a View<'a>,
    at: usize,
    field: &'a Field,
    indexes: &'a FieldIndexes,
    records: &'a Records,
    column: &'a ByRank<'a>,
    slot_count: u32,
    writers: &'a Writers<'b>,
    terms: &'a Mutex<NewTerms>,
}

/// What a part of the documents amounts to.
#[derive(Default)]
struct Counts {
    created: u64,
    changed: u64,
}

pub(super) fn publish(load: Loader<'_>, at: usize) -> Result<LoadReport> {
    let Loader { engine, spool, ids, mut fields, .. } = load;
    let silo = engine.silo()?;
    let mut state = engine.lock_writer();
    let view = engine.view()?;
    let ids = ids.into_reader();
    let rows = ids.rows() as u64;
    let field = super::encode::field_at(engine.schema(), at)?;
    let indexes = view.indexes(at)?;
    let spooled = fields.swap_remove(at).column.into_reader();
    let records = Records::find(&view, &ids, &spool)?;
    let gathered = records.gather(&spooled, &spool)?;
    let slots_after = records.slot_count()?;
    let slot_count = u32::try_from(slots_after)
        .map_err(|_| Error::Load("every slot is used: split the records over several silos".into()))?;
    let order = Order::Identity { records: slot_count };
    let column = ByRank::new(&gathered, &spool, &order)?;

    let spaces = &engine.spaces;
    let bulk = engine.store.bulk(silo, &[&spaces.engine, &spaces.documents, &spaces.terms])?;
    let writers = Writers::new(&bulk);
    let terms = Mutex::default();
    let adds = Adds {
        engine,
        view: &view,
        at,
        field,
        indexes,
        records: &records,
        column: &column,
        slot_count,
        writers: &writers,
        terms: &terms,
    };
    let (written, built) = rayon::join(|| adds.write_documents(), || adds.index(&spool));
    let Counts { created, changed } = written?;
    built?;
    let terms = terms.into_inner().unwrap_or_else(PoisonError::into_inner);
    writers.with(|writer| {
        writer.documents().put(&spaces.engine, SLOTS_KEY, slots_after.to_le_bytes())?;
        terms.mutations(|key, value| Ok(writer.documents().put(&spaces.terms, key, value)?))
    })?;
    writers.close()?;
    bulk.finish()?;
    state.forget_free();
    Ok(LoadReport { rows, created, changed, repeated: rows - created - changed, ..LoadReport::default() })
}

impl Adds<'_, '_> {
    fn code(&self, number: u64) -> Result<u32> {
        let of = (self.field.number(), self.field.kind);
        let mut terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        terms.assign(&self.engine.terms, self.view.snapshot(), of, code_of_key(self.field.kind, number))
    }

    /// The bitmaps or postings of the added values.
    fn index(&self, spool: &super::spool::Spool) -> Result<()> {
        if let Some(filter) = &self.indexes.filter {
            let reader = self.view.reader()?;
            build_bitmaps(self.column, self.slot_count, 0, true, spool, &|bitmap, stored| {
                let BitmapOf::Number(number) = bitmap else { return Ok(()) };
                let code = self.code(number)?;
                let added = BitmapView::open(stored).map_err(|why| Error::Load(why.to_string()))?;
                let before = reader.bitmap(filter, code)?;
                self.writers.with(|writer| {
                    if before.folded_len() == 0 && !before.is_pending() {
                        return Ok(writer.put_bitmap(filter, code, added)?);
                    }
                    let united = union([before.view(), added]);
                    Ok(writer.put_bitmap(filter, code, &united)?)
                })
            })?;
        }
        if let Some(high) = &self.indexes.high {
            let mut ops = StoreBatch::new();
            self.writers.with(|writer| {
                self.column.for_each(0..self.slot_count as usize, |slot, cell| {
                    if let Cell::Numbers(numbers) = cell {
                        for number in numbers {
                            ops.add(high, *number, slot);
                        }
                    }
                    flush(&mut ops, writer, FLUSH_OPS)
                })?;
                flush(&mut ops, writer, 1)
            })?;
        }
        Ok(())
    }

    fn write_documents(&self) -> Result<Counts> {
        let parts: Vec<Counts> = part_ranges(self.slot_count, 0)
            .into_par_iter()
            .map(|slots| {
                let mut counts = Counts::default();
                self.writers.with(|writer| {
                    let mut window = Window::default();
                    let mut ops = StoreBatch::new();
                    self.column.for_each(slots, |slot, cell| {
                        let Cell::Numbers(numbers) = cell else { return Ok(()) };
                        if u64::from(slot) < self.records.first_new {
                            counts.changed += 1;
                            window.push(slot, numbers);
                            if window.slots.len() == WINDOW {
                                self.grow(&mut window, &mut ops, writer)?;
                            }
                        } else {
                            counts.created += 1;
                            self.create(slot, numbers, &mut ops, writer)?;
                        }
                        flush(&mut ops, writer, FLUSH_OPS)
                    })?;
                    self.grow(&mut window, &mut ops, writer)?;
                    flush(&mut ops, writer, 1)
                })?;
                Ok(counts)
            })
            .collect::<Result<_>>()?;
        Ok(parts.into_iter().fold(Counts::default(), |all, part| Counts {
            created: all.created + part.created,
            changed: all.changed + part.changed,
        }))
    }

    /// Rewrites the documents of a window with their grown sets.
    fn grow(
        &self,
        window: &mut Window,
        ops: &mut StoreBatch,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        let keyspace = &self.engine.spaces.documents;
        let types = self.engine.documents();
        let state = &self.engine.layout.state;
        let number = self.field.number();
        let keys: Vec<IntKey> = window.slots.iter().map(|slot| IntKey::from(*slot)).collect();
        let Window { slots, ends, numbers, integers, room, bytes } = window;
        let mut result = Ok(());
        self.view.snapshot().multi_get_each(keyspace, &keys, |at, old| {
            if result.is_err() {
                return;
            }
            let slot = slots.get(at).copied().unwrap_or(0);
            result = (|| {
                let old =
                    old.ok_or_else(|| Error::damaged("indexes", format!("slot {slot} has no document")))?;
                integers.clear();
                let added = numbers.get(super::encode::span(ends, at)).unwrap_or_default();
                integers.extend(added.iter().filter_map(|key| match value_of_key(self.field.kind, *key) {
                    Value::Int(x) => Some(x),
                    _ => None,
                }));
                // Added nothing: null stays null.
                if integers.is_empty() {
                    return Ok(());
                }
                bytes.clear();
                let before = types.add_to_set(&old, self.at, integers, room, bytes)?;
                writer.documents().put(keyspace, IntKey::from(slot), &bytes)?;
                // A set of a field without index has no state to leave.
                match before {
                    _ if self.field.index.is_none() => {}
                    SetBefore::Null => ops.clear_bit(state, State::Null(number).code(), slot),
                    SetBefore::Empty => ops.clear_bit(state, State::Empty(number).code(), slot),
                    SetBefore::Full => {}
                }
                Ok(())
            })();
        })?;
        slots.clear();
        ends.clear();
        numbers.clear();
        result
    }

    /// Creates a record that has nothing but the set.
    fn create(
        &self,
        slot: u32,
        numbers: &[u64],
        ops: &mut StoreBatch,
        writer: &mut StoreBulkWriter<'_>,
    ) -> Result<()> {
        let schema = self.engine.schema();
        let unknown = usize::try_from(u64::from(slot) - self.records.first_new).unwrap_or(usize::MAX);
        let key = self.records.unknown.get(unknown).copied().unwrap_or(0);
        let id = match value_of_key(schema.id.kind, key) {
            Value::Int(x) => Id::Int(x),
            _ => return Err(Error::Load("ids of this load must be integers".into())),
        };
        let values = numbers.iter().map(|number| value_of_key(self.field.kind, *number)).collect();
        let mut merge = Merge { id, set: Vec::new(), add: Vec::new(), remove: Vec::new() };
        if !numbers.is_empty() {
            merge.add.push((self.field.name.clone(), Value::List(values)));
        }
        let document = self.engine.documents().merged(None, &merge)?;
        writer.documents().put(
            &self.engine.spaces.documents,
            IntKey::from(slot),
            self.engine.documents().encode(&document),
        )?;
        for entry in entries(schema, &document) {
            // The values come with all others.
            let added = matches!(&entry, Entry::Value(at, _) | Entry::High(at, _) if *at == self.at);
            if !added {
                let mut terms = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
                self.engine.push_entry(self.view, &mut terms, slot, &entry, true, ops)?;
            }
        }
        Ok(())
    }
}

/// Documents that are looked up together, with what is added to each.
#[derive(Default)]
struct Window {
    slots: Vec<u32>,
    ends: Vec<u32>,
    numbers: Vec<u64>,
    integers: Vec<i128>,
    room: SetRoom,
    bytes: Vec<u8>,
}

impl Window {
    fn push(&mut self, slot: u32, numbers: &[u64]) {
        self.slots.push(slot);
        self.numbers.extend_from_slice(numbers);
        self.ends.push(self.numbers.len() as u32);
    }
}

/// Writes operations once there are so many.
fn flush(ops: &mut StoreBatch, writer: &mut StoreBulkWriter<'_>, least: usize) -> Result<()> {
    if ops.len() >= least {
        writer.append(ops)?;
        ops.clear();
    }
    Ok(())
}
