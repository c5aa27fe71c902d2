//! The maintenance thread: checkpoints and compactions by thresholds.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};

use super::core::{Core, lock};

/// How the maintenance thread is told what to do, and tells that it is done.
#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    requests: Mutex<Requests>,
    work: Condvar,
    progress: Condvar,
}

#[derive(Debug, Default)]
struct Requests {
    checkpoint: bool,
    stop: bool,
}

/// After a failure (a full disk, say) the thread waits this long before it tries again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl Wakeup {
    pub(crate) fn request_checkpoint(&self) {
        let mut requests = lock(&self.requests);
        if !requests.checkpoint {
            requests.checkpoint = true;
            self.work.notify_one();
        }
    }

    pub(crate) fn request_stop(&self) {
        lock(&self.requests).stop = true;
        self.work.notify_one();
        self.progress.notify_all();
    }

    pub(crate) fn notify_progress(&self) {
        self.progress.notify_all();
    }

    /// True if the thread was asked to stop: long work ends early.
    pub(crate) fn is_stopping(&self) -> bool {
        lock(&self.requests).stop
    }

    /// Waits while a condition holds; it is looked at again after each piece of maintenance.
    pub(crate) fn wait_while(&self, condition: impl Fn() -> bool) {
        let mut requests = lock(&self.requests);
        while condition() && !requests.stop {
            let waited = self.progress.wait_timeout(requests, Duration::from_millis(20));
            requests = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for work. False if the thread is to stop.
    fn next(&self) -> bool {
        let mut requests = lock(&self.requests);
        while !requests.checkpoint && !requests.stop {
            requests = self.work.wait(requests).unwrap_or_else(PoisonError::into_inner);
        }
        requests.checkpoint = false;
        !requests.stop
    }

    fn pause(&self) {
        let requests = lock(&self.requests);
        if !requests.stop {
            drop(self.work.wait_timeout(requests, RETRY_AFTER));
        }
    }
}

/// Starts the maintenance thread of a silo.
pub(crate) fn start(core: Arc<Core>) -> Result<JoinHandle<()>> {
    let path = core.files.dir().to_path_buf();
    std::thread::Builder::new()
        .name("datasilo-maintenance".to_owned())
        .spawn(move || {
            while core.wakeup.next() {
                let done = core.checkpoint().and_then(|_| core.compact_due());
                core.wakeup.notify_progress();
                if let Err(error) = done {
                    if core.check_poison().is_err() {
                        return;
                    }
                    tracing::warn!(%error, "maintenance failed and will be tried again");
                    core.wakeup.pause();
                    core.wakeup.request_checkpoint();
                }
            }
        })
        .map_err(|source| Error::Io { action: "start the maintenance thread of", path, source })
}
