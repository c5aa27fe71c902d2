//! Row batches checked against the schema, and their rows as documents.

use std::borrow::Cow;

use crate::columns::{Column, RowBatch, Values};
use crate::document::bytes::put_varint;
use crate::document::{DocumentType, put_integer, put_set_of_integers, put_value};
use crate::error::{Error, Result};
use crate::schema::{Field, FieldType};
use crate::value::{Id, Value};

/// What a column of the input is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadTarget {
    /// The id.
    Id,
    /// Values of the field of this name.
    Set(String),
    /// Values that are added to the sets of the field of this name.
    Add(String),
    /// Nothing.
    Skip,
}

/// A batch whose columns fit the schema.
#[derive(Debug)]
pub(super) struct Checked<'b> {
    pub(super) rows: usize,
    pub(super) id: &'b Column,
    /// By position in the schema; what is not in the input is absent.
    pub(super) columns: Vec<Option<Cow<'b, Column>>>,
}

pub(super) fn is_null(column: &Column, row: usize) -> bool {
    column.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
}

/// Begin and end of a row in a column with ends.
pub(super) fn extent(ends: &[u32], row: usize) -> (usize, usize) {
    let end = ends.get(row).copied().unwrap_or(0) as usize;
    let start = row.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0) as usize;
    (start, end)
}

/// The text of an item.
pub(super) fn text<'c>(ends: &[u32], bytes: &'c [u8], at: usize) -> &'c str {
    let (start, end) = extent(ends, at);
    // Checked once for the whole column.
    std::str::from_utf8(bytes.get(start..end).unwrap_or_default()).unwrap_or_default()
}

/// The number of an integer that a column has as 64 bits.
pub(super) fn number(kind: FieldType, x: i64) -> i128 {
    match kind {
        FieldType::Unsigned(64) => i128::from(x.cast_unsigned()),
        _ => i128::from(x),
    }
}

/// An item as a value.
pub(super) fn item(kind: FieldType, values: &Values, at: usize) -> Value {
    match values {
        Values::Bool(x) => Value::Bool(x.get(at).is_some_and(|x| *x != 0)),
        Values::Int(x) => Value::Int(number(kind, x.get(at).copied().unwrap_or(0))),
        Values::Float(x) => Value::Float(x.get(at).copied().unwrap_or(0.0) + 0.0),
        Values::Text { ends, bytes } => Value::from(text(ends, bytes, at)),
        Values::List { .. } => Value::Null,
    }
}

/// A row as a value.
pub(super) fn cell(field: &Field, column: &Column, row: usize) -> Value {
    if is_null(column, row) {
        return Value::Null;
    }
    match &column.values {
        Values::List { ends, items } => {
            let (start, end) = extent(ends, row);
            let mut items: Vec<Value> = (start..end).map(|at| item(field.kind, items, at)).collect();
            items.sort_unstable_by(Value::compare);
            items.dedup();
            Value::List(items)
        }
        one if field.multi => Value::List(vec![item(field.kind, one, row)]),
        one => item(field.kind, one, row),
    }
}

fn check_items(kind: FieldType, values: &Values, count: usize) -> std::result::Result<(), String> {
    let len = match values {
        Values::Bool(x) => x.len(),
        Values::Int(x) => x.len(),
        Values::Float(x) => x.len(),
        Values::Text { ends, .. } | Values::List { ends, .. } => ends.len(),
    };
    if len != count {
        return Err(format!("{len} values for {count} rows"));
    }
    match (kind, values) {
        (FieldType::Bool, Values::Bool(x)) if x.iter().all(|x| *x < 2) => Ok(()),
        (FieldType::Float(_), Values::Float(x)) if !x.iter().any(|x| x.is_nan()) => Ok(()),
        (FieldType::Signed(64) | FieldType::Unsigned(64) | FieldType::Time(_), Values::Int(_)) => Ok(()),
        (FieldType::Signed(_) | FieldType::Unsigned(_), Values::Int(x)) => {
            let (low, high) = kind.integer_range().unwrap_or((0, -1));
            match x.iter().find(|x| !(low..=high).contains(&i128::from(**x))) {
                None => Ok(()),
                Some(x) => Err(format!("{x} does not fit {}", kind.name())),
            }
        }
        (FieldType::String, Values::Text { ends, bytes }) => {
            let text = std::str::from_utf8(bytes).map_err(|why| format!("text that is not UTF-8: {why}"))?;
            let cuts = ends.iter().all(|end| text.is_char_boundary(*end as usize));
            if cuts && ends.is_sorted() && ends.last().is_none_or(|end| *end as usize == bytes.len()) {
                Ok(())
            } else {
                Err("ends that do not cut its text into rows".to_owned())
            }
        }
        _ => Err(format!("values of another type than {}", kind.name())),
    }
}

fn check_column(field: &Field, column: &Column, rows: usize) -> std::result::Result<(), String> {
    if !column.nulls.is_empty() && column.nulls.len() < rows.div_ceil(64) {
        return Err("fewer null bits than rows".to_owned());
    }
    match &column.values {
        Values::List { ends, items } if field.multi => {
            if ends.len() != rows || !ends.is_sorted() {
                return Err("ends that do not cut its items into rows".to_owned());
            }
            check_items(field.kind, items, ends.last().copied().unwrap_or(0) as usize)
        }
        values => check_items(field.kind, values, rows),
    }
}

/// Positions in the schema of the columns, and of the id's column.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    id: usize,
    /// Column, position in the schema, whether values are added.
    pub(super) fields: Vec<(usize, usize, bool)>,
    count: usize,
}

impl Targets {
    pub(super) fn new(documents: &DocumentType, targets: &[LoadTarget]) -> Result<Self> {
        let schema = documents.schema();
        let fail = |why: String| Err(Error::Load(why));
        let mut ids = targets.iter().enumerate().filter(|(_, target)| **target == LoadTarget::Id);
        let (Some((id, _)), None) = (ids.next(), ids.next()) else {
            return fail(format!("exactly one column is the id {:?}", schema.id.name));
        };
        let mut fields: Vec<(usize, usize, bool)> = Vec::new();
        for (column, target) in targets.iter().enumerate() {
            let (name, add) = match target {
                LoadTarget::Id | LoadTarget::Skip => continue,
                LoadTarget::Set(name) => (name, false),
                LoadTarget::Add(name) => (name, true),
            };
            let Some(at) = schema.position(name) else { return fail(schema.unknown_field(name)) };
            let field = schema.field(name)?;
            if field.compute.is_some() {
                return fail(format!("field {name:?} is computed and cannot be loaded"));
            }
            if add && !field.multi {
                return fail(format!(
                    "field {name:?} holds one value and nothing can be added: make it `multi`"
                ));
            }
            if fields.iter().any(|(_, other, _)| *other == at) {
                return fail(format!("two columns are for field {name:?}"));
            }
            fields.push((column, at, add));
        }
        Ok(Self { id, fields, count: targets.len() })
    }
}

impl<'b> Checked<'b> {
    /// Checks a batch and computes what is computed.
    pub(super) fn new(documents: &DocumentType, targets: &Targets, batch: &'b RowBatch) -> Result<Self> {
        let schema = documents.schema();
        let rows = batch.rows;
        let fault = |name: &str, why: &str| {
            Error::Load(format!("rows from {}, column of {name:?}: {why}", batch.first_row))
        };
        if batch.columns.len() != targets.count {
            return Err(Error::Load(format!(
                "a batch has {} columns, not {}",
                batch.columns.len(),
                targets.count
            )));
        }
        let Some(id) = batch.columns.get(targets.id) else {
            return Err(fault(&schema.id.name, "it is missing"));
        };
        let id_field = Field::new(schema.id.name.clone(), schema.id.kind);
        check_column(&id_field, id, rows).map_err(|why| fault(&schema.id.name, &why))?;
        if (0..rows).any(|row| is_null(id, row)) {
            return Err(fault(&schema.id.name, "an id is null"));
        }
        let mut columns: Vec<Option<Cow<'b, Column>>> = vec![None; schema.fields.len()];
        for (from, at, _) in &targets.fields {
            let (Some(column), Some(field)) = (batch.columns.get(*from), schema.fields.get(*at)) else {
                continue;
            };
            check_column(field, column, rows).map_err(|why| fault(&field.name, &why))?;
            if let Some(place) = columns.get_mut(*at) {
                *place = Some(Cow::Borrowed(column));
            }
        }
        Ok(Self { rows, id, columns })
    }

    /// Puts in what follows from the rest, for rows that are whole records: defaults, then computed fields. Refuses
    /// nulls where there must be none.
    pub(super) fn complete(&mut self, documents: &DocumentType, first_row: u64) -> Result<()> {
        let schema = documents.schema();
        for (at, place) in self.columns.iter_mut().enumerate() {
            let default = documents.default_of(at);
            if default.is_null() {
                continue;
            }
            let nulls = place.as_ref().is_none_or(|column| column.nulls.iter().any(|word| *word != 0));
            if let (true, Some(field)) = (nulls, schema.fields.get(at)) {
                *place = Some(Cow::Owned(with_default(field, place.as_deref(), self.rows, default)));
            }
        }
        for (at, sources) in documents.computed() {
            let mut nulls = vec![0_u64; self.rows.div_ceil(64)];
            let mut values = Vec::with_capacity(self.rows);
            for row in 0..self.rows {
                let number = |from: usize| {
                    let column = self.columns.get(from)?.as_ref()?;
                    match (&column.values, is_null(column, row)) {
                        (Values::Int(x), false) => {
                            let kind = schema.fields.get(from)?.kind;
                            Some(number(kind, x.get(row).copied()?))
                        }
                        _ => None,
                    }
                };
                #[expect(clippy::cast_possible_truncation, reason = "unsigned values are kept as their bits")]
                let computed = documents.compute(*at, sources, number).map(|x| x as i64);
                values.push(computed.unwrap_or(0));
                if let (None, Some(word)) = (computed, nulls.get_mut(row / 64)) {
                    *word |= 1 << (row % 64);
                }
            }
            if let Some(place) = self.columns.get_mut(*at) {
                *place = Some(Cow::Owned(Column { nulls, values: Values::Int(values) }));
            }
        }
        for (field, column) in schema.fields.iter().zip(&self.columns) {
            let null = |row: &usize| column.as_ref().is_none_or(|column| is_null(column, *row));
            if let (false, Some(row)) = (field.nullable, (0..self.rows).find(null)) {
                return Err(Error::Load(format!(
                    "row {}: field {:?} must not be null",
                    first_row + row as u64,
                    field.name
                )));
            }
        }
        Ok(())
    }

    /// The id of a row.
    pub(super) fn id(&self, kind: FieldType, row: usize) -> Id {
        match item(kind, &self.id.values, row) {
            Value::Text(text) => Id::Text(text),
            Value::Int(x) => Id::Int(x),
            _ => Id::Int(0),
        }
    }

    /// Appends the document of a row.
    pub(super) fn encode_into(
        &self,
        documents: &DocumentType,
        row: usize,
        room: &mut Room,
        out: &mut Vec<u8>,
    ) {
        let schema = documents.schema();
        put_item(out, schema.id.kind, &self.id.values, row);
        room.presence.clear();
        room.values.clear();
        for (number, at) in documents.in_order() {
            let (Some(Some(column)), Some(field)) = (self.columns.get(*at), schema.fields.get(*at)) else {
                continue;
            };
            if is_null(column, row) {
                continue;
            }
            let byte = usize::from(*number) / 8;
            if room.presence.len() <= byte {
                room.presence.resize(byte + 1, 0);
            }
            if let Some(bits) = room.presence.get_mut(byte) {
                *bits |= 1 << (number % 8);
            }
            if field.multi {
                room.set.clear();
                put_set(&mut room.set, field, column, row, &mut room.numbers);
                put_varint(&mut room.values, room.set.len() as u64);
                room.values.extend_from_slice(&room.set);
            } else {
                put_item(&mut room.values, field.kind, &column.values, row);
            }
        }
        put_varint(out, room.presence.len() as u64);
        out.extend_from_slice(&room.presence);
        out.extend_from_slice(&room.values);
    }
}

/// Buffers for encoding.
#[derive(Debug, Default)]
pub(super) struct Room {
    presence: Vec<u8>,
    values: Vec<u8>,
    set: Vec<u8>,
    numbers: Vec<i128>,
}

fn put_item(out: &mut Vec<u8>, kind: FieldType, values: &Values, at: usize) {
    match values {
        Values::Int(x) => put_integer(out, kind, number(kind, x.get(at).copied().unwrap_or(0))),
        Values::Text { ends, bytes } => {
            let (start, end) = extent(ends, at);
            let text = bytes.get(start..end).unwrap_or_default();
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text);
        }
        other => put_value(out, kind, &item(kind, other, at)),
    }
}

fn put_set(out: &mut Vec<u8>, field: &Field, column: &Column, row: usize, numbers: &mut Vec<i128>) {
    let (items, (start, end)) = match &column.values {
        Values::List { ends, items } => (&**items, extent(ends, row)),
        one => (one, (row, row + 1)),
    };
    if let Values::Int(items) = items {
        numbers.clear();
        numbers.extend(items.get(start..end).unwrap_or_default().iter().map(|x| number(field.kind, *x)));
        numbers.sort_unstable();
        numbers.dedup();
        put_set_of_integers(out, field.kind, numbers.iter().copied());
    } else if let Value::List(items) = cell(field, column, row) {
        for item in &items {
            put_value(out, field.kind, item);
        }
    }
}

/// A column with a default in place of nulls.
fn with_default(field: &Field, column: Option<&Column>, rows: usize, default: &Value) -> Column {
    let value = |row: usize| {
        let value = column.map_or(Value::Null, |column| cell(field, column, row));
        if value.is_null() { default.clone() } else { value }
    };
    from_values(field, (0..rows).map(value))
}

/// A column of values of a field; none is null.
fn from_values(field: &Field, values: impl Iterator<Item = Value>) -> Column {
    let mut items = match field.kind {
        FieldType::Bool => Values::Bool(Vec::new()),
        FieldType::Float(_) => Values::Float(Vec::new()),
        FieldType::String => Values::Text { ends: Vec::new(), bytes: Vec::new() },
        _ => Values::Int(Vec::new()),
    };
    let mut ends = Vec::new();
    let mut count = 0;
    for value in values {
        for item in value.items() {
            count += 1;
            match (&mut items, item) {
                (Values::Bool(all), Value::Bool(x)) => all.push(u8::from(*x)),
                (Values::Float(all), Value::Float(x)) => all.push(*x),
                #[expect(clippy::cast_possible_truncation, reason = "unsigned values are kept as their bits")]
                (Values::Int(all), Value::Int(x)) => all.push(*x as i64),
                (Values::Text { ends, bytes }, Value::Text(x)) => {
                    bytes.extend_from_slice(x.as_bytes());
                    ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                }
                _ => {}
            }
        }
        ends.push(count);
    }
    let values = if field.multi { Values::List { ends, items: Box::new(items) } } else { items };
    Column { nulls: Vec::new(), values }
}
