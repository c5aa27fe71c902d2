//! Comparing the tags of a cache line of slots.
//!
//! All slots are compared before any is looked at: which one matches is known without a branch, so
//! the processor can go on to the frame while the line is still under way.

use zerocopy::little_endian::U64;

use crate::bytes::index::{LINE_SLOTS, Slot};

/// The slots of a cache line.
pub(crate) type Line = [U64; LINE_SLOTS];

/// One bit for each slot that bears the tag. Free slots bear tag 0.
#[inline]
pub(crate) fn matching(slots: &Line, tag: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "functions with target features are unsafe to call")]
    // SAFETY: SSE2 is part of every x86-64 processor.
    let mask = unsafe { sse2::matching(slots, tag) };
    #[cfg(not(target_arch = "x86_64"))]
    let mask = matching_scalar(slots, tag);
    mask
}

/// [`matching`], one slot after another.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn matching_scalar(slots: &Line, tag: u32) -> u32 {
    let bit = |(at, word): (usize, &U64)| u32::from(Slot(word.get()).tag() == tag) << at;
    slots.iter().enumerate().map(bit).sum()
}

/// A slot of a line.
#[inline]
pub(crate) fn slot_at(slots: &Line, at: u32) -> Slot {
    Slot(slots.get(at as usize % LINE_SLOTS).map_or(0, |word| word.get()))
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set_epi64x,
        _mm_set1_epi32, _mm_shuffle_ps, _mm_srli_epi32,
    };

    use super::Line;

    /// Bits of the upper half of a slot that belong to the address.
    const ADDRESS_BITS: i32 = 10;
    /// Takes the upper halves of two times two words.
    const UPPER_HALVES: i32 = 0b11_01_11_01;

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn matching(slots: &Line, tag: u32) -> u32 {
        let [s0, s1, s2, s3, s4, s5, s6, s7] = slots.each_ref().map(|word| word.get().cast_signed());
        let tag = _mm_set1_epi32(tag.cast_signed());
        let low = four(_mm_set_epi64x(s1, s0), _mm_set_epi64x(s3, s2), tag);
        let high = four(_mm_set_epi64x(s5, s4), _mm_set_epi64x(s7, s6), tag);
        low | high << 4
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn four(first: __m128i, second: __m128i, tag: __m128i) -> u32 {
        let upper = _mm_shuffle_ps::<UPPER_HALVES>(_mm_castsi128_ps(first), _mm_castsi128_ps(second));
        let tags = _mm_srli_epi32::<ADDRESS_BITS>(_mm_castps_si128(upper));
        _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(tags, tag))).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_compare_agree() {
        let mut state = 1u64;
        for _ in 0..10_000 {
            let words: Vec<u64> = (0..8)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Few tags, so that they meet; any address.
                    if state >> 61 == 0 { 0 } else { (state >> 60) << 42 | state >> 22 }
                })
                .collect();
            let slots: Line = std::array::from_fn(|at| words[at].into());
            for tag in (0..16).chain([(1 << 22) - 1]) {
                let expected: u32 = (0..8).map(|at| u32::from((words[at] >> 42) as u32 == tag) << at).sum();
                assert_eq!(matching(&slots, tag), expected);
                assert_eq!(matching_scalar(&slots, tag), expected);
            }
        }
    }
}
