//! Changes of records, with all their index entries in one commit.

use std::collections::HashMap;

use bitmap_silo::store::StoreBatch;
use datasilo::{Durability, IntKey};

use super::Engine;
use super::labels::NewLabels;
use super::layout::{SLOTS_KEY, State};
use super::view::View;
use crate::document::{Change, Document, FieldSet, Merge, Record};
use crate::entries::{Entry, IdEntry, difference, entries, text_hash};
use crate::error::{Error, Result};
use crate::terms::{AssignCodes, NewTerms, code_of_term};
use crate::value::Id;

/// Freed slots that are kept in memory to be given out again.
const MAX_FREE: usize = 1 << 16;

/// Changes that become visible, and durable, together. Of several changes of one record, each
/// sees those before it.
#[derive(Debug, Clone, Default)]
pub struct UpdateBatch {
    changes: Vec<Change>,
}

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpdateReport {
    /// Records that were not there before.
    pub created: u64,
    /// Records that were there and were changed, or written again.
    pub changed: u64,
    /// Records that went away.
    pub deleted: u64,
    /// Deletes of records that were not there.
    pub missing: u64,
}

/// What writers, who take turns, know beside the silo.
#[derive(Debug, Default)]
pub(crate) struct WriterState {
    /// Slots below the number of slots that have no record; none before they were looked for.
    free: Option<Vec<u32>>,
}

impl WriterState {
    /// Free slots are looked for again.
    pub(crate) fn forget_free(&mut self) {
        self.free = None;
    }
}

/// A record that a batch changes.
struct Touched {
    slot: Option<u32>,
    old: Option<Document>,
    new: Option<Document>,
}

impl UpdateBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record whole.
    pub fn put(&mut self, record: Record) {
        self.changes.push(Change::Put(record));
    }

    /// Changes some fields of a record, which is created if it is not there.
    pub fn merge(&mut self, merge: Merge) {
        self.changes.push(Change::Merge(merge));
    }

    /// Removes a record, if it is there.
    pub fn delete(&mut self, id: impl Into<Id>) {
        self.changes.push(Change::Delete(id.into()));
    }

    /// Adds a change.
    pub fn push(&mut self, change: impl Into<Change>) {
        self.changes.push(change.into());
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Removes all changes.
    pub fn clear(&mut self) {
        self.changes.clear();
    }
}

impl FromIterator<Change> for UpdateBatch {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        Self { changes: changes.into_iter().collect() }
    }
}

/// The slots of a batch: which are given out and which come back.
struct Slots {
    /// Number of slots so far.
    count: u64,
    counted: u64,
    free: Vec<u32>,
}

impl Slots {
    /// A slot for a new record.
    fn take(&mut self) -> Result<u32> {
        if let Some(slot) = self.free.pop() {
            return Ok(slot);
        }
        let slot = u32::try_from(self.count).map_err(|_| {
            Error::Document("all 2^32 slots are used: split the records over several silos".to_owned())
        })?;
        self.count += 1;
        Ok(slot)
    }
}

impl Engine {
    /// Commits one record, written whole.
    ///
    /// # Errors
    /// As of [`Engine::apply`].
    pub fn put(&self, record: Record, durability: Durability) -> Result<UpdateReport> {
        self.apply(&UpdateBatch::from_iter([Change::Put(record)]), durability)
    }

    /// Commits a change of some fields of a record.
    ///
    /// # Errors
    /// As of [`Engine::apply`].
    pub fn merge(&self, merge: Merge, durability: Durability) -> Result<UpdateReport> {
        self.apply(&UpdateBatch::from_iter([Change::Merge(merge)]), durability)
    }

    /// Commits the removal of a record.
    ///
    /// # Errors
    /// As of [`Engine::apply`].
    pub fn delete(&self, id: impl Into<Id>, durability: Durability) -> Result<UpdateReport> {
        self.apply(&UpdateBatch::from_iter([Change::Delete(id.into())]), durability)
    }

    /// Commits a batch: all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Document`] for a change that does not fit the schema, and those of the store below;
    /// nothing of the batch is kept then.
    pub fn apply(&self, batch: &UpdateBatch, durability: Durability) -> Result<UpdateReport> {
        let silo = self.silo()?;
        let mut state = self.lock_writer();
        let view = self.view()?;
        let mut report = UpdateReport::default();
        let touched = self.resolve(&view, batch, &mut report)?;
        let mut slots = Slots {
            count: view.slot_count(),
            counted: view.slot_count(),
            free: match state.free.take() {
                Some(free) => free,
                None => view.free_slots(MAX_FREE)?,
            },
        };
        let kept = slots.free.clone();
        let committed = self.commit_touched(silo, &view, &touched, &mut slots, durability);
        state.free = Some(match &committed {
            Ok(()) => slots.free,
            Err(_) => kept,
        });
        drop(state);
        committed?;
        for record in &touched {
            match (&record.old, &record.new) {
                (None, Some(_)) => report.created += 1,
                (Some(_), Some(_)) => report.changed += 1,
                (Some(_), None) => report.deleted += 1,
                (None, None) => {}
            }
        }
        Ok(report)
    }

    /// The records that a batch changes, before and after it, in the order of their first change.
    fn resolve(
        &self,
        view: &View<'_>,
        batch: &UpdateBatch,
        report: &mut UpdateReport,
    ) -> Result<Vec<Touched>> {
        let all = FieldSet::all(self.schema());
        let mut touched: Vec<Touched> = Vec::with_capacity(batch.len());
        let mut by_id: HashMap<Id, usize> = HashMap::with_capacity(batch.len());
        for change in &batch.changes {
            let id = self.documents.id(change.id())?;
            let at = if let Some(at) = by_id.get(&id) {
                *at
            } else {
                let slot = view.slot_of(&id)?;
                let old = slot.map(|slot| view.document(slot, &all)).transpose()?;
                touched.push(Touched { slot, new: old.clone(), old });
                by_id.insert(id, touched.len() - 1);
                touched.len() - 1
            };
            let Some(record) = touched.get_mut(at) else { continue };
            record.new = match change {
                Change::Put(put) => Some(self.documents.document(put)?),
                Change::Merge(merge) => Some(self.documents.merged(record.new.as_ref(), merge)?),
                Change::Delete(_) => {
                    report.missing += u64::from(record.new.is_none());
                    None
                }
            };
        }
        Ok(touched)
    }

    fn commit_touched(
        &self,
        silo: &datasilo::Silo,
        view: &View<'_>,
        touched: &[Touched],
        slots: &mut Slots,
        durability: Durability,
    ) -> Result<()> {
        let mut batch = silo.batch();
        let mut ops = StoreBatch::new();
        let mut new_terms = NewTerms::default();
        let mut freed = Vec::new();
        let mut created = Vec::new();
        let mut bytes = Vec::new();
        for record in touched {
            let slot = match (record.slot, &record.new) {
                (Some(slot), _) => slot,
                (None, Some(_)) => slots.take()?,
                (None, None) => continue,
            };
            match &record.new {
                Some(document) if record.old.as_ref() == Some(document) => continue,
                Some(document) => {
                    bytes.clear();
                    self.documents.encode_into(document, &mut bytes);
                    batch.put(&self.spaces.documents, IntKey::from(slot), &bytes)?;
                }
                None => {
                    batch.delete(&self.spaces.documents, IntKey::from(slot))?;
                    freed.push(slot);
                }
            }
            if let (None, Some(Document { id: Id::Text(id), .. })) = (&record.old, &record.new) {
                created.push((slot, id.as_str()));
            }
            let old = record.old.as_ref().map(|old| entries(self.schema(), old)).unwrap_or_default();
            let new = record.new.as_ref().map(|new| entries(self.schema(), new)).unwrap_or_default();
            let (gone, come) = difference(&old, &new);
            // What goes first: a column has one entry per slot.
            for entry in gone {
                self.push_entry(view, &mut new_terms, slot, entry, false, &mut ops)?;
            }
            for entry in come {
                self.push_entry(view, &mut new_terms, slot, entry, true, &mut ops)?;
            }
        }
        self.push_labels(view, &created, &freed, &mut ops)?;
        if slots.count != slots.counted {
            batch.put(&self.spaces.engine, SLOTS_KEY, slots.count.to_le_bytes())?;
        }
        new_terms.append(&self.terms, &mut batch)?;
        let writer = self.store.write(silo)?;
        writer.append(&mut ops, &mut batch)?;
        silo.commit(&mut batch, durability)?;
        let room = MAX_FREE.saturating_sub(slots.free.len());
        slots.free.extend(freed.into_iter().take(room));
        Ok(())
    }

    /// Labels of new text ids, and of others that have to make room.
    pub(crate) fn push_labels(
        &self,
        view: &View<'_>,
        created: &[(u32, &str)],
        freed: &[u32],
        ops: &mut StoreBatch,
    ) -> Result<()> {
        if created.is_empty() {
            return Ok(());
        }
        let column = view.ids()?;
        let mut labels = NewLabels::default();
        for (slot, id) in created {
            labels.assign(view, &column, *slot, id)?;
        }
        // Records that go away in the same batch are neighbours still, and get no label.
        for (slot, label) in labels.written().filter(|(slot, _)| !freed.contains(slot)) {
            ops.set_key(&self.layout.id, slot, label);
        }
        Ok(())
    }

    /// The operation that adds an entry, or removes it. Labels of text ids are not given here.
    pub(crate) fn push_entry(
        &self,
        view: &View<'_>,
        new_terms: &mut impl AssignCodes,
        slot: u32,
        entry: &Entry<'_>,
        add: bool,
        ops: &mut StoreBatch,
    ) -> Result<()> {
        let layout = &self.layout;
        let number = |at: usize| self.schema().fields.get(at).map_or(0, crate::schema::Field::number);
        let state = |state: State| (&layout.state, state.code());
        let indexes = |at: &usize| layout.fields.get(*at);
        let (field, value) = match entry {
            Entry::Alive => state(State::Alive),
            Entry::Null(at) => state(State::Null(number(*at))),
            Entry::Empty(at) => state(State::Empty(number(*at))),
            Entry::Value(at, term) => {
                let (Some(field), Some(index)) =
                    (self.schema().fields.get(*at), indexes(at).and_then(|i| i.filter.as_ref()))
                else {
                    return Ok(());
                };
                let coded = code_of_term(field.kind, term);
                let of = (field.number(), field.kind);
                (index, new_terms.assign(&self.terms, view.snapshot(), of, coded)?)
            }
            Entry::Id(id) => {
                let (key, is_key) = match id {
                    IdEntry::Key(key) => (*key, true),
                    IdEntry::Text(text) => (text_hash(text), false),
                };
                if add {
                    ops.add(&layout.slots, key, slot);
                } else {
                    ops.remove(&layout.slots, key, slot);
                    ops.clear_key(&layout.id, slot);
                }
                if add && is_key {
                    ops.set_key(&layout.id, slot, key);
                }
                return Ok(());
            }
            Entry::High(at, value) => {
                if let Some(index) = indexes(at).and_then(|i| i.high.as_ref()) {
                    if add {
                        ops.add(index, *value, slot);
                    } else {
                        ops.remove(index, *value, slot);
                    }
                }
                return Ok(());
            }
            Entry::Sort(at, key) => {
                if let Some(index) = indexes(at).and_then(|i| i.sort.as_ref()) {
                    if add {
                        ops.set_key(index, slot, *key);
                    } else {
                        ops.clear_key(index, slot);
                    }
                }
                return Ok(());
            }
        };
        if add {
            ops.set(field, value, slot);
        } else {
            ops.clear_bit(field, value, slot);
        }
        Ok(())
    }
}
