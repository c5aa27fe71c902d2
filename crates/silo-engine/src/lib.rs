//! Records with a schema over a silo: documents, filter and sort indexes, queries, cursors, facets.
//!
//! A [`Schema`] says what records look like and by what they are found; an [`Engine`] keeps them in a
//! directory. Documents and all their index entries change in one atomic batch, a query sees one moment,
//! and a page is the same whatever is written between it and the one before ([`Answer::cursor`]).
//!
//! ```
//! use silo_engine::{Direction, Durability, Engine, Filter, Merge, Query, Record, Schema, UpdateBatch};
//!
//! let schema = Schema::from_toml(r#"
//!     id = { name = "id", type = "i64" }
//!     fields = [
//!         { name = "type", type = "string", index = ["filter"] },
//!         { name = "tags", type = "u32", multi = true, index = ["filter"] },
//!         { name = "reactions", type = "u32", default = 0, index = ["sort"] },
//!         { name = "createdAt", type = "time(s)", index = ["sort"] },
//!     ]
//! "#)?;
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("images.silo");
//! let engine = Engine::create(&path, schema)?;
//!
//! let mut batch = UpdateBatch::new();
//! for id in 0..1_000 {
//!     let tags = [id % 7, id % 11];
//!     batch.put(Record::new(id).with("type", "image").with("tags", tags).with("createdAt", "2024-05-01"));
//! }
//! engine.apply(&batch, Durability::Power)?;
//! engine.merge(Merge::new(77).set("reactions", 5).add("tags", 99), Durability::Process)?;
//!
//! let filter = Filter::parse("tags = 0 AND NOT tags = 3 AND createdAt >= 2024-01-01")?;
//! let query = Query::new(filter).sort("reactions", Direction::Descending).limit(3).fields(["tags"]);
//! let first = engine.query(&query)?;
//! assert_eq!(first.ids, [77.into(), 994.into(), 987.into()]);
//! let second = engine.query(&query.clone().cursor(first.cursor.clone()))?;
//! assert_eq!(second.total, first.total);
//! println!("{}", second.to_json(engine.schema()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Many records come faster by [`Engine::loader`], as row batches from several threads. [`Engine::check`] compares every index
//! with the documents, [`Engine::repair`] makes it so again, [`Engine::alter`] adds fields and indexes.
//!
//! # What it is not for
//! Joins of queries, text search beyond prefixes, more than 2³² records in one silo, and several writing processes at
//! a time (any number may read).
//!
//! # Limits
//! A schema has up to 4,096 fields. A text with an index of kind `filter` has up to 32 KiB, and the values of such a
//! field should number some ten thousand at most: use `high` for more. Text ids are held in memory during a load.
//!
//! The format is described in `docs/format/silo-engine-v1.md`.

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
pub use engine::{Engine, EngineCheck, UpdateBatch, UpdateReport, View};
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
