//! Files into row batches, in parallel: CSV, TSV, NDJSON and Parquet, plain, gzip or zstd.
//!
//! What is made of bytes is laid down in `docs/INGEST.md`. In short: [`read()`] cuts files into blocks of whole records,
//! parses blocks on several threads straight from the mapping into typed columns, and hands
//! [`RowBatch`](silo_engine::columns::RowBatch)es to a [`Sink`]; rows that cannot be taken go to a [`RejectSink`].
//!
//! Plain files are mapped: they must not be truncated while they are read.

mod chain;
mod error;
mod infer;
mod input;
#[cfg(feature = "parquet")]
mod parquet;
mod join;
mod progress;
mod read;
mod reject;
mod spec;
mod text;

pub use error::{Cause, Error, Result};
pub use join::{Join, JoinSink, JoinText, Joins};
pub use infer::{InferOptions, Inference, InferredColumn, infer};
pub use input::{Compression, Format};
pub use progress::Progress;
pub use read::{FileReport, ReadOptions, ReadReport, Sink, read};
pub use reject::{IgnoreRejects, Reason, Reject, RejectSink, RejectWriter};
pub use spec::{ColumnSpec, Multi, Nulls};
