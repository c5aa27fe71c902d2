//! The state of a silo that is open for writing, shared by all handles and threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::bytes::address::{FileNumber, SeqNo};
use crate::bytes::file_header::{SegmentRole, SiloId};
use crate::bytes::group::{GROUP_HEADER_LEN, Group, GroupKind};
use crate::bytes::manifest::{Manifest, SegmentRecord, UsageRecord, encode_catalog};
use crate::error::{Error, Result};
use crate::files::manifest_file::{self, ReplaceError};
use crate::files::segment::{FIRST_GROUP, Segment, SegmentSpec};
use crate::files::segment_writer::{GroupFrames, MAX_SEGMENT_LEN, SegmentWriter};
use crate::options::Options;
use crate::storage::{DirFiles, SiloFile};

use super::background::Wakeup;
use super::checkpoint::Maintenance;
use super::memtable::Memtable;
use super::sync::SyncState;
use super::version::Version;

/// Locks a mutex whose holder may have panicked. Every critical section leaves its data whole
/// at each step that can panic, or poisons the silo.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames of keyspaces in segments, since the last checkpoint.
pub(crate) type UsageMap = BTreeMap<FileNumber, SegmentUsage>;

/// What was written to a segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct SegmentUsage {
    pub(crate) seqs: Option<(SeqNo, SeqNo)>,
    pub(crate) keyspaces: Vec<UsageRecord>,
}

impl SegmentUsage {
    pub(crate) fn of(&mut self, keyspace: u32) -> &mut UsageRecord {
        let at = self.keyspaces.iter().position(|u| u.keyspace == keyspace).unwrap_or_else(|| {
            self.keyspaces.push(UsageRecord { keyspace, ..UsageRecord::default() });
            self.keyspaces.len() - 1
        });
        match self.keyspaces.get_mut(at) {
            Some(usage) => usage,
            None => unreachable!("the position was just found or made"),
        }
    }

    pub(crate) fn add_frames(&mut self, keyspace: u32, frames: u64, bytes: u64, delete_bytes: u64) {
        let usage = self.of(keyspace);
        usage.frames += frames;
        usage.bytes += bytes;
        usage.delete_bytes += delete_bytes;
    }

    pub(crate) fn add_dead(&mut self, keyspace: u32, bytes: u64) {
        let usage = self.of(keyspace);
        usage.dead_frames += 1;
        usage.dead_bytes += bytes;
    }

    /// Takes one call of [`SegmentUsage::add_dead`] back.
    pub(crate) fn remove_dead(&mut self, keyspace: u32, bytes: u64) {
        let usage = self.of(keyspace);
        usage.dead_frames -= 1;
        usage.dead_bytes -= bytes;
    }

    pub(crate) fn add_seqs(&mut self, first: SeqNo, last: SeqNo) {
        let (low, high) = self.seqs.unwrap_or((first, last));
        self.seqs = Some((low.min(first), high.max(last)));
    }

    /// Adds this to a segment's record.
    pub(crate) fn add_to(&self, record: &mut SegmentRecord) {
        if let Some((low, high)) = self.seqs {
            record.min_seq = if record.max_seq == 0 { low } else { record.min_seq.min(low) };
            record.max_seq = record.max_seq.max(high);
        }
        for usage in &self.keyspaces {
            let at = record.usage.iter_mut().find(|u| u.keyspace == usage.keyspace);
            match at {
                Some(existing) => existing.add(usage),
                None => record.usage.push(*usage),
            }
        }
    }
}

/// A log segment that is not appended to any more.
#[derive(Debug, Clone)]
pub(crate) struct FullSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) len: u64,
    /// What lies behind `len` was only ever reserved, so it can be given back. False for segments of
    /// a writer that ended uncleanly: another process may have read its unsynced end.
    pub(crate) trim: bool,
}

/// The growing end of the ops log.
#[derive(Debug)]
pub(crate) struct LogState {
    /// Begun by the first commit.
    pub(crate) writer: Option<SegmentWriter>,
    pub(crate) next_seq: SeqNo,
    /// The memtable that commits insert into: the first one of the current version.
    pub(crate) memtable: Arc<Memtable>,
    /// The last log segment and its length, if it was ended before it was full.
    pub(crate) ended: Option<(FileNumber, u64)>,
    /// Bytes appended since the silo was opened: a position that grows over segments.
    pub(crate) appended: u64,
    /// Log segments that are full but not synced, oldest first.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// Log segments that the next checkpoint seals, or finishes replaying; oldest first.
    pub(crate) full: Vec<FullSegment>,
    /// What was appended since the last checkpoint.
    pub(crate) usage: UsageMap,
    pub(crate) bytes_since_checkpoint: u64,
    /// Keyspaces that bulk sessions have to themselves.
    pub(crate) bulk: Vec<u32>,
    pub(crate) closed: bool,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) files: DirFiles,
    pub(crate) options: Options,
    /// Holds the lock for as long as it lives.
    pub(crate) _lock: SiloFile,
    pub(crate) silo_id: SiloId,
    pub(crate) hash_seed: u64,
    pub(crate) version: ArcSwap<Version>,
    /// The highest sequence number up to which every commit is visible.
    pub(crate) published: AtomicU64,
    /// Taken before `structure` where both are needed.
    pub(crate) log: Mutex<LogState>,
    /// The manifest as it is on disk, except for `next_file`, which runs ahead.
    pub(crate) structure: Mutex<Manifest>,
    pub(crate) sync: SyncState,
    /// One checkpoint, compaction, bulk publication or backup at a time. Taken before `log`.
    pub(crate) maintenance: Mutex<Maintenance>,
    poison: OnceLock<String>,
    pub(crate) wakeup: Wakeup,
    pub(crate) user_bytes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) retired: Mutex<Vec<(std::sync::Weak<Segment>, u64)>>,
}

/// What opening hands to a new [`Core`].
pub(crate) struct CoreParts {
    pub(crate) files: DirFiles,
    pub(crate) options: Options,
    pub(crate) lock: SiloFile,
    pub(crate) manifest: Manifest,
    pub(crate) version: Version,
    pub(crate) log: LogState,
    pub(crate) sync: SyncState,
}

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Self {
        let CoreParts { files, options, lock, manifest, version, log, sync } = parts;
        Self {
            files,
            options,
            _lock: lock,
            silo_id: manifest.silo_id,
            hash_seed: manifest.hash_seed,
            version: ArcSwap::from_pointee(version),
            published: AtomicU64::new(log.next_seq - 1),
            log: Mutex::new(log),
            user_bytes: AtomicU64::new(manifest.user_bytes),
            written_bytes: AtomicU64::new(manifest.written_bytes),
            structure: Mutex::new(manifest),
            sync,
            maintenance: Mutex::new(Maintenance::default()),
            poison: OnceLock::new(),
            wakeup: Wakeup::default(),
            retired: Mutex::new(Vec::new()),
        }
    }

    /// Stops all writing: the state of the device is unknown.
    pub(crate) fn poison(&self, why: &Error) {
        if self.poison.set(why.to_string()).is_ok() {
            tracing::error!(error = %why, "writing stops until the silo is opened again");
        }
        self.sync.wake_all();
        self.wakeup.notify_progress();
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(why) => Err(Error::Poisoned { why: why.clone() }),
        }
    }

    /// A number for a new file.
    pub(crate) fn next_file(&self) -> FileNumber {
        let mut manifest = lock(&self.structure);
        let number = manifest.next_file;
        manifest.next_file += 1;
        number
    }

    /// Counts bytes written to files, for the write amplification.
    pub(crate) fn count_written(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes a structural change: replaces the manifest, then the version.
    ///
    /// Everything that the new manifest names was synced by the caller. An error leaves both
    /// as they were, and poisons the silo if the manifest on disk is in doubt.
    pub(crate) fn change(
        &self,
        edit: impl FnOnce(&mut Manifest),
        apply: impl FnOnce(&mut Version),
    ) -> Result<()> {
        self.check_poison()?;
        let mut manifest = lock(&self.structure);
        let mut next = manifest.clone();
        next.generation += 1;
        next.closed_cleanly = false;
        next.user_bytes = self.user_bytes.load(Ordering::Relaxed);
        next.written_bytes = self.written_bytes.load(Ordering::Relaxed);
        edit(&mut next);
        match manifest_file::replace(&self.files, &next) {
            Ok(()) => {}
            Err(ReplaceError::Unchanged(error)) => return Err(error),
            Err(ReplaceError::Unknown(error)) => {
                self.poison(&error);
                return Err(error);
            }
        }
        let mut version = Version::clone(&self.version.load());
        version.generation = next.generation;
        *manifest = next;
        apply(&mut version);
        version.note_usage(&manifest);
        self.version.store(Arc::new(version));
        Ok(())
    }

    /// Makes the names of new files durable. A failure is final: names that others made may have been
    /// given up with it, and a later sync would not tell.
    pub(crate) fn sync_names(&self) -> Result<()> {
        self.files.sync().inspect_err(|error| self.poison(error))
    }

    /// The writer of the log, with room for a batch of `len` bytes.
    ///
    /// What a failed batch may have left is covered first, and takes room. As long as that fails there
    /// is no writer: a new segment would bury it in the log, where a recovery would find it.
    pub(crate) fn writer_with_room<'l>(
        &self,
        log: &'l mut LogState,
        len: u64,
    ) -> Result<&'l mut SegmentWriter> {
        if let Some(writer) = log.writer.as_mut() {
            writer.cover_damage()?;
        }
        if !log.writer.as_ref().is_some_and(|writer| writer.has_room(len)) {
            self.rotate(log, len)?;
        }
        match log.writer.as_mut() {
            Some(writer) => Ok(writer),
            None => unreachable!("rotation begins a segment"),
        }
    }

    /// Waits until every commit that took a sequence number is visible. The caller holds the log,
    /// so there will be no new ones meanwhile.
    pub(crate) fn quiesce(&self, log: &LogState) {
        while self.published.load(Ordering::Acquire) + 1 != log.next_seq {
            std::thread::yield_now();
        }
    }

    /// Begins a log segment with room for a batch of `batch_len` bytes.
    pub(crate) fn rotate(&self, log: &mut LogState, batch_len: u64) -> Result<()> {
        SegmentWriter::check_len(batch_len)?;
        let number = self.next_file();
        let catalog = self.catalog();
        let previous = log.writer.as_ref().map(|w| (w.segment().number(), w.tail())).or(log.ended);
        let overhead = FIRST_GROUP + catalog.len();
        let capacity = self.options.segment_bytes.max(overhead + batch_len).min(MAX_SEGMENT_LEN);
        let spec = SegmentSpec {
            number,
            silo_id: self.silo_id,
            role: SegmentRole::Log,
            generation: catalog.generation + 1,
            capacity,
            previous,
        };
        let begun = self.begin_segment(&spec, &catalog, batch_len);
        let writer = match begun {
            Ok(writer) => writer,
            Err(error) => {
                self.remove_unfinished(crate::bytes::file_header::FileKind::Segment, number);
                return Err(error);
            }
        };
        let record = new_segment_record(writer.segment(), writer.tail());
        let segment = Arc::clone(writer.segment());
        let next_seq = log.next_seq;
        let named = self.change(
            |manifest| {
                manifest.next_seq = manifest.next_seq.max(next_seq);
                manifest.segments.push(record);
            },
            |version| version.segments.insert(segment),
        );
        if let Err(error) = named {
            // On a full disk, the space reserved for it would be missed.
            self.remove_unfinished(crate::bytes::file_header::FileKind::Segment, number);
            return Err(error);
        }
        if let Some(writer) = log.writer.take() {
            log.unsynced.push(Arc::clone(writer.segment()));
            let len = writer.tail();
            log.full.push(FullSegment { segment: Arc::clone(writer.segment()), len, trim: true });
        }
        log.writer = Some(writer);
        Ok(())
    }

    /// What the segments begun now tell a repair about keyspaces.
    pub(crate) fn catalog(&self) -> Catalog {
        Catalog::new(&lock(&self.structure))
    }

    /// Notes a change of the keyspaces in the log, where there is one. Without room the next segment
    /// says it; only a repair without a manifest reads it.
    pub(crate) fn note_keyspaces(&self, log: &mut LogState) {
        let catalog = self.catalog();
        let Some(writer) = log.writer.as_mut().filter(|w| w.has_room(catalog.len())) else { return };
        let before = writer.tail();
        if let Err(error) = catalog.append_to(writer) {
            tracing::warn!(%error, "the log does not list the keyspaces as they are now");
        }
        let bytes = writer.tail() - before;
        log.appended += bytes;
        log.bytes_since_checkpoint += bytes;
        self.count_written(bytes);
    }

    fn begin_segment(&self, spec: &SegmentSpec, catalog: &Catalog, batch_len: u64) -> Result<SegmentWriter> {
        let writer = begin_segment(&self.files, spec, catalog, self.options.allocate_bytes, batch_len)?;
        self.sync_names()?;
        self.count_written(writer.tail());
        Ok(writer)
    }

    /// Removes a file that no manifest names, after a failure. One that stays is an orphan, which
    /// the next open removes.
    ///
    /// A poisoned silo removes nothing: the manifest whose replacement failed half-way may be the one
    /// that is found, and name the file.
    pub(crate) fn remove_unfinished(&self, kind: crate::bytes::file_header::FileKind, number: FileNumber) {
        if self.check_poison().is_err() {
            return;
        }
        let name = DirFiles::file_name(kind, number);
        if let Err(error) = self.files.remove(&name)
            && !error.is_not_found()
        {
            tracing::warn!(%error, "an unfinished file stays until the silo is opened again");
        }
    }

    /// Notes segments that left the manifest, to tell how much snapshots pin.
    pub(crate) fn retire(&self, segments: &[Arc<Segment>]) {
        // A segment that was ended after its last sync may still be on the list for the next one.
        lock(&self.log).unsynced.retain(|held| !segments.iter().any(|s| s.number() == held.number()));
        let mut retired = lock(&self.retired);
        retired.retain(|(segment, _)| segment.strong_count() > 0);
        retired.extend(segments.iter().map(|s| (Arc::downgrade(s), s.bytes().len() as u64)));
    }

    /// Bytes of segments that are out of the manifest but held by snapshots.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        let mut retired = lock(&self.retired);
        retired.retain(|(segment, _)| segment.strong_count() > 0);
        retired.iter().map(|(_, len)| len).sum()
    }
}

/// The list of keyspaces, as segments hold it for a repair without a manifest.
#[derive(Debug)]
pub(crate) struct Catalog {
    payload: Vec<u8>,
    /// Of the manifest that it was taken from.
    pub(crate) generation: u64,
}

impl Catalog {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let payload = encode_catalog(manifest.next_keyspace, manifest.hash_seed, &manifest.keyspaces);
        Self { payload, generation: manifest.generation }
    }

    /// Bytes that it takes in a segment.
    pub(crate) fn len(&self) -> u64 {
        (GROUP_HEADER_LEN + self.payload.len()) as u64
    }

    pub(crate) fn append_to(&self, writer: &mut SegmentWriter) -> Result<()> {
        let template = Group { base_seq: self.generation, ..Group::alone(GroupKind::Catalog, 0, 0) };
        writer.append(&[GroupFrames { template, pieces: &[&self.payload] }]).map(|_| ())
    }
}

/// Creates a log segment with its catalog. Its name is for the caller to sync.
pub(crate) fn begin_segment(
    files: &DirFiles,
    spec: &SegmentSpec,
    catalog: &Catalog,
    allocate_step: u64,
    batch_len: u64,
) -> Result<SegmentWriter> {
    let segment = Arc::new(Segment::create(files, spec)?);
    let mut writer = SegmentWriter::new(segment, spec.capacity, allocate_step);
    writer.allocate(catalog.len() + batch_len)?;
    catalog.append_to(&mut writer)?;
    writer.segment().file().sync()?;
    writer.note_synced(writer.tail());
    Ok(writer)
}

/// The manifest's record of a log segment that was just begun.
pub(crate) fn new_segment_record(segment: &Segment, len: u64) -> SegmentRecord {
    SegmentRecord {
        file: segment.number(),
        origin: segment.origin(),
        role: SegmentRole::Log,
        sealed: false,
        file_len: len,
        replay_from: len,
        seq_base: 0,
        min_seq: 0,
        max_seq: 0,
        usage: Vec::new(),
    }
}
