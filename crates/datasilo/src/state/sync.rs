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
    /// Durable commits that have begun and not yet been appended to the log.
    arriving: AtomicUsize,
}

#[derive(Debug)]
struct SyncProgress {
    /// Position of `LogState::appended` up to which everything is on the device.
    synced: u64,
    /// A thread is syncing.
    running: bool,
    mark: MarkFile,
}

impl SyncState {
    pub(crate) fn new(mark: MarkFile) -> Self {
        Self {
            progress: Mutex::new(SyncProgress { synced: 0, running: false, mark }),
            changed: Condvar::new(),
            arriving: AtomicUsize::new(0),
        }
    }

    pub(crate) fn wake_all(&self) {
        self.changed.notify_all();
    }

    /// Notes that a durable commit has begun; the guard notes that it is in the log.
    pub(crate) fn arrive(&self) -> Arrival<'_> {
        self.arriving.fetch_add(1, Ordering::Relaxed);
        Arrival(self)
    }
}

/// See [`SyncState::arrive`].
pub(crate) struct Arrival<'a>(&'a SyncState);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Core {
    /// Returns when the log is on the device up to `position`.
    ///
    /// One thread syncs for all that wait. If it fails, nobody's commit is durable and the silo
    /// accepts no more writes: the system may have dropped what it could not write.
    pub(crate) fn sync_to(&self, position: u64) -> Result<()> {
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
        drop(progress);
        self.await_arrivals();
        let result = self.sync_files();
        let mut progress = lock(&self.sync.progress);
        progress.running = false;
        match &result {
            Ok(synced) => progress.synced = progress.synced.max(*synced),
            Err(error) => self.poison(error),
        }
        drop(progress);
        self.sync.changed.notify_all();
        result.map(|_| ())
    }

    /// Gives durable commits that are about to reach the log the time to do so.
    fn await_arrivals(&self) {
        if self.sync.arriving.load(Ordering::Relaxed) == 0 {
            return;
        }
        let deadline = std::time::Instant::now() + self.options.group_commit_wait;
        while self.sync.arriving.load(Ordering::Relaxed) > 0 && std::time::Instant::now() < deadline {
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
