//! Where a compaction's frames went: from their addresses in the old segments to the new ones.
//!
//! The index asks this for each of its addresses, in no order, so what counts is how many cache
//! lines an answer takes. A block of 64 words of an old segment, 512 bytes, is described in 16 bytes: which
//! frames that begin in it are live, and where the first of them went. The others of the
//! block nearly always went as far as the first, since live frames are copied in stretches; where a
//! gap was closed between them, their new words are listed apart.

use std::collections::BTreeMap;

use crate::bytes::address::{FileNumber, FrameAddress};
use crate::bytes::index::Slot;
use crate::files::run::{Run, Target};
use crate::storage::prefetch;

use super::live::LiveBits;

const BLOCK_WORDS: u32 = 64;

/// In place of a new word: a delete that was left behind. No frame begins at word 0.
const DROPPED: u32 = 0;

/// [`Block::listed`] of a block whose frames all moved by the same distance.
const NOT_LISTED: u32 = u32::MAX;

/// Where the live frames that begin in 64 words of a segment went.
#[derive(Debug, Clone, Copy)]
struct Block {
    live: u64,
    /// New word of the first live frame.
    first: u32,
    /// Where the new words of all its live frames begin in [`MovedSegment::listed`].
    listed: u32,
}

impl Block {
    /// Position in the block of the first live frame.
    fn first_bit(&self) -> u32 {
        self.live.trailing_zeros()
    }

    /// New word of a live frame of a block that is not listed.
    fn shifted(&self, bit: u32) -> u32 {
        self.first.wrapping_add(bit).wrapping_sub(self.first_bit())
    }

    fn rank(&self, bit: u32) -> u32 {
        (self.live & ((1 << bit) - 1)).count_ones()
    }
}

/// Where the live frames of one segment went.
#[derive(Debug)]
pub(crate) struct MovedSegment {
    blocks: Vec<Block>,
    listed: Vec<u32>,
    /// Segments that frames went to, each with the first old word that did.
    outputs: Vec<(u32, FileNumber)>,
    live: usize,
    noted: usize,
}

impl MovedSegment {
    /// For a segment with these live frames.
    pub(crate) fn new(bits: LiveBits) -> Self {
        let live = bits.count();
        let block = |live| Block { live, first: DROPPED, listed: NOT_LISTED };
        let blocks = bits.into_words().into_iter().map(block).collect();
        Self { blocks, listed: Vec::new(), outputs: Vec::new(), live, noted: 0 }
    }

    #[inline]
    fn block(&self, word: u32) -> Option<&Block> {
        self.blocks.get((word / BLOCK_WORDS) as usize)
    }

    #[inline]
    pub(crate) fn is_live(&self, word: u32) -> bool {
        self.block(word).is_some_and(|block| block.live >> (word % BLOCK_WORDS) & 1 != 0)
    }

    /// Notes where a live frame went, or that it was left behind. Frames come in their old order.
    pub(crate) fn note(&mut self, old: u32, new: Option<FrameAddress>) {
        self.noted += 1;
        if let Some(new) = new
            && self.outputs.last().is_none_or(|&(_, number)| number != new.segment())
        {
            self.outputs.push((old, new.segment()));
        }
        let new = new.map_or(DROPPED, FrameAddress::word);
        let bit = old % BLOCK_WORDS;
        let Some(block) = self.blocks.get_mut((old / BLOCK_WORDS) as usize) else {
            return;
        };
        if bit == block.first_bit() {
            block.first = new;
            // Distances from a frame that was left behind would mean nothing.
            if new != DROPPED {
                return;
            }
        }
        if block.listed == NOT_LISTED {
            if block.shifted(bit) == new && new != DROPPED {
                return;
            }
            block.listed = u32::try_from(self.listed.len()).expect("segments have below 2^31 frames");
            let before = block.live & ((1 << bit) - 1);
            let earlier = (0..bit).filter(|earlier| before >> earlier & 1 != 0);
            self.listed.extend(earlier.map(|earlier| block.shifted(earlier)));
        }
        self.listed.push(new);
    }

    /// True once every live frame was noted.
    pub(crate) fn is_complete(&self) -> bool {
        self.noted == self.live
    }

    /// Where a live frame went; `None` if it was left behind.
    #[inline]
    fn address(&self, word: u32) -> Option<FrameAddress> {
        let block = self.block(word)?;
        let bit = word % BLOCK_WORDS;
        let new = if block.listed == NOT_LISTED {
            block.shifted(bit)
        } else {
            self.listed.get((block.listed + block.rank(bit)) as usize).copied().unwrap_or(DROPPED)
        };
        let output = self.outputs.partition_point(|&(from, _)| from <= word).checked_sub(1)?;
        let (_, number) = self.outputs.get(output)?;
        (new != DROPPED).then(|| FrameAddress::new(*number, new))
    }
}

/// Where the frames of all segments of a compaction went.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    sources: BTreeMap<FileNumber, MovedSegment>,
}

impl Moved {
    pub(crate) fn extend(&mut self, sources: impl IntoIterator<Item = (FileNumber, MovedSegment)>) {
        self.sources.extend(sources);
    }

    /// Removes from the entries of a page of an index run those whose frames were found dead. The
    /// cache misses of the entries overlap, and [`Moved::map_all`] soon after finds the lines loaded.
    pub(crate) fn drop_dead(&self, run: &Run, entries: &mut Vec<(u64, Slot)>) {
        // Slots that lead nowhere are kept: who follows them will say so.
        let source_of = |slot: Slot| {
            let (segment, word) = run.frame_of(slot).ok().flatten()?;
            Some((self.sources.get(&segment.number())?, word))
        };
        for (_, slot) in &*entries {
            if let Some((source, word)) = source_of(*slot) {
                prefetch(&source.blocks, (word / BLOCK_WORDS) as usize);
            }
        }
        entries.retain(|(_, slot)| source_of(*slot).is_none_or(|(source, word)| source.is_live(word)));
    }

    /// Starts loading what [`Moved::address`] needs beside the block, which for most addresses is nothing.
    #[inline]
    fn prefetch_listed(&self, old: FrameAddress) {
        if let Some(source) = self.sources.get(&old.segment())
            && let Some(block) = source.block(old.word())
            && block.listed != NOT_LISTED
        {
            prefetch(&source.listed, block.listed as usize);
        }
    }

    #[inline]
    fn address(&self, old: FrameAddress) -> Option<FrameAddress> {
        match self.sources.get(&old.segment()) {
            Some(source) => source.address(old.word()),
            None => Some(old),
        }
    }

    /// A target with its frames' new addresses.
    fn map(&self, target: Target) -> Option<Target> {
        match target {
            Target::Frame(address) => self.address(address).map(Target::Frame),
            Target::Chain(addresses) => {
                let kept: Vec<FrameAddress> = addresses.into_iter().filter_map(|a| self.address(a)).collect();
                (!kept.is_empty()).then_some(Target::Chain(kept))
            }
        }
    }

    /// Gives the targets of index entries their frames' new addresses; `None` where all were left behind.
    pub(crate) fn map_all(&self, entries: &mut [(u64, Option<Target>)]) {
        let first = |entry: &(u64, Option<Target>)| entry.1.as_ref().and_then(Target::any_frame);
        entries.iter().filter_map(first).for_each(|address| self.prefetch_listed(address));
        for (_, target) in entries {
            *target = target.take().and_then(|target| self.map(target));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_where_they_went() {
        // Old words with the gaps that dead frames left; `None`: left behind.
        let steps: &[(u32, Option<(FileNumber, u32)>)] = &[
            (8, Some((5, 20))),
            (10, Some((5, 22))), // as far as the first
            (20, Some((5, 24))), // behind a gap
            (63, Some((5, 67))),
            (64, None),
            (66, Some((5, 70))),
            (70, Some((5, 74))),
            (130, Some((5, 100))),
            (140, None),
            (150, Some((6, 8))), // the next segment
            (191, Some((6, 49))),
            (400, Some((6, 90))),
        ];
        let mut bits = LiveBits::new(8 * 500);
        for (old, _) in steps {
            bits.set(*old);
        }
        let mut source = MovedSegment::new(bits);
        let new_of = |new: Option<(FileNumber, u32)>| new.map(|(n, w)| FrameAddress::new(n, w));
        for &(old, new) in steps {
            assert!(!source.is_complete());
            source.note(old, new_of(new));
        }
        assert!(source.is_complete());
        assert!(!source.is_live(9) && !source.is_live(100_000));
        let mut moved = Moved::default();
        moved.extend([(3, source)]);
        let mut entries: Vec<(u64, Option<Target>)> = steps
            .iter()
            .map(|&(old, _)| (u64::from(old), Some(Target::Frame(FrameAddress::new(3, old)))))
            .chain([(0, Some(Target::Frame(FrameAddress::new(4, 64))))])
            .collect();
        moved.map_all(&mut entries);
        let stays = (0, Some(Target::Frame(FrameAddress::new(4, 64))));
        let expected: Vec<_> = steps
            .iter()
            .map(|&(old, new)| (u64::from(old), new_of(new).map(Target::Frame)))
            .chain([stays])
            .collect();
        assert_eq!(entries, expected);
        let chain = |old: &[u32]| Target::Chain(old.iter().map(|&w| FrameAddress::new(3, w)).collect());
        assert_eq!(moved.map(chain(&[64, 140])), None);
        let kept = vec![FrameAddress::new(5, 20), FrameAddress::new(6, 90)];
        assert_eq!(moved.map(chain(&[8, 140, 400])), Some(Target::Chain(kept)));
    }

    #[test]
    fn many_random_moves_are_found() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..20 {
            let mut bits = LiveBits::new(8 * 60_000);
            let mut steps = Vec::new();
            let (mut old, mut new) = (8u32, FrameAddress::new(9, 16));
            while old < 59_900 {
                let len = u32::try_from(2 + random(1 + round * 3)).unwrap();
                match random(10) {
                    0 => {} // dead
                    1 => steps.push((old, None)),
                    more => {
                        if more == 2 && random(40) == 0 {
                            new = FrameAddress::new(new.segment() + 1, 16);
                        }
                        steps.push((old, Some(new)));
                        new = FrameAddress::new(new.segment(), new.word() + len);
                    }
                }
                old += len;
            }
            for (old, _) in &steps {
                bits.set(*old);
            }
            let mut source = MovedSegment::new(bits);
            for (old, new) in &steps {
                source.note(*old, *new);
            }
            assert!(source.is_complete());
            for (old, new) in steps {
                assert_eq!(source.address(old), new, "{old}");
            }
        }
    }
}
