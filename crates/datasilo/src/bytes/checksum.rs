//! CRC-32 of everything that is written, by `crc32fast` or, where it is faster, by a kernel of our own.
//!
//! `crc32fast` is made for long inputs. Frames are short, and every verified read is the checksum of
//! one: see `docs/adr/0012-checksums-of-frames.md`.

/// CRC-32.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    seeded_crc(0, bytes)
}

/// CRC-32 that starts from `seed`.
#[inline]
pub(crate) fn seeded_crc(seed: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if wide::LENGTHS.contains(&bytes.len()) && bytes.len().is_multiple_of(4) && *wide::AVAILABLE {
        #[expect(unsafe_code, reason = "functions with target features are unsafe to call")]
        // SAFETY: the processor was found to have the features that the kernel needs.
        return unsafe { wide::seeded_crc(seed, bytes) };
    }
    any_length(seed, bytes)
}

fn any_length(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Folds 64 bytes at a time.
///
/// The bytes are the coefficients of a polynomial over GF(2), the first bit that of the highest
/// power, whose remainder by P is the checksum. The method is that of Gopal et al., "Fast CRC
/// Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), with three
/// choices for inputs of a few hundred bytes:
///
/// * Zeros are put in front in place of a remainder behind, since leading zeros change nothing.
/// * The four lanes are multiplied each by its own power at the end, all at once.
/// * The last reduction is Barrett's on 64 bits: two multiplications in a row, none of them masked.
///
/// Registers hold polynomials in the order of the bytes: bit `i` of `n` is the coefficient of
/// x^(n-1-i). A carry-less product of two 64-bit registers comes out as a 127-bit number, which is
/// x times the product where it is read as 128 bits.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m128i, __m512i, _mm_clmulepi64_si128, _mm_extract_epi32, _mm_set_epi64x, _mm_srli_si128,
        _mm_xor_si128, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_xor_si256,
        _mm512_castsi512_si256, _mm512_clmulepi64_epi128, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
        _mm512_mask_xor_epi32, _mm512_maskz_loadu_epi32, _mm512_maskz_mov_epi64, _mm512_set_epi64,
        _mm512_set1_epi32, _mm512_ternarylogic_epi64,
    };
    use std::ops::Range;
    use std::sync::LazyLock;

    /// Lengths, in bytes, that the kernel takes if they are multiples of 4. Above them `crc32fast`,
    /// which folds several streams, is faster.
    pub(super) const LENGTHS: Range<usize> = 4..2048;

    /// True if the processor can run the kernel.
    pub(super) static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("sse4.1")
    });

    /// P without its leading x^32, the highest power in the highest bit.
    const POLYNOMIAL: u32 = 0x04C1_1DB7;

    /// x^`power` modulo P, times x^31, as a 64-bit register.
    const fn power(power: u32) -> i64 {
        let mut remainder = 1u32;
        let mut done = 0;
        while done < power {
            let carry = remainder >> 31;
            remainder = (remainder << 1) ^ (POLYNOMIAL * carry);
            done += 1;
        }
        register((remainder as u64) << 31)
    }

    /// The quotient of x^95 by P, as a 64-bit register.
    const fn quotient() -> i64 {
        let mut remainder = 1u128 << 95;
        let mut quotient = 0;
        let mut at = 64;
        while at > 0 {
            at -= 1;
            if remainder >> (at + 32) & 1 == 1 {
                remainder ^= (1 << 32 | POLYNOMIAL as u128) << at;
                quotient |= 1 << at;
            }
        }
        register(quotient)
    }

    const fn register(coefficients: u64) -> i64 {
        coefficients.reverse_bits().cast_signed()
    }

    /// Moves the first and the second half of 128 bits over a distance in bits: the halves are 64
    /// powers apart, and a product comes out x^32 too high.
    const fn distance(bits: u32) -> [i64; 2] {
        [power(bits + 32), power(bits - 32)]
    }

    const BLOCK: [i64; 2] = distance(512);
    const FIRST_LANE: [i64; 2] = distance(384);
    const SECOND_LANE: [i64; 2] = distance(256);
    const THIRD_LANE: [i64; 2] = distance(128);
    /// Takes the first 64 of 128 bits to 96 powers, beside the last 64 times x^32.
    const LAST_HALF: i64 = power(96);
    const QUOTIENT: i64 = quotient();
    /// P without its leading power, times x^31.
    const DIVISOR: i64 = register((POLYNOMIAL as u64) << 31);

    /// CRC-32 of bytes whose length is within [`LENGTHS`] and a multiple of 4.
    #[target_feature(enable = "avx512f,avx512vl,vpclmulqdq,pclmulqdq,sse4.1")]
    pub(super) fn seeded_crc(seed: u32, bytes: &[u8]) -> u32 {
        debug_assert!(bytes.len() >= 4 && bytes.len().is_multiple_of(4));
        // The first of a whole number of blocks begins this many bytes before the input.
        let gap = bytes.len().wrapping_neg() % 64;
        let (first, rest) = bytes.split_at(64 - gap);
        let given = u16::MAX << (gap / 4);
        // SAFETY: only the words of `given` are read, which are those of `first`.
        #[expect(unsafe_code, reason = "a masked load of fewer than 64 bytes")]
        let words = unsafe { _mm512_maskz_loadu_epi32(given, first.as_ptr().wrapping_sub(gap).cast()) };
        // The register starts inverted, which is the seed added to the first four bytes.
        let lowest = given & given.wrapping_neg();
        let mut folded =
            _mm512_mask_xor_epi32(words, lowest, words, _mm512_set1_epi32((!seed).cast_signed()));
        let [low, high] = BLOCK;
        let factors = _mm512_set_epi64(high, low, high, low, high, low, high, low);
        for block in rest.as_chunks::<64>().0 {
            // SAFETY: a block is 64 bytes, and the load needs no alignment.
            #[expect(unsafe_code, reason = "an unaligned load of 64 bytes")]
            let block = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            folded = multiply_add(folded, factors, block);
        }
        reduce(one_lane(folded))
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn multiply_add(value: __m512i, factors: __m512i, addend: __m512i) -> __m512i {
        const XOR_OF_THREE: i32 = 0x96;
        let low = _mm512_clmulepi64_epi128::<0x00>(value, factors);
        let high = _mm512_clmulepi64_epi128::<0x11>(value, factors);
        _mm512_ternarylogic_epi64::<XOR_OF_THREE>(low, high, addend)
    }

    /// Moves the first three lanes to where the last one lies.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,vpclmulqdq")]
    fn one_lane(folded: __m512i) -> __m128i {
        let last = _mm512_maskz_mov_epi64(0b1100_0000, folded);
        let factors = _mm512_set_epi64(
            0,
            0,
            THIRD_LANE[1],
            THIRD_LANE[0],
            SECOND_LANE[1],
            SECOND_LANE[0],
            FIRST_LANE[1],
            FIRST_LANE[0],
        );
        let lanes = multiply_add(folded, factors, last);
        let half = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
        _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
    }

    /// The remainder of 128 bits times x^32.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn reduce(value: __m128i) -> u32 {
        let constants = _mm_set_epi64x(DIVISOR, QUOTIENT);
        // 96 powers are left, which begin with the register.
        let first = _mm_clmulepi64_si128::<0x00>(value, _mm_set_epi64x(0, LAST_HALF));
        let value = _mm_xor_si128(first, _mm_srli_si128::<8>(value));
        // Their quotient by P depends on the upper 64 alone; the remainder takes the lower 32.
        let quotient = _mm_clmulepi64_si128::<0x00>(value, constants);
        let remainder = _mm_xor_si128(_mm_clmulepi64_si128::<0x10>(quotient, constants), value);
        !_mm_extract_epi32::<2>(remainder).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_polynomial_comes_out() {
        assert_eq!(crc(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc(b""), 0);
    }

    #[test]
    fn every_length_and_alignment_agrees_with_the_library() {
        let mut state = 1u64;
        let bytes: Vec<u8> = (0..2200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect();
        for len in 0..2100 {
            for (offset, seed) in [(0, 0), (1, 1), (7, u32::MAX), (64, 0xDEAD_BEEF), (99, 1 << 31)] {
                let part = &bytes[offset..offset + len];
                assert_eq!(
                    seeded_crc(seed, part),
                    any_length(seed, part),
                    "{len} bytes at {offset}, seed {seed}"
                );
            }
        }
    }

    #[test]
    fn a_checksum_goes_on_where_another_ended() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1500).collect();
        for cut in (0..1500).step_by(7) {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(seeded_crc(crc(first), second), crc(&bytes), "cut at {cut}");
        }
    }
}
