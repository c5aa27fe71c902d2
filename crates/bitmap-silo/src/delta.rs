//! Pending changes of a bitmap: slots to set and slots to clear.
//!
//! A delta is what a sequence of set and clear operations comes to: for each slot the last one
//! counts. It is kept chunk by chunk, and chunks are shared between versions, so that combining a
//! few new operations with a large delta costs what they touch.

use std::sync::Arc;

use crate::container::{ArrayRef, CHUNK_SLOTS, Scratch};
use crate::frozen::split_slot as split;

/// Pending operations of one chunk: two disjoint ascending lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkDelta {
    sets: Vec<u16>,
    clears: Vec<u16>,
}

impl ChunkDelta {
    /// Applies the operations to the chunk in `scratch`, which has `cardinality` slots; answers how
    /// many it has then.
    pub(crate) fn apply(&self, scratch: &mut Scratch, cardinality: u32) -> u32 {
        // Whatever was recorded of bytes that nobody validated, a chunk has at most its slots.
        let more = scratch.put(&self.sets, true);
        let fewer = scratch.put(&self.clears, false);
        cardinality.saturating_add(more).saturating_sub(fewer).min(CHUNK_SLOTS)
    }

    /// What the operations decide about a slot.
    fn get(&self, slot: u16) -> Option<bool> {
        if self.sets.binary_search(&slot).is_ok() {
            Some(true)
        } else if self.clears.binary_search(&slot).is_ok() {
            Some(false)
        } else {
            None
        }
    }

    /// Writes the values of `base` with the operations applied to `out`, which has room for the
    /// values of both; answers how many.
    pub(crate) fn apply_to_list(&self, base: ArrayRef<'_>, out: &mut [u16]) -> usize {
        let mut sets = self.sets.iter().copied().peekable();
        let mut len = 0;
        let mut push = |slot: u16| {
            if let Some(to) = out.get_mut(len) {
                *to = slot;
                len += 1;
            }
        };
        for slot in base.iter() {
            while let Some(set) = sets.next_if(|set| *set < slot) {
                push(set);
            }
            sets.next_if_eq(&slot);
            if self.clears.binary_search(&slot).is_err() {
                push(slot);
            }
        }
        sets.for_each(&mut push);
        len
    }

    /// Number of slots to be set.
    pub(crate) fn set_count(&self) -> usize {
        self.sets.len()
    }

    fn op_count(&self) -> usize {
        self.sets.len() + self.clears.len()
    }

    /// These operations, then the newer ones.
    fn then(&self, newer: &ChunkDelta) -> ChunkDelta {
        let merge = |older: &[u16], newer_same: &[u16], newer_other: &[u16]| {
            let mut merged: Vec<u16> = older
                .iter()
                .filter(|slot| newer_other.binary_search(slot).is_err())
                .chain(newer_same)
                .copied()
                .collect();
            merged.sort_unstable();
            merged.dedup();
            merged
        };
        ChunkDelta {
            sets: merge(&self.sets, &newer.sets, &newer.clears),
            clears: merge(&self.clears, &newer.clears, &newer.sets),
        }
    }
}

/// Set and clear operations on one bitmap, the last on each slot counting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Chunks with operations, keys ascending.
    chunks: Vec<(u16, Arc<ChunkDelta>)>,
}

impl Delta {
    /// The delta of a sequence of operations, `true` setting and `false` clearing a slot; the
    /// last on a slot counts. O(n log n).
    pub fn from_ops(ops: impl IntoIterator<Item = (u32, bool)>) -> Self {
        let mut ops: Vec<(u32, bool)> = ops.into_iter().collect();
        // A stable sort keeps the order of the operations on one slot.
        ops.sort_by_key(|(slot, _)| *slot);
        let mut delta = Self::default();
        for same_chunk in ops.chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            let mut chunk = ChunkDelta::default();
            let mut key = 0;
            for same_slot in same_chunk.chunk_by(|a, b| a.0 == b.0) {
                if let Some((slot, set)) = same_slot.last() {
                    let (high, low) = split(*slot);
                    key = high;
                    if *set { &mut chunk.sets } else { &mut chunk.clears }.push(low);
                }
            }
            delta.chunks.push((key, Arc::new(chunk)));
        }
        delta
    }

    /// The delta of these operations followed by newer ones. Chunks that `newer` does not touch
    /// are shared, not copied.
    #[must_use]
    pub fn then(&self, newer: &Delta) -> Delta {
        let mut chunks = Vec::with_capacity(self.chunks.len() + newer.chunks.len());
        let mut older = self.chunks.iter().peekable();
        for (key, ops) in &newer.chunks {
            while let Some(chunk) = older.next_if(|(k, _)| k < key) {
                chunks.push(chunk.clone());
            }
            match older.next_if(|(k, _)| k == key) {
                Some((_, before)) => chunks.push((*key, Arc::new(before.then(ops)))),
                None => chunks.push((*key, Arc::clone(ops))),
            }
        }
        chunks.extend(older.cloned());
        Delta { chunks }
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Number of slots with an operation; O(chunks).
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.chunks.iter().map(|(_, ops)| ops.op_count() as u64).sum()
    }

    /// What the operations decide about a slot; none where they leave it as it is.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<bool> {
        let (key, low) = split(slot);
        self.chunk(key)?.get(low)
    }

    /// The operations in slot order, `true` setting and `false` clearing.
    pub fn ops(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.chunks.iter().flat_map(|(key, ops)| {
            let base = u32::from(*key) << 16;
            let (mut sets, mut clears) = (ops.sets.iter().peekable(), ops.clears.iter().peekable());
            std::iter::from_fn(move || {
                let (low, set) = match (sets.peek(), clears.peek()) {
                    (Some(x), Some(y)) if x > y => (clears.next()?, false),
                    (Some(_), _) => (sets.next()?, true),
                    (None, _) => (clears.next()?, false),
                };
                Some((base | u32::from(*low), set))
            })
        })
    }

    /// The operations of a chunk.
    pub(crate) fn chunk(&self, key: u16) -> Option<&ChunkDelta> {
        let at = self.chunks.binary_search_by_key(&key, |(k, _)| *k).ok()?;
        self.chunks.get(at).map(|(_, ops)| &**ops)
    }

    /// Key and operations at `index`.
    pub(crate) fn chunk_at(&self, index: usize) -> Option<(u16, &ChunkDelta)> {
        self.chunks.get(index).map(|(key, ops)| (*key, &**ops))
    }

    /// Keys of the chunks with operations, ascending.
    #[must_use]
    pub fn keys(&self) -> impl ExactSizeIterator<Item = u16> + '_ {
        self.chunks.iter().map(|(key, _)| *key)
    }
}
