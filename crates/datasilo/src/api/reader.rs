//! A silo open for reading only, beside a writer in another process or without one.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::bytes::address::FileNumber;
use crate::bytes::manifest::Manifest;
use crate::error::Result;
use crate::files::{manifest_file, mark_file};
use crate::options::{Options, Strictness};
use crate::state::check::{self, CheckReport};
use crate::state::core::lock;
use crate::state::load::open_version;
use crate::state::recovery::{check_not_older_than_mark, open_locked, read_manifest, take_lock};
use crate::state::replay::{LogAccess, ScannedSegment, replay};
use crate::state::version::Version;
use crate::storage::DirFiles;

use super::silo::Silo;
use super::snapshot::Snapshot;

/// How often a reader starts over because files went away between reading the manifest and opening
/// them. A writer would have to make a structural change each time.
const ATTEMPTS: u32 = 100;

/// A silo open for reading. Changes no file and takes no lock, so it works in read-only directories
/// and beside a writer; after a crash it recovers in memory.
///
/// It sees the silo as of its opening, until [`SiloReader::refresh`] moves it forward.
#[derive(Debug)]
pub struct SiloReader {
    files: DirFiles,
    options: Options,
    /// What [`SiloReader::snapshot`] hands out.
    current: ArcSwap<Snapshot>,
    follow: Mutex<Follow>,
}

/// Where the reader is in the log.
#[derive(Debug, Clone)]
struct Follow {
    manifest: Manifest,
    /// Log segments that may grow, and up to where they were read.
    log: Vec<(FileNumber, u64)>,
    seq: u64,
}

impl SiloReader {
    /// Opens a silo for reading.
    ///
    /// # Errors
    /// [`crate::Error::NotASilo`], [`crate::Error::NotADirectory`], [`crate::Error::OperatorMissing`],
    /// [`crate::Error::UnsupportedVersion`], [`crate::Error::Corrupt`], and those of the system.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        options.validate()?;
        let files = DirFiles::new(Arc::clone(&options.storage), dir.as_ref());
        let (version, follow) = load(&files, &options, None)?;
        tracing::info!(dir = %files.dir().display(), generation = version.generation, "opened for reading");
        let snapshot = Snapshot { version: Arc::new(version), seq: follow.seq, verify: options.verify_reads };
        Ok(Self { files, options, current: ArcSwap::from_pointee(snapshot), follow: Mutex::new(follow) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.dir()
    }

    /// Moves forward to what the writer has committed by now. Costs what is new; after a checkpoint
    /// of the writer, what came since that. Snapshots taken before stay as they are.
    ///
    /// # Errors
    /// As of [`SiloReader::open`]; the reader stays where it was.
    pub fn refresh(&self) -> Result<()> {
        let mut follow = lock(&self.follow);
        let before = Arc::clone(&self.current.load().version);
        let manifest = read_manifest(&self.files)?;
        if manifest.generation == follow.manifest.generation && manifest.silo_id == follow.manifest.silo_id {
            return self.read_on(before, &mut follow);
        }
        if continues(&follow.manifest, &manifest)
            && let Ok(mut version) = open_version(&self.files, &manifest, &self.options, Some(&before))
        {
            // The same log goes on in more segments: what was read of it stays in the memtable.
            version.memtables.clone_from(&before.memtables);
            // Taken over only when all of it was read: a failure must not leave half a step behind.
            let mut next = follow.clone();
            for record in manifest.segments.iter().filter(|r| !r.sealed) {
                if !next.log.iter().any(|(number, _)| *number == record.file) {
                    next.log.push((record.file, record.replay_from));
                }
            }
            next.manifest = manifest;
            self.read_on(Arc::new(version), &mut next)?;
            *follow = next;
            return Ok(());
        }
        let (version, next) = load(&self.files, &self.options, Some(&before))?;
        self.publish(Arc::new(version), next.seq);
        *follow = next;
        Ok(())
    }

    fn publish(&self, version: Arc<Version>, seq: u64) {
        self.current.store(Arc::new(Snapshot { version, seq, verify: self.options.verify_reads }));
    }

    /// Reads on where the log was left.
    fn read_on(&self, version: Arc<Version>, follow: &mut Follow) -> Result<()> {
        let mark = mark_file::read(&self.files, follow.manifest.silo_id)?;
        let segments: Vec<_> =
            follow.log.iter().map(|(number, end)| (version.segments.get(*number), *end)).collect();
        let mut gap = false;
        let mut ends = Vec::with_capacity(segments.len());
        let mut scans = Vec::with_capacity(segments.len());
        let followers: Vec<Option<(FileNumber, u64)>> =
            segments.iter().skip(1).map(|(s, _)| s.and_then(|s| s.previous())).chain([None]).collect();
        for ((segment, from), follower) in segments.into_iter().zip(followers) {
            let Some(segment) = segment.filter(|_| !gap) else {
                ends.push(from);
                continue;
            };
            let mut scan = ScannedSegment::resume(Arc::clone(segment), from);
            scan.expect_synced(mark);
            scan.follow(&version)?;
            scan.check_end()?;
            ends.push(scan.end);
            gap = follower.is_some_and(|(number, len)| number == segment.number() && scan.end < len);
            scans.push(scan);
        }
        // All or nothing: what is inserted would be inserted again after an error.
        for scan in &scans {
            if let Some(memtable) = version.memtables.first() {
                memtable.insert(&scan.entries);
            }
            follow.seq = follow.seq.max(scan.last_seq);
        }
        for (known, end) in follow.log.iter_mut().zip(ends) {
            known.1 = end;
        }
        self.publish(version, follow.seq);
        Ok(())
    }

    /// The silo as of the last [`SiloReader::refresh`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.current.load())
    }

    /// Becomes the writer, if there is none: takes the lock, then recovers as [`Silo::open`] does.
    /// The reader and its snapshots stay usable.
    ///
    /// # Errors
    /// [`crate::Error::Locked`] while there is a writer, and those of [`Silo::open`].
    pub fn promote(&self) -> Result<Silo> {
        let lock = take_lock(&self.files)?;
        let (core, report) = open_locked(self.files.clone(), self.options.clone(), lock)?;
        Silo::start(core, report)
    }

    /// Checks every frame, index entry and count of what the reader sees.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] at the first damage if `strictness` says so.
    pub fn check(&self, strictness: Strictness) -> Result<CheckReport> {
        let strict = strictness == Strictness::Strict;
        check::check_version(&self.current.load().version, strict)
    }
}

/// True if the log that was read so far is still to be replayed from where it was, so that only
/// segments were added.
fn continues(before: &Manifest, after: &Manifest) -> bool {
    let unchanged = before.segments.iter().all(|old| after.segments.contains(old));
    let grown = after.segments.iter().filter(|new| !before.segments.contains(new)).all(|new| !new.sealed);
    before.silo_id == after.silo_id
        && before.next_keyspace == after.next_keyspace
        && before.keyspaces == after.keyspaces
        && unchanged
        && grown
}

/// Opens what the manifest names and replays the log.
fn load(files: &DirFiles, options: &Options, before: Option<&Version>) -> Result<(Version, Follow)> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let manifest = read_manifest(files)?;
        match load_manifest(files, options, before, &manifest) {
            // A file that went away, or was cut when it was sealed, belongs to an older manifest.
            Err(error) if attempt < ATTEMPTS && is_outdated(files, &manifest) => {
                tracing::debug!(%error, "the manifest changed while it was read");
            }
            result => {
                return result.map(|(version, log, seq)| (version, Follow { manifest, log, seq }));
            }
        }
    }
}

fn is_outdated(files: &DirFiles, manifest: &Manifest) -> bool {
    manifest_file::read(files).is_ok_and(|now| now.generation != manifest.generation)
}

type Loaded = (Version, Vec<(FileNumber, u64)>, u64);

fn load_manifest(
    files: &DirFiles,
    options: &Options,
    before: Option<&Version>,
    manifest: &Manifest,
) -> Result<Loaded> {
    let version = open_version(files, manifest, options, before)?;
    // The mark is read before the log: it must not be ahead of what is read.
    let mark = mark_file::read(files, manifest.silo_id)?;
    // Beside a writer, the manifest may have been replaced since it was read: it is read again then.
    check_not_older_than_mark(files, manifest, mark)?;
    let replay = replay(&version, manifest, mark, LogAccess::Shared)?;
    let mut seq = manifest.next_seq - 1;
    let mut log = Vec::new();
    for scan in &replay.segments {
        if let Some(memtable) = version.memtables.first() {
            memtable.insert(&scan.entries);
        }
        seq = seq.max(scan.last_seq);
        // What lies behind the end of a sealed segment was cut off, or written again elsewhere.
        if version.records.get(&scan.segment.number()).is_some_and(|record| !record.sealed) {
            log.push((scan.segment.number(), scan.end));
        }
    }
    Ok((version, log, seq))
}
