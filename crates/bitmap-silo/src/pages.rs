//! Parts of a bitmap that are stored apart, each with what is pending on it.
//!
//! A huge bitmap is stored in pages of a fixed range of chunks, and on any page there may be operations
//! in stored form (written by a checkpoint) and in memory on top of those. A view over pages presents
//! them as one bitmap; nothing is combined before a chunk is asked for.

use std::sync::Arc;

use crate::container::ContainerRef;
use crate::delta::Delta;
use crate::frozen::split_slot;
use crate::view::{Base, BitmapView};

/// Stored operations: slots to set and slots to clear, which are disjoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredOps<'a> {
    pub(crate) sets: BitmapView<'a>,
    pub(crate) clears: BitmapView<'a>,
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
    pub(crate) ops: Option<StoredOps<'a>>,
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

    /// At most how many slots the chunk of `key` has.
    pub(crate) fn chunk_bound(&self, key: u16) -> u32 {
        let sets = self.ops.as_ref().map_or(0, |ops| ops.sets.chunk_bound(key));
        let delta = self.delta.as_ref().and_then(|delta| delta.chunk(key));
        let more = delta.map_or(0, |ops| u32::try_from(ops.set_count()).unwrap_or(u32::MAX));
        self.base.chunk_bound(key).saturating_add(sets).saturating_add(more)
    }

    /// The first key of the page at or after `key` that may have slots.
    pub(crate) fn seek(&self, key: u16) -> Option<u16> {
        let key = key.max(self.first);
        let sets = self.ops.as_ref().and_then(|ops| ops.sets.stored_seek(key));
        let delta = self.delta.as_ref().and_then(|delta| delta.seek(key));
        let found = [self.base.stored_seek(key), sets, delta].into_iter().flatten().min();
        found.filter(|key| *key <= self.last)
    }

    /// Keys of the chunks with pending operations, ascending.
    pub(crate) fn touched(&self) -> Vec<u16> {
        let mut keys: Vec<u16> = self.delta.iter().flat_map(|delta| delta.keys()).collect();
        for view in self.ops.iter().flat_map(|ops| [&ops.sets, &ops.clears]) {
            let mut from = Some(0);
            while let Some(key) = from.and_then(|key| view.stored_seek(key)) {
                keys.push(key);
                from = key.checked_add(1);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
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

impl BitmapView<'_> {
    /// The key of the first chunk of a stored form.
    pub(crate) fn first_key(&self) -> Option<u16> {
        self.stored_seek(0)
    }

    /// The first key at or after `key` in a stored form; O(log containers).
    fn stored_seek(&self, key: u16) -> Option<u16> {
        match &self.base {
            Base::Frozen(view) => view.key_at(view.index_of_key(key)),
            Base::Small(view) => {
                view.get(view.lower_bound(u32::from(key) << 16)).map(|slot| split_slot(slot).0)
            }
            _ => None,
        }
    }

    /// Hands the chunk of `key` of a stored form to `f`; an empty one where there is none.
    pub(crate) fn with_stored_chunk<T>(&self, key: u16, f: impl FnOnce(ContainerRef<'_>) -> T) -> T {
        match &self.base {
            Base::Frozen(view) => f(view.container(key).unwrap_or(ContainerRef::EMPTY)),
            Base::Small(view) => {
                let start = view.lower_bound(u32::from(key) << 16);
                let slots = (start..).map_while(|at| view.get(at)).map(split_slot);
                let list: Vec<u16> = slots.take_while(|(high, _)| *high == key).map(|(_, low)| low).collect();
                f(crate::container::ArrayRef::from_values(&list).into())
            }
            _ => f(ContainerRef::EMPTY),
        }
    }
}
