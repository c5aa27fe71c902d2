//! Numbers of a fixed number of bits, end to end, and ones in words.

/// Eight bytes from `at` on as a number; zero where they are not there.
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

#[expect(clippy::cast_possible_truncation, reason = "a shift below eight")]
/// The number of `width` bits, at most 63, that starts at `bit`. Needs eight bytes from the first
/// one on and is zero where they are not there.
#[inline]
pub(super) fn read_bits(bytes: &[u8], bit: usize, width: u32) -> u64 {
    let (at, shift) = (bit / 8, (bit % 8) as u32);
    let mut number = load(bytes, at) >> shift;
    if width + shift > 64 {
        number |= u64::from(bytes.get(at + 8).copied().unwrap_or(0)) << (64 - shift);
    }
    number & !(u64::MAX << width)
}

/// Writes numbers end to end, lowest bit first.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    filled: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, word: 0, filled: 0 }
    }

    /// Appends `number`, which has at most `width` bits, at most 63.
    #[inline]
    pub(super) fn push(&mut self, number: u64, width: u32) {
        self.word |= number << self.filled;
        let filled = self.filled + width;
        if filled >= 64 {
            self.out.extend_from_slice(&self.word.to_le_bytes());
            // The shift is below 64: a number of at most 63 bits only overflows a word in use.
            self.word = number >> (64 - self.filled);
            self.filled = filled - 64;
        } else {
            self.filled = filled;
        }
    }

    /// Writes what is left of the last word.
    pub(super) fn finish(self) {
        let bytes = self.word.to_le_bytes();
        self.out.extend(bytes.iter().take(self.filled.div_ceil(8) as usize));
    }
}

/// Position of the one with `rank` ones below it; the word has more than `rank`.
///
/// Byte-wise sums and comparison in one word (Vigna 2008, "Broadword implementation of rank/select
/// queries").
#[inline]
pub(super) fn select_in_word(word: u64, rank: u32) -> u32 {
    const BYTES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut sums = word - (word >> 1 & 0x5555_5555_5555_5555);
    sums = (sums & 0x3333_3333_3333_3333) + (sums >> 2 & 0x3333_3333_3333_3333);
    // Byte `k` of the product is the number of ones in bytes 0 to `k`.
    let sums = ((sums + (sums >> 4)) & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(BYTES);
    let not_above = (((u64::from(rank) * BYTES) | HIGH).wrapping_sub(sums) & HIGH) >> 7;
    let byte = ((not_above.wrapping_mul(BYTES) >> 56) as u32 * 8).min(56);
    let before = (sums << 8 >> byte & 0xff) as u32;
    let mut rest = word >> byte & 0xff;
    for _ in before..rank {
        rest &= rest.wrapping_sub(1);
    }
    byte + rest.trailing_zeros().min(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_is_read_as_written() {
        for width in 0..64 {
            let numbers: Vec<u64> =
                (1..300_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !(u64::MAX << width)).collect();
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for number in &numbers {
                writer.push(*number, width);
            }
            writer.finish();
            assert_eq!(bytes.len(), (numbers.len() * width as usize).div_ceil(8));
            bytes.extend([0; 8]);
            for (index, number) in numbers.iter().enumerate() {
                assert_eq!(read_bits(&bytes, index * width as usize, width), *number, "width {width}");
            }
        }
    }

    #[test]
    fn select_finds_every_one() {
        let mut word = 1_u64;
        for round in 0..2000_u64 {
            word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7) ^ round;
            for word in [word, word & word >> 3, word | word << 5, u64::MAX, 1 << (round % 64)] {
                let ones = (0..64).filter(|bit| word >> bit & 1 == 1);
                for (rank, bit) in (0..).zip(ones) {
                    assert_eq!(select_in_word(word, rank), bit, "{word:x} {rank}");
                }
            }
        }
    }
}
