//! Which of 64 bytes are of interest, as bits.

/// Bits of 64 bytes: bit `i` speaks of byte `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masks {
    /// Delimiters.
    pub delimiter: u64,
    /// Line feeds.
    pub newline: u64,
    /// Double quotes.
    pub quote: u64,
}

/// The masks of 64 bytes.
#[inline]
pub(crate) fn masks(bytes: &[u8; 64], delimiter: u8) -> Masks {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "a function that needs SSE2")]
        // SAFETY: every x86-64 processor has SSE2.
        unsafe {
            sse2(bytes, delimiter)
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    scalar(bytes, delimiter)
}

/// Eight bytes at a time; the twin of the vector code.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn scalar(bytes: &[u8; 64], delimiter: u8) -> Masks {
    let mut masks = Masks { delimiter: 0, newline: 0, quote: 0 };
    for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        masks.delimiter |= equal(word, delimiter) << (8 * index);
        masks.newline |= equal(word, b'\n') << (8 * index);
        masks.quote |= equal(word, b'"') << (8 * index);
    }
    masks
}

/// Bit `i` for each byte `i` of a word that equals a byte.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differ = word ^ (0x0101_0101_0101_0101 * u64::from(byte));
    // The high bit of each byte that is zero, without carries between bytes.
    let zero = !(((differ & LOW) + LOW) | differ | LOW);
    // Gathers the eight high bits in the top byte.
    (zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// 16 bytes at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn sse2(bytes: &[u8; 64], delimiter: u8) -> Masks {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

    let wanted = [delimiter, b'\n', b'"'].map(|byte| _mm_set1_epi8(byte.cast_signed()));
    let mut found = [0u64; 3];
    for (index, lane) in bytes.as_chunks::<16>().0.iter().enumerate() {
        let lane = u128::from_le_bytes(*lane).cast_signed();
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let lane = _mm_set_epi64x((lane >> 64) as i64, lane as i64);
        for (found, wanted) in found.iter_mut().zip(wanted) {
            let mask = _mm_movemask_epi8(_mm_cmpeq_epi8(lane, wanted)).cast_unsigned();
            *found |= u64::from(mask) << (16 * index);
        }
    }
    let [delimiter, newline, quote] = found;
    Masks { delimiter, newline, quote }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    #[test]
    fn vector_and_scalar_masks_agree_with_the_bytes() {
        let mut random = SmallRng::seed_from_u64(1);
        let alphabet = [b',', b'\n', b'"', b'-', b'+', 0, 0x80, 0xac, 0xff, b'\t', b'\x0b'];
        for _ in 0..2_000 {
            let bytes: [u8; 64] = std::array::from_fn(|_| alphabet[random.random_range(0..alphabet.len())]);
            let delimiter = if random.random() { b',' } else { b'\t' };
            let mask = |byte| (0..64).fold(0, |mask, i| mask | u64::from(bytes[i] == byte) << i);
            let expected =
                Masks { delimiter: mask(delimiter), newline: mask(b'\n'), quote: mask(b'"') };
            assert_eq!(scalar(&bytes, delimiter), expected);
            assert_eq!(masks(&bytes, delimiter), expected);
        }
    }
}
