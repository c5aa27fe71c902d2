//! Parts of a bitmap that are stored apart, each with what is pending on it.
//!
//! A huge bitmap is stored in pages of a fixed range of chunks, and on any page there may be operations
//! in stored form (written by a checkpoint) and in memory on top of those. A view over pages presents
//! them as one bitmap; nothing is combined before a chunk is asked for.

use std::sync::Arc;

use crate::delta::{ChunkDelta, Delta, DeltaPosition};
use crate::frozen::split_slot;
use crate::source::Source;
use crate::view::{Base, BitmapView};

/// Stored operations: slots to set and slots to clear, which are disjoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredOps<'a> {
    pub(crate) sets: BitmapView<'a>,
    pub(crate) clears: BitmapView<'a>,
}

impl StoredOps<'_> {
    /// Fills in the operations of a chunk; keys asked for must not descend.
    pub(crate) fn chunk_into(&self, at: &mut PagePosition, key: u16, ops: &mut ChunkDelta) {
        let [sets, clears] = ops.lists_mut();
        self.sets.stored_seek(&mut at.sets, key);
        self.sets.stored_chunk_into(at.sets, key, sets);
        self.clears.stored_seek(&mut at.clears, key);
        self.clears.stored_chunk_into(at.clears, key, clears);
    }
}

/// A number of slots, one chunk of which has `after` in place of `before`. The recorded count may be of bytes that
/// nobody validated.
pub(crate) fn count_replaced(total: u64, before: u32, after: u32) -> u64 {
    total.saturating_sub(before.into()).saturating_add(after.into())
}

/// A part of a bitmap: the chunks from `first` to `last`.
#[derive(Clone, Debug)]
pub(crate) struct Page<'a> {
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// In stored form, without operations.
    pub(crate) base: BitmapView<'a>,
    /// Number of slots in the base.
    pub(crate) base_len: u64,
    pub(crate) ops: Option<Box<StoredOps<'a>>>,
    /// Newer than `ops`.
    pub(crate) delta: Option<Arc<Delta>>,
}

impl Page<'_> {
    pub(crate) fn contains(&self, slot: u32) -> bool {
        if let Some(decided) = self.delta.as_ref().and_then(|delta| delta.get(slot)) {
            return decided;
        }
        match &self.ops {
            Some(ops) if ops.sets.contains(slot) => true,
            Some(ops) if ops.clears.contains(slot) => false,
            _ => self.base.contains(slot),
        }
    }

    /// The first key of the page at or after `key` that may have slots. Keys asked for must not
    /// descend.
    pub(crate) fn seek(&self, at: &mut PagePosition, key: u16) -> Option<u16> {
        let key = key.max(self.first);
        let base = self.base.stored_seek(&mut at.base, key);
        let delta = self.delta.as_ref().and_then(|delta| delta.seek_from(&mut at.delta, key));
        let sets = self.ops.as_ref().and_then(|ops| ops.sets.stored_seek(&mut at.sets, key));
        [base, sets, delta].into_iter().flatten().min().filter(|key| *key <= self.last)
    }

    /// Number of slots, exact: asks for the slots that operations touch.
    pub(crate) fn len(&self) -> u64 {
        let mut base = Source::new(&self.base);
        let mut ops = ChunkDelta::default();
        let mut at = PagePosition::default();
        let touched = self.touched().into_iter().filter(|key| (self.first..=self.last).contains(key));
        touched.fold(self.base_len, |total, key| {
            let before = base.load_at(key);
            let container = base.container();
            ops.lists_mut();
            if let Some(stored) = &self.ops {
                stored.chunk_into(&mut at, key, &mut ops);
            }
            let mut after = ops.count_after(before, |slot| container.contains(slot));
            if let Some(delta) = &self.delta
                && delta.seek_from(&mut at.delta, key) == Some(key)
                && let Some(newer) = delta.chunk_at(at.delta, key)
            {
                let is_in = |slot| ops.get(slot).unwrap_or_else(|| container.contains(slot));
                after = newer.count_after(after, is_in);
            }
            count_replaced(total, before, after)
        })
    }

    /// Number of slots at most; O(chunks with operations in memory).
    pub(crate) fn len_bound(&self) -> u64 {
        let ops = self.ops.as_ref().map_or(0, |ops| ops.sets.base_len());
        let delta = self.delta.as_ref().map_or(0, |delta| delta.total_set_count());
        self.base_len.saturating_add(ops).saturating_add(delta)
    }

    /// Keys of the chunks with pending operations, ascending.
    pub(crate) fn touched(&self) -> Vec<u16> {
        let mut keys: Vec<u16> = self.delta.iter().flat_map(|delta| delta.keys()).collect();
        for view in self.ops.iter().flat_map(|ops| [&ops.sets, &ops.clears]) {
            let (mut from, mut at) = (Some(0), 0);
            while let Some(key) = from.and_then(|key| view.stored_seek(&mut at, key)) {
                keys.push(key);
                from = key.checked_add(1);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// At most how many slots the chunk of `key` has; O(log containers).
    pub(crate) fn chunk_bound(&self, key: u16) -> u32 {
        let ops = self.ops.as_ref().map_or(0, |ops| ops.sets.chunk_bound(key));
        let delta = self.delta.as_ref().map_or(0, |delta| delta.set_count(key));
        self.base.chunk_bound(key).saturating_add(ops).saturating_add(delta)
    }

    /// About how many chunks are not empty.
    pub(crate) fn chunk_estimate(&self) -> u64 {
        let ops = self.ops.as_ref().map_or(0, |ops| ops.sets.chunk_estimate());
        self.base.chunk_estimate() + ops + self.delta.as_ref().map_or(0, |delta| delta.chunk_count() as u64)
    }

    pub(crate) fn highest_key(&self) -> u16 {
        let ops = self.ops.as_ref().map_or(0, |ops| ops.sets.highest_key());
        let delta = self.delta.as_ref().and_then(|delta| delta.keys().next_back()).unwrap_or(0);
        self.base.highest_key().max(ops).max(delta).clamp(self.first, self.last)
    }

    /// Bytes that the bodies of its containers take at most, about.
    pub(crate) fn body_bytes(&self) -> usize {
        let ops = self.ops.as_ref().map_or(0, |ops| ops.sets.bound().bytes);
        let delta = self.delta.as_ref().map_or(0, |delta| 2 * delta.op_count());
        self.base.bound().bytes + ops + usize::try_from(delta).unwrap_or(0)
    }
}

/// Positions in the parts of a page.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PagePosition {
    pub(crate) base: usize,
    pub(crate) sets: usize,
    pub(crate) clears: usize,
    pub(crate) delta: DeltaPosition,
}

impl BitmapView<'_> {
    /// The key of the first chunk of a stored form.
    pub(crate) fn first_key(&self) -> Option<u16> {
        self.stored_seek(&mut 0, 0)
    }

    /// Moves a position among the containers or slots of a stored form forward to the first chunk at or
    /// after `key`; answers its key.
    #[inline]
    pub(crate) fn stored_seek(&self, at: &mut usize, key: u16) -> Option<u16> {
        match &self.base {
            Base::Frozen(view) => {
                *at = view.seek_key(*at, key);
                view.key_at(*at)
            }
            Base::Small(view) => {
                let low = u32::from(key) << 16;
                while view.get(*at).is_some_and(|slot| slot < low) {
                    *at += 1;
                }
                view.get(*at).map(|slot| split_slot(slot).0)
            }
            _ => None,
        }
    }

    /// Appends the slots of the chunk of `key` to `list`; the position is that chunk's or a later one's.
    pub(crate) fn stored_chunk_into(&self, at: usize, key: u16, list: &mut Vec<u16>) {
        match &self.base {
            Base::Frozen(view) => {
                if let Some((found, container)) = view.container_at(at)
                    && found == key
                {
                    container.for_each(|low| list.push(low));
                }
            }
            Base::Small(view) => {
                let slots = (at..).map_while(|at| view.get(at)).map(split_slot);
                list.extend(slots.take_while(|(high, _)| *high == key).map(|(_, low)| low));
            }
            _ => {}
        }
    }
}
