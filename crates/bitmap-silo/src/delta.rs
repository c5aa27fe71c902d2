//! Pending changes of a bitmap: slots to set and slots to clear.
//!
//! A delta is what a sequence of set and clear operations comes to: for each slot the last one
//! counts. It is kept chunk by chunk, chunks in groups, and versions share the chunks and groups in
//! which they do not differ: putting a few operations on top of a large delta costs what they touch.

use std::sync::Arc;

use crate::container::{ArrayRef, BitsetRef, CHUNK_SLOTS, ContainerRef, Scratch};
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
    pub(crate) fn get(&self, slot: u16) -> Option<bool> {
        if self.sets.binary_search(&slot).is_ok() {
            Some(true)
        } else if self.clears.binary_search(&slot).is_ok() {
            Some(false)
        } else {
            None
        }
    }

    /// Writes the values of `base` with the operations applied to `out`, which has room for the
    /// values of both; answers how many. As fast as copying, and a search per operation.
    pub(crate) fn apply_to_list(&self, base: ArrayRef<'_>, out: &mut [u16]) -> usize {
        let mut rest = base.values();
        let mut len = 0;
        for_each_op(&self.sets, &self.clears, |slot, set| {
            let at = rest.partition_point(|value| u16::from_le_bytes(*value) < slot);
            let (before, from) = rest.split_at(at);
            len += copy_values(before, out.get_mut(len..).unwrap_or(&mut []));
            rest = from.strip_prefix(&[slot.to_le_bytes()]).unwrap_or(from);
            if set && let Some(to) = out.get_mut(len) {
                *to = slot;
                len += 1;
            }
        });
        len + copy_values(rest, out.get_mut(len..).unwrap_or(&mut []))
    }

    /// What a chunk of so many slots has after the operations, each of which is asked for its bit before them.
    pub(crate) fn count_after(&self, cardinality: u32, before: impl Fn(u16) -> bool) -> u32 {
        let gains: u32 = self.sets.iter().map(|slot| u32::from(!before(*slot))).sum();
        let losses: u32 = self.clears.iter().map(|slot| u32::from(before(*slot))).sum();
        cardinality.saturating_add(gains).saturating_sub(losses).min(CHUNK_SLOTS)
    }

    /// How many slots the intersection of a chunk with another one gains and loses by the operations
    /// on the first; each is asked for its bit on both sides.
    pub(crate) fn gains_and_losses(&self, base: ContainerRef<'_>, other: ContainerRef<'_>) -> (u32, u32) {
        fn count(slots: &[u16], counts: impl Fn(u16) -> bool) -> u32 {
            slots.iter().map(|slot| u32::from(counts(*slot))).sum()
        }
        if let (ContainerRef::Bitset(x), ContainerRef::Bitset(y)) = (base, other) {
            let gains = count(&self.sets, |slot| y.contains(slot) & !x.contains(slot));
            return (gains, count(&self.clears, |slot| y.contains(slot) & x.contains(slot)));
        }
        let gains = count(&self.sets, |slot| other.contains(slot) && !base.contains(slot));
        (gains, count(&self.clears, |slot| other.contains(slot) && base.contains(slot)))
    }

    /// Applies the operations on one side to the intersection of both in `scratch`, which has
    /// `cardinality` slots, where `other` is the other side; answers how many it has then.
    pub(crate) fn apply_to_intersection(
        &self,
        other: BitsetRef<'_>,
        scratch: &mut Scratch,
        cardinality: u32,
    ) -> u32 {
        let mut more = 0;
        for slot in &self.sets {
            if other.contains(*slot) {
                more += scratch.put(&[*slot], true);
            }
        }
        cardinality.saturating_add(more).saturating_sub(scratch.put(&self.clears, false))
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

    /// The lists of slots to set and to clear, to be filled anew: ascending and disjoint.
    pub(crate) fn lists_mut(&mut self) -> [&mut Vec<u16>; 2] {
        self.sets.clear();
        self.clears.clear();
        [&mut self.sets, &mut self.clears]
    }

    /// These operations, then the newer ones; as fast as copying, and the newer ones' searches.
    fn then(&self, newer: &ChunkDelta) -> ChunkDelta {
        ChunkDelta {
            sets: spliced(&self.sets, &newer.sets, &newer.clears),
            clears: spliced(&self.clears, &newer.clears, &newer.sets),
        }
    }
}

/// Copies values to the front of `out`, as many as fit; answers how many.
#[inline]
fn copy_values(values: &[[u8; 2]], out: &mut [u16]) -> usize {
    for (to, value) in out.iter_mut().zip(values) {
        *to = u16::from_le_bytes(*value);
    }
    values.len().min(out.len())
}

/// Calls `f` with every slot of two ascending lists in order, and whether it is of the first.
#[inline]
fn for_each_op(sets: &[u16], clears: &[u16], mut f: impl FnMut(u16, bool)) {
    let (mut sets, mut clears) = (sets, clears);
    loop {
        let slot = match (sets, clears) {
            ([set, more @ ..], [clear, ..]) if set < clear => {
                sets = more;
                (*set, true)
            }
            (_, [clear, more @ ..]) => {
                clears = more;
                (*clear, false)
            }
            ([set, more @ ..], []) => {
                sets = more;
                (*set, true)
            }
            ([], []) => return,
        };
        f(slot.0, slot.1);
    }
}

/// An ascending list with some values added and others removed, all ascending.
fn spliced(list: &[u16], added: &[u16], removed: &[u16]) -> Vec<u16> {
    let mut out = Vec::with_capacity(list.len() + added.len());
    let mut rest = list;
    for_each_op(added, removed, |slot, add| {
        let (before, from) = rest.split_at(rest.partition_point(|old| *old < slot));
        out.extend_from_slice(before);
        rest = from.strip_prefix(&[slot]).unwrap_or(from);
        if add {
            out.push(slot);
        }
    });
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

/// A position among the chunks of a delta.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeltaPosition {
    group: usize,
    chunk: usize,
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

    /// Chunks with operations, keys ascending.
    pub(crate) fn chunks(&self) -> impl DoubleEndedIterator<Item = &(u16, Arc<ChunkDelta>)> {
        self.groups.iter().flat_map(|group| &group.chunks)
    }

    /// Number of slots with an operation; O(chunks).
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.chunks().map(|(_, ops)| ops.op_count() as u64).sum()
    }

    /// Number of slots to be set; O(chunks).
    pub(crate) fn total_set_count(&self) -> u64 {
        self.chunks().map(|(_, ops)| ops.set_count() as u64).sum()
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

    /// Moves a position forward to the first chunk at or after `key` with operations; answers its key.
    /// Keys asked for must not descend.
    #[inline]
    pub(crate) fn seek_from(&self, at: &mut DeltaPosition, key: u16) -> Option<u16> {
        loop {
            let group = self.groups.get(at.group)?;
            if let Some((found, _)) = group.chunks.get(at.chunk) {
                if *found >= key {
                    return Some(*found);
                }
                at.chunk += 1;
            } else {
                let number = key >> GROUP_BITS;
                let rest = self.groups.get(at.group + 1..).unwrap_or(&[]);
                at.group += 1 + rest.partition_point(|group| group.number < number);
                at.chunk = 0;
            }
        }
    }

    /// The operations at a position, if it is that of `key`.
    #[inline]
    pub(crate) fn chunk_at(&self, at: DeltaPosition, key: u16) -> Option<&ChunkDelta> {
        let (found, ops) = self.groups.get(at.group)?.chunks.get(at.chunk)?;
        (*found == key).then_some(ops)
    }

    /// The operations of a chunk.
    pub(crate) fn chunk(&self, key: u16) -> Option<&ChunkDelta> {
        let at = self.groups.binary_search_by_key(&(key >> GROUP_BITS), |group| group.number).ok()?;
        let chunks = &self.groups.get(at)?.chunks;
        let at = chunks.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        chunks.get(at).map(|(_, ops)| &**ops)
    }

    /// How many slots of a chunk are to be set.
    pub(crate) fn set_count(&self, key: u16) -> u32 {
        let count = self.chunk(key).map_or(0, ChunkDelta::set_count);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Keys of the chunks with operations, ascending.
    #[must_use]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        self.chunks().map(|(key, _)| *key)
    }
}
