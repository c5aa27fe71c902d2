//! Reading several runs of a keyspace as one, in hash order, the newest entry of each key only.

use std::sync::Arc;

use crate::bytes::index::{Geometry, PAGE_SLOTS, Slot, TAG_BITS};
use crate::error::Result;

use super::run::{Run, SegmentMap, Target, key_hash};

/// A run whose tags know fewer bits than this per page is read with its keys instead: its hashes
/// would tell too few keys apart.
const MIN_TAG_BITS: u32 = 16;

/// No known bits of a hash are this, since never all are known.
const NO_HASH: u64 = u64::MAX;

/// Removes from some entries of a run those that are known to be replaced by newer ones. The number
/// has the bits of their hashes that are known.
pub(crate) trait DropReplaced: Fn(&Run, u64, &mut Vec<(u64, Slot)>) {}

impl<F: Fn(&Run, u64, &mut Vec<(u64, Slot)>)> DropReplaced for F {}

/// A [`DropReplaced`] that knows nothing.
pub(crate) fn keep_all(_: &Run, _: u64, _: &mut Vec<(u64, Slot)>) {}

/// What reading keys needs.
#[derive(Clone, Copy)]
pub(crate) struct KeyAccess<'a> {
    pub(crate) segments: &'a SegmentMap,
    pub(crate) hash_seed: u64,
    pub(crate) align: usize,
    pub(crate) keyspace: u32,
}

impl<'a> KeyAccess<'a> {
    /// The verified key of the frames that a target leads to; `None` if its segment is not there.
    fn key_of(&self, target: &Target) -> Result<Option<&'a [u8]>> {
        let Some(address) = target.any_frame() else { return Ok(None) };
        let Some(segment) = self.segments.get(address.segment()) else { return Ok(None) };
        let frame = segment.frame(address.word(), self.align)?;
        segment.verify_frame(address.word(), &frame, self.keyspace)?;
        Ok(Some(frame.key()))
    }

    /// The key of an entry of a run.
    fn key_in(&self, run: &Run, target: &Target) -> Result<&'a [u8]> {
        let missing = || run.corrupt(0, "an entry leads to a segment that is not there");
        self.key_of(target)?.ok_or_else(missing)
    }
}

/// Entries of one run in the order of their hashes.
struct Source<'a> {
    run: &'a Arc<Run>,
    access: KeyAccess<'a>,
    /// Bits of hashes to look at.
    mask: u64,
    /// The hash of the next entry, or [`NO_HASH`].
    head: u64,
    /// The entries of the page being read, last first.
    pending: Vec<(u64, Slot)>,
    /// Next page; `None` if all entries were loaded at once.
    next_page: Option<u64>,
}

impl<'a> Source<'a> {
    fn new(run: &'a Arc<Run>, access: KeyAccess<'a>, mask: u64, by_key: bool) -> Result<Self> {
        let mut source = Self { run, access, mask, head: NO_HASH, pending: Vec::new(), next_page: Some(0) };
        if by_key {
            source.next_page = None;
            for page in 0..run.table_pages() {
                for word in run.page_in_pass(page)?.iter().take(PAGE_SLOTS).filter(|word| word.get() != 0) {
                    let slot = Slot(word.get());
                    let key = access.key_in(run, &run.target_of(slot)?)?;
                    source.pending.push((key_hash(key, access.hash_seed) & mask, slot));
                }
            }
            source.pending.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.0));
        }
        Ok(source)
    }

    /// Loads the next page that has entries to read, if all of the current one were taken.
    fn load(&mut self, drop_replaced: &impl DropReplaced) -> Result<()> {
        while self.pending.is_empty() {
            let Some(page) = self.next_page.filter(|&page| page < self.run.table_pages()) else {
                break;
            };
            self.next_page = Some(page + 1);
            for word in self.run.page_in_pass(page)?.iter().take(PAGE_SLOTS).filter(|word| word.get() != 0) {
                let slot = Slot(word.get());
                let Some(hash) = self.run.geometry().hash_of(page, slot.tag()) else {
                    return Err(self.run.corrupt(page, "a slot's tag does not belong to its page"));
                };
                self.pending.push((hash & self.mask, slot));
            }
            drop_replaced(self.run, self.mask, &mut self.pending);
            self.pending.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.0));
        }
        self.head = self.pending.last().map_or(NO_HASH, |entry| entry.0);
        Ok(())
    }

    /// Takes the next entry if it has this hash.
    #[inline]
    fn take(&mut self, hash: u64, drop_replaced: &impl DropReplaced) -> Result<Option<Slot>> {
        if self.head != hash {
            return Ok(None);
        }
        let taken = self.pending.pop();
        match self.pending.last() {
            Some(next) => self.head = next.0,
            None => self.load(drop_replaced)?,
        }
        Ok(taken.map(|(_, slot)| slot))
    }

    fn key(&self, slot: Slot) -> Result<&'a [u8]> {
        self.access.key_in(self.run, &self.run.target_of(slot)?)
    }
}

/// Runs read as one.
pub(crate) struct RunMerge<'a> {
    sources: Vec<Source<'a>>,
    access: KeyAccess<'a>,
    mask: u64,
}

/// How many hash bits a merge of these runs into a table of this shape can keep.
pub(crate) fn merged_geometry(runs: &[Arc<Run>], shape: Geometry) -> Geometry {
    let shift = u32::from(shape.shift());
    let kept = runs.iter().filter(|run| !reads_keys(run, shift)).map(|run| run.geometry().hash_bits()).min();
    shape.with_hash_bits(kept.unwrap_or(shift + TAG_BITS))
}

fn reads_keys(run: &Run, shift: u32) -> bool {
    run.is_spilled() || run.geometry().hash_bits() < shift + MIN_TAG_BITS
}

impl<'a> RunMerge<'a> {
    /// Reads `runs`, newest first, for a table of a geometry from [`merged_geometry`].
    pub(crate) fn new(runs: &'a [Arc<Run>], access: KeyAccess<'a>, geometry: Geometry) -> Result<Self> {
        let mask = u64::MAX << (64 - geometry.hash_bits());
        let shift = u32::from(geometry.shift());
        let sources = runs
            .iter()
            .map(|run| Source::new(run, access, mask, reads_keys(run, shift)))
            .collect::<Result<_>>()?;
        Ok(Self { sources, access, mask })
    }

    /// Passes every key's newest entry to `emit`, in the order of the known bits of their hashes.
    ///
    /// `newest` are entries that are newer than those of all runs, ascending by hash, one a key. What `drop_replaced`
    /// knows saves reading keys to find out which entry is the newest.
    pub(crate) fn for_each(
        mut self,
        newest: impl Iterator<Item = (u64, Target)>,
        drop_replaced: impl DropReplaced,
        mut emit: impl FnMut(u64, Target) -> Result<()>,
    ) -> Result<()> {
        let mut newest = newest.map(|(hash, target)| (hash & self.mask, target)).peekable();
        for source in &mut self.sources {
            drop_replaced(source.run, source.mask, &mut source.pending);
            source.pending.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.0));
            source.load(&drop_replaced)?;
        }
        let mut new: Vec<Target> = Vec::new();
        let mut same: Vec<(usize, Slot)> = Vec::new();
        let mut keys: Vec<&[u8]> = Vec::new();
        loop {
            let head = newest.peek().map_or(NO_HASH, |entry| entry.0);
            let hash = self.sources.iter().map(|source| source.head).fold(head, u64::min);
            if hash == NO_HASH {
                return Ok(());
            }
            while let Some((_, target)) = newest.next_if(|entry| entry.0 == hash) {
                new.push(target);
            }
            same.clear();
            for (rank, source) in self.sources.iter_mut().enumerate() {
                while let Some(slot) = source.take(hash, &drop_replaced)? {
                    same.push((rank, slot));
                }
            }
            // Equal bits may be equal keys, of which the newest counts, or not.
            let one_origin = same.windows(2).all(|w| matches!(w, [a, b] if a.0 == b.0))
                && (new.is_empty() || same.is_empty());
            keys.clear();
            for target in new.drain(..) {
                if !one_origin {
                    let key = self.access.key_of(&target)?;
                    keys.push(key.expect("new entries lead into segments that are there"));
                }
                emit(hash, target)?;
            }
            for &(rank, slot) in &same {
                let Some(source) = self.sources.get(rank) else {
                    continue;
                };
                if !one_origin {
                    let key = source.key(slot)?;
                    if keys.contains(&key) {
                        continue;
                    }
                    keys.push(key);
                }
                emit(hash, source.run.target_of(slot)?)?;
            }
        }
    }
}
