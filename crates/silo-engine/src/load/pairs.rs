//! The common load of pairs: an id and an integer that is added to a set.
//!
//! Adding is the same in any order and changes nothing else of a record, so that a row is but a slot and a number, and the
//! document's set is replaced in its bytes.

use std::borrow::Cow;

use datasilo::IntKey;

use super::Loader;
use super::batch::{Checked, Targets, is_null, number};
use super::merge::{Applier, EntrySink, PARTITION_SLOTS, Partitions, place};
use crate::columns::Values;
use crate::document::{SetBefore, SetRoom};
use crate::engine::layout::State;
use crate::entries::{Entry, Term};
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::value::{Id, integer_key};

/// Bytes of a pair.
const PAIR_BYTES: usize = 12;
/// Documents that are read at once.
const STEP: usize = 512;

/// The position of the field, if the load is of pairs.
fn target(schema: &Schema, targets: &Targets) -> Option<usize> {
    let [(_, at, true)] = targets.fields.as_slice() else { return None };
    let field = schema.fields.get(*at)?;
    (field.kind.is_integer() && !schema.id.is_string()).then_some(*at)
}

impl Partitions {
    /// Takes the rows of a batch.
    pub(super) fn take_batch(
        &mut self,
        loader: &Loader<'_>,
        batch: &Checked<'_>,
        first_row: u64,
    ) -> Result<()> {
        let schema = loader.engine.schema();
        let Some(at) = target(schema, &loader.targets) else {
            return self.push(loader, batch, 0..batch.rows, first_row);
        };
        let Some(Some(column)) = batch.columns.get(at) else { return Ok(()) };
        let (Values::Int(ids), Values::Int(numbers)) = (&batch.id.values, &column.values) else {
            return self.push(loader, batch, 0..batch.rows, first_row);
        };
        let postings = loader.view.reader()?.postings(&loader.engine.layout().slots)?;
        let mut last: Option<(i64, Option<u32>)> = None;
        for (row, (id, number_added)) in ids.iter().zip(numbers).enumerate() {
            let slot = if let Some((_, slot)) = last.filter(|(last, _)| last == id) {
                slot
            } else {
                let slot = self.slot_of(loader, &postings, Id::Int(number(schema.id.kind, *id)))?;
                last = Some((*id, slot));
                slot
            };
            let Some(slot) = slot else {
                self.push(loader, batch, row..row + 1, first_row)?;
                continue;
            };
            if !is_null(column, row) {
                let part = place(&mut self.pairs, (slot / PARTITION_SLOTS) as usize);
                part.buffer.extend_from_slice(&slot.to_le_bytes());
                part.buffer.extend_from_slice(&number_added.to_le_bytes());
                self.bytes += PAIR_BYTES;
            }
        }
        Ok(())
    }
}

impl Applier<'_, '_, '_> {
    /// Adds the numbers of pairs to the sets of their records.
    pub(super) fn pairs(&mut self, bytes: &[u8]) -> Result<()> {
        let schema = self.end.engine.schema();
        let Some(at) = target(schema, self.end.targets) else { return Ok(()) };
        let mut pairs: Vec<(u32, i64)> = Vec::with_capacity(bytes.len() / PAIR_BYTES);
        for pair in bytes.chunks_exact(PAIR_BYTES) {
            if let Some((slot, number)) = pair.split_first_chunk::<4>()
                && let Ok(number) = number.try_into()
            {
                pairs.push((u32::from_le_bytes(*slot), i64::from_le_bytes(number)));
            }
        }
        if !pairs.is_sorted_by_key(|(slot, _)| *slot) {
            pairs.sort_unstable();
        }
        let groups: Vec<&[(u32, i64)]> = pairs.chunk_by(|x, y| x.0 == y.0).collect();
        let mut room = SetRoom::default();
        for groups in groups.chunks(STEP) {
            self.add_all(at, groups, &mut room)?;
        }
        Ok(())
    }

    fn add_all(&mut self, at: usize, groups: &[&[(u32, i64)]], room: &mut SetRoom) -> Result<()> {
        let slot_of = |group: &&[(u32, i64)]| group.first().map_or(0, |(slot, _)| *slot);
        let keys: Vec<IntKey> = groups.iter().map(|group| IntKey::from(slot_of(group))).collect();
        let mut found: Vec<Option<Cow<'_, [u8]>>> = Vec::with_capacity(keys.len());
        let spaces = self.end.engine.spaces();
        self.end.view.snapshot().multi_get_each(&spaces.documents, &keys, |_, bytes| found.push(bytes))?;
        for (group, bytes) in groups.iter().zip(&found) {
            let slot = slot_of(group);
            let bytes = bytes
                .as_ref()
                .ok_or_else(|| Error::damaged("indexes", format!("slot {slot} has no document")))?;
            self.add(at, slot, group, bytes, room)?;
        }
        Ok(())
    }

    /// Adds to the set of one record.
    fn add(
        &mut self,
        at: usize,
        slot: u32,
        group: &[(u32, i64)],
        bytes: &[u8],
        room: &mut SetRoom,
    ) -> Result<()> {
        let engine = self.end.engine;
        let Some(field) = engine.schema().fields.get(at) else { return Ok(()) };
        self.numbers.clear();
        self.numbers.extend(group.iter().map(|(_, x)| number(field.kind, *x)));
        self.numbers.sort_unstable();
        self.bytes.clear();
        let before = engine.documents().add_to_set(bytes, at, &self.numbers, room, &mut self.bytes)?;
        self.report.changed += 1;
        if room.fresh.is_empty() {
            return Ok(());
        }
        self.writer.documents().put(&engine.spaces().documents, IntKey::from(slot), &self.bytes)?;
        if field.index.is_none() {
            return Ok(());
        }
        match before {
            SetBefore::Null => self.sinks.state(State::Null(field.number()), slot, 1, false),
            SetBefore::Empty => self.sinks.state(State::Empty(field.number()), slot, 1, false),
            SetBefore::Full => {}
        }
        let mut sink = EntrySink { end: self.end, sinks: &mut self.sinks, cache: &mut self.cache };
        for x in &room.fresh {
            let key = integer_key(field.kind, *x);
            if field.index.filter {
                sink.push(&Entry::Value(at, Term::Key(key)), slot, true)?;
            }
            if field.index.high {
                sink.push(&Entry::High(at, key), slot, true)?;
            }
        }
        Ok(())
    }
}
