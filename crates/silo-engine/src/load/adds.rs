//! Publishing a load that adds integers to one field of records, such as a file of (record, tag) pairs.
//!
//! Part of the slots by part, documents are rewritten with the grown set spliced in, and bitmaps of the added values are
//! built; then the bitmap of each value is united with the one that was there. The result is that of the rows one by one.

use std::sync::{Mutex, PoisonError};

use bitmap_silo::store::{StoreBatch, StoreBulkWriter};
use bitmap_silo::{BitmapView, union};
use datasilo::IntKey;
use rayon::prelude::*;

use super::added_rows::{AddedRows, PartRows};
use super::bitmaps::{BitmapOf, Part, PartBuilder, emit_bitmaps};
use super::fresh::Writers;
use super::spool::Spool;
use super::{LoadMode, LoadReport, Loader, Target};
use crate::document::{Merge, SetBefore, SetRoom};
use crate::engine::layout::{FieldIndexes, SLOTS_KEY, State};
use crate::engine::{Engine, View};
use crate::entries::{Entry, entries};
use crate::error::{Error, Result};
use crate::schema::{Field, Schema};
use crate::terms::{AssignCodes, NewTerms, code_of_key};
use crate::value::{Id, Value, integer_of_key, value_of_key};

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
    added: &'a AddedRows,
    spool: &'a Spool,
    writers: &'a Writers<'b>,
    terms: &'a Mutex<NewTerms>,
    /// Memory for parts that no thread uses at the moment.
    idle: Mutex<Vec<PartMemory>>,
}

/// What a thread needs for a part.
#[derive(Default)]
struct PartMemory {
    rows: PartRows,
    bitmaps: PartBuilder,
}

/// What the records of a part come to.
#[derive(Default)]
struct PartDone {
    created: u64,
    changed: u64,
    bitmaps: Option<Part>,
}

pub(super) fn publish(load: Loader<'_>, at: usize) -> Result<LoadReport> {
    let Loader { engine, spool, ids, mut fields, accepted, .. } = load;
    let silo = engine.silo()?;
    let mut state = engine.lock_writer();
    let view = engine.view()?;
    let rows = accepted.into_inner();
    let field = super::encode::field_at(engine.schema(), at)?;
    let indexes = view.indexes(at)?;
    let lists = fields.swap_remove(at).column.into_reader();
    let added = AddedRows::find(&view, &ids.into_reader(), lists, &spool)?;
    let slots_after = added.slot_count();

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
        added: &added,
        spool: &spool,
        writers: &writers,
        terms: &terms,
        idle: Mutex::default(),
    };
    let parts = (0..added.parts()).into_par_iter();
    let done: Vec<PartDone> = parts.map(|part| adds.part(part)).collect::<Result<_>>()?;
    let created: u64 = done.iter().map(|part| part.created).sum();
    let changed: u64 = done.iter().map(|part| part.changed).sum();
    adds.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let bitmaps: Vec<Part> = done.into_iter().filter_map(|part| part.bitmaps).collect();
    adds.write_bitmaps(&bitmaps)?;
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

    /// The documents of a part's records and its part of the indexes.
    fn part(&self, at: usize) -> Result<PartDone> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut memory = taken.unwrap_or_default();
        let PartMemory { rows, bitmaps } = &mut memory;
        self.added.read_part(at, self.spool, rows)?;
        let mut done = PartDone::default();
        let mut ops = StoreBatch::new();
        self.writers.with(|writer| {
            let mut window = Window::default();
            rows.for_each(|slot, numbers| {
                if self.indexes.filter.is_some() {
                    for number in numbers {
                        bitmaps.push(slot, BitmapOf::Number(*number));
                    }
                }
                if let Some(high) = &self.indexes.high {
                    for number in numbers {
                        ops.add(high, *number, slot);
                    }
                }
                if u64::from(slot) < self.added.first_new {
                    done.changed += 1;
                    window.push(slot, numbers);
                    if window.slots.len() == WINDOW {
                        self.grow(&mut window, &mut ops, writer)?;
                    }
                } else {
                    done.created += 1;
                    self.create(slot, numbers, &mut ops, writer)?;
                }
                flush(&mut ops, writer, FLUSH_OPS)
            })?;
            self.grow(&mut window, &mut ops, writer)?;
            flush(&mut ops, writer, 1)
        })?;
        if self.indexes.filter.is_some() {
            done.bitmaps = Some(bitmaps.finish(self.spool)?);
        }
        idle().push(memory);
        Ok(done)
    }

    /// Unites the bitmaps of the added values with those that are there.
    fn write_bitmaps(&self, parts: &[Part]) -> Result<()> {
        let Some(filter) = &self.indexes.filter else { return Ok(()) };
        let reader = self.view.reader();
        emit_bitmaps(parts, self.spool, &|bitmap, stored| {
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
        })
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
        let Window { slots, ends, numbers, room, bytes } = window;
        let mut result = Ok(());
        self.view.snapshot().multi_get_parts(keyspace, &keys, |at, old| {
            if result.is_err() {
                return;
            }
            let slot = slots.get(at).copied().unwrap_or(0);
            result = (|| {
                let old = old
                    .and_then(|parts| parts.base)
                    .ok_or_else(|| Error::damaged("indexes", format!("slot {slot} has no document")))?;
                let added = numbers.get(super::encode::span(ends, at)).unwrap_or_default();
                // Added nothing: null stays null.
                if added.is_empty() {
                    return Ok(());
                }
                bytes.clear();
                let before = types.add_to_set(old.bytes()?, self.at, added, room, bytes)?;
                writer.documents().replace(keyspace, &old, &bytes)?;
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
        let unknown = usize::try_from(u64::from(slot) - self.added.first_new).unwrap_or(usize::MAX);
        let key = self.added.unknown.get(unknown).copied().unwrap_or(0);
        let id = Id::Int(integer_of_key(schema.id.kind, key));
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
                self.engine.push_entry(self.view, &mut *terms, slot, &entry, true, ops)?;
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
