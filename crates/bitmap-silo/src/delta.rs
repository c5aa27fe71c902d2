//! Pending changes of a bitmap: slots to set and slots to clear.
//!
//! A delta is what a sequence of set and clear operations comes to: for each slot the last one
//! counts. It is kept chunk by chunk, chunks in groups, and versions share the chunks and groups in
//! which they do not differ: putting a few operations on top of a large delta costs what they touch.

use std::sync::Arc;

use crate::container::{ArrayRef, CHUNK_SLOTS, ContainerRef, Scratch};
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

    /// Whether there is no operation.
    pub(crate) fn is_empty(&self) -> bool {
        self.op_count() == 0
    }

    fn op_count(&self) -> usize {
        self.sets.len() + self.clears.len()
    }

    /// Replaces the operations by the values of two containers, which are disjoint.
    pub(crate) fn refill(&mut self, sets: ContainerRef<'_>, clears: ContainerRef<'_>) {
        self.sets.clear();
        self.clears.clear();
        sets.for_each(|slot| self.sets.push(slot));
        clears.for_each(|slot| self.clears.push(slot));
    }

    /// These operations, then the newer ones; as fast as copying, and the newer ones' searches.
    fn then(&self, newer: &ChunkDelta) -> ChunkDelta {
        ChunkDelta {
            sets: spliced(&self.sets, &newer.sets, &newer.clears),
            clears: spliced(&self.clears, &newer.clears, &newer.sets),
        }
    }
}

/// An ascending list with some values added and others removed, all ascending.
fn spliced(list: &[u16], added: &[u16], removed: &[u16]) -> Vec<u16> {
    let mut out = Vec::with_capacity(list.len() + added.len());
    let (mut rest, mut added, mut removed) = (list, added, removed);
    loop {
        let (slot, add) = match (added, removed) {
            ([add, more @ ..], [remove, ..]) if add < remove => {
                added = more;
                (*add, true)
            }
            (_, [remove, more @ ..]) => {
                removed = more;
                (*remove, false)
            }
            ([add, more @ ..], []) => {
                added = more;
                (*add, true)
            }
            ([], []) => break,
        };
        let (before, from) = rest.split_at(rest.partition_point(|old| *old < slot));
        out.extend_from_slice(before);
        rest = from.strip_prefix(&[slot]).unwrap_or(from);
        if add {
            out.push(slot);
        }
    }
    out.extend_from_slice(rest);
    out
}

/// Bits of a chunk's key within its group.
const GROUP_BITS: u32 = 5;

/// Chunks whose keys share their upper bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    /// The upper bits.
    number: u16,
    /// Chunks with operations, keys ascending; at least one.
    chunks: Vec<(u16, Arc<ChunkDelta>)>,
}

impl Group {
    fn then(&self, newer: &Group) -> Group {
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
        Group { number: self.number, chunks }
    }
}

/// Set and clear operations on one bitmap, the last on each slot counting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Groups with operations, numbers ascending.
    groups: Vec<Arc<Group>>,
}

impl Delta {
    /// The delta of a sequence of operations, `true` setting and `false` clearing a slot; the
    /// last on a slot counts. O(n log n).
    pub fn from_ops(ops: impl IntoIterator<Item = (u32, bool)>) -> Self {
        let mut ops: Vec<(u32, bool)> = ops.into_iter().collect();
        // A stable sort keeps the order of the operations on one slot.
        ops.sort_by_key(|(slot, _)| *slot);
        let mut groups: Vec<Group> = Vec::new();
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
            let chunk = (key, Arc::new(chunk));
            match groups.last_mut() {
                Some(group) if group.number == key >> GROUP_BITS => group.chunks.push(chunk),
                _ => groups.push(Group { number: key >> GROUP_BITS, chunks: vec![chunk] }),
            }
        }
        Self { groups: groups.into_iter().map(Arc::new).collect() }
    }

    /// The delta of these operations followed by newer ones. Whatever `newer` does not touch is
    /// shared, not copied: O(operations of the chunks touched, chunks of the groups touched, groups).
    #[must_use]
    pub fn then(&self, newer: &Delta) -> Delta {
        let mut groups = Vec::with_capacity(self.groups.len() + newer.groups.len());
        let mut older = self.groups.iter().peekable();
        for group in &newer.groups {
            while let Some(before) = older.next_if(|before| before.number < group.number) {
                groups.push(Arc::clone(before));
            }
            match older.next_if(|before| before.number == group.number) {
                Some(before) => groups.push(Arc::new(before.then(group))),
                None => groups.push(Arc::clone(group)),
            }
        }
        groups.extend(older.cloned());
        Delta { groups }
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn chunks(&self) -> impl DoubleEndedIterator<Item = &(u16, Arc<ChunkDelta>)> {
        self.groups.iter().flat_map(|group| &group.chunks)
    }

    /// Number of slots with an operation; O(chunks).
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.chunks().map(|(_, ops)| ops.op_count() as u64).sum()
    }

    /// Number of chunks with an operation; O(groups).
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.groups.iter().map(|group| group.chunks.len()).sum()
    }

    /// What the operations decide about a slot; none where they leave it as it is.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<bool> {
        let (key, low) = split(slot);
        self.chunk(key)?.get(low)
    }

    /// The operations in slot order, `true` setting and `false` clearing.
    pub fn ops(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.chunks().flat_map(|(key, ops)| {
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
        let (found, ops) = self.at_or_after(key)?;
        (found == key).then_some(ops)
    }

    /// The first key at or after `key` with operations.
    pub(crate) fn seek(&self, key: u16) -> Option<u16> {
        self.at_or_after(key).map(|(found, _)| found)
    }

    fn at_or_after(&self, key: u16) -> Option<(u16, &ChunkDelta)> {
        let number = key >> GROUP_BITS;
        let at = self.groups.partition_point(|group| group.number < number);
        for group in self.groups.get(at..)? {
            let at = group.chunks.partition_point(|(k, _)| *k < key);
            if let Some((found, ops)) = group.chunks.get(at) {
                return Some((*found, ops));
            }
        }
        None
    }

    /// Keys of the chunks with operations, ascending.
    #[must_use]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        self.chunks().map(|(key, _)| *key)
    }
}
