//! Rows that change records: gathered by record, then applied to documents.
//!
//! A row becomes a small *change*: which record, which row, and a value for each column. Changes are put into
//! *partitions* by the record's slot, so that the changes of one partition fit into memory and its documents are read in
//! order; those of records that are not there yet go by the hash of their id.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bitmap_silo::store::{StoreBulkWriter, StoredPostings};
use datasilo::IntKey;

use super::batch::{Checked, cell};
use super::build::End;
use super::ids::TextIds;
use super::sinks::{Sinks, bit};
use super::{CodeCache, LoadReport, Loader};
use crate::document::bytes::{Bytes, put_varint};
use crate::document::{Document, FieldSet, field_value, put_field_value};
use crate::engine::layout::State;
use crate::entries::{Entry, difference, entries};
use crate::error::{Error, Result};
use crate::terms::{Coded, code_of_term};
use crate::value::{Id, Value, integer_key};

/// Slots of a partition.
pub(super) const PARTITION_SLOTS: u32 = 1 << 17;
/// Partitions of records that are not there yet.
const NEW_PARTITIONS: u64 = 64;

/// Changes of one partition, as one thread gathers them.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) buffer: Vec<u8>,
    /// File, first byte, bytes.
    spilled: Vec<(Arc<File>, u64, u64)>,
}

/// Changes by partition.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// By slot.
    existing: Vec<Part>,
    /// By hash of the id.
    new: Vec<Part>,
    /// By slot, of the load that [`super::pairs`] is for: a slot and a number each.
    pub(super) pairs: Vec<Part>,
    file: Option<(Arc<File>, u64)>,
    pub(super) bytes: usize,
    limit: usize,
    /// The id that was looked up last, and its slot.
    pub(super) last: Option<(Id, Option<u32>)>,
}

impl Part {
    /// Everything, from memory and from files.
    fn read(&self, out: &mut Vec<u8>) -> Result<()> {
        for (file, start, len) in &self.spilled {
            let at = out.len();
            out.resize(at + usize::try_from(*len).unwrap_or(0), 0);
            let room = out.get_mut(at..).unwrap_or_default();
            file.read_exact_at(room, *start).map_err(|source| spill_error(Path::new("the silo"), source))?;
        }
        out.extend_from_slice(&self.buffer);
        Ok(())
    }
}

fn spill_error(path: &Path, source: std::io::Error) -> Error {
    datasilo::Error::Io { action: "spill to a temporary file in", path: path.to_owned(), source }.into()
}

impl Partitions {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The slot of a record, if it is there.
    pub(super) fn slot_of(
        &mut self,
        loader: &Loader<'_>,
        postings: &StoredPostings<'_>,
        id: Id,
    ) -> Result<Option<u32>> {
        if let Some((last, slot)) = self.last.as_ref().filter(|(last, _)| *last == id) {
            debug_assert_eq!(*last, id, "the slot is that of the last id");
            return Ok(*slot);
        }
        let slot = match &id {
            Id::Int(x) => postings.get_unique(integer_key(loader.engine.schema().id.kind, *x))?,
            Id::Text(_) => loader.view.slot_of(&id)?,
        };
        self.last = Some((id, slot));
        Ok(slot)
    }

    /// Takes some rows of a batch.
    pub(super) fn push(
        &mut self,
        loader: &Loader<'_>,
        batch: &Checked<'_>,
        rows: std::ops::Range<usize>,
        first_row: u64,
    ) -> Result<()> {
        let schema = loader.engine.schema();
        let postings = loader.view.reader()?.postings(&loader.engine.layout().slots)?;
        let mut change = Vec::new();
        for row in rows {
            let id = batch.id(schema.id.kind, row);
            let slot = self.slot_of(loader, &postings, id.clone())?;
            change.clear();
            let part = if let Some(slot) = slot {
                change.extend_from_slice(&slot.to_le_bytes());
                place(&mut self.existing, (slot / PARTITION_SLOTS) as usize)
            } else {
                let start = change.len();
                put_field_value(&mut change, schema.id.kind, &id.to_value());
                let hash = xxhash_rust::xxh3::xxh3_64(change.get(start..).unwrap_or_default());
                place(&mut self.new, usize::try_from(hash % NEW_PARTITIONS).unwrap_or(0))
            };
            put_varint(&mut change, first_row + row as u64);
            for (_, at, _) in &loader.targets.fields {
                let (Some(field), Some(Some(column))) = (schema.fields.get(*at), batch.columns.get(*at))
                else {
                    continue;
                };
                let value = cell(field, column, row);
                change.push(u8::from(!value.is_null()));
                put_field_value(&mut change, field.kind, &value);
            }
            let before = part.buffer.len();
            put_varint(&mut part.buffer, change.len() as u64);
            part.buffer.extend_from_slice(&change);
            self.bytes += part.buffer.len() - before;
        }
        Ok(())
    }

    /// Spills all partitions where they take too much memory.
    pub(super) fn make_room(&mut self, dir: &Path) -> Result<()> {
        if self.bytes < self.limit {
            return Ok(());
        }
        let (file, len) = match &mut self.file {
            Some(file) => file,
            none => {
                let file = tempfile::tempfile_in(dir).map_err(|source| spill_error(dir, source))?;
                none.insert((Arc::new(file), 0))
            }
        };
        for part in self.existing.iter_mut().chain(&mut self.new).chain(&mut self.pairs) {
            (&**file).write_all(&part.buffer).map_err(|source| spill_error(dir, source))?;
            let bytes = part.buffer.len() as u64;
            if bytes == 0 {
                continue;
            }
            part.spilled.push((Arc::clone(file), *len, bytes));
            *len += bytes;
            part.buffer = Vec::new();
        }
        self.bytes = 0;
        Ok(())
    }

    /// Takes over what another thread gathered.
    pub(super) fn take(&mut self, other: Self) {
        let lists = [
            (&mut self.existing, other.existing),
            (&mut self.new, other.new),
            (&mut self.pairs, other.pairs),
        ];
        for (own, other) in lists {
            for (at, part) in other.into_iter().enumerate() {
                let to = place(own, at);
                if to.buffer.is_empty() {
                    to.buffer = part.buffer;
                } else {
                    to.buffer.extend_from_slice(&part.buffer);
                }
                to.spilled.extend(part.spilled);
            }
        }
    }
}

pub(super) fn place(parts: &mut Vec<Part>, at: usize) -> &mut Part {
    if parts.len() <= at {
        parts.resize_with(at + 1, Part::default);
    }
    match parts.get_mut(at) {
        Some(part) => part,
        None => unreachable!("the partition was just made"),
    }
}

/// Where entries of documents go during a load.
pub(super) struct EntrySink<'s, 'a, 'e> {
    pub(super) end: &'s End<'a, 'e>,
    pub(super) sinks: &'s mut Sinks,
    pub(super) cache: &'s mut CodeCache,
}

impl EntrySink<'_, '_, '_> {
    /// Gathers an entry; those of ids are seen to by others.
    pub(super) fn push(&mut self, entry: &Entry<'_>, slot: u32, add: bool) -> Result<()> {
        let engine = self.end.engine;
        let field = |at: usize| engine.schema().fields.get(at);
        let mut state = |state: State| self.sinks.state(state, slot, 1, add);
        match entry {
            Entry::Id(_) => {}
            Entry::Alive => state(State::Alive),
            Entry::Null(at) => state(State::Null(field(*at).map_or(0, crate::schema::Field::number))),
            Entry::Empty(at) => state(State::Empty(field(*at).map_or(0, crate::schema::Field::number))),
            Entry::High(at, number) => {
                if let Some(sink) = self.sinks.fields.get_mut(*at) {
                    sink.high.push((*number, slot), add);
                }
            }
            Entry::Sort(at, key) => {
                if let Some(sink) = self.sinks.fields.get_mut(*at) {
                    sink.sort.push((slot, *key), add);
                }
            }
            Entry::Value(at, term) => {
                let Some(field) = field(*at) else { return Ok(()) };
                let code = match code_of_term(field.kind, term) {
                    Coded::Direct(code) => code,
                    Coded::Listed(term) => self.code(*at, (field.number(), field.kind), term)?,
                };
                if let Some(sink) = self.sinks.fields.get_mut(*at) {
                    sink.filter.push(bit(code, slot), add);
                }
            }
        }
        Ok(())
    }

    fn code(&mut self, at: usize, of: (u16, crate::schema::FieldType), term: Vec<u8>) -> Result<u32> {
        if self.cache.len() <= at {
            self.cache.resize_with(at + 1, std::collections::HashMap::default);
        }
        let Some(known) = self.cache.get_mut(at) else { return Ok(0) };
        if let Some(code) = known.get(&term) {
            return Ok(*code);
        }
        let mut terms = self.end.terms.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = Coded::Listed(term.clone());
        let code = terms.assign(&self.end.engine.terms, self.end.view.snapshot(), of, listed)?;
        known.insert(term, code);
        Ok(code)
    }
}

/// A partition to be worked on.
enum Work {
    Pairs(Part),
    Existing(Part),
    New(Part),
}

/// Applies all changes; answers one past the last slot.
pub(super) fn write(
    end: &End<'_, '_>,
    partitions: Partitions,
    sinks: &mut Sinks,
    text_ids: &mut TextIds,
    report: &mut LoadReport,
) -> Result<u64> {
    let existing = partitions.existing.into_iter().map(Work::Existing);
    let pairs = partitions.pairs.into_iter().map(Work::Pairs);
    let work: VecDeque<Work> =
        pairs.chain(existing).chain(partitions.new.into_iter().map(Work::New)).collect();
    let work = Mutex::new(work);
    let next_slot = AtomicU64::new(end.first_slot);
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let threads = end.options.threads.max(1);
    let fields = end.engine.schema().fields.len();
    let job = || -> Result<(Sinks, TextIds, LoadReport)> {
        let mut applier = Applier {
            end,
            next_slot: &next_slot,
            writer: end.bulk.writer(),
            sinks: Sinks::new(fields, end.options.memory_bytes / threads),
            text_ids: TextIds::default(),
            cache: CodeCache::new(),
            all: FieldSet::all(end.engine.schema()),
            bytes: Vec::new(),
            numbers: Vec::new(),
            report: LoadReport::default(),
        };
        let mut bytes = Vec::new();
        while let Some(work) = next() {
            bytes.clear();
            match work {
                Work::Pairs(part) => {
                    part.read(&mut bytes)?;
                    applier.pairs(&bytes)?;
                }
                Work::Existing(part) => {
                    part.read(&mut bytes)?;
                    applier.existing(&bytes)?;
                }
                Work::New(part) => {
                    part.read(&mut bytes)?;
                    applier.new_records(&bytes)?;
                }
            }
            applier.sinks.make_room(end.engine.path())?;
        }
        applier.writer.close()?;
        Ok((applier.sinks, applier.text_ids, applier.report))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(job)).collect();
        let mut result = Ok(());
        for thread in threads {
            match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok((own_sinks, own_ids, own)) => {
                    sinks.take(own_sinks);
                    text_ids.take(own_ids);
                    report.created += own.created;
                    report.changed += own.changed;
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    })?;
    Ok(next_slot.load(Ordering::Relaxed))
}

/// One thread that applies changes.
pub(super) struct Applier<'w, 'a, 'e> {
    pub(super) end: &'w End<'a, 'e>,
    next_slot: &'w AtomicU64,
    pub(super) writer: StoreBulkWriter<'w>,
    pub(super) sinks: Sinks,
    text_ids: TextIds,
    pub(super) cache: CodeCache,
    all: FieldSet,
    pub(super) bytes: Vec<u8>,
    pub(super) numbers: Vec<i128>,
    pub(super) report: LoadReport,
}

fn malformed() -> Error {
    Error::damaged("spilled change", "it is cut short")
}

impl Applier<'_, '_, '_> {
    /// Changes of records that are there.
    fn existing(&mut self, bytes: &[u8]) -> Result<()> {
        let mut changes = Vec::new();
        let mut rest = Bytes(bytes);
        while !rest.is_empty() {
            let mut change = Bytes(rest.block().ok_or_else(malformed)?);
            let slot = u32::from_le_bytes(change.array().ok_or_else(malformed)?);
            let row = change.varint().ok_or_else(malformed)?;
            changes.push((slot, row, change));
        }
        changes.sort_unstable_by_key(|(slot, row, _)| (*slot, *row));
        for of_slot in changes.chunk_by(|x, y| x.0 == y.0) {
            let Some((slot, ..)) = of_slot.first() else { continue };
            let old = self.end.view.document(*slot, &self.all)?;
            let mut new = old.clone();
            for (_, _, change) in of_slot {
                self.apply(&mut new, *change)?;
            }
            self.end.engine.documents().finish(&mut new)?;
            self.report.changed += 1;
            self.store(*slot, Some(&old), &new)?;
        }
        Ok(())
    }

    /// Changes of records that are not there yet.
    fn new_records(&mut self, bytes: &[u8]) -> Result<()> {
        let kind = self.end.engine.schema().id.kind;
        let id_field = crate::schema::Field::new("id", kind);
        let mut changes = Vec::new();
        let mut rest = Bytes(bytes);
        while !rest.is_empty() {
            let mut change = Bytes(rest.block().ok_or_else(malformed)?);
            let id = match field_value(&mut change, &id_field, true).ok_or_else(malformed)? {
                Value::Int(x) => Id::Int(x),
                Value::Text(text) => Id::Text(text),
                _ => return Err(malformed()),
            };
            let row = change.varint().ok_or_else(malformed)?;
            changes.push((id, row, change));
        }
        changes.sort_unstable_by(|(x_id, x, _), (y_id, y, _)| x_id.cmp(y_id).then(x.cmp(y)));
        for of_id in changes.chunk_by(|x, y| x.0 == y.0) {
            let Some((id, ..)) = of_id.first() else { continue };
            let slot = self.next_slot.fetch_add(1, Ordering::Relaxed);
            let slot = u32::try_from(slot).map_err(|_| {
                Error::Load("more than 2^32 slots: split the records over several silos".to_owned())
            })?;
            let mut new = self.end.engine.documents().empty(id.clone());
            for (_, _, change) in of_id {
                self.apply(&mut new, *change)?;
            }
            self.end.engine.documents().finish(&mut new)?;
            match id {
                Id::Int(x) => self.sinks.ids.come.push((integer_key(kind, *x), slot)),
                Id::Text(text) => self.text_ids.push(text, slot),
            }
            self.report.created += 1;
            self.store(slot, None, &new)?;
        }
        Ok(())
    }

    /// Applies the values of a change.
    fn apply(&self, document: &mut Document, mut change: Bytes<'_>) -> Result<()> {
        let schema = self.end.engine.schema();
        for (_, at, add) in &self.end.targets.fields {
            let (Some(field), Some(place)) = (schema.fields.get(*at), document.values.get_mut(*at)) else {
                continue;
            };
            let value = match change.u8().ok_or_else(malformed)? {
                0 => Value::Null,
                _ => field_value(&mut change, field, true).ok_or_else(malformed)?,
            };
            if !add {
                *place = value;
                continue;
            }
            let Value::List(added) = value else { continue };
            if added.is_empty() {
                continue;
            }
            let mut items = match std::mem::take(place) {
                Value::List(items) => items,
                _ => Vec::new(),
            };
            for item in added {
                // Values mostly come in order.
                match items.last().map(|last| last.compare(&item)) {
                    None | Some(std::cmp::Ordering::Less) => items.push(item),
                    _ => {
                        if let Err(at) = items.binary_search_by(|probe| probe.compare(&item)) {
                            items.insert(at, item);
                        }
                    }
                }
            }
            *place = Value::List(items);
        }
        Ok(())
    }

    /// Writes a document and gathers what changes in the indexes.
    fn store(&mut self, slot: u32, old: Option<&Document>, new: &Document) -> Result<()> {
        if old == Some(new) {
            return Ok(());
        }
        let engine = self.end.engine;
        self.bytes.clear();
        engine.documents().encode_into(new, &mut self.bytes);
        self.writer.documents().put(&engine.spaces().documents, IntKey::from(slot), &self.bytes)?;
        let schema = engine.schema();
        let old = old.map(|old| entries(schema, old)).unwrap_or_default();
        let new = entries(schema, new);
        let (gone, come) = difference(&old, &new);
        let mut sink = EntrySink { end: self.end, sinks: &mut self.sinks, cache: &mut self.cache };
        gone.into_iter().try_for_each(|entry| sink.push(entry, slot, false))?;
        come.into_iter().try_for_each(|entry| sink.push(entry, slot, true))
    }
}
