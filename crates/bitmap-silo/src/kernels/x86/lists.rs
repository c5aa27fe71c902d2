//! The blockwise intersection of ascending lists, shared by the x86 tables.
//!
//! Eight values of each side are compared all against all by one string instruction; the side
//! whose block ends lower moves on by eight. Positions advance by arithmetic, not by branches,
//! since which side moves is unpredictable.

#![expect(
    unsafe_code,
    reason = "vector loads and stores go through raw pointers"
)]

use core::arch::x86_64::{
    __m128i, _SIDD_BIT_MASK, _SIDD_CMP_EQUAL_ANY, _SIDD_UWORD_OPS, _mm_cmpistrm, _mm_cvtsi128_si32,
    _mm_loadu_si128, _mm_storeu_si128,
};

use crate::kernels::scalar::{intersect_merge, intersect_skewed, subtract_merge, subtract_skewed};
use crate::kernels::{LIST_SLACK, Le16};

/// Values compared at once.
const LANES: usize = 8;

/// Intersects without a zero on either side: zero ends a string for the instruction.
fn skip_zeros<'a>(a: &'a [Le16], b: &'a [Le16]) -> (&'a [Le16], &'a [Le16], bool) {
    match (a, b) {
        ([[0, 0], a @ ..], [[0, 0], b @ ..]) => (a, b, true),
        ([[0, 0], a @ ..], b) => (a, b, false),
        (a, [[0, 0], b @ ..]) => (a, b, false),
        _ => (a, b, false),
    }
}

/// Last value of the block that starts at `at`.
#[inline(always)]
fn block_max(list: &[Le16], at: usize) -> u16 {
    list.get(at + LANES - 1)
        .map_or(u16::MAX, |v| u16::from_le_bytes(*v))
}

/// Compares blocks until one side has no whole block left and hands every block of `a`, the mask
/// of its hits and whether `a` moves on after it to `sink`; answers the positions reached.
#[inline]
#[target_feature(enable = "sse4.2,popcnt")]
fn blocks(a: &[Le16], b: &[Le16], mut sink: impl FnMut(__m128i, u32, bool)) -> (usize, usize) {
    const MODE: i32 = _SIDD_UWORD_OPS | _SIDD_CMP_EQUAL_ANY | _SIDD_BIT_MASK;
    let (mut i, mut j) = (0, 0);
    while i + LANES <= a.len() && j + LANES <= b.len() {
        // SAFETY: `i + LANES <= a.len()` was just checked and an element has two bytes, so the
        // sixteen bytes read lie inside `a`; the load has no alignment requirement.
        let x = unsafe { _mm_loadu_si128(a.as_ptr().add(i).cast()) };
        // SAFETY: the same for `j + LANES <= b.len()`.
        let y = unsafe { _mm_loadu_si128(b.as_ptr().add(j).cast()) };
        let hits = _mm_cvtsi128_si32(_mm_cmpistrm::<MODE>(y, x)).cast_unsigned();
        let (high_a, high_b) = (block_max(a, i), block_max(b, j));
        sink(x, hits & 0xff, high_a <= high_b);
        i += usize::from(high_a <= high_b) * LANES;
        j += usize::from(high_b <= high_a) * LANES;
    }
    (i, j)
}

/// Intersects two lists; `compress` packs the lanes of the mask to the front.
#[inline]
#[target_feature(enable = "sse4.2,popcnt")]
pub(super) fn intersect(
    a: &[Le16],
    b: &[Le16],
    out: &mut [u16],
    compress: impl Fn(__m128i, u32) -> __m128i,
) -> usize {
    let limit = a.len().min(b.len());
    assert!(
        out.len() >= a.len() + b.len() + LIST_SLACK,
        "no room for the intersection"
    );
    let mut len = 0;
    if intersect_skewed(a, b, |v| {
        if let Some(slot) = out.get_mut(len) {
            *slot = v;
        }
        len += 1;
    }) {
        return len;
    }
    let (a, b, zero) = skip_zeros(a, b);
    if let (true, Some(slot)) = (zero, out.first_mut()) {
        *slot = 0;
        len = 1;
    }
    let target = out.as_mut_ptr();
    let (i, j) = blocks(a, b, |x, hits, _| {
        // SAFETY: every step moves one side by eight values and stores at most eight, so before a
        // step `len` is at most the values passed plus one, below `a.len() + b.len()`; `out` is
        // longer than that by `LIST_SLACK` values (asserted above), more than the eight stored.
        unsafe { _mm_storeu_si128(target.add(len).cast(), compress(x, hits)) };
        len += hits.count_ones() as usize;
    });
    intersect_merge(
        a.get(i..).unwrap_or(&[]),
        b.get(j..).unwrap_or(&[]),
        |v, hit| {
            if let Some(slot) = out.get_mut(len) {
                *slot = v;
            }
            len += usize::from(hit);
        },
    );
    // Lists that are no sets (bytes nobody validated) can match a block twice.
    len.min(limit)
}

/// Counts the values in both lists.
#[inline]
#[target_feature(enable = "sse4.2,popcnt")]
pub(super) fn intersect_count(a: &[Le16], b: &[Le16]) -> usize {
    let limit = a.len().min(b.len());
    let mut len = 0;
    if intersect_skewed(a, b, |_| len += 1) {
        return len;
    }
    let (a, b, zero) = skip_zeros(a, b);
    let mut len = usize::from(zero);
    let (i, j) = blocks(a, b, |_, hits, _| len += hits.count_ones() as usize);
    intersect_merge(
        a.get(i..).unwrap_or(&[]),
        b.get(j..).unwrap_or(&[]),
        |_, hit| {
            len += usize::from(hit);
        },
    );
    len.min(limit)
}

/// Subtracts the second list from the first; `compress` packs the lanes of the mask to the front.
#[inline]
#[target_feature(enable = "sse4.2,popcnt")]
pub(super) fn subtract(
    a: &[Le16],
    b: &[Le16],
    out: &mut [u16],
    compress: impl Fn(__m128i, u32) -> __m128i,
) -> usize {
    assert!(
        out.len() >= a.len() + LIST_SLACK,
        "no room for the difference"
    );
    let mut len = 0;
    if subtract_skewed(a, b, |v| {
        if let Some(slot) = out.get_mut(len) {
            *slot = v;
        }
        len += 1;
    }) {
        return len;
    }
    let had_zero = a.first() == Some(&[0, 0]);
    let (a, b, zero) = skip_zeros(a, b);
    if let (true, Some(slot)) = (had_zero && !zero, out.first_mut()) {
        *slot = 0;
        len = 1;
    }
    let target = out.as_mut_ptr();
    // Hits of the current block of `a` in the blocks of `b` seen so far.
    let mut seen = 0;
    let (i, j) = blocks(a, b, |x, hits, moves_on| {
        seen |= hits;
        let missing = !seen & 0xff;
        // SAFETY: `len` grows only when `a` moves on, by at most the eight values passed, so it
        // is at most one more than the values of `a` passed; `out` is longer than `a` by
        // `LIST_SLACK` values (asserted above), more than the eight stored and the one.
        unsafe { _mm_storeu_si128(target.add(len).cast(), compress(x, missing)) };
        let keep = u32::from(moves_on).wrapping_neg();
        len += (missing & keep).count_ones() as usize;
        seen &= !keep;
    });
    // The block of `a` under way may have met values of `b` that the loop has passed.
    let rest = a.get(i..).unwrap_or(&[]);
    let (block, rest) = rest.split_at(rest.len().min(LANES));
    let b_rest = b.get(j..).unwrap_or(&[]);
    let mut push = |v: u16, missing: bool| {
        if let Some(slot) = out.get_mut(len) {
            *slot = v;
        }
        len += usize::from(missing);
    };
    let mut lane = 0;
    subtract_merge(block, b_rest, |v, missing| {
        push(v, missing && seen >> lane & 1 == 0);
        lane += 1;
    });
    subtract_merge(rest, b_rest, push);
    len
}
