//! Reading several runs of a keyspace as one, in hash order, the newest entry of each key only.

use std::sync::Arc;

use crate::bytes::address::FrameAddress;
use crate::bytes::index::{Geometry, PAGE_SLOTS, Slot, TAG_BITS};
use crate::error::Result;

use super::run::{Run, SegmentMap, Target, key_hash};

/// A run whose tags know fewer bits than this per page is read with its keys instead: its hashes
/// would tell too few keys apart.
const MIN_TAG_BITS: u32 = 16;

/// What reading keys needs.
#[derive(Clone, Copy)]
pub(crate) struct KeyAccess<'a> {
    pub(crate) segments: &'a SegmentMap,
    pub(crate) hash_seed: u64,
    pub(crate) align: usize,
    pub(crate) keyspace: u32,
}

impl<'a> KeyAccess<'a> {
    /// The verified key of the frames that a target leads to.
    pub(crate) fn key_of(&self, run: &Run, target: &Target) -> Result<&'a [u8]> {
        let missing = || run.corrupt(0, "an entry leads to a segment that is not there");
        let address = target.any_frame().ok_or_else(missing)?;
        let segment = self.segments.get(address.segment()).ok_or_else(missing)?;
        let frame = segment.frame(address.word(), self.align)?;
        segment.verify_frame(address.word(), &frame, self.keyspace)?;
        Ok(frame.key())
    }
}

/// Entries of one run in the order of their hashes.
struct Source<'a> {
    run: &'a Arc<Run>,
    access: KeyAccess<'a>,
    /// Bits of hashes to look at.
    mask: u64,
    /// The entries of the page being read, last first.
    pending: Vec<(u64, Slot)>,
    /// Next page; `None` if all entries were loaded at once.
    next_page: Option<u64>,
}

impl<'a> Source<'a> {
    fn new(run: &'a Arc<Run>, access: KeyAccess<'a>, mask: u64, by_key: bool) -> Result<Self> {
        run.read_ahead();
        let mut source = Self { run, access, mask, pending: Vec::new(), next_page: Some(0) };
        if by_key {
            source.next_page = None;
            for page in 0..run.table_pages() {
                for word in run.page(page)?.iter().take(PAGE_SLOTS).filter(|word| word.get() != 0) {
                    let slot = Slot(word.get());
                    let key = access.key_of(run, &run.target_of(slot)?)?;
                    source.pending.push((key_hash(key, access.hash_seed) & mask, slot));
                }
            }
            source.pending.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.0));
        }
        Ok(source)
    }

    /// The hash of the next entry.
    fn peek(&mut self) -> Result<Option<u64>> {
        while self.pending.is_empty() {
            let Some(page) = self.next_page.filter(|&page| page < self.run.table_pages()) else {
                return Ok(None);
            };
            self.next_page = Some(page + 1);
            for word in self.run.page(page)?.iter().take(PAGE_SLOTS).filter(|word| word.get() != 0) {
                let slot = Slot(word.get());
                let Some(hash) = self.run.geometry().hash_of(page, slot.tag()) else {
                    return Err(self.run.corrupt(page, "a slot's tag does not belong to its page"));
                };
                self.pending.push((hash & self.mask, slot));
            }
            self.pending.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.0));
        }
        Ok(self.pending.last().map(|entry| entry.0))
    }

    fn key(&self, slot: Slot) -> Result<&'a [u8]> {
        self.access.key_of(self.run, &self.run.target_of(slot)?)
    }
}

/// Runs read as one.
pub(crate) struct RunMerge<'a> {
    sources: Vec<Source<'a>>,
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
        Ok(Self { sources })
    }

    /// Passes every key's newest entry to `emit`, in the order of the known bits of their hashes.
    ///
    /// `is_live` may know of a frame whether it is the newest of its key; where it does, keys need not
    /// be read to find out.
    pub(crate) fn for_each(
        mut self,
        is_live: impl Fn(FrameAddress) -> Option<bool>,
        mut emit: impl FnMut(u64, Target) -> Result<()>,
    ) -> Result<()> {
        let mut same: Vec<(usize, Slot)> = Vec::new();
        let mut keys: Vec<&[u8]> = Vec::new();
        loop {
            let mut least = None;
            for source in &mut self.sources {
                if let Some(hash) = source.peek()?
                    && least.is_none_or(|l| hash < l)
                {
                    least = Some(hash);
                }
            }
            let Some(hash) = least else {
                return Ok(());
            };
            same.clear();
            for (rank, source) in self.sources.iter_mut().enumerate() {
                while source.peek()? == Some(hash) {
                    same.extend(source.pending.pop().map(|(_, slot)| (rank, slot)));
                }
            }
            if let [(rank, slot)] = same[..] {
                self.emit(rank, slot, hash, &mut emit)?;
                continue;
            }
            // Equal bits may be equal keys, of which the newest counts, or not.
            same.retain(|&(rank, slot)| !self.is_dead(rank, slot, &is_live));
            if let [(rank, slot)] = same[..] {
                self.emit(rank, slot, hash, &mut emit)?;
                continue;
            }
            let one_run = same.windows(2).all(|w| matches!(w, [a, b] if a.0 == b.0));
            keys.clear();
            for &(rank, slot) in &same {
                if !one_run {
                    let Some(source) = self.sources.get(rank) else {
                        continue;
                    };
                    let key = source.key(slot)?;
                    if keys.contains(&key) {
                        continue;
                    }
                    keys.push(key);
                }
                self.emit(rank, slot, hash, &mut emit)?;
            }
        }
    }

    /// True if an entry is known to be replaced by a newer one.
    fn is_dead(&self, rank: usize, slot: Slot, is_live: impl Fn(FrameAddress) -> Option<bool>) -> bool {
        let source = self.sources.get(rank);
        let frame = source.and_then(|source| source.run.frame_of(slot).ok().flatten());
        frame.is_some_and(|(segment, word)| is_live(FrameAddress::new(segment.number(), word)) == Some(false))
    }

    fn emit(
        &self,
        rank: usize,
        slot: Slot,
        hash: u64,
        emit: &mut impl FnMut(u64, Target) -> Result<()>,
    ) -> Result<()> {
        match self.sources.get(rank) {
            Some(source) => emit(hash, source.run.target_of(slot)?),
            None => Ok(()),
        }
    }
}
