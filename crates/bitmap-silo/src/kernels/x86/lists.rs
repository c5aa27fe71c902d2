//! The blockwise intersection of ascending lists, shared by the x86 tables.
//!
//! Eight values of each side are compared all against all by one string instruction; the side
//! whose block ends lower moves on by eight. Positions advance by arithmetic, not by branches,
//! since which side moves is unpredictable.

#![expect(
    unsafe_code,
    clippy::inline_always,
    reason = "loads and stores go through raw pointers, in bodies compiled for their callers"
)]

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _MM_HINT_T0, _SIDD_BIT_MASK, _SIDD_CMP_EQUAL_ANY, _SIDD_UWORD_OPS, _mm_cmpistrm,
    _mm_cvtsi128_si32, _mm_loadu_si128, _mm_prefetch, _mm_storeu_si128,
};

use crate::kernels::scalar::{intersect_merge, intersect_skewed, subtract_merge, subtract_skewed};
use crate::kernels::{Bits, LIST_SLACK, Le16, scalar};

/// Values compared at once.
const LANES: usize = 8;

/// Both lists without a leading zero, which ends a string for the instruction, and whether both
/// had one.
fn skip_zeros<'a>(a: &'a [Le16], b: &'a [Le16]) -> (&'a [Le16], &'a [Le16], bool) {
    let (a_rest, b_rest) = (a.strip_prefix(&[[0, 0]]), b.strip_prefix(&[[0, 0]]));
    let both = a_rest.is_some() && b_rest.is_some();
    (a_rest.unwrap_or(a), b_rest.unwrap_or(b), both)
}

/// Keeps a number in a general register: compilers like to keep alike ones of two sides in one
/// vector register, from which the way to an address is long.
#[inline(always)]
fn pin(number: usize) -> usize {
    let mut pinned = number;
    // SAFETY: no instruction; the value is only said to pass through a register.
    unsafe { asm!("/* {0} */", inout(reg) pinned, options(pure, nomem, nostack, preserves_flags)) };
    pinned
}

/// A walk over two lists by blocks.
#[derive(Clone, Copy)]
struct Walk {
    /// Where the current block of each list starts.
    a: *const Le16,
    b: *const Le16,
    /// Where the last whole block of each list starts, if it has one.
    a_last: *const Le16,
    b_last: *const Le16,
}

impl Walk {
    #[inline(always)]
    fn new(a: &[Le16], b: &[Le16]) -> Self {
        let last = |list: &[Le16]| list.as_ptr().wrapping_add(list.len()).wrapping_sub(LANES);
        Self { a: a.as_ptr(), b: b.as_ptr(), a_last: last(a), b_last: last(b) }
    }

    /// Whether both lists have a whole block left.
    #[inline(always)]
    fn inside(&self) -> bool {
        self.a <= self.a_last && self.b <= self.b_last
    }

    /// The block of `a`, its hits in the block of `b`, and whether `a` moves on.
    ///
    /// # Safety
    /// The processor has SSE4.2, and the walk is [`inside`](Self::inside) the lists it was made
    /// of, which still live.
    #[inline(always)]
    unsafe fn step(&mut self) -> (__m128i, u32, bool) {
        const MODE: i32 = _SIDD_UWORD_OPS | _SIDD_CMP_EQUAL_ANY | _SIDD_BIT_MASK;
        let (high_a, high_b): (u32, u32);
        // SAFETY: being inside means eight elements of two bytes from either position, which is
        // what is loaded, at any alignment. The last elements are loaded once more by instructions
        // of their own, as taking them out of the vectors would take longer. The caller has
        // SSE4.2.
        unsafe {
            asm!(
                "movzx {0:e}, word ptr [{2} + 14]",
                "movzx {1:e}, word ptr [{3} + 14]",
                out(reg) high_a, lateout(reg) high_b, in(reg) self.a, in(reg) self.b,
                options(pure, readonly, nostack, preserves_flags)
            );
            let (x, y) = (_mm_loadu_si128(self.a.cast()), _mm_loadu_si128(self.b.cast()));
            let hits = _mm_cvtsi128_si32(_mm_cmpistrm::<MODE>(y, x)).cast_unsigned() & 0xff;
            let moves_on = high_a <= high_b;
            self.a = self.a.wrapping_add(pin(usize::from(moves_on) * LANES));
            self.b = self.b.wrapping_add(pin(usize::from(high_b <= high_a) * LANES));
            (x, hits, moves_on)
        }
    }

    /// What is left of the lists that the walk was made of.
    fn rest<'a>(&self, a: &'a [Le16], b: &'a [Le16]) -> (&'a [Le16], &'a [Le16]) {
        let left = |list: &'a [Le16], at: *const Le16| {
            let passed = (at.addr() - list.as_ptr().addr()) / size_of::<Le16>();
            list.get(passed..).unwrap_or(&[])
        };
        (left(a, self.a), left(b, self.b))
    }
}

/// Compares blocks until one side has no whole block left and hands every block of `a`, the mask
/// of its hits and whether `a` moves on after it to `sink`; answers what is left of both.
///
/// # Safety
/// The processor has SSE4.2. To be compiled well, the caller is compiled for it.
#[inline(always)]
unsafe fn blocks<'a>(
    a: &'a [Le16],
    b: &'a [Le16],
    mut sink: impl FnMut(__m128i, u32, bool),
) -> (&'a [Le16], &'a [Le16]) {
    if a.len() < LANES || b.len() < LANES {
        return (a, b);
    }
    let mut walk = Walk::new(a, b);
    while walk.inside() {
        // SAFETY: the walk is inside, and the caller has SSE4.2.
        let (x, hits, moves_on) = unsafe { walk.step() };
        sink(x, hits, moves_on);
    }
    walk.rest(a, b)
}

/// Fewest values of a list that is cut in two.
const CUT_MIN: usize = 64;

/// Cuts both lists in two at the same value. A step of a walk must wait for the one before it, so
/// two walks in turns take little longer than one.
fn cut<'a>(a: &'a [Le16], b: &'a [Le16]) -> [(&'a [Le16], &'a [Le16]); 2] {
    let (a_low, a_high) = a.split_at(a.len() / 2);
    let bound = a_high.first().map_or(u16::MAX, |v| u16::from_le_bytes(*v));
    let (b_low, b_high) = b.split_at(b.partition_point(|v| u16::from_le_bytes(*v) < bound));
    [(a_low, b_low), (a_high, b_high)]
}

/// Walks both halves in turns until one of them has no whole block left; `sinks` get the blocks
/// and masks of hits of each. Answers what is left of each half.
///
/// # Safety
/// The processor has SSE4.2. To be compiled well, the caller is compiled for it.
#[inline(always)]
unsafe fn blocks_in_turns<'a>(
    [(a_low, b_low), (a_high, b_high)]: [(&'a [Le16], &'a [Le16]); 2],
    mut low_sink: impl FnMut(__m128i, u32),
    mut high_sink: impl FnMut(__m128i, u32),
) -> [(&'a [Le16], &'a [Le16]); 2] {
    if b_low.len() < LANES || b_high.len() < LANES || a_low.len() < LANES || a_high.len() < LANES {
        return [(a_low, b_low), (a_high, b_high)];
    }
    let (mut low, mut high) = (Walk::new(a_low, b_low), Walk::new(a_high, b_high));
    while low.inside() && high.inside() {
        // SAFETY: both walks are inside, and the caller has SSE4.2.
        let ((x, x_hits, _), (y, y_hits, _)) = unsafe { (low.step(), high.step()) };
        low_sink(x, x_hits);
        high_sink(y, y_hits);
    }
    [low.rest(a_low, b_low), high.rest(a_high, b_high)]
}

/// Intersects two lists; `compress` packs the lanes of the mask to the front.
///
/// # Safety
/// The processor has SSE4.2. To be compiled well, the caller is compiled for it.
#[inline(always)]
pub(super) unsafe fn intersect(
    a: &[Le16],
    b: &[Le16],
    out: &mut [u16],
    compress: impl Fn(__m128i, u32) -> __m128i,
) -> usize {
    let limit = a.len().min(b.len());
    assert!(out.len() >= a.len() + b.len() + LIST_SLACK, "no room for the intersection");
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
    if a.len().min(b.len()) < CUT_MIN {
        // SAFETY: the caller has SSE4.2.
        len += unsafe { intersect_from(a, b, out, len, compress) };
        return len.min(limit);
    }
    let halves = cut(a, b);
    let [(a_low, b_low), _] = halves;
    // The upper half writes past all that the lower one can find, and is moved down at the end.
    let high_start = len + a_low.len() + b_low.len();
    let (mut low_end, mut high_end) = (len, high_start);
    let target = out.as_mut_ptr();
    // SAFETY: the caller has SSE4.2. Every step moves one side by eight values and stores at most
    // eight, so a half stores below the end of its values plus eight; that is inside `out`, which
    // is longer than both lists by `LIST_SLACK` (asserted above).
    let [low, high] = unsafe {
        blocks_in_turns(
            halves,
            |x, hits| {
                _mm_storeu_si128(target.add(low_end).cast(), compress(x, hits));
                low_end += hits.count_ones() as usize;
            },
            |x, hits| {
                _mm_storeu_si128(target.add(high_end).cast(), compress(x, hits));
                high_end += hits.count_ones() as usize;
            },
        )
    };
    // SAFETY: the caller has SSE4.2.
    unsafe {
        high_end += intersect_from(high.0, high.1, out, high_end, &compress);
        low_end += intersect_from(low.0, low.1, out, low_end, &compress);
    }
    out.copy_within(high_start..high_end, low_end);
    // Lists that are no sets (bytes nobody validated) can match a block twice.
    (low_end + high_end - high_start).min(limit)
}

/// Intersects and writes from `at` on; answers how many.
///
/// # Safety
/// The processor has SSE4.2. To be compiled well, the caller is compiled for it.
#[inline(always)]
unsafe fn intersect_from(
    a: &[Le16],
    b: &[Le16],
    out: &mut [u16],
    at: usize,
    compress: impl Fn(__m128i, u32) -> __m128i,
) -> usize {
    assert!(out.len() >= at + a.len() + b.len() + LANES, "no room for the intersection");
    let mut len = at;
    let target = out.as_mut_ptr();
    // SAFETY: the caller has SSE4.2. Every step moves one side by eight values and stores at most
    // eight, so no store ends past the values and eight more from `at` (asserted above).
    let (a, b) = unsafe {
        blocks(a, b, |x, hits, _| {
            _mm_storeu_si128(target.add(len).cast(), compress(x, hits));
            len += hits.count_ones() as usize;
        })
    };
    intersect_merge(a, b, |v, hit| {
        if let Some(slot) = out.get_mut(len) {
            *slot = v;
        }
        len += usize::from(hit);
    });
    len - at
}

/// Counts the values in both lists.
///
/// # Safety
/// The processor has SSE4.2. To be compiled well, the caller is compiled for it.
#[inline(always)]
pub(super) unsafe fn intersect_count(a: &[Le16], b: &[Le16]) -> usize {
    let limit = a.len().min(b.len());
    let mut len = 0;
    if intersect_skewed(a, b, |_| len += 1) {
        return len;
    }
    let (a, b, zero) = skip_zeros(a, b);
    let mut len = usize::from(zero);
    let mut count_from = |a: &[Le16], b: &[Le16]| {
        // SAFETY: the caller has SSE4.2.
        let (a, b) = unsafe { blocks(a, b, |_, hits, _| len += hits.count_ones() as usize) };
        intersect_merge(a, b, |_, hit| len += usize::from(hit));
    };
    if a.len().min(b.len()) < CUT_MIN {
        count_from(a, b);
        return len.min(limit);
    }
    let (mut in_low, mut in_high) = (0, 0);
    // SAFETY: the caller has SSE4.2.
    let [low, high] = unsafe {
        blocks_in_turns(
            cut(a, b),
            |_, hits| in_low += hits.count_ones() as usize,
            |_, hits| in_high += hits.count_ones() as usize,
        )
    };
    count_from(low.0, low.1);
    count_from(high.0, high.1);
    (len + in_low + in_high).min(limit)
}

/// Subtracts the second list from the first; `compress` packs the lanes of the mask to the front.
///
/// # Safety
/// The processor has SSE4.2. To be compiled well, the caller is compiled for it.
#[inline(always)]
pub(super) unsafe fn subtract(
    a: &[Le16],
    b: &[Le16],
    out: &mut [u16],
    compress: impl Fn(__m128i, u32) -> __m128i,
) -> usize {
    assert!(out.len() >= a.len() + LIST_SLACK, "no room for the difference");
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
    // SAFETY: the caller has SSE4.2.
    let (rest, b_rest) = unsafe {
        blocks(a, b, |x, hits, moves_on| {
            seen |= hits;
            let missing = !seen & 0xff;
            // SAFETY: `len` grows only when `a` moves on, by at most the eight values passed, so it
            // is at most one more than the values of `a` passed; `out` is longer than `a` by
            // `LIST_SLACK` values (asserted above), more than the eight stored and the one.
            _mm_storeu_si128(target.add(len).cast(), compress(x, missing));
            let keep = u32::from(moves_on).wrapping_neg();
            len += (missing & keep).count_ones() as usize;
            seen &= !keep;
        })
    };
    // The block of `a` under way may have met values of `b` that the loop has passed.
    let (block, rest) = rest.split_at(rest.len().min(LANES));
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

/// Values that a probe does between two looks ahead.
const PROBE_BLOCK: usize = 16;
/// How many values ahead the words are fetched: about ten cache lines of a bitset that is
/// asked about every twentieth bit.
const PROBE_AHEAD: usize = 128;

/// Fetches the words that a block of values will ask for.
#[inline(always)]
fn fetch(list: &[Le16], bits: &Bits, from: usize) {
    for at in [from, from + PROBE_BLOCK / 2] {
        if let Some(value) = list.get(at) {
            let word = usize::from(u16::from_le_bytes(*value) >> 6);
            // SAFETY: fetching is a hint for the cache; it reads nothing and faults nowhere, and
            // every processor of this architecture has it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(bits.as_ptr().wrapping_add(word).cast()) };
        }
    }
}

/// The probing kernel with the words fetched ahead.
#[inline(always)]
pub(super) fn probe(list: &[Le16], bits: &Bits, wanted: bool, out: &mut [u16]) -> usize {
    if wanted { probe_for::<1>(list, bits, out) } else { probe_for::<0>(list, bits, out) }
}

#[inline(always)]
fn probe_for<const WANTED: u64>(list: &[Le16], bits: &Bits, out: &mut [u16]) -> usize {
    assert!(out.len() > list.len(), "no room for the values that pass");
    let target = out.as_mut_ptr();
    let mut len = 0;
    let mut offer = |value: &Le16| {
        let value = u16::from_le_bytes(*value);
        let word = bits.get(usize::from(value >> 6)).map_or(0, |w| u64::from_le_bytes(*w));
        // SAFETY: `len` is at most the values offered before, which are fewer than the list's,
        // and `out` is longer than the list.
        unsafe { target.add(len).write(value) };
        len += usize::from((word >> (value & 63)) & 1 == WANTED);
    };
    let (blocks, rest) = list.as_chunks::<PROBE_BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        fetch(list, bits, index * PROBE_BLOCK + PROBE_AHEAD);
        block.iter().for_each(&mut offer);
    }
    rest.iter().for_each(offer);
    len
}

/// The counting kernel with the words fetched ahead.
#[inline(always)]
pub(super) fn probe_count(list: &[Le16], bits: &Bits) -> usize {
    let (blocks, rest) = list.as_chunks::<PROBE_BLOCK>();
    let in_blocks = blocks.iter().enumerate().map(|(index, block)| {
        fetch(list, bits, index * PROBE_BLOCK + PROBE_AHEAD);
        scalar::probe_count(block, bits)
    });
    in_blocks.sum::<usize>() + scalar::probe_count(rest, bits)
}
