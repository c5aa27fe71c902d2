//! A value handed from block to block in order, by whichever threads have the blocks.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Block `n` waits for what block `n - 1` published.
#[derive(Debug)]
pub(crate) struct Chain<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    turn: u64,
    value: T,
    stopped: bool,
}

impl<T: Copy> Chain<T> {
    /// Block 0 finds this value.
    pub(crate) fn new(value: T) -> Chain<T> {
        Chain { state: Mutex::new(State { turn: 0, value, stopped: false }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a block's turn; none when the work was stopped.
    pub(crate) fn wait(&self, turn: u64) -> Option<T> {
        let waiting = |state: &mut State<T>| state.turn != turn && !state.stopped;
        let state = self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        (!state.stopped).then_some(state.value)
    }

    /// Gives the turn to the next block. Only the block whose turn it is may.
    pub(crate) fn publish(&self, value: T) {
        let mut state = self.lock();
        state.turn += 1;
        state.value = value;
        self.changed.notify_all();
    }

    /// Wakes all who wait, for nothing.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// What the last block published.
    pub(crate) fn last(&self) -> T {
        self.lock().value
    }
}
