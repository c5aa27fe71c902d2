//! Rows of a batch to documents' bytes, without a value in between.

use std::borrow::Cow;

use crate::columns::{Column, RowBatch, Values};
use crate::document::bytes::put_varint;
use crate::document::{DocumentType, put_integer_bits, put_set_of_keys};
use crate::engine::View;
use crate::error::{Error, Result};
use crate::schema::{Field, FieldType, Schema};
use crate::value::{Id, Value, key_of_bits};

use super::Refusal;

/// Where a column of the input goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// It is the record's id.
    Id,
    /// It is a field, by position in the schema.
    Field(usize),
    /// Its values, lists or single ones, are added to a field with several values, by position in the schema.
    Add(usize),
    /// It is left out.
    Ignore,
}

/// The rows of a batch in the terms of a schema: defaults and computed fields filled in.
pub(super) struct Rows<'a> {
    pub(super) first_row: u64,
    pub(super) count: usize,
    pub(super) id: &'a Column,
    /// By position of the field; none where every row is null.
    pub(super) fields: Vec<Option<Cow<'a, Column>>>,
    /// Positions of the fields that must not be null and are somewhere in the batch.
    never_null: Vec<usize>,
}

/// Whether row `row` of a column is null.
pub(super) fn is_null(column: &Column, row: usize) -> bool {
    column.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
}

/// Start and end of row `row` among what `ends` divides.
pub(super) fn span(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let start = row.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    start as usize..ends.get(row).copied().unwrap_or(start) as usize
}

/// The text of row `row`.
pub(super) fn text<'v>(ends: &[u32], bytes: &'v [u8], row: usize) -> &'v [u8] {
    bytes.get(span(ends, row)).unwrap_or_default()
}

/// An integer of a column as the field's type sees it: unsigned 64-bit fields store their bits.
pub(super) fn integer_of(kind: FieldType, raw: i64) -> i128 {
    if kind == FieldType::Unsigned(64) { i128::from(raw.cast_unsigned()) } else { i128::from(raw) }
}

/// Checks that a column has the shape that the schema asks for.
fn check_values(values: &Values, rows: usize, kind: FieldType, multi: bool) -> Result<(), String> {
    let ascends = |ends: &[u32], len: usize| {
        ends.is_sorted() && ends.last().copied().unwrap_or(0) as usize == len && ends.len() == rows
    };
    if multi {
        let Values::List { ends, items } = values else { return Err("a list was expected".into()) };
        if !ascends(ends, len_of(items)) {
            return Err("the ends of its lists do not fit".into());
        }
        return check_values(items, len_of(items), kind, false);
    }
    let fits = match (values, kind) {
        (Values::Bool(bits), FieldType::Bool) => bits.len() == rows && bits.iter().all(|bit| *bit <= 1),
        (Values::Int(numbers), _) if kind.is_integer() => {
            // All of a 64-bit type's numbers fit, and those of others keep their order.
            let (low, high) = kind.integer_range().unwrap_or((0, 0));
            let (lowest, highest) =
                numbers.iter().fold((i64::MAX, i64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
            let fits = |raw: i64| (low..=high).contains(&integer_of(kind, raw));
            let all_fit = numbers.is_empty() || (fits(lowest) && fits(highest));
            if !all_fit {
                return Err(format!("a number is out of range for type {}", kind.name()));
            }
            numbers.len() == rows
        }
        (Values::Float(numbers), FieldType::Float(_)) => {
            numbers.len() == rows && !numbers.iter().any(|x| x.is_nan())
        }
        (Values::Text { ends, bytes }, FieldType::String) => {
            let Ok(text) = std::str::from_utf8(bytes) else { return Err("its text is not UTF-8".into()) };
            ascends(ends, bytes.len()) && ends.iter().all(|end| text.is_char_boundary(*end as usize))
        }
        _ => return Err(format!("its values are not of type {}", kind.name())),
    };
    if fits { Ok(()) } else { Err(format!("it does not have {rows} values")) }
}

/// Number of values.
fn len_of(values: &Values) -> usize {
    match values {
        Values::Bool(x) => x.len(),
        Values::Int(x) => x.len(),
        Values::Float(x) => x.len(),
        Values::Text { ends, .. } | Values::List { ends, .. } => ends.len(),
    }
}

/// A column of single values as one of lists; the placeholder of a null row becomes a list's only item.
fn lists_of_one(column: &Column) -> Column {
    let ends = (1..=u32::try_from(len_of(&column.values)).unwrap_or(u32::MAX)).collect();
    let items = Box::new(column.values.clone());
    Column { nulls: column.nulls.clone(), values: Values::List { ends, items } }
}

/// The value in row `row`, as documents have it: sets ascend, with none twice.
pub(super) fn value_at(column: &Column, row: usize, kind: FieldType) -> Value {
    if is_null(column, row) { Value::Null } else { value_in(&column.values, row, kind) }
}

fn value_in(values: &Values, row: usize, kind: FieldType) -> Value {
    match values {
        Values::Bool(bits) => Value::Bool(bits.get(row) == Some(&1)),
        Values::Int(numbers) => Value::Int(integer_of(kind, numbers.get(row).copied().unwrap_or(0))),
        Values::Float(numbers) => Value::Float(numbers.get(row).copied().unwrap_or(0.0) + 0.0),
        Values::Text { ends, bytes } => {
            Value::Text(String::from_utf8_lossy(text(ends, bytes, row)).into_owned())
        }
        Values::List { ends, items } => {
            let mut list: Vec<Value> = span(ends, row).map(|item| value_in(items, item, kind)).collect();
            list.sort_by(Value::compare);
            list.dedup();
            Value::List(list)
        }
    }
}

/// Makes a column out of values.
struct ColumnBuilder {
    rows: usize,
    nulls: Vec<u64>,
    values: Values,
}

impl ColumnBuilder {
    fn new(kind: FieldType, multi: bool) -> Self {
        let one = match kind {
            FieldType::Bool => Values::Bool(Vec::new()),
            FieldType::Float(_) => Values::Float(Vec::new()),
            FieldType::String => Values::Text { ends: Vec::new(), bytes: Vec::new() },
            FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::Time(_) => Values::Int(Vec::new()),
        };
        let values = if multi { Values::List { ends: Vec::new(), items: Box::new(one) } } else { one };
        Self { rows: 0, nulls: Vec::new(), values }
    }

    fn push(&mut self, value: &Value) {
        if self.rows.is_multiple_of(64) {
            self.nulls.push(0);
        }
        if value.is_null()
            && let Some(word) = self.nulls.last_mut()
        {
            *word |= 1 << (self.rows % 64);
        }
        self.rows += 1;
        push_value(&mut self.values, value);
    }

    fn finish(self) -> Column {
        Column { nulls: self.nulls, values: self.values }
    }
}

fn push_value(values: &mut Values, value: &Value) {
    let end = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    match (values, value) {
        (Values::Bool(bits), value) => bits.push(u8::from(*value == Value::Bool(true))),
        #[expect(clippy::cast_possible_truncation, reason = "the bits of a number that fits the field")]
        (Values::Int(numbers), Value::Int(x)) => numbers.push(*x as i64),
        (Values::Int(numbers), _) => numbers.push(0),
        (Values::Float(numbers), Value::Float(x)) => numbers.push(*x),
        (Values::Float(numbers), _) => numbers.push(0.0),
        (Values::Text { ends, bytes }, value) => {
            if let Value::Text(text) = value {
                bytes.extend_from_slice(text.as_bytes());
            }
            ends.push(end(bytes.len()));
        }
        (Values::List { ends, items }, value) => {
            value.items().iter().for_each(|item| push_value(items, item));
            ends.push(end(len_of(items)));
        }
    }
}

impl<'a> Rows<'a> {
    /// A batch in the terms of a schema; `targets` says where its columns go. Rows that are `whole` records get
    /// defaults and computed fields; columns of values to add are as those of their fields.
    ///
    /// # Errors
    /// [`Error::Load`] for columns that do not have the shape that the schema asks for.
    pub(super) fn new(
        documents: &DocumentType,
        targets: &[Target],
        batch: &'a RowBatch,
        whole: bool,
    ) -> Result<Self> {
        let schema = documents.schema();
        let mut id = None;
        let mut fields: Vec<Option<Cow<'a, Column>>> = vec![None; schema.fields.len()];
        for (column, target) in batch.columns.iter().zip(targets) {
            let (name, kind, multi) = match target {
                Target::Ignore => continue,
                Target::Id => (&schema.id.name, schema.id.kind, false),
                Target::Field(at) | Target::Add(at) => {
                    let field = field_at(schema, *at)?;
                    (&field.name, field.kind, field.multi)
                }
            };
            // What is added may come one by one.
            let single = matches!(target, Target::Add(_)) && !matches!(column.values, Values::List { .. });
            check_values(&column.values, batch.rows, kind, multi && !single)
                .map_err(|why| Error::Load(format!("the column for {name:?}: {why}")))?;
            match target {
                Target::Field(at) | Target::Add(at) => {
                    let column =
                        if single { Cow::Owned(lists_of_one(column)) } else { Cow::Borrowed(column) };
                    if let Some(place) = fields.get_mut(*at) {
                        *place = Some(column);
                    }
                }
                Target::Id | Target::Ignore => id = Some(column),
            }
        }
        let id = id.ok_or_else(|| Error::Load("no column holds the ids".into()))?;
        let mut rows =
            Self { first_row: batch.first_row, count: batch.rows, id, fields, never_null: Vec::new() };
        if whole {
            rows.fill_defaults(documents);
            rows.compute(documents);
        }
        let has_null =
            |at: usize| rows.column(at).map_or(whole, |column| column.nulls.iter().any(|word| *word != 0));
        let required = schema.fields.iter().enumerate().filter(|(_, field)| !field.nullable);
        rows.never_null = required.map(|(at, _)| at).filter(|at| has_null(*at)).collect();
        Ok(rows)
    }

    fn column(&self, at: usize) -> Option<&Column> {
        self.fields.get(at)?.as_deref()
    }

    fn fill_defaults(&mut self, documents: &DocumentType) {
        for (at, field) in documents.schema().fields.iter().enumerate() {
            let default = documents.default_of(at);
            let complete = self.column(at).is_some_and(|column| column.nulls.iter().all(|word| *word == 0));
            if default.is_null() || complete {
                continue;
            }
            let mut filled = ColumnBuilder::new(field.kind, field.multi);
            for row in 0..self.count {
                match self.column(at).map(|column| value_at(column, row, field.kind)) {
                    None | Some(Value::Null) => filled.push(default),
                    Some(value) => filled.push(&value),
                }
            }
            if let Some(place) = self.fields.get_mut(at) {
                *place = Some(Cow::Owned(filled.finish()));
            }
        }
    }

    fn compute(&mut self, documents: &DocumentType) {
        for (at, sources) in documents.computed() {
            let Some(field) = documents.schema().fields.get(*at) else { continue };
            let mut computed = ColumnBuilder::new(field.kind, false);
            for row in 0..self.count {
                let value =
                    documents.compute(*at, sources, |source| self.integer(documents.schema(), source, row));
                computed.push(&value.map_or(Value::Null, Value::Int));
            }
            if let Some(place) = self.fields.get_mut(*at) {
                *place = Some(Cow::Owned(computed.finish()));
            }
        }
    }

    fn integer(&self, schema: &Schema, at: usize, row: usize) -> Option<i128> {
        let column = self.column(at)?;
        match &column.values {
            Values::Int(numbers) if !is_null(column, row) => {
                Some(integer_of(schema.fields.get(at)?.kind, *numbers.get(row)?))
            }
            _ => None,
        }
    }

    /// The rows about records that the view does not have, refused because they bring no value for a field. Rows whose id
    /// is null are not among them.
    pub(super) fn unknown(&self, view: &View<'_>, schema: &Schema, lacking: &str) -> Result<Vec<Refusal>> {
        let postings = view.reader().postings(&view.engine.layout.slots)?;
        let mut cursor = postings.unique_cursor();
        let mut refusals = Vec::new();
        for row in (0..self.count).filter(|row| !is_null(self.id, *row)) {
            let id = match &self.id.values {
                Values::Int(raw) => {
                    let bits = raw.get(row).copied().unwrap_or(0);
                    if cursor.get(key_of_bits(schema.id.kind, bits))?.is_some() {
                        continue;
                    }
                    Id::Int(integer_of(schema.id.kind, bits))
                }
                values => {
                    let Value::Text(id) = value_in(values, row, schema.id.kind) else { continue };
                    let id = Id::Text(id);
                    if view.slot_of(&id)?.is_some() {
                        continue;
                    }
                    id
                }
            };
            let reason =
                format!("no record has {} {id}, and a new one needs a value for {lacking:?}", schema.id.name);
            refusals.push(Refusal { row, reason });
        }
        Ok(refusals)
    }

    /// Whether [`Rows::refusal`] refuses no row.
    pub(super) fn all_taken(&self) -> bool {
        self.never_null.is_empty() && self.id.nulls.iter().all(|word| *word == 0)
    }

    /// Why row `row` cannot be a record, if it cannot.
    pub(super) fn refusal(&self, schema: &Schema, row: usize) -> Option<String> {
        if is_null(self.id, row) {
            return Some(format!("{} is null", schema.id.name));
        }
        let missing =
            self.never_null.iter().find(|at| self.column(**at).is_none_or(|column| is_null(column, row)));
        let missing = missing.and_then(|at| schema.fields.get(*at));
        missing.map(|field| format!("{} is null, which the schema forbids", field.name))
    }

    /// Appends the document of row `row`: the same bytes as [`DocumentType::encode_into`] gives.
    pub(super) fn encode(
        &self,
        documents: &DocumentType,
        row: usize,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        put_one(out, documents.schema().id.kind, &self.id.values, row);
        scratch.presence.clear();
        scratch.values.clear();
        for (number, at) in documents.in_order() {
            let Some(column) = self.column(*at) else { continue };
            let Some(field) = documents.schema().fields.get(*at) else { continue };
            if is_null(column, row) {
                continue;
            }
            let byte = usize::from(*number) / 8;
            if scratch.presence.len() <= byte {
                scratch.presence.resize(byte + 1, 0);
            }
            if let Some(last) = scratch.presence.last_mut() {
                *last |= 1 << (number % 8);
            }
            match &column.values {
                Values::List { ends, items } => put_set(scratch, field, items, span(ends, row)),
                one => put_one(&mut scratch.values, field.kind, one, row),
            }
        }
        put_varint(out, scratch.presence.len() as u64);
        out.extend_from_slice(&scratch.presence);
        out.extend_from_slice(&scratch.values);
    }
}

/// Room to encode documents in.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    presence: Vec<u8>,
    values: Vec<u8>,
    set: Vec<u8>,
    keys: Vec<u64>,
    items: Vec<usize>,
}

pub(super) fn field_at(schema: &Schema, at: usize) -> Result<&Field> {
    schema.fields.get(at).ok_or_else(|| Error::Load(format!("the schema has no field at position {at}")))
}

fn put_one(out: &mut Vec<u8>, kind: FieldType, values: &Values, row: usize) {
    match values {
        Values::Bool(bits) => out.push(bits.get(row).copied().unwrap_or(0)),
        Values::Int(numbers) => {
            put_integer_bits(out, kind, numbers.get(row).copied().unwrap_or(0));
        }
        Values::Float(numbers) => {
            let x = numbers.get(row).copied().unwrap_or(0.0) + 0.0;
            #[expect(clippy::cast_possible_truncation, reason = "values of the field are 32-bit floats")]
            if kind == FieldType::Float(32) {
                out.extend_from_slice(&(x as f32).to_bits().to_le_bytes());
            } else {
                out.extend_from_slice(&x.to_bits().to_le_bytes());
            }
        }
        Values::Text { ends, bytes } => {
            let text = text(ends, bytes, row);
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text);
        }
        // Sets hold no sets.
        Values::List { .. } => {}
    }
}

fn put_set(scratch: &mut Scratch, field: &Field, items: &Values, span: std::ops::Range<usize>) {
    scratch.set.clear();
    if let Values::Int(numbers) = items {
        scratch.keys.clear();
        let raw = numbers.get(span).unwrap_or_default();
        scratch.keys.extend(raw.iter().map(|raw| key_of_bits(field.kind, *raw)));
        if !scratch.keys.is_sorted_by(|a, b| a < b) {
            scratch.keys.sort_unstable();
            scratch.keys.dedup();
        }
        put_set_of_keys(&mut scratch.set, field.kind, scratch.keys.iter().copied());
    } else {
        scratch.items.clear();
        scratch.items.extend(span);
        scratch.items.sort_by(|a, b| compare_items(items, *a, *b));
        scratch.items.dedup_by(|b, a| compare_items(items, *a, *b).is_eq());
        for item in &scratch.items {
            put_one(&mut scratch.set, field.kind, items, *item);
        }
    }
    put_varint(&mut scratch.values, scratch.set.len() as u64);
    scratch.values.extend_from_slice(&scratch.set);
}

fn compare_items(items: &Values, a: usize, b: usize) -> std::cmp::Ordering {
    match items {
        Values::Bool(bits) => bits.get(a).cmp(&bits.get(b)),
        Values::Text { ends, bytes } => text(ends, bytes, a).cmp(text(ends, bytes, b)),
        Values::Float(numbers) => {
            let number = |at: usize| numbers.get(at).copied().unwrap_or(0.0) + 0.0;
            number(a).total_cmp(&number(b))
        }
        // Integers are sorted as such; sets hold no sets.
        Values::Int(_) | Values::List { .. } => std::cmp::Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::value::Id;
    use crate::{Document, FieldSet};

    fn schema() -> Schema {
        Schema::from_toml(
            r#"
            id = { name = "id", type = "i64" }
            fields = [
                { name = "flag", type = "bool", index = ["filter"] },
                { name = "small", type = "i16", index = ["sort"] },
                { name = "big", type = "u64", index = ["sort"] },
                { name = "ratio", type = "f32", index = ["sort"] },
                { name = "name", type = "string", number = 40 },
                { name = "tags", type = "u32", multi = true, index = ["filter"] },
                { name = "words", type = "string", multi = true, default = ["b", "a"] },
                { name = "level", type = "u8", default = 7 },
                { name = "most", type = "i64", compute = "greatest(small, level)" },
            ]
            "#,
        )
        .unwrap()
    }

    #[test]
    fn rows_encode_to_the_bytes_of_their_documents() {
        let schema = schema();
        let documents = DocumentType::new(Arc::new(schema.clone())).unwrap();
        let column = |nulls: u64, values| Column { nulls: vec![nulls], values };
        let batch = RowBatch {
            first_row: 0,
            rows: 3,
            columns: vec![
                column(0, Values::Int(vec![5, -6, i64::MIN])),
                column(0b010, Values::Bool(vec![1, 0, 0])),
                column(0b100, Values::Int(vec![-300, 9, 0])),
                column(0, Values::Int(vec![-1, 0, 3])),
                column(0b001, Values::Float(vec![0.0, -0.0, 1.5])),
                column(0, Values::Text { ends: vec![1, 1, 4], bytes: "xäö".as_bytes()[..4].to_vec() }),
                column(
                    0b100,
                    Values::List { ends: vec![3, 3, 3], items: Box::new(Values::Int(vec![9, 2, 9])) },
                ),
                column(
                    0b010,
                    Values::List {
                        ends: vec![2, 2, 3],
                        items: Box::new(Values::Text { ends: vec![1, 3, 3], bytes: b"zaa".to_vec() }),
                    },
                ),
            ],
        };
        // The text must be cut at characters: x, nothing, ä and the first byte of ö is no text.
        let targets: Vec<Target> = std::iter::once(Target::Id).chain((0..7).map(Target::Field)).collect();
        assert!(Rows::new(&documents, &targets, &batch, true).is_err());
        let mut batch = batch;
        batch.columns[5] = column(0, Values::Text { ends: vec![1, 1, 3], bytes: "xä".as_bytes().to_vec() });
        let rows = Rows::new(&documents, &targets, &batch, true).unwrap();

        let (mut scratch, mut bytes) = (Scratch::default(), Vec::new());
        for row in 0..3 {
            bytes.clear();
            rows.encode(&documents, row, &mut scratch, &mut bytes);
            let mut expected = Document {
                id: Id::from_value(schema.id.kind, value_at(rows.id, row, schema.id.kind)).unwrap(),
                values: (0..8)
                    .map(|at| {
                        let column = batch.columns.get(at + 1);
                        column.map_or(Value::Null, |c| value_at(c, row, schema.fields[at].kind))
                    })
                    .chain([Value::Null])
                    .collect(),
            };
            documents.finish(&mut expected).unwrap();
            assert_eq!(documents.decode(&bytes, &FieldSet::all(&schema)).unwrap(), expected);
            assert_eq!(documents.encode(&expected), bytes);
        }
        let last = documents.decode(&bytes, &FieldSet::all(&schema)).unwrap();
        assert_eq!(last.values[7], Value::Int(7));
        assert_eq!(last.values[8], Value::Int(7));
        assert_eq!(rows.refusal(&schema, 0), None);
    }

    #[test]
    fn columns_of_another_shape_are_refused() {
        let documents = DocumentType::new(Arc::new(schema())).unwrap();
        let id = Column { nulls: Vec::new(), values: Values::Int(vec![1, 2]) };
        let column = |values| Column { nulls: Vec::new(), values };
        for (at, values, says) in [
            (0, Values::Bool(vec![1, 2]), "2 values"),
            (0, Values::Int(vec![1, 0]), "not of type bool"),
            (1, Values::Int(vec![1, 40_000]), "out of range"),
            (3, Values::Float(vec![1.0, f64::NAN]), "2 values"),
            (4, Values::Text { ends: vec![1, 2], bytes: vec![0xff, 0xfe] }, "not UTF-8"),
            (4, Values::Text { ends: vec![1, 9], bytes: vec![b'a', b'b'] }, "2 values"),
            (5, Values::Int(vec![1, 2]), "a list"),
            (5, Values::List { ends: vec![2, 1], items: Box::new(Values::Int(vec![1, 2])) }, "ends"),
        ] {
            let batch = RowBatch { first_row: 0, rows: 2, columns: vec![id.clone(), column(values)] };
            let error = Rows::new(&documents, &[Target::Id, Target::Field(at)], &batch, true).err().unwrap();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
