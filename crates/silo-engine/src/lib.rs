//! Records with a schema over a silo: documents, indexes, queries.

pub mod columns;
mod document;
mod entries;
mod error;
mod filter;
mod schema;
mod time;
mod value;

pub use document::{Change, Document, DocumentType, FieldSet, Merge, Record};
pub use error::{Error, FilterError, Result};
pub use filter::{Comparison, Condition, FieldRef, Filter, Leaf, Literal, Name, Node, Predicate, Test};
pub use schema::{
    Compute, ComputeNode, DatePart, DefaultValue, Field, FieldType, IdField, IndexKinds, MAX_FIELDS, MathOp,
    SCHEMA_VERSION, Schema, TimeUnit,
};
pub use time::{format_time, parse_time};
pub use value::{Id, Value, sort_key, value_of_key};
