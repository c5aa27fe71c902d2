//! Syncing the log, once for all commits that wait for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::Result;
use crate::files::mark_file::MarkFile;

use super::core::{Core, lock};

/// Who syncs, and how far the log is synced.
#[derive(Debug)]
pub(crate) struct SyncState {
    progress: Mutex<SyncProgress>,
    changed: Condvar,
    /// Callers in [`Core::sync_to`].
    callers: AtomicUsize,
}

#[derive(Debug)]
struct SyncProgress {
    /// Position of `LogState::appended` up to which everything is on the device.
    synced: u64,
    /// A thread is syncing, or gathering callers to sync for.
    running: bool,
    /// Callers that the last sync had. As many are likely to come again at once.
    last_callers: usize,
    mark: MarkFile,
}

impl SyncState {
    pub(crate) fn new(mark: MarkFile) -> Self {
        Self {
            progress: Mutex::new(SyncProgress { synced: 0, running: false, last_callers: 1, mark }),
            changed: Condvar::new(),
            callers: AtomicUsize::new(0),
        }
    }

    pub(crate) fn wake_all(&self) {
        self.changed.notify_all();
    }
}

/// Counts a caller for as long as it lives.
struct Caller<'a>(&'a AtomicUsize);

impl<'a> Caller<'a> {
    fn new(callers: &'a AtomicUsize) -> Self {
        callers.fetch_add(1, Ordering::Relaxed);
        Self(callers)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Core {
    /// Returns when the log is on the device up to `position`.
    ///
    /// One thread syncs for all that wait. If it fails, nobody's commit is durable and the silo
    /// accepts no more writes: the system may have dropped what it could not write.
    pub(crate) fn sync_to(&self, position: u64) -> Result<()> {
        let _caller = Caller::new(&self.sync.callers);
        let mut progress = lock(&self.sync.progress);
        loop {
            self.check_poison()?;
            if progress.synced >= position {
                return Ok(());
            }
            if !progress.running {
                break;
            }
            progress = self.sync.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.running = true;
        let expected = progress.last_callers;
        drop(progress);
        self.gather(expected);
        let result = self.sync_files();
        let mut progress = lock(&self.sync.progress);
        progress.running = false;
        progress.last_callers = self.sync.callers.load(Ordering::Relaxed);
        match &result {
            Ok(synced) => progress.synced = progress.synced.max(*synced),
            Err(error) => self.poison(error),
        }
        drop(progress);
        self.sync.changed.notify_all();
        result.map(|_| ())
    }

    /// Waits a little for as many callers as shared the last sync: threads that commit durably in a
    /// loop come back within microseconds, and one sync for all of them beats one for each.
    fn gather(&self, expected: usize) {
        let deadline = std::time::Instant::now() + self.options.group_commit_wait;
        while self.sync.callers.load(Ordering::Relaxed) < expected && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// Syncs the segments that need it, in log order, and notes the mark. Returns the position.
    fn sync_files(&self) -> Result<u64> {
        let (full, active, position) = {
            let log = lock(&self.log);
            let active = log.writer.as_ref().map(|w| (std::sync::Arc::clone(w.segment()), w.tail()));
            (log.unsynced.clone(), active, log.appended)
        };
        for segment in &full {
            segment.file().sync()?;
        }
        if let Some((segment, tail)) = active {
            segment.file().sync()?;
            // The mark is a note, not a promise: a failure to write it costs nothing but that note.
            if let Err(error) = lock(&self.sync.progress).mark.store(segment.number(), tail) {
                tracing::warn!(%error, "the sync mark could not be noted");
            }
            let mut log = lock(&self.log);
            if let Some(writer) = log.writer.as_mut().filter(|w| w.segment().number() == segment.number()) {
                writer.note_synced(tail);
            }
        }
        lock(&self.log).unsynced.retain(|s| !full.iter().any(|f| f.number() == s.number()));
        Ok(position)
    }
}
