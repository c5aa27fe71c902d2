//! How a silo is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::merge::MergeOperator;
use crate::storage::{OsStorage, Storage};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The end of this process, however it comes about. The bytes are in the system's hands;
    /// a power loss may take the latest such commits, never a commit before one that survives.
    #[default]
    Process,
    /// A loss of power: the call returns when the bytes are on the device. Concurrent callers
    /// share syncs.
    Power,
}

/// What to do about damage found while reading many things at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// The first damage is an error.
    #[default]
    Strict,
    /// Damage is skipped, counted and reported.
    Lenient,
}

/// Settings of an open silo. The defaults suit tens of millions of records of some hundred bytes.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) segment_bytes: u64,
    pub(crate) region_bytes: usize,
    pub(crate) allocate_bytes: u64,
    pub(crate) checkpoint_ops: usize,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) dead_ratio: f64,
    pub(crate) compaction_bytes_per_second: Option<u64>,
    pub(crate) pinned_alarm_bytes: Option<u64>,
    pub(crate) verify_reads: bool,
    pub(crate) background: bool,
    pub(crate) group_commit_wait: Duration,
    pub(crate) operators: Vec<Arc<dyn MergeOperator>>,
    pub(crate) storage: Arc<dyn Storage>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            segment_bytes: 256 << 20,
            region_bytes: 2 << 20,
            allocate_bytes: 16 << 20,
            checkpoint_ops: 1_000_000,
            checkpoint_bytes: 1 << 30,
            dead_ratio: 0.20,
            compaction_bytes_per_second: None,
            pinned_alarm_bytes: None,
            verify_reads: true,
            background: true,
            group_commit_wait: Duration::from_micros(100),
            operators: Vec::new(),
            storage: Arc::new(OsStorage),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to create the silo if the directory is empty or missing. On by default.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Size at which a segment is sealed and the next one begun: 4 KiB to 32 GiB; 256 MiB by default.
    /// A batch that is larger gets a segment of its own.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Bytes that a bulk writer gathers before it writes: 1 KiB or more; 2 MiB by default, which file
    /// systems with large folios turn into huge pages.
    #[must_use]
    pub fn region_bytes(mut self, bytes: usize) -> Self {
        self.region_bytes = bytes;
        self
    }

    /// Step in which disk space is reserved for the log: 4 KiB or more; 16 MiB by default.
    #[must_use]
    pub fn allocate_bytes(mut self, bytes: u64) -> Self {
        self.allocate_bytes = bytes;
        self
    }

    /// Mutations after which a checkpoint is due; one million by default. Each costs about 60 bytes
    /// of memory until then. Commits wait when four times as many have gathered.
    #[must_use]
    pub fn checkpoint_ops(mut self, ops: usize) -> Self {
        self.checkpoint_ops = ops;
        self
    }

    /// Bytes of log after which a checkpoint is due; 1 GiB by default. They bound recovery.
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// Share of dead bytes from which a segment is compacted: above 0, up to 1; 0.2 by default.
    #[must_use]
    pub fn dead_ratio(mut self, ratio: f64) -> Self {
        self.dead_ratio = ratio;
        self
    }

    /// The most bytes that compaction writes in a second, on average. Unlimited by default.
    #[must_use]
    pub fn compaction_bytes_per_second(mut self, bytes: Option<u64>) -> Self {
        self.compaction_bytes_per_second = bytes;
        self
    }

    /// Bytes of dropped segments held by snapshots from which maintenance warns (a `tracing` event).
    #[must_use]
    pub fn pinned_alarm_bytes(mut self, bytes: Option<u64>) -> Self {
        self.pinned_alarm_bytes = bytes;
        self
    }

    /// Whether reads check the checksums of what they return. On by default.
    #[must_use]
    pub fn verify_reads(mut self, verify: bool) -> Self {
        self.verify_reads = verify;
        self
    }

    /// Whether a thread of the silo checkpoints and compacts by thresholds. On by default; without
    /// it, both happen only when called for.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// How long a sync waits, at most, for other durable commits known to be under way to join it.
    /// 100 µs by default.
    #[must_use]
    pub fn group_commit_wait(mut self, wait: Duration) -> Self {
        self.group_commit_wait = wait;
        self
    }

    /// Makes a merge operator known. Keyspaces refer to it by its name.
    #[must_use]
    pub fn merge_operator(mut self, operator: Arc<dyn MergeOperator>) -> Self {
        self.operators.push(operator);
        self
    }

    /// Replaces the file system, for tests that record or fail its calls.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let check = |option, ok: bool, why: &str| {
            if ok { Ok(()) } else { Err(Error::InvalidOption { option, why: why.to_owned() }) }
        };
        check(
            "segment_bytes",
            (4 << 10..=32 << 30).contains(&self.segment_bytes) && self.segment_bytes.is_multiple_of(8),
            "must be a multiple of 8 from 4 KiB to 32 GiB",
        )?;
        check("region_bytes", self.region_bytes >= 1024, "must be at least 1 KiB")?;
        check("allocate_bytes", self.allocate_bytes >= 4096, "must be at least 4 KiB")?;
        check("checkpoint_ops", (1..=1 << 25).contains(&self.checkpoint_ops), "must be from 1 to 2^25")?;
        check(
            "dead_ratio",
            self.dead_ratio > 0.0 && self.dead_ratio <= 1.0,
            "must be above 0 and at most 1",
        )?;
        check(
            "compaction_bytes_per_second",
            self.compaction_bytes_per_second != Some(0),
            "must be above 0, or None for no limit",
        )
    }

    pub(crate) fn operator(&self, name: &str) -> Option<Arc<dyn MergeOperator>> {
        self.operators.iter().find(|operator| operator.name() == name).cloned()
    }
}

/// Settings of a keyspace, fixed when it is created.
#[derive(Debug, Clone, Default)]
pub struct KeyspaceOptions {
    pub(crate) align_shift: u8,
    pub(crate) operator: String,
    pub(crate) bad_alignment: Option<usize>,
}

impl KeyspaceOptions {
    /// No alignment, no merge operator.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Values start at multiples of this many bytes in memory: 1, 2, 4, … 64; 1 by default.
    #[must_use]
    pub fn align(mut self, bytes: usize) -> Self {
        if bytes.is_power_of_two() && bytes <= 64 {
            self.align_shift = u8::try_from(bytes.trailing_zeros()).unwrap_or(0);
            self.bad_alignment = None;
        } else {
            self.bad_alignment = Some(bytes);
        }
        self
    }

    /// Name of the operator for merges into this keyspace; it must be registered in [`Options`].
    #[must_use]
    pub fn merge_operator(mut self, name: &str) -> Self {
        name.clone_into(&mut self.operator);
        self
    }
}
