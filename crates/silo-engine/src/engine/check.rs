//! Comparing every index with the documents, which are the truth, and rebuilding what differs.
//!
//! An index is a set of entries: a number and a slot each. Two sets are compared by their size and the sum of their
//! entries' 128-bit hashes, so that neither has to be held or looked into. Only an index that differs is
//! gathered entry by entry and compared in order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bitmap_silo::column::Direction;
use bitmap_silo::store::{Field as StoreField, FieldKind, StoreBatch, StoreCheck};
use bitmap_silo::topk::TopK;
use datasilo::{CheckReport, Durability, IntKey, Strictness};
use xxhash_rust::xxh3::xxh3_128;

use super::labels::label_of_rank;
use super::layout::{Layout, State};
use super::view::View;
use super::{Backing, Engine};
use crate::document::{Document, FieldSet};
use crate::entries::{Entry, IdEntry, entries, text_hash};
use crate::error::{Error, Result};
use crate::schema::Field;
use crate::terms::{AssignCodes, NewTerms, code_of_term};
use crate::value::Id;

/// Operations that a repair commits at once.
const STEP_OPS: usize = 100_000;

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct EngineCheck {
    /// Records that were read.
    pub records: u64,
    /// Index entries that were compared.
    pub entries: u64,
    /// Every index that differs from the documents, with the first difference.
    pub findings: Vec<String>,
    /// What the check of the files below found; none for a silo open for reading.
    pub files: Option<CheckReport>,
}

impl EngineCheck {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

/// An index of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Index {
    State,
    /// The column of ids; of labels where ids are text.
    Ids,
    /// From ids to slots.
    Slots,
    Filter(usize),
    High(usize),
    Sort(usize),
}

/// How an index differs from the documents.
#[derive(Debug, Default)]
struct Differences {
    /// Entries that it lacks.
    missing: Vec<(u64, u32)>,
    /// Entries that it should not have.
    surplus: Vec<(u64, u32)>,
    /// Codes of terms that `missing` uses and that are not stored yet.
    terms: NewTerms,
}

/// Size and sum of hashes of a set of entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Fingerprint {
    count: u64,
    sum: u128,
}

impl Fingerprint {
    fn add(&mut self, number: u64, slot: u32) {
        let mut bytes = [0; 12];
        let (head, tail) = bytes.split_at_mut(8);
        head.copy_from_slice(&number.to_le_bytes());
        tail.copy_from_slice(&slot.to_le_bytes());
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(&bytes));
    }
}

impl Index {
    fn field(self, layout: &Layout) -> Option<&StoreField> {
        let of = |at: usize| layout.fields.get(at);
        match self {
            Self::State => Some(&layout.state),
            Self::Ids => Some(&layout.id),
            Self::Slots => Some(&layout.slots),
            Self::Filter(at) => of(at)?.filter.as_ref(),
            Self::High(at) => of(at)?.high.as_ref(),
            Self::Sort(at) => of(at)?.sort.as_ref(),
        }
    }

    fn all(layout: &Layout) -> Vec<Self> {
        let fields =
            (0..layout.fields.len()).flat_map(|at| [Self::Filter(at), Self::High(at), Self::Sort(at)]);
        let all = [Self::State, Self::Ids, Self::Slots].into_iter().chain(fields);
        all.filter(|index| index.field(layout).is_some()).collect()
    }

    fn describe(self, engine: &Engine) -> String {
        let name = |at: usize| engine.schema().fields.get(at).map_or("", |field| field.name.as_str());
        match self {
            Self::State => "the bitmaps of records, nulls and empty sets".to_owned(),
            Self::Ids => "the column of ids".to_owned(),
            Self::Slots => "the index from ids to records".to_owned(),
            Self::Filter(at) => format!("the bitmaps of {:?}", name(at)),
            Self::High(at) => format!("the postings of {:?}", name(at)),
            Self::Sort(at) => format!("the column of {:?}", name(at)),
        }
    }
}

impl View<'_> {
    /// Calls `f` with the slot and the document of every record, in no particular order.
    ///
    /// # Errors
    /// Those of `f`, and damage.
    pub fn for_each(&self, mut f: impl FnMut(u32, Document) -> Result<()>) -> Result<()> {
        let all = FieldSet::all(self.engine.schema());
        self.snapshot().for_each(&self.engine.spaces.documents, |key, bytes| {
            let slot =
                IntKey::to_u32(key).ok_or_else(|| Error::damaged("documents", "a key has not four bytes"))?;
            let document = self.engine.documents().decode(&bytes, &all);
            f(slot, document.map_err(|error| Error::damaged(format!("document of slot {slot}"), error))?)
        })
    }

    /// Calls `f` with every entry that the documents have, by index. Terms without a code get one in `terms`, which no
    /// bitmap has.
    fn for_each_expected(
        &self,
        terms: &mut NewTerms,
        mut f: impl FnMut(Index, u64, u32) -> Result<()>,
    ) -> Result<u64> {
        let engine = self.engine;
        let mut records = 0;
        self.for_each(|slot, document| {
            records += 1;
            if u64::from(slot) >= self.slot_count() {
                return Err(Error::damaged(
                    "slots",
                    format!("slot {slot} was not given out and has a document"),
                ));
            }
            for entry in entries(engine.schema(), &document) {
                let number = |at: usize| engine.schema().fields.get(at).map_or(0, Field::number);
                let state = |state: State| (Index::State, u64::from(state.code()));
                let (index, value) = match entry {
                    Entry::Alive => state(State::Alive),
                    Entry::Null(at) => state(State::Null(number(at))),
                    Entry::Empty(at) => state(State::Empty(number(at))),
                    Entry::High(at, value) => (Index::High(at), value),
                    Entry::Sort(at, key) => (Index::Sort(at), key),
                    Entry::Id(IdEntry::Key(key)) => {
                        f(Index::Ids, key, slot)?;
                        (Index::Slots, key)
                    }
                    Entry::Id(IdEntry::Text(text)) => (Index::Slots, text_hash(text)),
                    Entry::Value(at, term) => {
                        let Some(field) = engine.schema().fields.get(at) else { continue };
                        let coded = code_of_term(field.kind, &term);
                        let of = (field.number(), field.kind);
                        let code = terms.assign(&engine.terms, self.snapshot(), of, coded)?;
                        (Index::Filter(at), u64::from(code))
                    }
                };
                f(index, value, slot)?;
            }
            Ok(())
        })?;
        Ok(records)
    }

    /// Calls `f` with every entry that an index has.
    fn for_each_actual(&self, index: Index, mut f: impl FnMut(u64, u32)) -> Result<()> {
        let Some(field) = index.field(&self.engine.layout) else { return Ok(()) };
        let reader = self.reader();
        match field.kind() {
            FieldKind::Column => self.column(field)?.for_each(|slot, key| f(key, slot)),
            FieldKind::Postings => {
                let postings = reader.postings(field)?;
                let _ = postings.for_each_in::<()>(0..=u64::MAX, Direction::Ascending, |value, slots| {
                    slots.for_each(|slot| f(value, slot));
                    ControlFlow::Continue(())
                })?;
                Ok(())
            }
            _ => {
                for code in reader.values(field)?.to_vec() {
                    let _ = reader.bitmap(field, code)?.for_each::<()>(|slot| {
                        f(u64::from(code), slot);
                        ControlFlow::Continue(())
                    });
                }
                Ok(())
            }
        }
    }

    /// The indexes that differ, or cannot be read, with what is wrong.
    fn differing(&self, report: &mut EngineCheck) -> Result<Vec<(Index, Option<String>)>> {
        let mut expected: BTreeMap<Index, Fingerprint> = BTreeMap::new();
        report.records = self.for_each_expected(&mut NewTerms::default(), |index, number, slot| {
            expected.entry(index).or_default().add(number, slot);
            Ok(())
        })?;
        let mut differing = Vec::new();
        for index in Index::all(&self.engine.layout) {
            if index == Index::Ids && self.engine.schema().id.is_string() {
                match self.wrong_label(report.records) {
                    Ok(None) => {}
                    Ok(wrong) => differing.push((index, wrong)),
                    Err(error) => differing.push((index, Some(error.to_string()))),
                }
                continue;
            }
            let wanted = expected.get(&index).copied().unwrap_or_default();
            let mut actual = Fingerprint::default();
            let read = self.for_each_actual(index, |number, slot| actual.add(number, slot));
            report.entries += actual.count;
            match read {
                Err(error) => differing.push((index, Some(error.to_string()))),
                Ok(()) if actual != wanted => differing.push((index, None)),
                Ok(()) => {}
            }
        }
        Ok(differing)
    }

    /// What is wrong with the labels of text ids: they must ascend as the ids do, one for each record.
    fn wrong_label(&self, records: u64) -> Result<Option<String>> {
        let column = self.ids()?;
        let hits = TopK::new(&column).first(usize::MAX)?;
        if hits.len() as u64 != records {
            return Ok(Some(format!("{} records have a place in the order, not {records}", hits.len())));
        }
        let mut before: Option<Id> = None;
        for hit in hits {
            let id = match self.id_of(hit.slot) {
                Ok(id) => id,
                Err(error) => return Ok(Some(error.to_string())),
            };
            if let Some(before) = before.as_ref().filter(|before| **before >= id) {
                return Ok(Some(format!("id {before} comes before {id}")));
            }
            before = Some(id);
        }
        Ok(None)
    }

    /// Entries that an index lacks, and those it should not have; ascending.
    fn differences(&self, index: Index, readable: bool) -> Result<Differences> {
        let (mut expected, mut actual) = (Vec::new(), Vec::new());
        let mut terms = NewTerms::default();
        self.for_each_expected(&mut terms, |of, number, slot| {
            if of == index {
                expected.push((number, slot));
            }
            Ok(())
        })?;
        if readable {
            self.for_each_actual(index, |number, slot| actual.push((number, slot)))?;
        }
        expected.sort_unstable();
        actual.sort_unstable();
        let only = |these: &[(u64, u32)], those: &[(u64, u32)]| {
            these.iter().filter(|entry| those.binary_search(entry).is_err()).copied().collect::<Vec<_>>()
        };
        Ok(Differences { missing: only(&expected, &actual), surplus: only(&actual, &expected), terms })
    }

    fn describe_entry(&self, index: Index, number: u64, slot: u32) -> String {
        let id = self.id_of(slot).map_or_else(|_| "no record".to_owned(), |id| format!("record {id}"));
        let value =
            match index {
                Index::Filter(at) => self.engine.schema().fields.get(at).and_then(|field| {
                    let code = u32::try_from(number).ok()?;
                    let value =
                        self.engine.terms.value(self.snapshot(), field.number(), field.kind, code).ok()?;
                    Some(value.to_json(field.kind).to_string())
                }),
                Index::High(at) | Index::Sort(at) => self.engine.schema().fields.get(at).map(|field| {
                    crate::value::value_of_key(field.kind, number).to_json(field.kind).to_string()
                }),
                _ => None,
            };
        format!("{} for {id} in slot {slot}", value.unwrap_or_else(|| format!("entry {number}")))
    }
}

impl Engine {
    /// Compares every index with the documents, and checks the files below. Costs a pass over everything.
    ///
    /// # Errors
    /// Documents that cannot be read: they are the truth, and nothing can be compared without them.
    pub fn check(&self) -> Result<EngineCheck> {
        let mut report = EngineCheck::default();
        if let Backing::Writer(silo) = &self.backing {
            report.files = Some(silo.check(Strictness::Strict)?);
        }
        let view = self.view()?;
        let store: StoreCheck = view.reader().check()?;
        report.findings.extend(store.findings);
        for (index, wrong) in view.differing(&mut report)? {
            let name = index.describe(self);
            let first = if let Some(wrong) = wrong {
                wrong
            } else {
                let Differences { missing, surplus, .. } = view.differences(index, true)?;
                match (missing.first(), surplus.first()) {
                    (Some((number, slot)), _) => {
                        format!("it lacks {}", view.describe_entry(index, *number, *slot))
                    }
                    (None, Some((number, slot))) => {
                        format!(
                            "it has {}, which the document has not",
                            view.describe_entry(index, *number, *slot)
                        )
                    }
                    (None, None) => "it changed while it was looked at".to_owned(),
                }
            };
            report.findings.push(format!("{name}: {first}"));
        }
        Ok(report)
    }

    /// Makes every index what the documents say; touches only what differs. Answers which indexes were
    /// rebuilt. Other writers wait.
    ///
    /// # Errors
    /// As of [`Engine::check`], and failures to write; what was repaired before stays.
    pub fn repair(&mut self) -> Result<Vec<String>> {
        let differing = {
            let _alone = self.lock_writer();
            self.view()?.differing(&mut EngineCheck::default())?
        };
        let mut rebuilt = Vec::new();
        for (index, wrong) in differing {
            self.rebuild(index, wrong.is_none())?;
            rebuilt.push(index.describe(self));
        }
        *self.lock_writer() = super::WriterState::default();
        Ok(rebuilt)
    }

    fn rebuild(&mut self, index: Index, readable: bool) -> Result<()> {
        let is_labels = index == Index::Ids && self.schema().id.is_string();
        if !readable || is_labels {
            // Whatever is in it goes.
            let Some(field) = index.field(&self.layout).cloned() else { return Ok(()) };
            let silo = self.silo()?;
            self.store.drop_field(silo, field.name())?;
            self.layout = Layout::create(self.documents.schema(), &self.store, silo)?;
        }
        let _alone = self.lock_writer();
        let silo = self.silo()?;
        let view = self.view()?;
        let Differences { missing, surplus, terms } = if is_labels {
            Differences { missing: view.labels_anew()?, ..Differences::default() }
        } else {
            view.differences(index, readable)?
        };
        let Some(field) = index.field(&self.layout) else { return Ok(()) };
        let mut batch = silo.batch();
        terms.append(&self.terms, &mut batch)?;
        silo.commit(&mut batch, Durability::Process)?;
        let mut ops = StoreBatch::new();
        let surplus = surplus.into_iter().map(|entry| (entry, false));
        for ((number, slot), add) in surplus.chain(missing.into_iter().map(|entry| (entry, true))) {
            let code = || u32::try_from(number).unwrap_or(u32::MAX);
            match (field.kind(), add) {
                (FieldKind::Column, true) => ops.set_key(field, slot, number),
                (FieldKind::Column, false) => ops.clear_key(field, slot),
                (FieldKind::Postings, true) => ops.add(field, number, slot),
                (FieldKind::Postings, false) => ops.remove(field, number, slot),
                (_, true) => ops.set(field, code(), slot),
                (_, false) => ops.clear_bit(field, code(), slot),
            }
            if ops.len() >= STEP_OPS {
                self.store.commit(silo, &mut ops, Durability::Process)?;
            }
        }
        self.store.commit(silo, &mut ops, Durability::Power)?;
        Ok(())
    }
}

impl View<'_> {
    /// Labels for all records with text ids.
    fn labels_anew(&self) -> Result<Vec<(u64, u32)>> {
        let mut ids = Vec::new();
        self.for_each(|slot, document| {
            ids.push((document.id, slot));
            Ok(())
        })?;
        ids.sort_unstable();
        let count = ids.len() as u64;
        Ok(ids.into_iter().zip(0..).map(|((_, slot), rank)| (label_of_rank(rank, count), slot)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Record;
    use crate::schema::{FieldType, IdField, IndexKinds, Schema};
    use crate::value::Value;

    fn engine(dir: &std::path::Path, id: FieldType) -> Engine {
        let none = IndexKinds::none;
        let fields = vec![
            Field::new("level", FieldType::Unsigned(8)).index(none().filter()),
            Field::new("name", FieldType::String).index(none().filter()),
            Field::new("user", FieldType::Signed(64)).index(none().high()),
            Field::new("count", FieldType::Signed(32)).index(none().sort()),
            Field::new("tags", FieldType::Unsigned(32)).multi().index(none().filter()),
        ];
        let engine = Engine::create(dir, Schema::new(IdField::new("id", id), fields).unwrap()).unwrap();
        for number in 0..50_u32 {
            let id = if engine.schema().id.is_string() {
                Id::Text(format!("r{number}"))
            } else {
                Id::from(number)
            };
            let mut record = Record::new(id).with("level", number % 3).with("user", number);
            if number % 5 > 0 {
                record = record.with("count", number).with("name", format!("n{}", number % 4));
                record = record.with("tags", Value::List((0..number % 4).map(Value::from).collect()));
            }
            engine.put(record, Durability::Process).unwrap();
        }
        engine
    }

    #[test]
    fn every_index_that_differs_is_named_and_repaired() {
        for id in [FieldType::Signed(64), FieldType::String] {
            let dir = tempfile::tempdir().unwrap();
            let mut engine = engine(&dir.path().join("silo"), id);
            assert_eq!(engine.check().unwrap().findings, Vec::<String>::new());
            for index in Index::all(&engine.layout) {
                for surplus in [true, false] {
                    let field = index.field(&engine.layout).unwrap().clone();
                    let mut first = None;
                    engine
                        .view()
                        .unwrap()
                        .for_each_actual(index, |n, slot| first = first.or(Some((n, slot))))
                        .unwrap();
                    let (number, slot) = first.unwrap();
                    let code = u32::try_from(number).unwrap_or(0);
                    let mut ops = StoreBatch::new();
                    match (field.kind(), surplus) {
                        (FieldKind::Column, true) => ops.set_key(&field, slot, u64::MAX),
                        (FieldKind::Column, false) => ops.clear_key(&field, slot),
                        (FieldKind::Postings, true) => ops.add(&field, number, 47),
                        (FieldKind::Postings, false) => ops.remove(&field, number, slot),
                        (_, true) => ops.set(&field, code, 1_000),
                        (_, false) => ops.clear_bit(&field, code, slot),
                    }
                    engine.store.commit(engine.silo().unwrap(), &mut ops, Durability::Process).unwrap();
                    let findings = engine.check().unwrap().findings;
                    let name = index.describe(&engine);
                    assert_eq!(findings.len(), 1, "{index:?} {surplus}: {findings:?}");
                    assert!(findings[0].starts_with(&name), "{findings:?}");
                    assert_eq!(engine.repair().unwrap(), [name]);
                    assert_eq!(engine.check().unwrap().findings, Vec::<String>::new());
                }
            }
            assert_eq!(engine.repair().unwrap(), Vec::<String>::new(), "nothing differs");
        }
    }
}
