//! Filters bound to a schema.

use std::ops::Bound;

use crate::document::Document;
use crate::schema::{Field, Schema};
use crate::value::{Id, Value, integer_key, sort_key};

/// What a bound filter asks: a tree of conjunctions and disjunctions over leaves, negation only in these.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Every record.
    All,
    /// No record.
    Nothing,
    /// Records that pass all.
    And(Vec<Predicate>),
    /// Records that pass any.
    Or(Vec<Predicate>),
    /// Records that pass a test.
    Leaf(Leaf),
}

/// A test of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// The field.
    pub field: FieldRef,
    /// The test.
    pub test: Test,
    /// Whether records are wanted that are known not to pass: those that fail and are not null.
    pub negated: bool,
}

/// The id or a field, by its position in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldRef {
    /// The id.
    Id,
    /// The field at this position.
    Field(usize),
}

/// What is asked of a field, in terms of sort keys for everything but text.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// One of these keys, ascending.
    Keys(Vec<u64>),
    /// A key from the first to the second, both included.
    Range(u64, u64),
    /// One of these texts, ascending, in lower case where the field folds case.
    Texts(Vec<String>),
    /// A text between bounds.
    TextRange(Bound<String>, Bound<String>),
    /// A text that starts so.
    Prefix(String),
    /// No value.
    Null,
    /// A set without values.
    Empty,
}

impl FieldRef {
    /// The field's name.
    #[must_use]
    pub fn name<'a>(&self, schema: &'a Schema) -> &'a str {
        match self {
            Self::Id => &schema.id.name,
            Self::Field(at) => schema.fields.get(*at).map_or("", |field| field.name.as_str()),
        }
    }
}

impl Test {
    /// Whether one value, not null, passes. For null and empty sets see [`Leaf::matches`].
    fn accepts(&self, kind: crate::schema::FieldType, fold_case: bool, value: &Value) -> bool {
        if let Value::Text(text) = value {
            return if fold_case { self.accepts_text(&text.to_lowercase()) } else { self.accepts_text(text) };
        }
        let Some(key) = sort_key(kind, value) else { return false };
        match self {
            Self::Keys(keys) => keys.binary_search(&key).is_ok(),
            Self::Range(low, high) => (*low..=*high).contains(&key),
            _ => false,
        }
    }

    /// Whether a text passes, in lower case where the field folds case.
    pub(crate) fn accepts_text(&self, text: &str) -> bool {
        match self {
            Self::Texts(texts) => texts.binary_search_by(|probe| probe.as_str().cmp(text)).is_ok(),
            Self::TextRange(low, high) => {
                let from_low = match low {
                    Bound::Included(low) => text >= low.as_str(),
                    Bound::Excluded(low) => text > low.as_str(),
                    Bound::Unbounded => true,
                };
                from_low
                    && match high {
                        Bound::Included(high) => text <= high.as_str(),
                        Bound::Excluded(high) => text < high.as_str(),
                        Bound::Unbounded => true,
                    }
            }
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            _ => false,
        }
    }
}

impl Leaf {
    /// Whether a document passes.
    #[must_use]
    pub fn matches(&self, schema: &Schema, document: &Document) -> bool {
        let FieldRef::Field(at) = self.field else { return self.matches_id(schema, &document.id) };
        let (Some(field), Some(value)) = (schema.fields.get(at), document.values.get(at)) else {
            return false;
        };
        match self.test {
            Test::Null => value.is_null() != self.negated,
            _ if value.is_null() => false,
            Test::Empty => value.items().is_empty() != self.negated,
            _ => self.any_matches(field, value) != self.negated,
        }
    }

    fn any_matches(&self, field: &Field, value: &Value) -> bool {
        value.items().iter().any(|item| self.test.accepts(field.kind, field.fold_case, item))
    }

    fn matches_id(&self, schema: &Schema, id: &Id) -> bool {
        let found = match (&self.test, id) {
            (Test::Null, _) => false,
            (Test::Keys(keys), Id::Int(x)) => keys.binary_search(&integer_key(schema.id.kind, *x)).is_ok(),
            (Test::Range(low, high), Id::Int(x)) => (*low..=*high).contains(&integer_key(schema.id.kind, *x)),
            (other, Id::Text(id)) => other.accepts_text(id),
            _ => false,
        };
        found != self.negated
    }
}

impl Predicate {
    /// Whether a document passes.
    #[must_use]
    pub fn matches(&self, schema: &Schema, document: &Document) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::And(parts) => parts.iter().all(|part| part.matches(schema, document)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(schema, document)),
            Self::Leaf(leaf) => leaf.matches(schema, document),
        }
    }

    /// A conjunction, flattened.
    pub(super) fn and(parts: impl IntoIterator<Item = Predicate>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::All => {}
                Self::Nothing => return Self::Nothing,
                Self::And(inner) => flat.extend(inner),
                other if flat.contains(&other) => {}
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::All,
            1 => flat.pop().unwrap_or(Self::All),
            _ => Self::And(flat),
        }
    }

    /// A disjunction, flattened.
    pub(super) fn or(parts: impl IntoIterator<Item = Predicate>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Nothing => {}
                Self::All => return Self::All,
                Self::Or(inner) => flat.extend(inner),
                other if flat.contains(&other) => {}
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Nothing,
            1 => flat.pop().unwrap_or(Self::Nothing),
            _ => Self::Or(flat),
        }
    }
}
