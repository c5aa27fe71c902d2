//! Slots as runs of consecutive ones, whose first slots are packed against straight lines, 128 to
//! a block.

#![expect(clippy::cast_possible_truncation, reason = "runs begin at pairs, whose numbers have 24 bits")]

use super::ascending::{Ascending, write_ascending};
use super::bits::{BitWriter, read_bits};

/// Slots of a block; the rise of a block's line is divided by it.
pub(super) const BLOCK_LEN: usize = 128;
/// Bytes of a block's description.
pub(super) const BLOCK_BYTES: usize = 12;
/// Most bits of a residual.
const WIDTH_MAX: u32 = 32;
/// Bits of a description's last word that hold the width.
const WIDTH_BITS: u32 = 6;
/// Bytes in whose multiples residuals of a block start: what 128 bits take.
const PLACE_UNIT: usize = BLOCK_LEN / 8;

/// How one block is packed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    base: u32,
    span: u32,
    width: u32,
    /// Where the residuals start, in bytes.
    place: usize,
}

impl Block {
    #[inline]
    fn read([b0, b1, b2, b3, s0, s1, s2, s3, p0, p1, p2, p3]: [u8; BLOCK_BYTES]) -> Self {
        let place = u32::from_le_bytes([p0, p1, p2, p3]);
        Self {
            base: u32::from_le_bytes([b0, b1, b2, b3]),
            span: u32::from_le_bytes([s0, s1, s2, s3]),
            width: (place & ((1 << WIDTH_BITS) - 1)).min(WIDTH_MAX),
            place: (place >> WIDTH_BITS) as usize * PLACE_UNIT,
        }
    }

    #[inline]
    fn line(&self, index: usize) -> u32 {
        self.base.wrapping_add((u64::from(self.span) * index as u64 / BLOCK_LEN as u64) as u32)
    }

    #[inline]
    fn get(&self, residuals: &[u8], index: usize) -> u32 {
        let bit = 8 * self.place + index * self.width as usize;
        self.line(index).wrapping_add(read_bits(residuals, bit, self.width) as u32)
    }

    /// Bytes of the residuals of `len` slots.
    fn residual_bytes(&self, len: usize) -> usize {
        (len * self.width as usize).div_ceil(8)
    }

    /// The better of packing `slots` against their least and against a line from end to end.
    fn fit(slots: &[u32]) -> Self {
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return Self::default() };
        let low = slots.iter().copied().fold(u32::MAX, u32::min);
        let high = slots.iter().copied().fold(0, u32::max);
        let level = Self { base: low, span: 0, width: 32 - (high - low).leading_zeros(), place: 0 };
        let steps = slots.len() as u64 - 1;
        if last <= first || level.width == 0 {
            return level;
        }
        // Over a whole block the line would rise by this; it has to fit 32 bits.
        let span = (u64::from(last - first) * BLOCK_LEN as u64 / steps).min(u64::from(u32::MAX));
        let span = u32::try_from(span).unwrap_or(u32::MAX);
        let line = Self { base: 0, span, width: 0, place: 0 };
        let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
        for (index, slot) in slots.iter().enumerate() {
            let residual = i64::from(*slot) - i64::from(line.line(index));
            lowest = lowest.min(residual);
            highest = highest.max(residual);
        }
        let width = 64 - (highest - lowest).leading_zeros();
        if width >= level.width {
            return level;
        }
        #[expect(clippy::cast_sign_loss, reason = "slots are read modulo 2^32")]
        Self { base: lowest as u32, width, ..line }
    }
}

/// Stored slots.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PackedSlots<'a> {
    /// Where the runs begin; each is one slot where this is straight.
    runs: Ascending<'a>,
    blocks: &'a [[u8; BLOCK_BYTES]],
    /// Residuals, and what follows them.
    residuals: &'a [u8],
}

impl<'a> PackedSlots<'a> {
    /// The slots of runs that begin where `runs` says, the end included, and that `blocks`
    /// describe, one for each 128.
    pub(super) fn new(runs: Ascending<'a>, blocks: &'a [[u8; BLOCK_BYTES]], residuals: &'a [u8]) -> Self {
        Self { runs, blocks, residuals }
    }

    #[inline]
    fn run_count(&self) -> usize {
        self.runs.len().saturating_sub(1)
    }

    /// Bytes of all residuals as the last block has it.
    pub(super) fn residual_bytes(&self) -> usize {
        let Some(last) = self.blocks.last() else { return 0 };
        let block = Block::read(*last);
        block.place
            + block.residual_bytes(self.run_count().saturating_sub((self.blocks.len() - 1) * BLOCK_LEN))
    }

    #[inline]
    fn block(&self, index: usize) -> Block {
        self.blocks.get(index).map_or(Block::default(), |block| Block::read(*block))
    }

    /// First slot of run `index`.
    #[inline]
    fn first(&self, index: usize) -> u32 {
        self.block(index / BLOCK_LEN).get(self.residuals, index % BLOCK_LEN)
    }

    /// The slot of pair `index`.
    #[inline]
    pub(super) fn get(&self, index: usize) -> u32 {
        let (run, begin) = self.runs.floor(index as u64);
        self.first(run).wrapping_add((index as u64).wrapping_sub(begin) as u32)
    }

    /// Run of pair `index`: its first pair, the pair behind its last, its first slot.
    #[inline]
    pub(super) fn run_of(&self, index: usize) -> (usize, usize, u32) {
        if self.runs.is_straight() {
            return (index, index + 1, self.first(index));
        }
        let (run, begin) = self.runs.floor(index as u64);
        let end = if run < self.run_count() { self.runs.get(run + 1) as usize } else { index + 1 };
        (begin as usize, end.max(index + 1), self.first(run))
    }

    /// Whether `slot` is among the pairs `from..to`, whose slots ascend.
    pub(super) fn contains(&self, slot: u32, from: usize, to: usize) -> bool {
        let Some(last) = to.checked_sub(1).filter(|last| from <= *last) else { return false };
        // The last run of those that does not begin above the slot.
        let (mut low, _) = self.runs.floor(from as u64);
        let mut high = if self.runs.is_straight() { to } else { self.runs.floor(last as u64).0 + 1 };
        while high.saturating_sub(low) > 1 {
            let middle = usize::midpoint(low, high);
            if self.first(middle) <= slot { low = middle } else { high = middle }
        }
        let Some(behind) = slot.checked_sub(self.first(low)) else { return false };
        if self.runs.is_straight() {
            return behind == 0;
        }
        let (begin, end) = self.runs.get_two(low);
        let index = begin.saturating_add(u64::from(behind));
        index >= from as u64 && index < end.min(to as u64)
    }

    /// Folds the slots at `from..to`, block by block.
    #[inline]
    pub(super) fn fold<B>(&self, from: usize, to: usize, init: B, mut f: impl FnMut(B, u32) -> B) -> B {
        let (mut at, mut folded) = (from, init);
        if from < to && !self.runs.is_straight() {
            let (first_run, begin) = self.runs.floor(from as u64);
            let mut ends = self.runs.range(first_run + 1, self.run_count() + 1);
            let (mut run, mut begin) = (first_run, begin as usize);
            while at < to {
                let end = ends.next().map_or(to, |end| (end as usize).max(at)).min(to);
                let first = self.first(run).wrapping_sub(begin as u32);
                for index in at..end {
                    folded = f(folded, first.wrapping_add(index as u32));
                }
                (run, begin, at) = (run + 1, end, end);
            }
            return folded;
        }
        while at < to {
            let block = self.block(at / BLOCK_LEN);
            let end = to.min((at / BLOCK_LEN + 1) * BLOCK_LEN);
            for index in at..end {
                folded = f(folded, block.get(self.residuals, index % BLOCK_LEN));
            }
            at = end;
        }
        folded
    }

    /// Says what is wrong with the descriptions of the blocks and with the zeros, as many as
    /// `tail_bytes` and the rest of a byte, behind the residuals; O(blocks).
    pub(super) fn validate(&self, tail_bytes: usize) -> Result<(), &'static str> {
        self.runs.validate()?;
        if !self.runs.is_straight() {
            for run in 0..self.run_count() {
                let (begin, end) = self.runs.get_two(run);
                if u64::from(self.first(run)) + (end - begin) > 1 << 32 {
                    return Err("a run past the last slot");
                }
            }
        }
        let (mut place, mut used) = (0, 0);
        for (index, bytes) in self.blocks.iter().enumerate() {
            let block = Block::read(*bytes);
            let [.., p0, _, _, _] = *bytes;
            if u32::from(p0) & ((1 << WIDTH_BITS) - 1) > WIDTH_MAX {
                return Err("a residual of more than 32 bits");
            }
            if block.place != place {
                return Err("a block whose residuals do not follow those before");
            }
            place += PLACE_UNIT * block.width as usize;
            let len = self.run_count().saturating_sub(index * BLOCK_LEN).min(BLOCK_LEN);
            used = 8 * block.place + len * block.width as usize;
        }
        if !used.is_multiple_of(8) && self.residuals.get(used / 8).is_none_or(|byte| byte >> (used % 8) != 0)
        {
            return Err("bits set behind the residuals");
        }
        let tail = self.residuals.len().saturating_sub(tail_bytes);
        if self.residuals.iter().skip(tail).any(|byte| *byte != 0) {
            return Err("bytes set behind the residuals");
        }
        Ok(())
    }
}

/// Slots as runs of consecutive ones.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Where each begins, then the end of the last. Empty where each run is one slot.
    begins: Vec<u32>,
    firsts: Vec<u32>,
}

impl Runs {
    /// Finds the runs of `slots`; answers the number of runs to write. Runs of one slot each are
    /// taken where longer ones would not be shorter to write.
    pub(super) fn find(&mut self, slots: &[u32]) -> usize {
        self.begins.clear();
        self.firsts.clear();
        let breaks = slots.windows(2).filter(|pair| !matches!(pair, [x, y] if x.checked_add(1) == Some(*y)));
        let run_count = breaks.count() + usize::from(!slots.is_empty());
        // A run costs about a first slot more, and where it begins.
        let (least, most) =
            slots.iter().fold((u32::MAX, 0), |(least, most), slot| (least.min(*slot), most.max(*slot)));
        let slot_bits = (most.wrapping_sub(least) | 1).ilog2() as usize + 1;
        let begin_bits = (slots.len() / run_count.max(1)).max(1).ilog2() as usize + 3;
        if run_count * (slot_bits + begin_bits) >= slots.len() * slot_bits {
            return slots.len();
        }
        let mut next = None;
        for (index, slot) in slots.iter().enumerate() {
            if next.is_none_or(|next| next != *slot) {
                self.begins.push(index as u32);
                self.firsts.push(*slot);
            }
            next = slot.checked_add(1);
        }
        self.begins.push(slots.len() as u32);
        run_count
    }

    /// Appends the runs that were found in `slots`: begins, blocks, residuals. They must be so few
    /// that 26 bits number the units of residuals.
    pub(super) fn write(&self, slots: &[u32], out: &mut Vec<u8>) {
        write_ascending(&self.begins, out);
        write_blocks(if self.begins.is_empty() { slots } else { &self.firsts }, out);
    }
}

/// Appends descriptions and residuals of first slots.
fn write_blocks(slots: &[u32], out: &mut Vec<u8>) {
    let blocks: Vec<Block> = slots.chunks(BLOCK_LEN).map(Block::fit).collect();
    let mut place = 0_u32;
    for block in &blocks {
        out.extend_from_slice(&block.base.to_le_bytes());
        out.extend_from_slice(&block.span.to_le_bytes());
        out.extend_from_slice(&(place << WIDTH_BITS | block.width).to_le_bytes());
        place += block.width;
    }
    out.reserve(place as usize * PLACE_UNIT);
    for (slots, block) in slots.chunks(BLOCK_LEN).zip(&blocks) {
        if block.width == 0 {
            continue;
        }
        let mut writer = BitWriter::new(out);
        for (index, slot) in slots.iter().enumerate() {
            writer.push(u64::from(slot.wrapping_sub(block.line(index))), block.width);
        }
        writer.finish();
    }
}
