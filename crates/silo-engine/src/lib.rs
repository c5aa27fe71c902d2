//! Records with a schema over a silo: documents, indexes, queries.

pub mod columns;
mod document;
mod engine;
mod entries;
mod error;
mod filter;
mod load;
mod query;
mod schema;
mod terms;
mod time;
mod value;

pub use bitmap_silo::column::Direction;
pub use datasilo::{Durability, Options};
pub use document::{Change, Document, DocumentType, FieldSet, Merge, Record};
pub use engine::{Engine, UpdateBatch, UpdateReport, View};
pub use error::{Error, FilterError, Result};
pub use filter::{Comparison, Condition, FieldRef, Filter, Leaf, Literal, Name, Node, Predicate, Test};
pub use load::{LoadMode, LoadReport, LoadWriter, Loader, Refusal, Target};
pub use query::{Answer, Explain, FacetCount, FacetRequest, FieldStats, Query};
pub use schema::{
    Compute, ComputeNode, DatePart, DefaultValue, Field, FieldType, IdField, IndexKinds, MAX_FIELDS, MathOp,
    SCHEMA_VERSION, Schema, TimeUnit,
};
pub use time::{format_time, parse_time};
pub use value::{Id, Value, sort_key, value_of_key};
