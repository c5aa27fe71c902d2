//! Opening for writing: lock, replay, and writing again what was not synced.

use std::io;
use std::sync::Arc;

use crate::bytes::file_header::{FILE_HEADER_LEN, FileHeader, FileKind, SegmentRole, SiloId};
use crate::bytes::group::GroupKind;
use crate::bytes::manifest::{Manifest, SegmentRecord};
use crate::bytes::mark::SyncMark;
use crate::error::{Corruption, Error, Result};
use crate::files::manifest_file::{self, MANIFEST, MANIFEST_NEXT, ReplaceError};
use crate::files::mark_file::{self, MARK, MarkFile};
use crate::files::segment::{FIRST_GROUP, SegmentSpec};
use crate::files::segment_writer::{GroupFrames, MAX_SEGMENT_LEN, SegmentWriter};
use crate::options::Options;
use crate::stats::RecoveryReport;
use crate::storage::{DirFiles, SiloFile};

use super::core::{
    Catalog, Core, CoreParts, FullSegment, LogState, UsageMap, begin_segment, new_segment_record,
};
use super::load::open_version;
use super::memtable::Memtable;
use super::replay::{LogAccess, Replay, ScannedSegment, count_group, moved_entries, replay};
use super::sync::SyncState;
use super::version::Version;

const LOCK: &str = "LOCK";

/// Takes the writer's lock.
pub(crate) fn take_lock(files: &DirFiles) -> Result<SiloFile> {
    let lock = files.open_or_create(LOCK)?;
    if !lock.try_lock()? {
        let pid =
            files.read(LOCK, 32).ok().and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok());
        return Err(Error::Locked { path: files.dir().to_path_buf(), pid });
    }
    lock.set_len(0)?;
    lock.write_all_at(std::process::id().to_string().as_bytes(), 0)?;
    Ok(lock)
}

/// 16 bytes that no other silo has.
pub(crate) fn random_id() -> SiloId {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's hash keys are the process's source of randomness.
    let half = || RandomState::new().hash_one(std::process::id());
    let mut id = [0; 16];
    let (low, high) = id.split_at_mut(8);
    low.copy_from_slice(&half().to_le_bytes());
    high.copy_from_slice(&half().to_le_bytes());
    id
}

/// Makes sure that the path is, or becomes, a directory that may hold a silo.
fn prepare_directory(files: &DirFiles, options: &Options) -> Result<()> {
    let dir = files.dir();
    match files.list() {
        Ok(names) => {
            if !names.iter().any(|name| name == MANIFEST) {
                files.sync_name();
            }
            Ok(())
        }
        Err(error) if error.is_not_found() && options.create => files.create_dir(),
        Err(error) if error.is_not_found() => Err(Error::NotASilo {
            path: dir.to_path_buf(),
            hint: "the directory does not exist; give the path of a silo, or allow creating one",
        }),
        Err(error) => Err(error),
    }
}

/// Says why a directory without a manifest cannot be opened, or that a silo may be made there.
pub(crate) fn check_without_manifest(files: &DirFiles, create: bool) -> Result<()> {
    let names = files.list()?;
    let hint = if names.iter().any(|name| DirFiles::parse_name(name).is_some()) {
        "its segments are there, so the manifest was lost: run `repair`"
    } else if !create {
        "give the path of a silo, or allow creating one"
    } else if names.iter().any(|name| !matches!(name.as_str(), LOCK | MARK | "MANIFEST.tmp")) {
        "it holds other files: choose an empty directory for a new silo"
    } else {
        return Ok(());
    };
    Err(Error::NotASilo { path: files.dir().to_path_buf(), hint })
}

fn create_silo(files: &DirFiles, options: &Options) -> Result<Manifest> {
    check_without_manifest(files, options.create)?;
    let seed = random_id();
    let (half, _) = seed.split_at(8);
    let manifest = Manifest {
        silo_id: random_id(),
        generation: 1,
        hash_seed: half.iter().fold(0, |seed, &byte| seed << 8 | u64::from(byte)),
        next_file: 1,
        next_keyspace: 1,
        next_seq: 1,
        closed_cleanly: true,
        ..Manifest::default()
    };
    match manifest_file::replace(files, &manifest) {
        Ok(()) => Ok(manifest),
        Err(ReplaceError::Unchanged(error) | ReplaceError::Unknown(error)) => Err(error),
    }
}

/// Opens or creates a silo for writing.
pub(crate) fn open_core(files: DirFiles, options: Options) -> Result<(Core, RecoveryReport)> {
    options.validate()?;
    prepare_directory(&files, &options)?;
    if !files.list()?.iter().any(|name| name == MANIFEST) {
        check_without_manifest(&files, options.create)?;
    }
    let lock = take_lock(&files)?;
    open_locked(files, options, lock)
}

/// Opens a silo whose lock is held.
pub(crate) fn open_locked(
    files: DirFiles,
    options: Options,
    lock: SiloFile,
) -> Result<(Core, RecoveryReport)> {
    let started = std::time::Instant::now();
    let manifest = match manifest_file::read(&files) {
        Err(error) if error.is_not_found() => create_silo(&files, &options)?,
        result => result?,
    };
    let mark = mark_file::read(&files, manifest.silo_id)?;
    check_not_outdated(&files, &manifest, mark)?;
    let version = open_version(&files, &manifest, &options, None)?;
    // A process killed in the middle of replacing the manifest leaves it visible but not durable. It
    // must be so before anything is removed that the old one names, and before it is built on.
    files.sync()?;
    remove_orphans(&files, &manifest)?;
    let replay = replay(&version, &manifest, mark, LogAccess::Exclusive)?;
    let mut recovery = Recovery {
        files: &files,
        options: &options,
        manifest,
        version,
        usage: UsageMap::new(),
        writers: Vec::new(),
        full: Vec::new(),
        report: RecoveryReport { dropped_bytes: replay.dropped_bytes, ..RecoveryReport::default() },
    };
    let mut mark_file = MarkFile::open(&files, recovery.manifest.silo_id)?;
    recovery.run(&replay, &mut mark_file)?;
    let Recovery { manifest, version, usage, mut writers, mut full, report, .. } = recovery;
    let writer = writers.pop();
    full.extend(writers.into_iter().map(|w| FullSegment {
        segment: Arc::clone(w.segment()),
        len: w.tail(),
        trim: true,
    }));
    let bytes = usage.values().flat_map(|u| &u.keyspaces).map(|u| u.bytes).sum();
    let memtable = version.memtables.first().map_or_else(|| Arc::new(Memtable::new()), Arc::clone);
    let log = LogState {
        writer,
        next_seq: manifest.next_seq,
        memtable,
        ended: None,
        appended: 0,
        unsynced: Vec::new(),
        full,
        usage,
        bytes_since_checkpoint: bytes,
        bulk: Vec::new(),
        closed: false,
    };
    tracing::info!(
        dir = %files.dir().display(), generation = manifest.generation, elapsed = ?started.elapsed(),
        batches = report.batches, dropped_bytes = report.dropped_bytes, "opened for writing"
    );
    let sync = SyncState::new(mark_file);
    Ok((Core::new(CoreParts { files, options, lock, manifest, version, log, sync }), report))
}

/// Refuses a manifest that is older than other files: an old copy was put back. Going on would take
/// the segments that it does not name for leftovers.
///
/// Costs a read of the header of each leftover.
pub(crate) fn check_not_outdated(
    files: &DirFiles,
    manifest: &Manifest,
    mark: Option<SyncMark>,
) -> Result<()> {
    check_not_older_than_mark(files, manifest, mark)?;
    for name in files.list()? {
        let Some((kind, number)) =
            DirFiles::parse_name(&name).filter(|(_, number)| *number >= manifest.next_file)
        else {
            continue;
        };
        let mut bytes = [0; FILE_HEADER_LEN];
        files.open(&name, false)?.read_at(&mut bytes, 0)?;
        // What was begun for the next manifest may have been left behind by a crash.
        if let Ok(header) = FileHeader::validate(&bytes, kind)
            && header.silo_id == manifest.silo_id
            && header.number.get() == number
            && header.generation.get() > manifest.generation + 1
        {
            return Err(outdated(files, &name));
        }
    }
    Ok(())
}

/// Marks are written for segments that a durable manifest names.
pub(crate) fn check_not_older_than_mark(
    files: &DirFiles,
    manifest: &Manifest,
    mark: Option<SyncMark>,
) -> Result<()> {
    match mark.filter(|mark| mark.segment >= manifest.next_file) {
        Some(_) => Err(outdated(files, MARK)),
        None => Ok(()),
    }
}

fn outdated(files: &DirFiles, newer: &str) -> Error {
    let what = format!("the manifest is older than {newer}: an old copy was put back");
    Error::Corrupt(Corruption { file: files.path(MANIFEST), offset: 0, what })
}

/// Removes files that no manifest names: of bulk loads, checkpoints and compactions that
/// did not come to their end.
fn remove_orphans(files: &DirFiles, manifest: &Manifest) -> Result<()> {
    let named = |kind, number| match kind {
        FileKind::Segment => manifest.segments.iter().any(|s| s.file == number),
        FileKind::Index => manifest.keyspaces.iter().flat_map(|k| &k.runs).any(|r| r.file == number),
    };
    for name in files.list()? {
        if let Some((kind, number)) = DirFiles::parse_name(&name)
            && !named(kind, number)
        {
            tracing::info!(file = %name, "removing an unfinished file");
            files.remove(&name)?;
        } else if name == MANIFEST_NEXT {
            files.remove(&name)?;
        }
    }
    Ok(())
}

struct Recovery<'a> {
    files: &'a DirFiles,
    options: &'a Options,
    manifest: Manifest,
    version: Version,
    usage: UsageMap,
    /// Segments for what is written again; the last one is appended to from then on.
    writers: Vec<SegmentWriter>,
    full: Vec<FullSegment>,
    report: RecoveryReport,
}

impl Recovery<'_> {
    fn run(&mut self, replay: &Replay, mark: &mut MarkFile) -> Result<()> {
        for scan in &replay.segments {
            self.take_synced(scan);
            self.rewrite_unsynced(scan)?;
            self.manifest.next_seq = self.manifest.next_seq.max(scan.last_seq + 1);
        }
        if self.report.dropped_bytes > 0 {
            tracing::warn!(
                bytes = self.report.dropped_bytes,
                "dropped an unfinished end of the log; nothing that was acknowledged as synced is in it"
            );
        }
        let unsealed = self.manifest.segments.iter().any(|record| !record.sealed);
        if !unsealed {
            return Ok(());
        }
        for writer in &mut self.writers {
            writer.segment().file().sync()?;
            writer.note_synced(writer.tail());
        }
        if !self.writers.is_empty() {
            self.files.sync()?;
        }
        let removed = self.update_manifest(replay);
        self.manifest.generation += 1;
        self.manifest.closed_cleanly = false;
        self.version.generation = self.manifest.generation;
        match manifest_file::replace(self.files, &self.manifest) {
            Ok(()) => {}
            Err(ReplaceError::Unchanged(error) | ReplaceError::Unknown(error)) => {
                return Err(error);
            }
        }
        self.version.note_usage(&self.manifest);
        if let Some(writer) = self.writers.last() {
            mark.store(writer.segment().number(), writer.tail())?;
        }
        for number in removed {
            self.version.segments.remove(number);
            self.files.remove(&DirFiles::file_name(FileKind::Segment, number))?;
        }
        Ok(())
    }

    /// Takes what was synced as it is: its entries stay where they are.
    fn take_synced(&mut self, scan: &ScannedSegment) {
        let Some(memtable) = self.version.memtables.first() else {
            return;
        };
        scan.count_usage(&mut self.usage, scan.synced);
        for (position, scanned) in scan.groups.iter().enumerate() {
            if scanned.group.end() <= scan.synced {
                memtable.insert(scan.entries_of(position));
                self.report.ops += scan.entries_of(position).len() as u64;
            }
        }
        self.report.batches += scan.batch_count;
        self.full.push(FullSegment {
            segment: Arc::clone(&scan.segment),
            len: scan.synced.min(scan.end).max(scan.from),
            trim: false,
        });
    }

    /// Writes batches above the synced position again, into a new segment: the page cache may hold
    /// what the device never took.
    fn rewrite_unsynced(&mut self, scan: &ScannedSegment) -> Result<()> {
        let mut batch: Vec<usize> = Vec::new();
        for (position, scanned) in scan.groups.iter().enumerate() {
            let group = &scanned.group;
            if group.end() <= scan.synced {
                continue;
            }
            if group.kind == GroupKind::Frames {
                batch.push(position);
            }
            if group.last && !batch.is_empty() {
                self.rewrite_batch(scan, &batch)?;
                batch.clear();
            }
        }
        Ok(())
    }

    fn rewrite_batch(&mut self, scan: &ScannedSegment, positions: &[usize]) -> Result<()> {
        let groups: Vec<_> = positions.iter().filter_map(|&at| scan.groups.get(at)).collect();
        let bytes = scan.segment.bytes();
        let payloads: Vec<[&[u8]; 1]> = groups
            .iter()
            .map(|scanned| {
                let group = &scanned.group;
                let range =
                    usize::try_from(group.payload_offset()).ok().zip(usize::try_from(group.end()).ok());
                [range.and_then(|(from, to)| bytes.get(from..to)).unwrap_or_default()]
            })
            .collect();
        let frames: Vec<GroupFrames<'_>> = groups
            .iter()
            .zip(&payloads)
            .map(|(scanned, pieces)| GroupFrames { template: scanned.group, pieces })
            .collect();
        let len = SegmentWriter::worst_len(&frames);
        if !self.writers.last().is_some_and(|writer| writer.has_room(len)) {
            self.begin_segment(len)?;
        }
        let Some(writer) = self.writers.last_mut() else {
            return Ok(());
        };
        let offsets = writer.append(&frames)?;
        let segment = writer.segment().number();
        self.report.rewritten_bytes += len;
        for ((&position, group), offset) in positions.iter().zip(&groups).zip(offsets) {
            let moved = moved_entries(scan.entries_of(position), &group.group, segment, offset);
            let entries: Vec<_> = moved.collect();
            count_group(&mut self.usage, segment, group, &entries);
            self.report.ops += entries.len() as u64;
            if let Some(memtable) = self.version.memtables.first() {
                memtable.insert(&entries);
            }
        }
        Ok(())
    }

    fn begin_segment(&mut self, batch_len: u64) -> Result<()> {
        let manifest = &mut self.manifest;
        let catalog = Catalog::new(manifest);
        let overhead = FIRST_GROUP + catalog.len();
        let spec = SegmentSpec {
            number: manifest.next_file,
            silo_id: manifest.silo_id,
            role: SegmentRole::Log,
            generation: manifest.generation + 1,
            capacity: self.options.segment_bytes.max(overhead + batch_len).min(MAX_SEGMENT_LEN),
            previous: self.writers.last().map(|w| (w.segment().number(), w.tail())),
        };
        manifest.next_file += 1;
        let writer = begin_segment(self.files, &spec, &catalog, self.options.allocate_bytes, batch_len)?;
        self.version.segments.insert(Arc::clone(writer.segment()));
        self.manifest.segments.push(new_segment_record(writer.segment(), writer.tail()));
        self.writers.push(writer);
        Ok(())
    }

    /// Seals what was replayed at its synced length. Returns segments that hold nothing.
    fn update_manifest(&mut self, replay: &Replay) -> Vec<u32> {
        let mut removed = replay.dropped.clone();
        for scan in &replay.segments {
            let number = scan.segment.number();
            let len = scan.synced.min(scan.end).max(scan.from);
            let empty = scan.groups.iter().all(|scanned| {
                let group = &scanned.group;
                group.end() > len || matches!(group.kind, GroupKind::Catalog | GroupKind::Pad)
            });
            let Some(record) = self.manifest.segments.iter_mut().find(|r| r.file == number) else {
                continue;
            };
            if empty && record.usage.is_empty() {
                removed.push(number);
                continue;
            }
            record.sealed = true;
            record.file_len = len;
        }
        self.manifest.segments.retain(|record| !removed.contains(&record.file));
        self.full.retain(|full| !removed.contains(&full.segment.number()));
        for writer in &self.writers {
            let number = writer.segment().number();
            if let Some(record) = self.manifest.segments.iter_mut().find(|r| r.file == number) {
                record.file_len = writer.tail();
            }
        }
        removed
    }
}

/// Opening read-only needs no lock; it fails as clearly as opening for writing.
pub(crate) fn read_manifest(files: &DirFiles) -> Result<Manifest> {
    match manifest_file::read(files) {
        Err(error) if error.is_not_found() => {
            match files.list() {
                Ok(_) => check_without_manifest(files, false)?,
                Err(missing) if missing.is_not_found() => {
                    return Err(Error::NotASilo {
                        path: files.dir().to_path_buf(),
                        hint: "the directory does not exist; give the path of a silo",
                    });
                }
                Err(other) => return Err(other),
            }
            Err(error)
        }
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            Err(Error::NotADirectory { path: files.dir().to_path_buf() })
        }
        result => result,
    }
}

/// A record that can be dropped without trace.
pub(crate) fn holds_nothing(record: &SegmentRecord) -> bool {
    record.usage.is_empty() && record.role == SegmentRole::Log
}
