//! The table for processors with AVX2, SSE4.2 and the bit-manipulation sets.

#![expect(unsafe_code, reason = "vector loads and stores go through raw pointers")]

use core::arch::x86_64::{
    __m128i, _mm_loadu_si64, _mm_loadu_si128, _mm_shuffle_epi8, _mm256_cvtepu8_epi32, _mm256_or_si256,
    _mm256_set1_epi32, _mm256_storeu_si256,
};

use super::{instantiate, lists};
use crate::kernels::{Bits, Clause, Kernels, LIST_SLACK, Le16, Ranks, WordOp, Words, ranks, scalar};

pub(super) static TABLE: Kernels = Kernels {
    name: "avx2",
    assign,
    combine,
    append: scalar::append,
    count,
    popcount,
    product,
    product_count,
    equal_masks,
    slice32,
    between,
    run_count,
    intersect,
    intersect_count,
    subtract,
    probe,
    probe_count,
    rank,
    count_runs,
    set_list,
    extract16,
    extract32,
    widen,
};

// No wide vectors for these: compilers would gather the words, which takes longer than loading
// them one by one.
instantiate! {
    "popcnt,lzcnt,bmi1,bmi2", lists:
    fn probe(list: &[Le16], bits: &Bits, wanted: bool, out: &mut [u16]) -> usize;
    fn probe_count(list: &[Le16], bits: &Bits) -> usize;
}

instantiate! {
    "popcnt,lzcnt,bmi1,bmi2", ranks:
    fn rank(bits: &Bits, ranks: &mut Ranks);
    fn count_runs(ranks: &Ranks, runs: &[[u8; 4]]) -> u32;
}

instantiate! {
    "popcnt,lzcnt,bmi1,bmi2":
    fn set_list(words: &mut Words, list: &[Le16]);
}

instantiate! {
    "avx2,sse4.2,popcnt,lzcnt,bmi1,bmi2":
    fn assign(op: WordOp, words: &mut Words, bits: &Bits);
    fn combine(op: WordOp, a: &Bits, b: &Bits, out: &mut Words) -> u32;
    fn count(op: WordOp, a: &Bits, b: &Bits) -> u32;
    fn popcount(bits: &Bits) -> u32;
    fn product(clauses: &[Clause<'_>], out: &mut Words) -> u32;
    fn product_count(clauses: &[Clause<'_>]) -> u32;
    fn run_count(bits: &Bits) -> u32;
    fn slice32(values: &[u32], slices: &mut [Words]);
    fn between(layers: &[&Bits], lowest: u64, highest: u64, out: &mut Words);
    fn equal_masks(values: &[u32], value: u32, words: &mut [u64]);
    fn extract16(bits: &Bits, out: &mut [u16]) -> usize;
    fn widen(list: &[Le16], base: u32, out: &mut [u32]);
}

/// For each mask of eight lanes, the byte shuffle that packs its 16-bit lanes to the front.
static PACK16: [[u8; 16]; 256] = {
    let mut table = [[0xff_u8; 16]; 256];
    let mut mask = 0_usize;
    while mask < 256 {
        let (mut lane, mut to) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                #[expect(clippy::indexing_slicing, reason = "checked by the compiler: const")]
                {
                    table[mask][to] = lane * 2;
                    table[mask][to + 1] = lane * 2 + 1;
                }
                to += 2;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// For each byte, the positions of its ones.
static ONES: [[u8; 8]; 256] = {
    let mut table = [[0_u8; 8]; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let (mut bit, mut to) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                #[expect(clippy::indexing_slicing, reason = "checked by the compiler: const")]
                {
                    table[byte][to] = bit;
                }
                to += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};

#[inline]
#[target_feature(enable = "avx2")]
fn pack16(x: __m128i, mask: u32) -> __m128i {
    let shuffle = PACK16.get(mask as usize & 0xff).unwrap_or(&[0xff; 16]);
    // SAFETY: the reference is to sixteen bytes; the load has no alignment requirement.
    _mm_shuffle_epi8(x, unsafe { _mm_loadu_si128(shuffle.as_ptr().cast()) })
}

fn intersect(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
    #[target_feature(enable = "avx2,sse4.2,popcnt")]
    fn inner(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
        // SAFETY: this function is compiled for SSE4.2 and reached only where it was detected.
        unsafe { lists::intersect(a, b, out, |x, mask| pack16(x, mask)) }
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(a, b, out) }
}

fn subtract(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
    #[target_feature(enable = "avx2,sse4.2,popcnt")]
    fn inner(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
        // SAFETY: this function is compiled for SSE4.2 and reached only where it was detected.
        unsafe { lists::subtract(a, b, out, |x, mask| pack16(x, mask)) }
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(a, b, out) }
}

fn intersect_count(a: &[Le16], b: &[Le16]) -> usize {
    #[target_feature(enable = "avx2,sse4.2,popcnt")]
    fn inner(a: &[Le16], b: &[Le16]) -> usize {
        // SAFETY: this function is compiled for SSE4.2 and reached only where it was detected.
        unsafe { lists::intersect_count(a, b) }
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(a, b) }
}

fn extract32(bits: &Bits, first: usize, last: usize, base: u32, out: &mut [u32]) -> usize {
    #[target_feature(enable = "avx2,popcnt")]
    fn inner(words: &[[u8; 8]], mut base: u32, out: &mut [u32]) -> usize {
        let mut len = 0;
        for bytes in words {
            let word = u64::from_le_bytes(*bytes);
            if word != 0 {
                assert!(out.len() >= len + LIST_SLACK, "no room for the values of a word");
                for (index, byte) in (0_u32..).zip(bytes) {
                    let ones = ONES.get(usize::from(*byte)).unwrap_or(&[0; 8]);
                    // SAFETY: the reference is to the eight bytes that the load reads.
                    let lanes = unsafe { _mm_loadu_si64(ones.as_ptr()) };
                    let lanes = _mm256_or_si256(
                        _mm256_cvtepu8_epi32(lanes),
                        _mm256_set1_epi32((base + index * 8).cast_signed()),
                    );
                    // SAFETY: within one word `len` grows by at most 8 before each store, so the
                    // last store ends at most 64 values after the `len` of the assertion above.
                    unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(len).cast(), lanes) };
                    len += byte.count_ones() as usize;
                }
            }
            base = base.wrapping_add(64);
        }
        len
    }
    let words = bits.get(first..last).unwrap_or(&[]);
    #[expect(clippy::cast_possible_truncation, reason = "a word's index is below 1024")]
    let base = base | (first * 64) as u32;
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(words, base, out) }
}
