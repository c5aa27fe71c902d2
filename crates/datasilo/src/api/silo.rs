//! A silo open for writing.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::bytes::manifest::KeyspaceRecord;
use crate::error::{Error, Result};
use crate::files::segment_writer::SegmentWriter;
use crate::options::{Durability, KeyspaceOptions, Options};
use crate::state::background;
use crate::state::checkpoint::kill_usage;
use crate::state::core::{Core, FullSegment, lock};
use crate::state::load;
use crate::state::recovery;
use crate::state::version::{KeyspaceMeta, KeyspaceVersion, Version};
use crate::stats::{CheckpointReport, CompactionReport, RecoveryReport};
use crate::storage::DirFiles;

use super::batch::Batch;
use super::keyspace::Keyspace;
use super::snapshot::Snapshot;

/// The longest name of a keyspace, in bytes.
const MAX_NAME_LEN: usize = 255;

thread_local! {
    /// The batch of this thread's last single commit, emptied, for its buffers.
    static SPARE_BATCH: Cell<Option<Batch>> = const { Cell::new(None) };
}

/// Larger batches are not kept.
const MAX_SPARE_BYTES: usize = 64 << 10;

/// A silo open for writing. At most one exists per directory, over all processes.
///
/// All methods take `&self`; share it between threads by reference or in an [`Arc`]. Dropping it
/// closes the silo as [`Silo::close`] does, except that failures are only logged.
#[derive(Debug)]
pub struct Silo {
    pub(crate) core: Arc<Core>,
    recovery: RecoveryReport,
    maintenance: Option<JoinHandle<()>>,
}

impl Silo {
    /// Opens the silo in a directory, or creates one there if the options allow it.
    ///
    /// After an unclean end this replays the log since the last checkpoint, and writes again
    /// what was not synced; otherwise it costs the number of files.
    ///
    /// # Errors
    /// [`Error::Locked`] if another writer has it open; [`Error::NotASilo`],
    /// [`Error::NotADirectory`], [`Error::OperatorMissing`], [`Error::UnsupportedVersion`],
    /// [`Error::Corrupt`], [`Error::InvalidOption`], and those of the system.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let files = DirFiles::new(Arc::clone(&options.storage), dir.as_ref());
        let (core, recovery) = recovery::open_core(files, options)?;
        Self::start(core, recovery)
    }

    pub(crate) fn start(core: Core, recovery: RecoveryReport) -> Result<Self> {
        let core = Arc::new(core);
        let maintenance =
            if core.options.background { Some(background::start(Arc::clone(&core))?) } else { None };
        Ok(Self { core, recovery, maintenance })
    }

    /// What opening found; all zero after a clean close.
    #[must_use]
    pub fn recovery(&self) -> RecoveryReport {
        self.recovery
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.core.files.dir()
    }

    /// Creates a keyspace, or returns the existing one of this name if its settings are the same.
    /// Durable when it returns.
    ///
    /// # Errors
    /// [`Error::KeyspaceMismatch`] if it exists with other settings, [`Error::OperatorMissing`] if
    /// its merge operator is not registered, [`Error::InvalidKeyspace`] for an unusable name or
    /// alignment, and those of the system.
    pub fn create_keyspace(&self, name: &str, options: &KeyspaceOptions) -> Result<Keyspace> {
        let invalid = |why| Err(Error::InvalidKeyspace { name: name.to_owned(), why });
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return invalid("a name has 1 to 255 bytes");
        }
        if options.bad_alignment.is_some() {
            return invalid("an alignment is 1, 2, 4, 8, 16, 32 or 64");
        }
        if options.operator.len() > MAX_NAME_LEN {
            return invalid("an operator's name has at most 255 bytes");
        }
        let operator = load::operator(&self.core.options, name, &options.operator)?;
        let mut log = lock(&self.core.log);
        if log.closed {
            return Err(Error::Closed);
        }
        if let Some(existing) = self.core.version.load().keyspace_by_name(name) {
            return same_settings(existing, options).map(|()| Keyspace { meta: Arc::clone(&existing.meta) });
        }
        let id = lock(&self.core.structure).next_keyspace;
        if id == u32::MAX {
            return invalid("all keyspace ids are used up");
        }
        let meta =
            Arc::new(KeyspaceMeta { id, name: name.to_owned(), align_shift: options.align_shift, operator });
        let keyspace = KeyspaceVersion {
            meta: Arc::clone(&meta),
            runs: Vec::new(),
            live_entries: 0,
            typical_frame_len: 0,
        };
        let record: KeyspaceRecord = keyspace.record();
        self.core.change(
            |manifest| {
                manifest.next_keyspace = id + 1;
                manifest.keyspaces.push(record);
            },
            |version| version.keyspaces.push(keyspace),
        )?;
        self.core.note_keyspaces(&mut log);
        Ok(Keyspace { meta })
    }

    /// Handle of a keyspace.
    ///
    /// # Errors
    /// [`Error::UnknownKeyspace`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        let version = self.core.version.load();
        match version.keyspace_by_name(name) {
            Some(keyspace) => Ok(Keyspace { meta: Arc::clone(&keyspace.meta) }),
            None => Err(version.unknown_keyspace(name)),
        }
    }

    /// All keyspaces, by id.
    #[must_use]
    pub fn keyspaces(&self) -> Vec<Keyspace> {
        let version = self.core.version.load();
        version.keyspaces.iter().map(|k| Keyspace { meta: Arc::clone(&k.meta) }).collect()
    }

    /// Drops a keyspace with all its entries. Durable when it returns; snapshots taken before
    /// still see it. Its id is never used again.
    ///
    /// # Errors
    /// [`Error::UnknownKeyspace`], [`Error::BulkSessionOpen`], and those of the system.
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        let mut maintenance = lock(&self.core.maintenance);
        let mut log = lock(&self.core.log);
        if log.closed {
            return Err(Error::Closed);
        }
        let id = self.keyspace(name)?.id();
        if log.bulk.contains(&id) {
            return Err(Error::BulkSessionOpen { keyspace: name.to_owned() });
        }
        self.core.quiesce(&log);
        let mut replaced = Vec::new();
        self.core.change(
            |manifest| {
                manifest.keyspaces.retain(|k| k.id != id);
                for usage in manifest.segments.iter_mut().flat_map(|s| &mut s.usage) {
                    if usage.keyspace == id {
                        usage.kill();
                    }
                }
            },
            |version| {
                replaced = version.keyspace_by_id(id).map(|k| k.runs.clone()).unwrap_or_default();
                version.keyspaces.retain(|k| k.meta.id != id);
            },
        )?;
        kill_usage(&mut log.usage, id);
        maintenance.kill_usage(id);
        self.core.note_keyspaces(&mut log);
        self.core.remove_replaced_runs(&replaced);
        Ok(())
    }

    /// An empty batch for this silo.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::new(self.core.hash_seed)
    }

    /// Commits a batch: all of it or nothing, visible at once. Empties the batch and returns the
    /// sequence number of its last mutation. An empty batch with [`Durability::Power`] makes all
    /// earlier commits durable.
    ///
    /// # Errors
    /// [`Error::DiskFull`] and other failures to write leave nothing of the batch behind; the
    /// batch is unchanged and can be committed again. [`Error::Poisoned`] after a failed sync: whether
    /// the commits that waited for it survive is known when the silo is opened again.
    /// [`Error::BulkSessionOpen`], [`Error::KeyspaceDropped`], [`Error::BatchTooLarge`],
    /// [`Error::Closed`].
    pub fn commit(&self, batch: &mut Batch, durability: Durability) -> Result<u64> {
        if batch.hash_seed() != self.core.hash_seed {
            return Err(Error::InvalidOption {
                option: "batch",
                why: "it was made by another silo: use `batch()` of the silo that it is committed to"
                    .to_owned(),
            });
        }
        self.core.commit(batch, durability)
    }

    /// Commits a single put.
    ///
    /// # Errors
    /// Those of [`Batch::put`] and [`Silo::commit`].
    pub fn put(
        &self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<u64> {
        self.commit_one(durability, |batch| batch.put(keyspace, key, value))
    }

    /// Commits a single delete.
    ///
    /// # Errors
    /// Those of [`Batch::delete`] and [`Silo::commit`].
    pub fn delete(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>, durability: Durability) -> Result<u64> {
        self.commit_one(durability, |batch| batch.delete(keyspace, key))
    }

    /// Commits a single merge.
    ///
    /// # Errors
    /// Those of [`Batch::merge`] and [`Silo::commit`].
    pub fn merge(
        &self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<u64> {
        self.commit_one(durability, |batch| batch.merge(keyspace, key, operand))
    }

    /// Commits a batch of one mutation, in a batch that the thread keeps for the next time.
    fn commit_one(&self, durability: Durability, fill: impl FnOnce(&mut Batch) -> Result<()>) -> Result<u64> {
        let spare = SPARE_BATCH.take().filter(|batch| batch.hash_seed() == self.core.hash_seed);
        let mut batch = spare.unwrap_or_else(|| self.batch());
        fill(&mut batch)?;
        let result = self.core.commit(&mut batch, durability);
        if result.is_ok() && batch.capacity() <= MAX_SPARE_BYTES {
            SPARE_BATCH.set(Some(batch));
        }
        result
    }

    /// Makes every commit so far survive a loss of power.
    ///
    /// # Errors
    /// [`Error::Poisoned`] and those of the system.
    pub fn sync(&self) -> Result<()> {
        let position = lock(&self.core.log).appended;
        self.core.sync_to(position)
    }

    /// The silo as of now: everything committed before is in it, nothing that is committed later.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let verify = self.core.options.verify_reads;
        loop {
            let version: Arc<Version> = self.core.version.load_full();
            let seq = self.core.published.load(Ordering::Acquire);
            // If the version is still current, its memtables hold everything up to `seq`.
            if Arc::ptr_eq(&version, &self.core.version.load()) {
                return Snapshot { version, seq, verify };
            }
        }
    }

    /// Folds the mutations since the last checkpoint into the index, which bounds recovery and
    /// frees memory. Happens by itself when enough have gathered.
    ///
    /// # Errors
    /// Those of the system; the silo is as before, and goes on.
    pub fn checkpoint(&self) -> Result<CheckpointReport> {
        self.core.checkpoint()
    }

    /// Moves the live frames out of every segment that has dead ones, and removes those segments.
    /// Segments with enough dead bytes are compacted by themselves.
    ///
    /// # Errors
    /// Those of the system; the silo is as before, and goes on. [`Error::Corrupt`] if a frame to
    /// be moved does not match its checksum.
    pub fn compact(&self) -> Result<CompactionReport> {
        self.core.compact_all()
    }

    /// Ends writing: checkpoints, syncs and seals the log, and lets go of the lock, so that the
    /// next open has nothing to replay. Snapshots stay usable.
    ///
    /// # Errors
    /// Those of the system. Everything acknowledged is kept; only the next open takes longer.
    pub fn close(mut self) -> Result<()> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<()> {
        self.core.wakeup.request_stop();
        if let Some(thread) = self.maintenance.take()
            && thread.join().is_err()
        {
            tracing::error!("the maintenance thread had panicked");
        }
        self.core.close()
    }
}

impl Drop for Silo {
    fn drop(&mut self) {
        if lock(&self.core.log).closed {
            return;
        }
        if let Err(error) = self.shut_down() {
            tracing::error!(%error, "the silo was not closed cleanly; the next open replays its log");
        }
    }
}

fn same_settings(existing: &KeyspaceVersion, options: &KeyspaceOptions) -> Result<()> {
    let describe = |align: u32, operator: &str| match operator {
        "" => format!("alignment {align} and no merge operator"),
        name => format!("alignment {align} and merge operator {name:?}"),
    };
    let record = existing.record();
    if record.align_shift == options.align_shift && record.operator == options.operator {
        return Ok(());
    }
    Err(Error::KeyspaceMismatch {
        name: record.name,
        existing: describe(1 << record.align_shift, &record.operator),
        wanted: describe(1 << options.align_shift, &options.operator),
    })
}

impl Core {
    /// See [`Silo::close`].
    fn close(&self) -> Result<()> {
        lock(&self.log).closed = true;
        self.check_poison()?;
        let mut maintenance = lock(&self.maintenance);
        self.checkpoint_with(&mut maintenance)?;
        let mut log = lock(&self.log);
        let full = std::mem::take(&mut log.full);
        match log.writer.take() {
            Some(writer) => self.seal_log(&writer, &full),
            None => Ok(()),
        }
    }

    /// Seals the active segment, or removes it if it holds nothing, and those that the last
    /// checkpoint filled with folds. Nothing in them is left to be replayed.
    fn seal_log(&self, writer: &SegmentWriter, full: &[FullSegment]) -> Result<()> {
        let number = writer.segment().number();
        for full in full {
            full.segment.file().sync()?;
            full.segment.file().set_len(full.len)?;
        }
        writer.segment().file().sync()?;
        writer.segment().file().set_len(writer.tail())?;
        let mut removed = None;
        self.change(
            |manifest| {
                manifest.closed_cleanly = true;
                for record in &mut manifest.segments {
                    if let Some(full) = full.iter().find(|full| full.segment.number() == record.file) {
                        record.sealed = true;
                        record.file_len = full.len;
                        record.replay_from = full.len;
                    }
                }
                let at = manifest.segments.iter().position(|record| record.file == number);
                let Some(record) = at.and_then(|at| manifest.segments.get_mut(at)) else { return };
                if recovery::holds_nothing(record) {
                    removed = Some(number);
                    manifest.segments.retain(|r| r.file != number);
                } else {
                    record.sealed = true;
                    record.file_len = writer.tail();
                    record.replay_from = writer.tail();
                }
            },
            |_| {},
        )?;
        if let Some(number) = removed {
            self.remove_unfinished(crate::bytes::file_header::FileKind::Segment, number);
        }
        Ok(())
    }
}
