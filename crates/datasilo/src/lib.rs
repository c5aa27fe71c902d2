//! Byte keys to byte values in memory-mapped files.

mod api;
mod bytes;
mod error;
mod files;
mod merge;
mod options;
mod state;
mod stats;
mod storage;

pub use api::batch::Batch;
pub use api::bulk::{BulkReport, BulkSession, BulkWriter};
pub use api::iter::{Entry, Iter};
pub use api::keyspace::{IntKey, Keyspace};
pub use api::reader::SiloReader;
pub use api::silo::Silo;
pub use state::check::CheckReport;
pub use api::snapshot::{Parts, Pending, Snapshot, Value};
pub use error::{Corruption, Error, Result};
pub use merge::{Delta, MergeOperator, MergeResult};
pub use options::{Durability, KeyspaceOptions, Options, Strictness};
pub use state::repair::{destroy, repair};
pub use stats::{
    BackupReport, CheckpointReport, CompactionReport, KeyspaceStats, RecoveryReport, RepairReport, SegmentStats, Stats,
};
pub use storage::{MappedRegion, OsStorage, Storage, StorageFile};

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod collision_tests;
