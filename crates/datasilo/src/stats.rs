//! What a silo reports about itself.

use std::time::Duration;

/// What opening a silo after an unclean end found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Batches replayed from the log.
    pub batches: u64,
    /// Mutations replayed from the log.
    pub ops: u64,
    /// Bytes that were not synced before and were written again.
    pub rewritten_bytes: u64,
    /// Bytes behind the last whole batch that were dropped: a batch that was being written, or,
    /// after a loss of power, commits that were never synced.
    pub dropped_bytes: u64,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckpointReport {
    /// Mutations folded into the index.
    pub ops: u64,
    /// Bytes written: index runs, combined operands, manifest.
    pub bytes_written: u64,
    /// Wall time.
    pub elapsed: Duration,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionReport {
    /// Segments that were emptied and removed.
    pub segments: u64,
    /// Bytes of live frames moved.
    pub moved_bytes: u64,
    /// Bytes by which the segments shrank.
    pub freed_bytes: u64,
    /// Wall time.
    pub elapsed: Duration,
}
