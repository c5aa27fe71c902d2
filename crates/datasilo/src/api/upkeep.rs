//! Looking after a silo that is open for writing: figures, check, backup.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::bytes::index::PAGE_SLOTS;
use crate::error::Result;
use crate::files::run::key_hash;
use crate::options::Strictness;
use crate::state::backup;
use crate::state::check::{self, CheckReport};
use crate::state::core::lock;
use crate::state::index_update::{find_target, is_live};
use crate::state::version::{KeyspaceVersion, Version};
use crate::stats::{BackupReport, KeyspaceStats, SegmentStats, Stats};

use super::keyspace::Keyspace;
use super::silo::Silo;
use super::snapshot::Snapshot;

impl Silo {
    /// The silo's figures as of now. Costs the mutations since the last checkpoint, whose effect on
    /// the number of entries has to be found out.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if a frame that has to be looked at is damaged.
    pub fn stats(&self) -> Result<Stats> {
        let snapshot = self.snapshot();
        let version = &snapshot.version;
        let mut keyspaces = Vec::with_capacity(version.keyspaces.len());
        for keyspace in &version.keyspaces {
            keyspaces.push(keyspace_stats(&snapshot, keyspace)?);
        }
        let log = lock(&self.core.log);
        for (number, usage) in &log.usage {
            for record in &usage.keyspaces {
                if let Some(stats) = keyspaces.iter_mut().find(|k| k.id == record.keyspace)
                    && version.segments.get(*number).is_some()
                {
                    stats.live_bytes =
                        stats.live_bytes.saturating_add(record.bytes.saturating_sub(record.dead_bytes));
                }
            }
        }
        let log_bytes = log.bytes_since_checkpoint;
        drop(log);
        let segments: Vec<SegmentStats> = version
            .segments
            .iter()
            .map(|segment| {
                let record = version.records.get(&segment.number());
                let sealed = record.is_some_and(|r| r.sealed);
                SegmentStats {
                    number: segment.number(),
                    bytes: record.filter(|r| r.sealed).map_or(segment.bytes().len() as u64, |r| r.file_len),
                    dead_bytes: record.map_or(0, super::super::bytes::manifest::SegmentRecord::dead_bytes),
                    sealed,
                }
            })
            .collect();
        let index_bytes: u64 = keyspaces.iter().map(|k| k.index_bytes).sum();
        Ok(Stats {
            generation: version.generation,
            seq: snapshot.seq,
            ops_since_checkpoint: version.memtables.iter().map(|m| m.len() as u64).sum(),
            log_bytes_since_checkpoint: log_bytes,
            user_bytes: self.core.user_bytes.load(Ordering::Relaxed),
            written_bytes: self.core.written_bytes.load(Ordering::Relaxed),
            file_bytes: segments.iter().map(|s| s.bytes).sum::<u64>() + index_bytes,
            pinned_bytes: self.core.pinned_bytes(),
            keyspaces,
            segments,
        })
    }

    /// Checks every frame, every index entry and every count as of the last checkpoint. Writing goes
    /// on meanwhile; checkpoints and compactions wait.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] at the first damage if `strictness` says so.
    pub fn check(&self, strictness: Strictness) -> Result<CheckReport> {
        let _maintenance = lock(&self.core.maintenance);
        let version = self.core.version.load_full();
        check::check_version(&version, strictness == Strictness::Strict)
    }

    /// Makes a copy in a directory that is empty or does not exist, while writing goes on. The copy
    /// has everything committed before the call and an id of its own. Files are hard-linked where the
    /// target is on the same file system, else copied.
    ///
    /// # Errors
    /// [`crate::Error::AlreadyExists`] if the target holds anything, and those of the system. A
    /// failed backup leaves no silo in the target.
    pub fn backup(&self, target: impl AsRef<Path>) -> Result<BackupReport> {
        backup::backup(&self.core, target.as_ref())
    }
}

fn keyspace_stats(snapshot: &Snapshot, keyspace: &KeyspaceVersion) -> Result<KeyspaceStats> {
    let records = snapshot.version.records.values();
    let usage = records.flat_map(|r| &r.usage).filter(|u| u.keyspace == keyspace.meta.id);
    let (bytes, dead) =
        usage.fold((0u64, 0u64), |(b, d), u| (b.saturating_add(u.bytes), d.saturating_add(u.dead_bytes)));
    let slots: u64 = keyspace.runs.iter().map(|r| r.table_pages() * PAGE_SLOTS as u64).sum();
    let entries: u64 = keyspace.runs.iter().map(|r| r.entry_count()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
    let load = if slots == 0 { 0.0 } else { entries as f64 / slots as f64 };
    let change = pending_entries(snapshot, &snapshot.version, keyspace)?;
    Ok(KeyspaceStats {
        id: keyspace.meta.id,
        name: keyspace.meta.name.clone(),
        entries: keyspace.live_entries.saturating_add_signed(change),
        live_bytes: bytes.saturating_sub(dead),
        dead_bytes: dead,
        index_runs: keyspace.runs.len(),
        index_entries: entries,
        index_bytes: keyspace.runs.iter().map(|r| r.file_len()).sum(),
        index_load: load,
    })
}

/// By how much the memtables change the number of keys with a value.
fn pending_entries(snapshot: &Snapshot, version: &Version, keyspace: &KeyspaceVersion) -> Result<i64> {
    let handle = Keyspace { meta: Arc::clone(&keyspace.meta) };
    let mut changes: BTreeMap<&[u8], i64> = BTreeMap::new();
    for memtable in &version.memtables {
        for entry in memtable.lists().flatten() {
            if entry.keyspace() != keyspace.meta.id || entry.seq() > snapshot.seq {
                continue;
            }
            let frame = version.frame(entry.address(), keyspace.meta.align())?;
            frame.verify(keyspace.meta.id)?;
            let key = frame.frame.key();
            if changes.contains_key(key) {
                continue;
            }
            let now = snapshot.contains(&handle, key)?;
            let hash = key_hash(key, version.hash_seed);
            let before = is_live(&find_target(version, keyspace, key, hash)?.unwrap_or_default());
            changes.insert(key, i64::from(now) - i64::from(before));
        }
    }
    Ok(changes.values().sum())
}
