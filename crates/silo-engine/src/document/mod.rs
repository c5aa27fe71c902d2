//! Documents: records in the terms of a schema, and their bytes.

pub(crate) mod bytes;
mod codec;
mod record;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::schema::{FieldType, Schema, TimeUnit};
use crate::value::{Id, Value};

pub(crate) use codec::{SetBefore, SetRoom, put_integer_bits, put_set_of_keys};
pub use record::{Change, Merge, Record};

/// A record in the terms of a schema: values by the position of their field.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What identifies it.
    pub id: Id,
    /// A value for each field of the schema, null where there is none.
    pub values: Vec<Value>,
}

/// Which fields of documents to decode, by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSet(Vec<bool>);

/// A schema with what is worked out from it once: how documents are made, encoded and read.
#[derive(Debug, Clone)]
pub struct DocumentType {
    schema: Arc<Schema>,
    /// Position of the field with each number.
    by_number: Vec<Option<usize>>,
    /// Numbers of the fields, ascending, with their positions.
    in_order: Vec<(u16, usize)>,
    /// Value that takes the place of null, by position.
    defaults: Vec<Value>,
    /// Computed fields: their position and those of their sources.
    computed: Vec<(usize, Vec<(String, usize)>)>,
}

impl FieldSet {
    /// Every field of a schema.
    #[must_use]
    pub fn all(schema: &Schema) -> Self {
        Self(vec![true; schema.fields.len()])
    }

    /// No field: the id alone.
    #[must_use]
    pub fn none(schema: &Schema) -> Self {
        Self(vec![false; schema.fields.len()])
    }

    /// Fields by name; `*` is every field. The id's name is allowed and changes nothing.
    ///
    /// # Errors
    /// [`Error::Query`] for an unknown name, with the nearest.
    pub fn named<S: AsRef<str>>(schema: &Schema, names: &[S]) -> Result<Self> {
        let mut set = Self::none(schema);
        for name in names {
            let name = name.as_ref();
            if name == "*" {
                return Ok(Self::all(schema));
            }
            if name == schema.id.name {
                continue;
            }
            let Some(at) = schema.position(name) else {
                return Err(Error::Query(schema.unknown_field(name)));
            };
            set.insert(at);
        }
        Ok(set)
    }

    /// Adds a field by position.
    pub fn insert(&mut self, at: usize) {
        if let Some(wanted) = self.0.get_mut(at) {
            *wanted = true;
        }
    }

    /// Whether a field is in it.
    #[must_use]
    pub fn contains(&self, at: usize) -> bool {
        self.0.get(at).copied().unwrap_or(false)
    }

    /// Whether it has no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

impl DocumentType {
    /// The documents of a validated schema.
    ///
    /// # Errors
    /// [`Error::Schema`] if the schema was not validated or cannot be.
    pub fn new(schema: Arc<Schema>) -> Result<Self> {
        let schema = if schema.fields.iter().all(|field| field.number.is_some()) {
            schema
        } else {
            Arc::new(Schema::clone(&schema).validated()?)
        };
        let mut in_order: Vec<(u16, usize)> =
            schema.fields.iter().enumerate().map(|(at, field)| (field.number(), at)).collect();
        in_order.sort_unstable();
        let count = in_order.last().map_or(0, |(number, _)| usize::from(*number) + 1);
        let mut by_number = vec![None; count];
        for (number, at) in &in_order {
            if let Some(place) = by_number.get_mut(usize::from(*number)) {
                *place = Some(*at);
            }
        }
        let mut defaults = Vec::new();
        let mut computed = Vec::new();
        for (at, field) in schema.fields.iter().enumerate() {
            let default = field.default.as_ref().map(|default| Value::from_default(field.kind, default));
            let default = default.transpose().map_err(Error::Schema)?.unwrap_or_default();
            defaults.push(field.fit(default).map_err(Error::Schema)?);
            if let Some(compute) = &field.compute {
                let sources = compute.fields().into_iter();
                let sources = sources.filter_map(|name| Some((name.to_owned(), schema.position(name)?)));
                computed.push((at, sources.collect()));
            }
        }
        Ok(Self { schema, by_number, in_order, defaults, computed })
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Numbers and positions of the fields, ascending by number.
    pub(crate) fn in_order(&self) -> &[(u16, usize)] {
        &self.in_order
    }

    /// What takes the place of null in a field.
    pub(crate) fn default_of(&self, at: usize) -> &Value {
        self.defaults.get(at).unwrap_or(&Value::Null)
    }

    /// Computed fields: their position and those of their sources.
    pub(crate) fn computed(&self) -> &[(usize, Vec<(String, usize)>)] {
        &self.computed
    }

    /// A document without any value.
    pub(crate) fn empty(&self, id: Id) -> Document {
        Document { id, values: vec![Value::Null; self.schema.fields.len()] }
    }

    /// The document of a record that is written whole.
    ///
    /// # Errors
    /// [`Error::Document`] that names the record, the field and what does not fit.
    pub fn document(&self, record: &Record) -> Result<Document> {
        let id = self.id(&record.id)?;
        let mut document = self.empty(id);
        for (name, value) in &record.fields {
            self.set(&mut document, name, value)?;
        }
        self.finish(&mut document)?;
        Ok(document)
    }

    /// An id of the schema's type.
    ///
    /// # Errors
    /// [`Error::Document`].
    pub fn id(&self, id: &Id) -> Result<Id> {
        Id::from_value(self.schema.id.kind, id.to_value())
            .map_err(|why| Error::Document(format!("{} {id}: {why}", self.schema.id.name)))
    }

    /// What results from a merge on top of a document, or of none.
    ///
    /// # Errors
    /// As of [`DocumentType::document`].
    pub fn merged(&self, old: Option<&Document>, merge: &Merge) -> Result<Document> {
        let mut document = match old {
            Some(old) => old.clone(),
            None => self.empty(self.id(&merge.id)?),
        };
        for (name, value) in &merge.set {
            self.set(&mut document, name, value)?;
        }
        for (name, value) in &merge.add {
            self.change_set(&mut document, name, value, |items, item| {
                if let Err(at) = items.binary_search_by(|probe| probe.compare(&item)) {
                    items.insert(at, item);
                }
            })?;
        }
        for (name, value) in &merge.remove {
            self.change_set(&mut document, name, value, |items, item| {
                if let Ok(at) = items.binary_search_by(|probe| probe.compare(&item)) {
                    items.remove(at);
                }
            })?;
        }
        self.finish(&mut document)?;
        Ok(document)
    }

    fn fail(&self, id: &Id, name: &str, why: &str) -> Error {
        Error::Document(format!("{} {id}, field {name:?}: {why}", self.schema.id.name))
    }

    fn writable(&self, id: &Id, name: &str) -> Result<usize> {
        let at = self.schema.position(name).ok_or_else(|| {
            Error::Document(format!("{} {id}: {}", self.schema.id.name, self.schema.unknown_field(name)))
        })?;
        match self.schema.fields.get(at) {
            Some(field) if field.compute.is_some() => {
                Err(self.fail(id, name, "it is computed and cannot be written"))
            }
            _ => Ok(at),
        }
    }

    fn fit(&self, id: &Id, at: usize, value: &Value) -> Result<Value> {
        let Some(field) = self.schema.fields.get(at) else { return Ok(Value::Null) };
        field.fit(value.clone()).map_err(|why| self.fail(id, &field.name, &why))
    }

    fn set(&self, document: &mut Document, name: &str, value: &Value) -> Result<()> {
        let at = self.writable(&document.id, name)?;
        let fitted = self.fit(&document.id, at, value)?;
        if let Some(place) = document.values.get_mut(at) {
            *place = fitted;
        }
        Ok(())
    }

    fn change_set(
        &self,
        document: &mut Document,
        name: &str,
        value: &Value,
        mut change: impl FnMut(&mut Vec<Value>, Value),
    ) -> Result<()> {
        let at = self.writable(&document.id, name)?;
        if !self.schema.fields.get(at).is_some_and(|field| field.multi) {
            return Err(self.fail(&document.id, name, "add and remove are for fields with several values"));
        }
        let Value::List(changes) = self.fit(&document.id, at, value)? else { return Ok(()) };
        let Some(place) = document.values.get_mut(at) else { return Ok(()) };
        let was_null = place.is_null();
        let mut items = match std::mem::take(place) {
            Value::List(items) => items,
            _ => Vec::new(),
        };
        for item in changes {
            change(&mut items, item);
        }
        // What is removed from nothing leaves nothing, not an empty set.
        *place = if was_null && items.is_empty() { Value::Null } else { Value::List(items) };
        Ok(())
    }

    /// Puts in what follows from the rest: defaults, then computed fields.
    ///
    /// # Errors
    /// [`Error::Document`] if a field that must not be null is.
    pub(crate) fn finish(&self, document: &mut Document) -> Result<()> {
        for (value, default) in document.values.iter_mut().zip(&self.defaults) {
            if value.is_null() && !default.is_null() {
                value.clone_from(default);
            }
        }
        for (at, sources) in &self.computed {
            let number = |at: usize| match document.values.get(at) {
                Some(Value::Int(number)) => Some(*number),
                _ => None,
            };
            let value = self.compute(*at, sources, number).map_or(Value::Null, Value::Int);
            if let Some(place) = document.values.get_mut(*at) {
                *place = value;
            }
        }
        for (field, value) in self.schema.fields.iter().zip(&document.values) {
            if !field.nullable && value.is_null() {
                return Err(self.fail(&document.id, &field.name, "it must not be null"));
            }
        }
        Ok(())
    }

    /// The value of a computed field, given the numbers of its sources by position.
    pub(crate) fn compute(
        &self,
        at: usize,
        sources: &[(String, usize)],
        number: impl Fn(usize) -> Option<i128>,
    ) -> Option<i128> {
        let field = self.schema.fields.get(at)?;
        let source = |name: &str| {
            let (_, at) = sources.iter().find(|(source, _)| source == name)?;
            let unit = match self.schema.fields.get(*at)?.kind {
                FieldType::Time(unit) => unit,
                _ => TimeUnit::Seconds,
            };
            Some((number(*at)?, unit))
        };
        let value = field.compute.as_ref()?.evaluate(&source)?;
        let (low, high) = field.kind.integer_range()?;
        (low..=high).contains(&value).then_some(value)
    }
}
