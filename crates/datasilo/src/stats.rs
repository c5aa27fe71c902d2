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

/// A silo's figures at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// Number of structural changes so far.
    pub generation: u64,
    /// Sequence number of the last visible mutation.
    pub seq: u64,
    /// Keyspaces, by id.
    pub keyspaces: Vec<KeyspaceStats>,
    /// Segments, by number.
    pub segments: Vec<SegmentStats>,
    /// Mutations since the last checkpoint.
    pub ops_since_checkpoint: u64,
    /// Bytes of log since the last checkpoint: what a recovery would read.
    pub log_bytes_since_checkpoint: u64,
    /// Bytes of keys and values accepted over the silo's life.
    pub user_bytes: u64,
    /// Bytes written to files over the silo's life.
    pub written_bytes: u64,
    /// Bytes of files in use: segments and index runs.
    pub file_bytes: u64,
    /// Bytes of segments that were compacted away but are held by snapshots.
    pub pinned_bytes: u64,
}

impl Stats {
    /// Bytes written for each byte of keys and values accepted; 0 if nothing was.
    #[must_use]
    pub fn write_amplification(&self) -> f64 {
        if self.user_bytes == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio of byte counts")]
        let ratio = self.written_bytes as f64 / self.user_bytes as f64;
        ratio
    }
}

/// A keyspace's figures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyspaceStats {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Keys that have a value.
    pub entries: u64,
    /// Bytes of frames that the index leads to, or will after the next checkpoint.
    pub live_bytes: u64,
    /// Bytes of frames that nothing leads to, as of the last checkpoint.
    pub dead_bytes: u64,
    /// Index runs; a look-up visits them until one has the key.
    pub index_runs: usize,
    /// Entries in all runs.
    pub index_entries: u64,
    /// Bytes of all runs.
    pub index_bytes: u64,
    /// Share of slots in use over all runs, 0 to 1.
    pub index_load: f64,
}

/// A segment's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentStats {
    /// Its file number.
    pub number: u32,
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes of frames that nothing leads to, as of the last checkpoint.
    pub dead_bytes: u64,
    /// Whether it is final.
    pub sealed: bool,
}

/// What a repair found, kept and lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairReport {
    /// Segments read.
    pub segments: u64,
    /// Frames that were readable.
    pub frames: u64,
    /// Keys that have a value now.
    pub entries: u64,
    /// Segments that had damage: their readable frames were moved, and the files were kept under
    /// another name.
    pub damaged_segments: Vec<String>,
    /// Files that the manifest names but that were not there or not readable at all.
    pub missing_files: Vec<String>,
    /// Bytes of segments that could not be read as frames.
    pub lost_bytes: u64,
    /// True if the manifest was lost and made anew.
    pub manifest_rebuilt: bool,
}

/// What a backup wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackupReport {
    /// Files that share their bytes with the original.
    pub linked_files: u64,
    /// Files that were copied, because the target is on another file system.
    pub copied_files: u64,
    /// Bytes of all files of the copy.
    pub bytes: u64,
}
