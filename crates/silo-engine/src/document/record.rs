//! Records and changes as programs write them, before a schema has looked at them.

use serde_json::Value as Json;

use super::{Document, FieldSet};
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::value::{Id, Value};

/// A record: an id and values by the name of their field.
///
/// ```
/// use silo_engine::Record;
///
/// let record = Record::new(7).with("type", "image").with("tagIds", [4, 77]).with("poi", false);
/// assert_eq!(record.get("type"), Some(&"image".into()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What identifies it.
    pub id: Id,
    /// Names and values; fields that are not named are null.
    pub fields: Vec<(String, Value)>,
}

/// A change of some fields of a record, which is created if it is not there.
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// Which record.
    pub id: Id,
    /// Fields that get a value, or null.
    pub set: Vec<(String, Value)>,
    /// Values to add to sets.
    pub add: Vec<(String, Value)>,
    /// Values to remove from sets.
    pub remove: Vec<(String, Value)>,
}

/// A change of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The record becomes exactly this.
    Put(Record),
    /// Some fields of it change.
    Merge(Merge),
    /// It goes away, if it is there.
    Delete(Id),
}

impl Record {
    /// A record without values.
    pub fn new(id: impl Into<Id>) -> Self {
        Self { id: id.into(), fields: Vec::new() }
    }

    /// The same with a field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// A field's value; none if it is not named.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// A record from a JSON object that has the id among its keys.
    ///
    /// # Errors
    /// [`Error::Document`] that names the field.
    pub fn from_json(schema: &Schema, json: &Json) -> Result<Self> {
        let Json::Object(object) = json else {
            return Err(Error::Document("a record is a JSON object".to_owned()));
        };
        let id_name = schema.id.name.as_str();
        let id = object
            .get(id_name)
            .ok_or_else(|| Error::Document(format!("the record has no {id_name:?}, which identifies it")))?;
        let id = Value::from_json(id).and_then(|id| Id::from_value(schema.id.kind, id));
        let mut record = Self::new(id.map_err(|why| Error::Document(format!("{id_name:?}: {why}")))?);
        for (name, value) in object.iter().filter(|(name, _)| *name != id_name) {
            let value = Value::from_json(value)
                .map_err(|why| Error::Document(format!("{id_name} {}, field {name:?}: {why}", record.id)))?;
            record.fields.push((name.clone(), value));
        }
        Ok(record)
    }
}

impl Merge {
    /// A merge that changes nothing.
    pub fn new(id: impl Into<Id>) -> Self {
        Self { id: id.into(), set: Vec::new(), add: Vec::new(), remove: Vec::new() }
    }

    /// Sets a field, or makes it null.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set.push((name.into(), value.into()));
        self
    }

    /// Adds one or several values to a set.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.add.push((name.into(), value.into()));
        self
    }

    /// Removes one or several values from a set.
    #[must_use]
    pub fn remove(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.remove.push((name.into(), value.into()));
        self
    }
}

impl Change {
    /// The record that it changes.
    #[must_use]
    pub fn id(&self) -> &Id {
        match self {
            Self::Put(record) => &record.id,
            Self::Merge(merge) => &merge.id,
            Self::Delete(id) => id,
        }
    }
}

impl From<Record> for Change {
    fn from(record: Record) -> Self {
        Self::Put(record)
    }
}

impl From<Merge> for Change {
    fn from(merge: Merge) -> Self {
        Self::Merge(merge)
    }
}

impl Document {
    /// The document as a record, without its nulls.
    #[must_use]
    pub fn to_record(&self, schema: &Schema) -> Record {
        let present = schema.fields.iter().zip(&self.values).filter(|(_, value)| !value.is_null());
        Record {
            id: self.id.clone(),
            fields: present.map(|(field, value)| (field.name.clone(), value.clone())).collect(),
        }
    }

    /// The document as a JSON object: the id, then the fields of the set, nulls included.
    #[must_use]
    pub fn to_json(&self, schema: &Schema, fields: &FieldSet) -> Json {
        let mut object = serde_json::Map::new();
        object.insert(schema.id.name.clone(), self.id.to_value().to_json(schema.id.kind));
        for (at, (field, value)) in schema.fields.iter().zip(&self.values).enumerate() {
            if fields.contains(at) {
                object.insert(field.name.clone(), value.to_json(field.kind));
            }
        }
        Json::Object(object)
    }
}
