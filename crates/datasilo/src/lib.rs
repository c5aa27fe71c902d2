//! Byte keys to byte values in memory-mapped files.
//!
//! A *silo* is a directory. Values are appended to segments and read in place, through an index of
//! mapped hash tables; commits are atomic over any number of keyspaces, and durable as each of
//! them asks; snapshots read without locks while writing, checkpoints and compaction go on.
//!
//! ```
//! use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Silo};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("users.silo");
//! let silo = Silo::open(&path, Options::new())?;
//! let users = silo.create_keyspace("users", &KeyspaceOptions::new())?;
//!
//! let mut batch = silo.batch();
//! batch.put(&users, IntKey::from(7u64), "Ada")?;
//! batch.put(&users, IntKey::from(8u64), "Grace")?;
//! silo.commit(&mut batch, Durability::Power)?;
//!
//! let snapshot = silo.snapshot();
//! silo.delete(&users, IntKey::from(7u64), Durability::Process)?;
//! assert_eq!(snapshot.get(&users, IntKey::from(7u64))?.as_deref(), Some(&b"Ada"[..]));
//! assert!(!silo.snapshot().contains(&users, IntKey::from(7u64))?);
//! # silo.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not for
//!
//! There is no order of keys and no range scan: whoever needs order keeps it in values. There is one
//! writer at a time, and no transaction that reads and writes: batches are blind. Networked file
//! systems are not supported.
//!
//! # Limits
//!
//! Keys have up to 65,535 bytes, values up to 4 GiB − 1, a batch up to 32 GiB, a silo up to 32 TiB.
//! Memory does not depend on the number of entries, apart from one bit per 4 KiB of index, about 60 bytes
//! per mutation since the last checkpoint, and 16 bytes per record during a bulk session.
//!
//! # Files and safety
//!
//! The format is described in `docs/format/datasilo-v1.md`. Opening is a safe function although files
//! are mapped; `docs/adr/0001-opening-a-mapped-silo-is-safe.md` says why.

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
pub use api::place::Place;
pub use api::reader::SiloReader;
pub use api::silo::Silo;
pub use api::snapshot::{Parts, Pending, Snapshot, Value};
pub use error::{Corruption, Error, Result};
pub use merge::{Delta, MergeOperator, MergeResult};
pub use options::{Durability, KeyspaceOptions, Options, Strictness};
pub use state::check::CheckReport;
pub use state::repair::{destroy, repair};
pub use stats::{
    BackupReport, CheckpointReport, CompactionReport, KeyspaceStats, RecoveryReport, RepairReport,
    SegmentStats, Stats,
};
/// For the crates above: the only place that asks for cache lines ahead of use.
#[doc(hidden)]
pub use storage::prefetch;
pub use storage::{MappedRegion, OsStorage, Storage, StorageFile};

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod collision_tests;
