//! Filters: which records a query is about.
//!
//! A filter is written as text ([`Filter::parse`]), as a JSON tree ([`Filter::from_json`]) or built from parts
//! ([`Filter::eq`] and its neighbours). Binding it to a schema checks names and types and
//! yields a [`Predicate`]: negation pushed to the leaves, literals turned into sort keys.
//!
//! Nulls follow SQL's three-valued logic: a comparison with a null is neither true nor false, and a record
//! is found only where the whole filter is true. So `f != v`, `NOT f = v` and `f NOT IN (…)` leave nulls out. On a set,
//! a comparison holds if any value satisfies it; `!=` and `NOT IN` are the negations of `=` and `IN`;
//! `IS EMPTY` finds empty sets, which are not null.

mod bind;
mod json;
mod lexer;
mod parser;
mod predicate;
mod text;

use crate::error::FilterError;
use crate::schema::Schema;
use crate::value::Value;

pub use predicate::{FieldRef, Leaf, Predicate, Test};

/// A filter, not yet bound to a schema.
///
/// ```
/// use silo_engine::Filter;
///
/// let text = Filter::parse(r#"tagIds = 4 AND NOT (poi = true OR baseModel STARTS WITH "SD")"#)?;
/// let built = Filter::eq("tagIds", 4)
///     .and(Filter::eq("poi", true).or(Filter::starts_with("baseModel", "SD")).negated());
/// assert_eq!(text, built);
/// assert!(Filter::parse("tagIds = ").unwrap_err().to_string().contains("column 10"));
/// # Ok::<(), silo_engine::FilterError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Filter {
    pub(crate) root: Node,
    text: Option<String>,
}

/// A node of a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// True where all are; for every record where there is none.
    And(Vec<Node>),
    /// True where any is; for no record where there is none.
    Or(Vec<Node>),
    /// True where the other is false.
    Not(Box<Node>),
    /// A test of a field.
    Test {
        /// The field's name.
        field: Name,
        /// What is asked of it.
        test: Condition,
    },
}

/// A field's name and where it stood in the text.
#[derive(Debug, Clone)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Character of the text, from 0.
    pub at: Option<usize>,
}

/// A value and where it stood in the text.
#[derive(Debug, Clone)]
pub struct Literal {
    /// The value. Times are text in ISO 8601.
    pub value: Value,
    /// Character of the text, from 0.
    pub at: Option<usize>,
}

/// What is asked of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A comparison with a value.
    Compare(Comparison, Literal),
    /// Equal to one of these.
    In(Vec<Literal>),
    /// From the first to the second, both included.
    Between(Literal, Literal),
    /// Text that starts so.
    StartsWith(Literal),
    /// Without a value.
    IsNull,
    /// A set without values.
    IsEmpty,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// Where something stood does not matter to what it is.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl<T: Into<Value>> From<T> for Literal {
    fn from(value: T) -> Self {
        Self { value: value.into(), at: None }
    }
}

impl Comparison {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Equal, "="),
        (Self::NotEqual, "!="),
        (Self::LessOrEqual, "<="),
        (Self::GreaterOrEqual, ">="),
        (Self::Less, "<"),
        (Self::Greater, ">"),
    ];

    /// How it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        Self::ALL.iter().find(|(this, _)| *this == self).map_or("=", |(_, symbol)| symbol)
    }

    fn from_symbol(symbol: &str) -> Option<Self> {
        match symbol {
            "==" => Some(Self::Equal),
            "<>" => Some(Self::NotEqual),
            _ => Self::ALL.iter().find(|(_, known)| *known == symbol).map(|(this, _)| *this),
        }
    }
}

impl Filter {
    /// The filter that every record passes.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Node::And(Vec::new()))
    }

    fn of(root: Node) -> Self {
        Self { root, text: None }
    }

    fn test(field: impl Into<String>, test: Condition) -> Self {
        Self::of(Node::Test { field: Name { name: field.into(), at: None }, test })
    }

    /// Reads a filter; blank text is the filter that every record passes.
    ///
    /// # Errors
    /// [`FilterError`] with the place of the fault.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let root = parser::parse(text).map_err(|error| error.with_text(text))?;
        Ok(Self { root, text: Some(text.to_owned()) })
    }

    /// A field has a value.
    pub fn eq(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::compare(field, Comparison::Equal, value)
    }

    /// A field compares with a value.
    pub fn compare(field: impl Into<String>, comparison: Comparison, value: impl Into<Value>) -> Self {
        Self::test(field, Condition::Compare(comparison, value.into().into()))
    }

    /// A field has one of some values.
    pub fn is_in<V: Into<Value>>(field: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::test(field, Condition::In(values.into_iter().map(|value| value.into().into()).collect()))
    }

    /// A field lies between two values, both included.
    pub fn between(field: impl Into<String>, low: impl Into<Value>, high: impl Into<Value>) -> Self {
        Self::test(field, Condition::Between(low.into().into(), high.into().into()))
    }

    /// A string starts with a prefix.
    pub fn starts_with(field: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::test(field, Condition::StartsWith(Value::Text(prefix.into()).into()))
    }

    /// A field has no value.
    pub fn is_null(field: impl Into<String>) -> Self {
        Self::test(field, Condition::IsNull)
    }

    /// A set is empty.
    pub fn is_empty(field: impl Into<String>) -> Self {
        Self::test(field, Condition::IsEmpty)
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut parts = match self.root {
            Node::And(parts) => parts,
            one => vec![one],
        };
        parts.push(other.root);
        Self::of(Node::And(parts))
    }

    /// One of them holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let mut parts = match self.root {
            Node::Or(parts) => parts,
            one => vec![one],
        };
        parts.push(other.root);
        Self::of(Node::Or(parts))
    }

    /// It is false.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::of(Node::Not(Box::new(self.root)))
    }

    /// The tree.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Reads a filter's JSON form: `{"and": […]}`, `{"or": […]}`, `{"not": …}` or a test,
    /// `{"field": "f", "op": "<=", "value": 5}`. The operators are those of the text, in lower case; `in` and
    /// `between` take a list, `is null` and `is empty` no value. `null` is the filter that every record passes.
    ///
    /// # Errors
    /// [`FilterError`] that says which part is wrong.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, FilterError> {
        json::node_from_json(json, 0).map(Self::of)
    }

    /// The filter's JSON form.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json::node_to_json(&self.root)
    }

    /// Checks the filter against a schema and turns it into a predicate.
    ///
    /// # Errors
    /// [`FilterError`] for unknown fields, with the nearest name, and for values that do not fit.
    pub fn bind(&self, schema: &Schema) -> Result<Predicate, FilterError> {
        bind::bind(schema, &self.root, false).map_err(|error| match &self.text {
            Some(text) => error.with_text(text),
            None => FilterError::new(error.message),
        })
    }
}

/// A fault and its place, before the text is put beside it.
#[derive(Debug)]
struct Fault {
    message: String,
    at: Option<usize>,
}

impl Fault {
    fn new(at: Option<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), at }
    }

    fn with_text(self, text: &str) -> FilterError {
        FilterError { message: self.message, at: self.at.map(|at| (text.to_owned(), at)) }
    }
}
