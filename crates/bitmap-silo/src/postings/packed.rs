//! Slots in blocks of 128, each block packed against a straight line.

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

    #[expect(clippy::cast_possible_truncation, reason = "a line rises by less than 32 bits in its block")]
    #[inline]
    fn line(&self, index: usize) -> u32 {
        self.base.wrapping_add((u64::from(self.span) * index as u64 / BLOCK_LEN as u64) as u32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a residual has at most 32 bits")]
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
        let least = slots.iter().copied().fold(u32::MAX, u32::min);
        let most = slots.iter().copied().fold(0, u32::max);
        let level = Self { base: least, span: 0, width: 32 - (most - least).leading_zeros(), place: 0 };
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
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "slots are read modulo 2^32"
        )]
        Self { base: lowest as u32, width, ..line }
    }
}

/// Stored slots.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PackedSlots<'a> {
    count: usize,
    blocks: &'a [[u8; BLOCK_BYTES]],
    /// Residuals, and what follows them.
    residuals: &'a [u8],
}

impl<'a> PackedSlots<'a> {
    /// The `count` slots that `blocks` describe, one for each 128.
    pub(super) fn new(count: usize, blocks: &'a [[u8; BLOCK_BYTES]], residuals: &'a [u8]) -> Self {
        Self { count, blocks, residuals }
    }

    /// Bytes of all residuals as the last block has it.
    pub(super) fn residual_bytes(&self) -> usize {
        let Some(last) = self.blocks.last() else { return 0 };
        let block = Block::read(*last);
        block.place + block.residual_bytes(self.count - (self.blocks.len() - 1) * BLOCK_LEN)
    }

    #[inline]
    fn block(&self, index: usize) -> Block {
        self.blocks.get(index).map_or(Block::default(), |block| Block::read(*block))
    }

    /// The slot at `index`.
    #[inline]
    pub(super) fn get(&self, index: usize) -> u32 {
        self.block(index / BLOCK_LEN).get(self.residuals, index % BLOCK_LEN)
    }

    /// Index in `from..to`, among ascending slots, of the first that is at least `slot`.
    pub(super) fn lower_bound(&self, slot: u32, mut from: usize, mut to: usize) -> usize {
        while from < to {
            let middle = usize::midpoint(from, to);
            if self.get(middle) < slot { from = middle + 1 } else { to = middle }
        }
        from
    }

    /// Folds the slots at `from..to`, block by block.
    #[inline]
    pub(super) fn fold<B>(&self, from: usize, to: usize, init: B, mut f: impl FnMut(B, u32) -> B) -> B {
        let (mut at, mut folded) = (from, init);
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
            let len = (self.count - index * BLOCK_LEN).min(BLOCK_LEN);
            used = 8 * block.place + len * block.width as usize;
        }
        if used % 8 != 0 && self.residuals.get(used / 8).is_none_or(|byte| byte >> (used % 8) != 0) {
            return Err("bits set behind the residuals");
        }
        let tail = self.residuals.len().saturating_sub(tail_bytes);
        if self.residuals.iter().skip(tail).any(|byte| *byte != 0) {
            return Err("bytes set behind the residuals");
        }
        Ok(())
    }
}

/// Appends descriptions and residuals of `slots`. They must be so few that 26 bits number the
/// units of residuals.
pub(super) fn write_slots(slots: &[u32], out: &mut Vec<u8>) {
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
