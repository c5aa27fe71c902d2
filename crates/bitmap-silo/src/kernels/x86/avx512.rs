//! The table for processors with AVX-512 including VBMI2 and the vector population count.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "loads and stores go through raw pointers and take any alignment"
)]

use core::arch::x86_64::{
    __m128i, __m512i, _mm_maskz_compress_epi16, _mm512_add_epi64, _mm512_and_si512, _mm512_andnot_si512,
    _mm512_castsi512_si128, _mm512_castsi512_si256, _mm512_cmpeq_epi32_mask, _mm512_cvtepu8_epi16,
    _mm512_cvtepu8_epi32, _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
    _mm512_maskz_compress_epi8, _mm512_or_si512, _mm512_popcnt_epi64, _mm512_reduce_add_epi64,
    _mm512_set1_epi16, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_test_epi32_mask,
    _mm512_xor_si512,
};

use super::{instantiate, lists};
use crate::kernels::{Bits, Clause, Kernels, LIST_SLACK, Le16, Ranks, WordOp, Words, ranks, scalar};

pub(super) static TABLE: Kernels = Kernels {
    name: "avx512",
    assign,
    combine,
    append,
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
    "avx2,sse4.2,popcnt,lzcnt,bmi1,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi2,avx512vpopcntdq":
    fn assign(op: WordOp, words: &mut Words, bits: &Bits);
    fn combine(op: WordOp, a: &Bits, b: &Bits, out: &mut Words) -> u32;
    fn count(op: WordOp, a: &Bits, b: &Bits) -> u32;
    fn popcount(bits: &Bits) -> u32;
    fn run_count(bits: &Bits) -> u32;
    fn between(layers: &[&Bits], lowest: u64, highest: u64, out: &mut Words);
    fn widen(list: &[Le16], base: u32, out: &mut [u32]);
}

/// Vectors that the product keeps in registers at a time.
const BLOCK: usize = 4;
/// Vectors of one bitset.
const VECTORS: usize = 128;

/// One bitset of a product and what follows it.
#[derive(Clone, Copy)]
struct Term {
    base: *const __m512i,
    /// Whether its clause ends here.
    ends: bool,
    /// Ones where that clause is negated.
    flip: __m512i,
}

/// Most bitsets for which the walk over them is unrolled.
const UNROLLED_MAX: usize = 8;

/// Evaluates the product block by block and hands each block, with its first vector's index, to
/// `sink`; answers the cardinality.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn product_blocks(clauses: &[Clause<'_>], sink: impl FnMut(usize, &[__m512i; BLOCK])) -> u32 {
    let zero = _mm512_setzero_si512();
    let none = Term { base: POSITIONS.as_ptr().cast(), ends: false, flip: zero };
    let mut terms = [none; UNROLLED_MAX];
    let mut count = 0;
    for clause in clauses {
        let flip = if clause.negated { _mm512_set1_epi32(-1) } else { zero };
        if clause.members.is_empty() || count + clause.members.len() > UNROLLED_MAX {
            return product_loop(clauses, sink);
        }
        for (index, member) in clause.members.iter().enumerate() {
            if let Some(term) = terms.get_mut(count) {
                let ends = index + 1 == clause.members.len();
                *term = Term { base: member.as_ptr().cast(), ends, flip };
            }
            count += 1;
        }
    }
    match (count, terms) {
        (1, [a, ..]) => product_unrolled([a], sink),
        (2, [a, b, ..]) => product_unrolled([a, b], sink),
        (3, [a, b, c, ..]) => product_unrolled([a, b, c], sink),
        (4, [a, b, c, d, ..]) => product_unrolled([a, b, c, d], sink),
        (5, [t0, t1, t2, t3, t4, ..]) => product_unrolled([t0, t1, t2, t3, t4], sink),
        (6, [t0, t1, t2, t3, t4, t5, ..]) => product_unrolled([t0, t1, t2, t3, t4, t5], sink),
        (7, [t0, t1, t2, t3, t4, t5, t6, _]) => product_unrolled([t0, t1, t2, t3, t4, t5, t6], sink),
        (8, terms) => product_unrolled(terms, sink),
        _ => product_loop(clauses, sink),
    }
}

/// The product of a few bitsets. Each is loaded by instructions of its own, as processors detect
/// streams to fetch ahead by the instruction that loads them.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn product_unrolled<const N: usize>(terms: [Term; N], mut sink: impl FnMut(usize, &[__m512i; BLOCK])) -> u32 {
    let mut total = _mm512_setzero_si512();
    for start in (0..VECTORS).step_by(BLOCK) {
        let mut acc = [_mm512_set1_epi32(-1); BLOCK];
        let mut union = [_mm512_setzero_si512(); BLOCK];
        for term in &terms {
            for (i, u) in union.iter_mut().enumerate() {
                // SAFETY: every term was made of a bitset, which is `VECTORS` vectors of 64 bytes,
                // and `start + i < VECTORS`; the load has no alignment requirement.
                *u = _mm512_or_si512(*u, unsafe { _mm512_loadu_si512(term.base.add(start + i)) });
            }
            if term.ends {
                for (a, u) in acc.iter_mut().zip(&mut union) {
                    *a = _mm512_and_si512(*a, _mm512_xor_si512(*u, term.flip));
                    *u = _mm512_setzero_si512();
                }
            }
        }
        for a in &acc {
            total = _mm512_add_epi64(total, _mm512_popcnt_epi64(*a));
        }
        sink(start, &acc);
    }
    total_of(total)
}

/// The product of any number of bitsets.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn product_loop(clauses: &[Clause<'_>], mut sink: impl FnMut(usize, &[__m512i; BLOCK])) -> u32 {
    let ones = _mm512_set1_epi32(-1);
    let mut total = _mm512_setzero_si512();
    for start in (0..VECTORS).step_by(BLOCK) {
        let mut acc = [ones; BLOCK];
        for clause in clauses {
            let mut union = [_mm512_setzero_si512(); BLOCK];
            for member in clause.members {
                let base = member.as_ptr().cast::<__m512i>();
                for (i, u) in union.iter_mut().enumerate() {
                    // SAFETY: `start + i < VECTORS`, and a bitset is `VECTORS` vectors of 64
                    // bytes; the load has no alignment requirement.
                    let v = unsafe { _mm512_loadu_si512(base.add(start + i)) };
                    *u = _mm512_or_si512(*u, v);
                }
            }
            for (a, u) in acc.iter_mut().zip(&union) {
                *a = if clause.negated { _mm512_andnot_si512(*u, *a) } else { _mm512_and_si512(*u, *a) };
            }
        }
        for a in &acc {
            total = _mm512_add_epi64(total, _mm512_popcnt_epi64(*a));
        }
        sink(start, &acc);
    }
    total_of(total)
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a chunk has 65,536 bits")]
fn total_of(lanes: __m512i) -> u32 {
    _mm512_reduce_add_epi64(lanes) as u32
}

fn product(clauses: &[Clause<'_>], out: &mut Words) -> u32 {
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn inner(clauses: &[Clause<'_>], out: &mut Words) -> u32 {
        let target = out.as_mut_ptr().cast::<__m512i>();
        product_blocks(clauses, |start, block| {
            for (i, v) in block.iter().enumerate() {
                // SAFETY: `start + i < VECTORS`, and `out` is `VECTORS` vectors of 64 bytes.
                unsafe { _mm512_storeu_si512(target.add(start + i), *v) };
            }
        })
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(clauses, out) }
}

fn product_count(clauses: &[Clause<'_>]) -> u32 {
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn inner(clauses: &[Clause<'_>]) -> u32 {
        product_blocks(clauses, |_, _| {})
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(clauses) }
}

fn append(op: WordOp, a: &Bits, b: &Bits, out: &mut Vec<u8>) -> u32 {
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn inner(a: &Bits, b: &Bits, out: &mut Vec<u8>, f: impl Fn(__m512i, __m512i) -> __m512i) -> u32 {
        out.reserve(size_of::<Bits>());
        let target = out.spare_capacity_mut().as_mut_ptr().cast::<__m512i>();
        let (a, b) = (a.as_ptr().cast::<__m512i>(), b.as_ptr().cast::<__m512i>());
        let mut total = _mm512_setzero_si512();
        for i in 0..VECTORS {
            // SAFETY: `i < VECTORS`; both bitsets are `VECTORS` vectors of 64 bytes, and room for as
            // many was reserved behind the vector's elements. No access needs an alignment.
            unsafe {
                let v = f(_mm512_loadu_si512(a.add(i)), _mm512_loadu_si512(b.add(i)));
                _mm512_storeu_si512(target.add(i), v);
                total = _mm512_add_epi64(total, _mm512_popcnt_epi64(v));
            }
        }
        // SAFETY: the loop has written all bytes of a bitset behind the elements, inside the capacity.
        unsafe { out.set_len(out.len() + size_of::<Bits>()) };
        total_of(total)
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe {
        match op {
            WordOp::And => inner(a, b, out, |a, b| _mm512_and_si512(a, b)),
            WordOp::Or => inner(a, b, out, |a, b| _mm512_or_si512(a, b)),
            WordOp::Xor => inner(a, b, out, |a, b| _mm512_xor_si512(a, b)),
            WordOp::AndNot => inner(a, b, out, |a, b| _mm512_andnot_si512(b, a)),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2")]
fn compress(x: __m128i, mask: u32) -> __m128i {
    #[expect(clippy::cast_possible_truncation, reason = "a mask of eight lanes")]
    _mm_maskz_compress_epi16(mask as u8, x)
}

fn intersect(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,sse4.2,popcnt")]
    fn inner(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
        // SAFETY: this function is compiled for SSE4.2 and reached only where it was detected.
        unsafe { lists::intersect(a, b, out, |x, mask| compress(x, mask)) }
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(a, b, out) }
}

fn subtract(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,sse4.2,popcnt")]
    fn inner(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
        // SAFETY: this function is compiled for SSE4.2 and reached only where it was detected.
        unsafe { lists::subtract(a, b, out, |x, mask| compress(x, mask)) }
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(a, b, out) }
}

fn intersect_count(a: &[Le16], b: &[Le16]) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,sse4.2,popcnt")]
    fn inner(a: &[Le16], b: &[Le16]) -> usize {
        // SAFETY: this function is compiled for SSE4.2 and reached only where it was detected.
        unsafe { lists::intersect_count(a, b) }
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(a, b) }
}

fn equal_masks(values: &[u32], value: u32, words: &mut [u64]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn inner(values: &[u32], value: u32, words: &mut [u64]) {
        let wanted = _mm512_set1_epi32(value.cast_signed());
        let (groups, rest) = values.as_chunks::<64>();
        let mut words = words.iter_mut();
        for (group, word) in groups.iter().zip(&mut words) {
            let (parts, _) = group.as_chunks::<16>();
            for (shift, part) in (0..).step_by(16).zip(parts) {
                // SAFETY: the reference is to the 64 bytes that the load reads.
                let lanes = unsafe { _mm512_loadu_si512(part.as_ptr().cast()) };
                *word |= u64::from(_mm512_cmpeq_epi32_mask(lanes, wanted)) << shift;
            }
        }
        scalar::equal_masks(rest, value, words.into_slice());
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(values, value, words) }
}

fn slice32(values: &[u32], slices: &mut [Words]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn inner(groups: &[[u32; 64]], slices: &mut [Words]) {
        for (index, group) in groups.iter().enumerate() {
            let mut lanes = [_mm512_setzero_si512(); 4];
            for (lanes, part) in lanes.iter_mut().zip(group.as_chunks::<16>().0) {
                // SAFETY: the reference is to the 64 bytes that the load reads.
                *lanes = unsafe { _mm512_loadu_si512(part.as_ptr().cast()) };
            }
            for (slice, bit) in slices.iter_mut().zip(0..32) {
                let wanted = _mm512_set1_epi32(1 << bit);
                let [a, b, c, d] = lanes.map(|lanes| u64::from(_mm512_test_epi32_mask(lanes, wanted)));
                if let Some(word) = slice.get_mut(index) {
                    *word = a | b << 16 | c << 32 | d << 48;
                }
            }
        }
    }
    let (groups, rest) = values.as_chunks();
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(groups, slices) }
    if !rest.is_empty() {
        let mut last = [0_u32; 64];
        last.iter_mut().zip(rest).for_each(|(to, value)| *to = *value);
        let keep = u64::MAX << rest.len();
        for (slice, bit) in slices.iter_mut().zip(0..32) {
            let word =
                last.iter().zip(0..).fold(0, |word, (value, at)| word | u64::from(value >> bit & 1) << at);
            if let Some(to) = slice.get_mut(groups.len()) {
                *to = word | (*to & keep);
            }
        }
    }
}

/// The bytes 0 to 63, whose compression by a word gives the positions of its ones.
static POSITIONS: [u8; 64] = {
    let mut bytes = [0; 64];
    let mut i = 0_u8;
    while i < 64 {
        #[expect(clippy::indexing_slicing, reason = "checked by the compiler: const")]
        {
            bytes[i as usize] = i;
        }
        i += 1;
    }
    bytes
};

fn extract16(bits: &Bits, out: &mut [u16]) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    fn inner(bits: &Bits, out: &mut [u16]) -> usize {
        // SAFETY: `POSITIONS` has the 64 bytes that the load reads.
        let positions = unsafe { _mm512_loadu_si512(POSITIONS.as_ptr().cast()) };
        let mut len = 0;
        let (groups, _) = bits.as_chunks::<8>();
        for (group, first) in groups.iter().zip((0_i32..).step_by(512)) {
            // SAFETY: the reference is to the 64 bytes that the load reads.
            let words = unsafe { _mm512_loadu_si512(group.as_ptr().cast()) };
            if _mm512_test_epi32_mask(words, words) == 0 {
                continue;
            }
            // Words without ones among others are not skipped: where they are is unpredictable.
            for (bytes, base) in group.iter().zip((first..).step_by(64)) {
                let word = u64::from_le_bytes(*bytes);
                assert!(out.len() >= len + LIST_SLACK, "no room for the values of a word");
                let ones = _mm512_maskz_compress_epi8(word, positions);
                #[expect(clippy::cast_possible_truncation, reason = "wraps as two's complement")]
                let base = _mm512_set1_epi16(base as i16);
                let low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(ones));
                // SAFETY: the assertion leaves room for 64 values from `len`; this stores 32.
                unsafe {
                    _mm512_storeu_si512(out.as_mut_ptr().add(len).cast(), _mm512_or_si512(low, base));
                }
                let count = word.count_ones() as usize;
                if count > 32 {
                    let high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(ones));
                    // SAFETY: the assertion leaves room for 64 values from `len`; these are the
                    // second 32 of them.
                    unsafe {
                        let to = out.as_mut_ptr().add(len + 32).cast();
                        _mm512_storeu_si512(to, _mm512_or_si512(high, base));
                    }
                }
                len += count;
            }
        }
        len
    }
    // SAFETY: the table is offered only where these features were detected.
    unsafe { inner(bits, out) }
}

fn extract32(bits: &Bits, first: usize, last: usize, base: u32, out: &mut [u32]) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    fn inner(words: &[[u8; 8]], mut base: u32, out: &mut [u32]) -> usize {
        // SAFETY: `POSITIONS` has the 64 bytes that the load reads.
        let positions = unsafe { _mm512_loadu_si512(POSITIONS.as_ptr().cast()) };
        let mut len = 0;
        for bytes in words {
            let word = u64::from_le_bytes(*bytes);
            if word != 0 {
                assert!(out.len() >= len + LIST_SLACK, "no room for the values of a word");
                let ones = _mm512_maskz_compress_epi8(word, positions);
                let lanes = _mm512_set1_epi32(base.cast_signed());
                let count = word.count_ones() as usize;
                let to = out.as_mut_ptr();
                let store = |at: usize, part: __m128i| {
                    let values = _mm512_or_si512(_mm512_cvtepu8_epi32(part), lanes);
                    // SAFETY: `at` is 0, 16, 32 or 48, and the assertion leaves room for 64
                    // values from `len`; this stores 16.
                    unsafe { _mm512_storeu_si512(to.add(len + at).cast(), values) };
                };
                store(0, _mm512_castsi512_si128(ones));
                if count > 16 {
                    store(16, _mm512_extracti32x4_epi32::<1>(ones));
                    if count > 32 {
                        store(32, _mm512_extracti32x4_epi32::<2>(ones));
                        store(48, _mm512_extracti32x4_epi32::<3>(ones));
                    }
                }
                len += count;
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
