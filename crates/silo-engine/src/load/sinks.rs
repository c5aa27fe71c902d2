//! Index entries of a load, gathered by index.

use std::path::Path;

use super::runs::{Fixed, Runs, SpillFile};
use crate::engine::layout::State;
use crate::error::Result;

/// Entries that come and entries that go.
#[derive(Debug)]
pub(super) struct Changes<R> {
    pub(super) come: Runs<R>,
    pub(super) gone: Runs<R>,
}

impl<R> Default for Changes<R> {
    fn default() -> Self {
        Self { come: Runs::default(), gone: Runs::default() }
    }
}

impl<R: Fixed> Changes<R> {
    #[inline]
    pub(super) fn push(&mut self, record: R, add: bool) {
        if add { self.come.push(record) } else { self.gone.push(record) }
    }

    fn take(&mut self, other: Self) {
        self.come.take(other.come);
        self.gone.take(other.gone);
    }

    fn bytes(&self) -> usize {
        self.come.bytes() + self.gone.bytes()
    }

    fn spill(&mut self, to: &mut SpillFile) -> Result<()> {
        self.come.spill(to)?;
        self.gone.spill(to)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.come.is_empty() && self.gone.is_empty()
    }
}

/// A value's code and a slot, as one number that sorts by both.
pub(super) fn bit(code: u32, slot: u32) -> u64 {
    u64::from(code) << 32 | u64::from(slot)
}

/// The entries of one field.
#[derive(Debug, Default)]
pub(super) struct FieldSink {
    /// [`bit`]s.
    pub(super) filter: Changes<u64>,
    /// Numbers and slots.
    pub(super) high: Changes<(u64, u32)>,
    /// Slots and sort keys.
    pub(super) sort: Changes<(u32, u64)>,
}

/// The entries of all indexes, as one thread gathers them.
#[derive(Debug)]
pub(super) struct Sinks {
    /// By position in the schema.
    pub(super) fields: Vec<FieldSink>,
    /// Ranges of slots in a state: [`bit`] of the first, and how many.
    pub(super) state: Changes<(u64, u32)>,
    /// Sort keys of integer ids and slots.
    pub(super) ids: Changes<(u64, u32)>,
    spill: Option<SpillFile>,
    /// Bytes above which entries are spilled.
    limit: usize,
}

impl Sinks {
    pub(super) fn new(fields: usize, limit: usize) -> Self {
        Self {
            fields: (0..fields).map(|_| FieldSink::default()).collect(),
            state: Changes::default(),
            ids: Changes::default(),
            spill: None,
            limit,
        }
    }

    /// Slots get into a state, or out of it.
    pub(super) fn state(&mut self, state: State, first: u32, count: u32, add: bool) {
        if count > 0 {
            self.state.push((bit(state.code(), first), count), add);
        }
    }

    fn bytes(&self) -> usize {
        let field = |sink: &FieldSink| sink.filter.bytes() + sink.high.bytes() + sink.sort.bytes();
        self.fields.iter().map(field).sum::<usize>() + self.state.bytes() + self.ids.bytes()
    }

    /// Spills what takes much room, where all takes too much.
    pub(super) fn make_room(&mut self, dir: &Path) -> Result<()> {
        if self.bytes() < self.limit {
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(SpillFile::new(dir)?),
        };
        let share = self.limit / (self.fields.len() * 2 + 8);
        for sink in &mut self.fields {
            if sink.filter.bytes() > share {
                sink.filter.spill(spill)?;
            }
            if sink.high.bytes() > share {
                sink.high.spill(spill)?;
            }
            if sink.sort.bytes() > share {
                sink.sort.spill(spill)?;
            }
        }
        if self.state.bytes() > share {
            self.state.spill(spill)?;
        }
        if self.ids.bytes() > share {
            self.ids.spill(spill)?;
        }
        Ok(())
    }

    /// Takes over what another thread gathered.
    pub(super) fn take(&mut self, other: Self) {
        for (own, other) in self.fields.iter_mut().zip(other.fields) {
            own.filter.take(other.filter);
            own.high.take(other.high);
            own.sort.take(other.sort);
        }
        self.state.take(other.state);
        self.ids.take(other.ids);
    }
}
