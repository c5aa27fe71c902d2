//! What records look like: the id, the fields, and by what they are found.

mod compute;
mod types;
mod validate;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, did_you_mean};

pub use compute::{Compute, ComputeNode, DatePart, MathOp};
pub use types::{FieldType, IndexKinds, TimeUnit};

/// The newest version of schemas that this crate reads and the one that it writes.
pub const SCHEMA_VERSION: u32 = 1;

/// Fields are numbered below this.
pub const MAX_FIELDS: u16 = 4_096;

/// What records look like.
///
/// ```
/// use silo_engine::{FieldType, Schema};
///
/// let schema = Schema::from_toml(r#"
///     version = 1
///     id = { name = "imageId", type = "i64" }
///
///     [[fields]]
///     name = "nsfwLevel"
///     type = "u8"
///     index = ["filter"]
///
///     [[fields]]
///     name = "tagIds"
///     type = "u32"
///     multi = true
///     index = ["filter"]
///
///     [[fields]]
///     name = "sortAt"
///     type = "time(s)"
///     index = ["sort"]
/// "#)?;
/// assert_eq!(schema.field("sortAt")?.kind, FieldType::Time(silo_engine::TimeUnit::Seconds));
/// assert_eq!(Schema::from_toml(&schema.to_toml())?, schema);
/// # Ok::<(), silo_engine::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The version of the schema's form: [`SCHEMA_VERSION`].
    #[serde(default = "current_version")]
    pub version: u32,
    /// What identifies a record.
    pub id: IdField,
    /// The fields, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

fn current_version() -> u32 {
    SCHEMA_VERSION
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_true(this: &bool) -> bool {
    *this
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(this: &bool) -> bool {
    !*this
}

/// What identifies a record: an integer or a string, never null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdField {
    /// Its name, in filters and documents.
    pub name: String,
    /// An integer type or [`FieldType::String`].
    #[serde(rename = "type")]
    pub kind: FieldType,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// A durable number, which stored documents use; never given to another field. Given by
    /// position where it is not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// Whether it holds a set of values instead of one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub multi: bool,
    /// Whether a record may be without it; true by default.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub nullable: bool,
    /// By what it is found; nothing means that it is only stored.
    #[serde(default, skip_serializing_if = "IndexKinds::is_none")]
    pub index: IndexKinds,
    /// What takes the place of null whenever a record is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultValue>,
    /// How it is computed from other fields of the record whenever that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Compute>,
    /// Whether filters and indexes compare the lower-case form of a string. Documents keep the original.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fold_case: bool,
}

/// A value as TOML writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DefaultValue {
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text; times are written so as well, in ISO 8601.
    Text(String),
    /// Several values.
    List(Vec<DefaultValue>),
}

impl IdField {
    /// An id of this name; an integer type or a string.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self { name: name.into(), kind }
    }

    /// Whether ids are strings.
    #[must_use]
    pub fn is_string(&self) -> bool {
        self.kind == FieldType::String
    }
}

impl Field {
    /// A nullable field with one value and no index.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self {
            name: name.into(),
            kind,
            number: None,
            multi: false,
            nullable: true,
            index: IndexKinds::none(),
            default: None,
            compute: None,
            fold_case: false,
        }
    }

    /// The same with these indexes.
    #[must_use]
    pub fn index(mut self, index: IndexKinds) -> Self {
        self.index = index;
        self
    }

    /// The same holding sets of values.
    #[must_use]
    pub fn multi(mut self) -> Self {
        self.multi = true;
        self
    }

    /// The same without nulls.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// Its durable number; 0 before the schema was validated.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number.unwrap_or(0)
    }
}

impl Schema {
    /// A schema of these fields, validated.
    ///
    /// # Errors
    /// [`Error::Schema`].
    pub fn new(id: IdField, fields: Vec<Field>) -> Result<Self> {
        Self { version: SCHEMA_VERSION, id, fields }.validated()
    }

    /// Reads and validates a schema.
    ///
    /// # Errors
    /// [`Error::Schema`] that says what is wrong and where.
    pub fn from_toml(text: &str) -> Result<Self> {
        let schema: Self = toml::from_str(text).map_err(|error| Error::Schema(error.to_string()))?;
        schema.validated()
    }

    /// The schema as TOML, numbers of fields included.
    ///
    /// # Panics
    /// Never: every schema can be written.
    #[must_use]
    pub fn to_toml(&self) -> String {
        match toml::to_string(self) {
            Ok(text) => text,
            Err(error) => unreachable!("a schema is plain data: {error}"),
        }
    }

    /// Position of a field in `fields`.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// A field by name.
    ///
    /// # Errors
    /// [`Error::Schema`] that names the nearest field.
    pub fn field(&self, name: &str) -> Result<&Field> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .ok_or_else(|| Error::Schema(self.unknown_field(name)))
    }

    /// What to say about a name that no field has.
    #[must_use]
    pub fn unknown_field(&self, name: &str) -> String {
        let names = std::iter::once(self.id.name.as_str()).chain(self.fields.iter().map(|f| f.name.as_str()));
        format!("no field is named {name:?}; {}", did_you_mean(name, names))
    }

    /// This schema changed into a newer one: fields keep their numbers, new fields get numbers that
    /// were never used here.
    ///
    /// # Errors
    /// [`Error::Schema`] if the id or the type of a field differs.
    pub fn evolve(&self, newer: &Schema) -> Result<Schema> {
        let mut newer = newer.clone();
        if newer.id != self.id {
            return Err(Error::Schema(format!(
                "the id {:?} of type {} cannot become {:?} of type {}: load into a new silo",
                self.id.name,
                self.id.kind.name(),
                newer.id.name,
                newer.id.kind.name()
            )));
        }
        for field in &mut newer.fields {
            field.number = None;
            let Some(old) = self.fields.iter().find(|old| old.name == field.name) else { continue };
            if (old.kind, old.multi) != (field.kind, field.multi) {
                return Err(Error::Schema(format!(
                    "field {:?} has type {}{} in the silo and cannot change: give the new one another name",
                    old.name,
                    old.kind.name(),
                    if old.multi { ", multi" } else { "" },
                )));
            }
            field.number = old.number;
        }
        if let Some(lost) = self.fields.iter().find(|old| newer.position(&old.name).is_none()) {
            return Err(Error::Schema(format!(
                "field {:?} is missing: a field stays in the schema; give it no index to save its space",
                lost.name
            )));
        }
        newer.validated()
    }
}
