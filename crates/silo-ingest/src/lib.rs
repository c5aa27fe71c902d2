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
mod join;
mod load;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;
mod progress;
mod read;
mod reject;
mod spec;
mod text;

pub use error::{Cause, Error, Result};
pub use infer::{InferOptions, Inference, InferredColumn, infer};
pub use input::{Compression, Format};
pub use join::{Join, JoinSink, JoinText, Joins};
pub use load::{LoadOptions, LoadSummary, keep_standard_input, load};
#[cfg(feature = "parquet")]
pub use parquet::write::ParquetWriter;
pub use plan::{Destination, Numbering, Plan, PlanOptions, column_names, plan};
pub use progress::Progress;
pub use read::{FileReport, ReadOptions, ReadReport, Refusal, Sink, read};
pub use reject::{IgnoreRejects, Reason, Reject, RejectSink, RejectWriter};
pub use spec::{ColumnSpec, Multi, Nulls};
