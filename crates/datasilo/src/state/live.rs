//! Which frames of segments the index leads to.
//!
//! One pass over a keyspace's runs marks the words where live frames begin, one bit for each
//! 8 bytes of segment, so that segments can then be read from end to end. That is far cheaper than
//! asking the index about each frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bytes::address::{FileNumber, FrameAddress};
use crate::bytes::index::Geometry;
use crate::error::Result;
use crate::files::run::{Run, Target, key_hash};
use crate::files::run_merge::{RunMerge, keep_all, merged_geometry};
use crate::storage::prefetch;

use super::read::prefetch_candidate;
use super::version::{KeyspaceVersion, Version};

/// Look-ups whose memory accesses overlap.
const WINDOW: usize = 32;

/// Words of a segment where live frames begin.
#[derive(Debug)]
pub(crate) struct LiveBits {
    words: Vec<u64>,
}

impl LiveBits {
    /// For a segment of so many bytes.
    pub(crate) fn new(segment_len: u64) -> Self {
        let len = usize::try_from(segment_len.div_ceil(8 * 64)).expect("segments have at most 32 GiB");
        Self { words: vec![0; len] }
    }

    #[inline]
    pub(crate) fn set(&mut self, word: u32) {
        if let Some(bits) = self.words.get_mut(word as usize / 64) {
            *bits |= 1 << (word % 64);
        }
    }

    pub(crate) fn clear(&mut self, word: u32) {
        if let Some(bits) = self.words.get_mut(word as usize / 64) {
            *bits &= !(1 << (word % 64));
        }
    }

    #[inline]
    pub(crate) fn is_set(&self, word: u32) -> bool {
        self.words.get(word as usize / 64).is_some_and(|bits| bits >> (word % 64) & 1 != 0)
    }

    /// How many bits are set.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// The bits, 64 words of segment each.
    pub(crate) fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// Bytes of memory for a segment of so many bytes.
    pub(crate) fn memory(segment_len: u64) -> u64 {
        segment_len / 64
    }
}

/// Live frames of several segments.
#[derive(Debug, Default)]
pub(crate) struct LiveMap {
    segments: BTreeMap<FileNumber, LiveBits>,
}

impl LiveMap {
    pub(crate) fn add_segment(&mut self, number: FileNumber, len: u64) {
        self.segments.insert(number, LiveBits::new(len));
    }

    pub(crate) fn get(&self, number: FileNumber) -> Option<&LiveBits> {
        self.segments.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: FileNumber) -> Option<&mut LiveBits> {
        self.segments.get_mut(&number)
    }

    pub(crate) fn take(&mut self, number: FileNumber) -> Option<LiveBits> {
        self.segments.remove(&number)
    }

    #[inline]
    fn prefetch(&self, address: FrameAddress) {
        if let Some(bits) = self.segments.get(&address.segment()) {
            prefetch(&bits.words, address.word() as usize / 64);
        }
    }

    #[inline]
    fn mark(&mut self, address: FrameAddress) {
        if let Some(bits) = self.segments.get_mut(&address.segment()) {
            bits.set(address.word());
        }
    }

    fn unmark(&mut self, address: FrameAddress) {
        if let Some(bits) = self.segments.get_mut(&address.segment()) {
            bits.clear(address.word());
        }
    }

    /// Marks the frames of a keyspace that lie in the segments of the map. Chains are passed to
    /// `on_chain` instead of being marked if it returns false for them.
    pub(crate) fn mark_keyspace(
        &mut self,
        version: &Version,
        keyspace: &KeyspaceVersion,
        mut on_chain: impl FnMut(&[FrameAddress]) -> bool,
    ) -> Result<()> {
        // Without merges there are no chains, and so nothing that a later run would have to take back
        // but marks.
        if keyspace.meta.operator.is_none() {
            return self.mark_plain(version, keyspace);
        }
        for_each_target(version, keyspace, |target| {
            match &target {
                Target::Frame(address) => self.mark(*address),
                Target::Chain(addresses) => {
                    if on_chain(addresses) {
                        for address in addresses {
                            self.mark(*address);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Marks everything in the oldest run, then lets each newer one take back what its keys had before.
    ///
    /// Merging the runs would sort all entries; this looks the newer ones up, which are few.
    fn mark_plain(&mut self, version: &Version, keyspace: &KeyspaceVersion) -> Result<()> {
        let Some((oldest, newer)) = keyspace.runs.split_last() else { return Ok(()) };
        let mut window = Vec::with_capacity(WINDOW);
        oldest.for_each_slot(|slot| {
            match oldest.frame_of(slot)? {
                Some((segment, word)) => {
                    let address = FrameAddress::new(segment.number(), word);
                    self.prefetch(address);
                    window.push(address);
                    if window.len() == WINDOW {
                        window.drain(..).for_each(|address| self.mark(address));
                    }
                }
                None => oldest.chain_of(slot)?.into_iter().for_each(|address| self.mark(address)),
            }
            Ok(())
        })?;
        window.drain(..).for_each(|address| self.mark(address));
        for (at, run) in newer.iter().enumerate().rev() {
            let older = keyspace.runs.get(at + 1..).unwrap_or_default();
            run.for_each_slot(|slot| {
                window.extend(run.target_of(slot)?.any_frame());
                if window.len() == WINDOW {
                    self.replace(version, keyspace, older, &mut window)?;
                }
                Ok(())
            })?;
            self.replace(version, keyspace, older, &mut window)?;
        }
        Ok(())
    }

    /// Marks frames and unmarks what older runs have for their keys. The memory accesses of a window
    /// overlap: first all frames, then all index lines, then all older frames, then they are compared.
    fn replace(
        &mut self,
        version: &Version,
        keyspace: &KeyspaceVersion,
        older: &[Arc<Run>],
        window: &mut Vec<FrameAddress>,
    ) -> Result<()> {
        let meta = &keyspace.meta;
        let lines = keyspace.typical_frame_lines();
        for address in window.iter() {
            if let Some(segment) = version.segments.get(address.segment()) {
                segment.prefetch(address.word(), lines);
            }
        }
        let mut hashes = [0u64; WINDOW];
        for (hash, address) in hashes.iter_mut().zip(window.iter()) {
            let frame = version.frame(*address, meta.align())?;
            frame.verify(meta.id)?;
            *hash = key_hash(frame.frame.key(), version.hash_seed);
            for run in older {
                run.prefetch(*hash);
            }
        }
        for (&hash, _) in hashes.iter().zip(window.iter()) {
            prefetch_candidate(older, hash, lines)?;
        }
        for (&hash, address) in hashes.iter().zip(window.drain(..)) {
            let key = version.frame(address, meta.align())?.frame.key();
            self.mark(address);
            for run in older {
                let replaced = run.find(hash, |slot| {
                    let Some((segment, word)) = run.frame_of(slot)? else { return Ok(None) };
                    let frame = segment.frame(word, meta.align())?;
                    segment.verify_frame(word, &frame, meta.id)?;
                    Ok((frame.key() == key).then_some(FrameAddress::new(segment.number(), word)))
                })?;
                if let Some(old) = replaced {
                    if old != address {
                        self.unmark(old);
                    }
                    break; // still older ones were taken back by the run that has this
                }
            }
        }
        Ok(())
    }
}

/// Passes what every key of a keyspace's index leads to, in no particular order.
pub(crate) fn for_each_target(
    version: &Version,
    keyspace: &KeyspaceVersion,
    mut visit: impl FnMut(Target) -> Result<()>,
) -> Result<()> {
    // One run needs no merging, and so no order.
    if let [only] = keyspace.runs.as_slice() {
        return only.for_each_slot(|slot| visit(only.target_of(slot)?));
    }
    let most = keyspace.runs.iter().map(|run| run.entry_count()).sum();
    let geometry = merged_geometry(&keyspace.runs, Geometry::for_entries(most));
    let access = version.key_access(&keyspace.meta);
    let merge = RunMerge::new(&keyspace.runs, access, geometry)?;
    merge.for_each(std::iter::empty(), keep_all, |_, target| visit(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_cleared_and_counted() {
        let mut bits = LiveBits::new(8 * 300);
        let set = [0u32, 1, 63, 64, 200, 299];
        for word in set.into_iter().chain([5]) {
            bits.set(word);
        }
        bits.clear(5);
        assert_eq!(bits.count(), set.len());
        for word in 0..10_000 {
            assert_eq!(bits.is_set(word), set.contains(&word), "{word}");
        }
    }
}
