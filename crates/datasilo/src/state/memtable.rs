//! Entries newer than the index: an insert-only table that readers walk without locks.
//!
//! A slot of the hash table holds 32 bits of a hash and the index of an entry; the entry is the
//! newest version of one (keyspace, hash), and links to the older ones in descending order of
//! their sequence numbers. Different keys with the same 64-bit hash share a list: whoever
//! reads it compares keys in the frames.
//!
//! **Publication.** An entry's fields are stored before its index is, which is done by one
//! compare-and-swap with release order: on the slot, or on the link of the entry before
//! it. Readers load both with acquire order. Nothing is ever unlinked. Growing copies the slots
//! into a larger table while no insertion runs (`inserting`); a reader that still looks at the
//! smaller table misses only entries inserted after that, which are newer than its snapshot.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::bytes::address::{FrameAddress, SeqNo};
use crate::merge::Delta;

const FIRST_CHUNK: usize = 1 << 10;
const LARGEST_CHUNK: usize = 1 << 16;
/// Chunks that double in size, 1,024 to 32,768 entries: 64,512 in all.
const GROWING_CHUNKS: usize = 6;
const CHUNKS: usize = 4096;
/// "No entry" in links; slots use 0.
const NONE: u32 = u32::MAX;

/// One mutation of a key.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    hash: AtomicU64,
    seq: AtomicU64,
    address: AtomicU64,
    keyspace: AtomicU32,
    /// The next older version.
    older: AtomicU32,
    /// The operands from this version back to the base, combined. Filled in by readers.
    delta: ArcSwapOption<SharedDelta>,
}

/// Operands of a key combined, from one version back to its base or to the memtable's end.
#[derive(Debug)]
pub(crate) struct SharedDelta {
    pub(crate) delta: Arc<dyn Delta>,
    /// The put or delete that the operands go back to, if it is in this memtable.
    pub(crate) base: Option<FrameAddress>,
}

impl Entry {
    pub(crate) fn seq(&self) -> SeqNo {
        self.seq.load(Ordering::Relaxed)
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    pub(crate) fn keyspace(&self) -> u32 {
        self.keyspace.load(Ordering::Relaxed)
    }

    pub(crate) fn address(&self) -> FrameAddress {
        FrameAddress::from_bits(self.address.load(Ordering::Relaxed))
    }

    pub(crate) fn delta(&self) -> &ArcSwapOption<SharedDelta> {
        &self.delta
    }
}

/// A mutation to insert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEntry {
    pub(crate) hash: u64,
    pub(crate) seq: SeqNo,
    pub(crate) address: FrameAddress,
    pub(crate) keyspace: u32,
}

#[derive(Debug)]
struct Table {
    /// Upper half: upper half of the mixed hash. Lower half: entry index + 1, or 0.
    slots: Box<[AtomicU64]>,
}

impl Table {
    fn new(len: usize) -> Self {
        Self { slots: (0..len.next_power_of_two()).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Slots from the home of a mixed hash on, round and round.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits choose the slot")]
    fn probe(&self, mixed: u64) -> impl Iterator<Item = &AtomicU64> {
        let start = mixed as usize & (self.slots.len() - 1);
        let (before, from) = self.slots.split_at(start);
        from.iter().chain(before)
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Memtable {
    table: ArcSwap<Table>,
    chunks: Box<[OnceLock<Box<[Entry]>>]>,
    len: AtomicUsize,
    /// Slots in use, plus those that running insertions may come to use.
    lists: AtomicUsize,
    /// Held shared by insertions, exclusively to grow the table.
    inserting: RwLock<()>,
}

/// Mixes the keyspace into a hash, so that equal keys of two keyspaces part.
fn mix(hash: u64, keyspace: u32) -> u64 {
    (hash ^ u64::from(keyspace).wrapping_mul(0x9E37_79B9_7F4A_7C15)).rotate_left(21)
}

fn slot_word(mixed: u64, index: u32) -> u64 {
    mixed & !u64::from(u32::MAX) | u64::from(index + 1)
}

/// The entry index in a slot, if its half of the hash matches.
#[expect(clippy::cast_possible_truncation, reason = "the low half holds the index")]
fn slot_index(word: u64, mixed: u64) -> Option<u32> {
    (word >> 32 == mixed >> 32).then(|| (word as u32).wrapping_sub(1))
}

/// Chunk of an entry, and its place there.
fn chunk_of(index: usize) -> (usize, usize) {
    let growing = FIRST_CHUNK * ((1 << GROWING_CHUNKS) - 1);
    if index < growing {
        let chunk = (index / FIRST_CHUNK + 1).ilog2() as usize;
        (chunk, index - FIRST_CHUNK * ((1 << chunk) - 1))
    } else {
        let rest = index - growing;
        (GROWING_CHUNKS + rest / LARGEST_CHUNK, rest % LARGEST_CHUNK)
    }
}

impl Memtable {
    pub(crate) fn new() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::new(64)),
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            len: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            inserting: RwLock::new(()),
        }
    }

    /// Entries in the table.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn chunk(&self, chunk: usize) -> &[Entry] {
        let Some(cell) = self.chunks.get(chunk) else {
            unreachable!("commits wait for a checkpoint long before 2^28 entries");
        };
        cell.get_or_init(|| {
            let len = FIRST_CHUNK << chunk.min(GROWING_CHUNKS);
            (0..len).map(|_| Entry::default()).collect()
        })
    }

    fn entry(&self, index: u32) -> &Entry {
        let (chunk, at) = chunk_of(index as usize);
        match self.chunk(chunk).get(at) {
            Some(entry) => entry,
            None => unreachable!("chunk_of stays within chunks"),
        }
    }

    /// Inserts mutations. Several threads may do so at once.
    pub(crate) fn insert(&self, entries: &[NewEntry]) {
        self.reserve(entries.len());
        let mut added = 0;
        let _inserting = self.inserting.read().unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load();
        let first = self.len.fetch_add(entries.len(), Ordering::Relaxed);
        for (at, new) in entries.iter().enumerate() {
            let index = u32::try_from(first + at).expect("memtables stay below 2^28 entries");
            let entry = self.entry(index);
            entry.hash.store(new.hash, Ordering::Relaxed);
            entry.seq.store(new.seq, Ordering::Relaxed);
            entry.address.store(new.address.to_bits(), Ordering::Relaxed);
            entry.keyspace.store(new.keyspace, Ordering::Relaxed);
            added += usize::from(self.link(&table, index, new));
        }
        self.lists.fetch_sub(entries.len() - added, Ordering::Relaxed);
    }

    /// Grows the table so that so many more lists fit at half load.
    fn reserve(&self, additional: usize) {
        let needed = (self.lists.fetch_add(additional, Ordering::Relaxed) + additional) * 2;
        if self.table.load().slots.len() >= needed {
            return;
        }
        let _alone = self.inserting.write().unwrap_or_else(PoisonError::into_inner);
        let old = self.table.load();
        let needed = self.lists.load(Ordering::Relaxed) * 2;
        if old.slots.len() >= needed {
            return;
        }
        let new = Table::new(needed.max(old.slots.len() * 2));
        for word in old.slots.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|&w| w != 0) {
            #[expect(clippy::cast_possible_truncation, reason = "the low half holds the index")]
            let entry = self.entry((word as u32) - 1);
            let mixed = mix(entry.hash(), entry.keyspace());
            if let Some(free) = new.probe(mixed).find(|slot| slot.load(Ordering::Relaxed) == 0) {
                free.store(word, Ordering::Relaxed);
            }
        }
        self.table.store(Arc::new(new));
    }

    /// Makes an entry reachable, at its place in the list of its hash. True if it began the list.
    fn link(&self, table: &Table, index: u32, new: &NewEntry) -> bool {
        let mixed = mix(new.hash, new.keyspace);
        let entry = self.entry(index);
        for slot in table.probe(mixed) {
            let mut word = slot.load(Ordering::Acquire);
            loop {
                if word == 0 {
                    entry.older.store(NONE, Ordering::Relaxed);
                } else {
                    let head = slot_index(word, mixed).map(|head| (head, self.entry(head)));
                    let Some((head, head_entry)) = head.filter(|(_, e)| is_list(e, new.hash, new.keyspace))
                    else {
                        break; // another list: look at the next slot
                    };
                    if head_entry.seq() > new.seq {
                        self.link_behind(head_entry, index, new.seq);
                        return false;
                    }
                    entry.older.store(head, Ordering::Relaxed);
                }
                let linked = slot_word(mixed, index);
                match slot.compare_exchange(word, linked, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(before) => return before == 0,
                    Err(changed) => word = changed,
                }
            }
        }
        unreachable!("the table has room for every list");
    }

    /// Links an entry into a list behind one with a higher sequence number.
    fn link_behind(&self, newer: &Entry, index: u32, seq: SeqNo) {
        let entry = self.entry(index);
        let mut newer = newer;
        loop {
            let older = newer.older.load(Ordering::Acquire);
            if older != NONE && self.entry(older).seq() > seq {
                newer = self.entry(older);
                continue;
            }
            entry.older.store(older, Ordering::Relaxed);
            if newer.older.compare_exchange(older, index, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    /// The versions of a hash in a keyspace, newest first.
    #[inline]
    pub(crate) fn versions(&self, keyspace: u32, hash: u64) -> Versions<'_> {
        let mixed = mix(hash, keyspace);
        let table = self.table.load();
        for slot in table.probe(mixed) {
            let word = slot.load(Ordering::Acquire);
            if word == 0 {
                break;
            }
            if let Some(head) = slot_index(word, mixed)
                && is_list(self.entry(head), hash, keyspace)
            {
                return Versions { memtable: self, next: head };
            }
        }
        Versions { memtable: self, next: NONE }
    }

    /// Every list, as its versions from the newest on. For use when nobody inserts.
    pub(crate) fn lists(&self) -> impl Iterator<Item = Versions<'_>> {
        let table = self.table.load_full();
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let word = table.slots.get(at)?.load(Ordering::Acquire);
                at += 1;
                if word != 0 {
                    #[expect(clippy::cast_possible_truncation, reason = "the low half holds the index")]
                    return Some(Versions { memtable: self, next: (word as u32) - 1 });
                }
            }
        })
    }
}

fn is_list(entry: &Entry, hash: u64, keyspace: u32) -> bool {
    entry.hash() == hash && entry.keyspace() == keyspace
}

/// Versions of one (keyspace, hash), newest first.
#[derive(Debug, Clone)]
pub(crate) struct Versions<'a> {
    memtable: &'a Memtable,
    next: u32,
}

impl<'a> Iterator for Versions<'a> {
    type Item = &'a Entry;

    #[inline]
    fn next(&mut self) -> Option<&'a Entry> {
        if self.next == NONE {
            return None;
        }
        let entry = self.memtable.entry(self.next);
        self.next = entry.older.load(Ordering::Acquire);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(hash: u64, seq: SeqNo) -> NewEntry {
        NewEntry { hash, seq, address: FrameAddress::from_bits(seq * 8), keyspace: 1 }
    }

    fn seqs(memtable: &Memtable, hash: u64) -> Vec<SeqNo> {
        memtable.versions(1, hash).map(Entry::seq).collect()
    }

    #[test]
    fn chunks_follow_each_other() {
        let mut expected = (0, 0);
        for index in 0..400_000 {
            assert_eq!(chunk_of(index), expected);
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0.min(GROWING_CHUNKS) {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn versions_come_newest_first_whatever_the_order_of_insertion() {
        let memtable = Memtable::new();
        memtable.insert(&[new(5, 3), new(5, 9), new(5, 1), new(5, 6), new(6, 2)]);
        assert_eq!(seqs(&memtable, 5), [9, 6, 3, 1]);
        assert_eq!(seqs(&memtable, 6), [2]);
        assert_eq!(seqs(&memtable, 7), []);
        assert_eq!(memtable.versions(2, 5).count(), 0, "keyspaces do not mix");
        assert_eq!(memtable.lists().count(), 2);
    }

    #[test]
    fn equal_halves_of_hashes_stay_apart() {
        let memtable = Memtable::new();
        // Same slot and same upper half after mixing: only the entry tells them apart.
        let hashes: Vec<u64> = (0..50u64).map(|i| (i << 12).rotate_right(21)).collect();
        for (at, &hash) in hashes.iter().enumerate() {
            memtable.insert(&[new(hash, at as u64 + 1)]);
        }
        for (at, &hash) in hashes.iter().enumerate() {
            assert_eq!(seqs(&memtable, hash), [at as u64 + 1]);
        }
    }

    #[test]
    fn threads_insert_and_the_table_grows_under_readers() {
        let memtable = Memtable::new();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let memtable = &memtable;
                scope.spawn(move || {
                    for batch in 0..200u64 {
                        let entries: Vec<NewEntry> = (0..50)
                            .map(|i| new((batch * 50 + i) % 3000, (batch * 50 + i) * 4 + thread + 1))
                            .collect();
                        memtable.insert(&entries);
                        for entry in &entries {
                            assert!(memtable.versions(1, entry.hash).any(|e| e.seq() == entry.seq));
                        }
                    }
                });
            }
        });
        assert_eq!(memtable.len(), 40_000);
        assert_eq!(memtable.lists().count(), 3000);
        let mut total = 0;
        for versions in memtable.lists() {
            let seqs: Vec<SeqNo> = versions.map(Entry::seq).collect();
            assert!(seqs.windows(2).all(|w| w[0] > w[1]));
            total += seqs.len();
        }
        assert_eq!(total, 40_000);
    }
}
