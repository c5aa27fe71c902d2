//! Records with a schema over a silo: documents, indexes, queries.

pub mod columns;
mod error;
mod schema;
mod time;
mod value;

pub use error::{Error, FilterError, Result};
pub use schema::{
    Compute, ComputeNode, DatePart, DefaultValue, Field, FieldType, IdField, IndexKinds, MAX_FIELDS, MathOp,
    SCHEMA_VERSION, Schema, TimeUnit,
};
pub use time::{format_time, parse_time};
pub use value::{Id, Value, sort_key, value_of_key};
