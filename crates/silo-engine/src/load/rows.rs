//! Rows that are whole records: documents and index entries, column by column.

use datasilo::{BulkWriter, IntKey};

use super::batch::{Checked, Room, extent, is_null, number, text};
use super::ids::TextIds;
use super::sinks::{Sinks, bit};
use super::{CodeCache, Loader};
use crate::columns::{Column, Values};
use crate::engine::layout::State;
use crate::entries::{indexed_text, text_hash};
use crate::error::Result;
use crate::schema::{Field, FieldType};
use crate::terms::{Coded, code_of_key};
use crate::value::{float_key, integer_key};

/// What a thread gathers of whole records.
pub(super) struct RowWriter {
    pub(super) sinks: Sinks,
    pub(super) text_ids: TextIds,
    pub(super) codes: CodeCache,
    room: Room,
    bytes: Vec<u8>,
}

impl RowWriter {
    pub(super) fn new(fields: usize, memory: usize) -> Self {
        Self {
            sinks: Sinks::new(fields, memory),
            text_ids: TextIds::default(),
            codes: CodeCache::new(),
            room: Room::default(),
            bytes: Vec::new(),
        }
    }

    /// Writes the documents of a batch and gathers its entries.
    pub(super) fn push(
        &mut self,
        loader: &Loader<'_>,
        batch: &Checked<'_>,
        first_slot: u32,
        out: &mut BulkWriter,
    ) -> Result<()> {
        let documents = loader.engine.documents();
        let schema = documents.schema();
        for (slot, row) in (first_slot..=u32::MAX).zip(0..batch.rows) {
            self.bytes.clear();
            batch.encode_into(documents, row, &mut self.room, &mut self.bytes);
            out.put(&loader.engine.spaces().documents, IntKey::from(slot), &self.bytes)?;
        }
        match &batch.id.values {
            Values::Text { ends, bytes } => {
                for (slot, row) in (first_slot..=u32::MAX).zip(0..batch.rows) {
                    self.text_ids.push(text(ends, bytes, row), slot);
                }
            }
            Values::Int(ids) => {
                let kind = schema.id.kind;
                for (slot, id) in (first_slot..=u32::MAX).zip(ids) {
                    self.sinks.ids.come.push((integer_key(kind, number(kind, *id)), slot));
                }
            }
            _ => {}
        }
        let count = u32::try_from(batch.rows).unwrap_or(u32::MAX);
        self.sinks.state(State::Alive, first_slot, count, true);
        for (at, field) in schema.fields.iter().enumerate().filter(|(_, field)| !field.index.is_none()) {
            match batch.columns.get(at).and_then(Option::as_deref) {
                None => self.sinks.state(State::Null(field.number()), first_slot, count, true),
                Some(column) => self.push_field(loader, at, field, column, (first_slot, batch.rows))?,
            }
        }
        Ok(())
    }

    /// The entries of one field.
    fn push_field(
        &mut self,
        loader: &Loader<'_>,
        at: usize,
        field: &Field,
        column: &Column,
        (first_slot, rows): (u32, usize),
    ) -> Result<()> {
        self.push_states(field, column, (first_slot, rows));
        let present = |row: &usize| !is_null(column, *row);
        let slots = |row: usize| first_slot.wrapping_add(u32::try_from(row).unwrap_or(u32::MAX));
        match &column.values {
            Values::List { ends, items } => {
                for row in (0..rows).filter(present) {
                    let (start, end) = extent(ends, row);
                    for item in start..end {
                        self.push_item(loader, (at, field), items, item, slots(row))?;
                    }
                }
            }
            values => {
                for row in (0..rows).filter(present) {
                    self.push_item(loader, (at, field), values, row, slots(row))?;
                }
            }
        }
        Ok(())
    }

    /// Ranges of slots that are null, or have empty sets.
    fn push_states(&mut self, field: &Field, column: &Column, (first_slot, rows): (u32, usize)) {
        let slot = |row: usize| first_slot.wrapping_add(u32::try_from(row).unwrap_or(u32::MAX));
        let mut ranges = |state: State, is_in: &dyn Fn(usize) -> bool| {
            let mut row = 0;
            while row < rows {
                let start = row;
                while row < rows && is_in(row) {
                    row += 1;
                }
                if row > start {
                    self.sinks.state(state, slot(start), slot(row) - slot(start), true);
                }
                row += 1;
            }
        };
        if column.nulls.iter().any(|word| *word != 0) {
            ranges(State::Null(field.number()), &|row| is_null(column, row));
        }
        if let Values::List { ends, .. } = &column.values {
            let empty = |row: usize| {
                let (start, end) = extent(ends, row);
                start == end && !is_null(column, row)
            };
            ranges(State::Empty(field.number()), &empty);
        }
    }

    #[inline]
    fn push_item(
        &mut self,
        loader: &Loader<'_>,
        (at, field): (usize, &Field),
        items: &Values,
        item: usize,
        slot: u32,
    ) -> Result<()> {
        let key = match items {
            Values::Int(x) => integer_key(field.kind, number(field.kind, x.get(item).copied().unwrap_or(0))),
            Values::Bool(x) => u64::from(x.get(item).copied().unwrap_or(0)),
            Values::Float(x) => {
                let bits = if field.kind == FieldType::Float(32) { 32 } else { 64 };
                float_key(bits, x.get(item).copied().unwrap_or(0.0))
            }
            Values::Text { ends, bytes } => {
                let text = indexed_text(field, text(ends, bytes, item));
                if field.index.filter {
                    let code = self.text_code(loader, (at, field), &text)?;
                    if let Some(sink) = self.sinks.fields.get_mut(at) {
                        sink.filter.come.push(bit(code, slot));
                    }
                }
                if let (true, Some(sink)) = (field.index.high, self.sinks.fields.get_mut(at)) {
                    sink.high.come.push((text_hash(&text), slot));
                }
                return Ok(());
            }
            Values::List { .. } => return Ok(()),
        };
        let Some(sink) = self.sinks.fields.get_mut(at) else { return Ok(()) };
        if field.index.filter {
            let code = match code_of_key(field.kind, key) {
                Coded::Direct(code) => code,
                listed @ Coded::Listed(_) => {
                    loader.code(&mut self.codes, at, (field.number(), field.kind), listed)?
                }
            };
            sink.filter.come.push(bit(code, slot));
        }
        if field.index.high {
            sink.high.come.push((key, slot));
        }
        if field.index.sort {
            sink.sort.come.push((slot, key));
        }
        Ok(())
    }

    fn text_code(&mut self, loader: &Loader<'_>, (at, field): (usize, &Field), text: &str) -> Result<u32> {
        if let Some(code) = self.codes.get(at).and_then(|known| known.get(text.as_bytes())) {
            return Ok(*code);
        }
        let listed = Coded::Listed(text.as_bytes().to_vec());
        loader.code(&mut self.codes, at, (field.number(), field.kind), listed)
    }
}
