//! The plain twin of every kernel, written so that compilers can widen the loops.
//!
//! The bodies are `inline(always)`: the wide tables instantiate them again under their own target
//! features.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::inline_always,
    clippy::many_single_char_names,
    reason = "bodies are instantiated per instruction set; indices are slots of one chunk divided by the word size, or below lengths compared in the loop condition"
)]

use super::ranks::{count_runs, rank};
use super::{Bits, Clause, Kernels, Le16, WordOp, Words};

/// Words that the product kernel keeps in registers at a time.
const BLOCK: usize = 16;

pub(super) static TABLE: Kernels = Kernels {
    name: "scalar",
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

#[inline(always)]
fn word(bits: &Bits, index: usize) -> u64 {
    u64::from_le_bytes(bits[index])
}

#[inline(always)]
fn value(v: Le16) -> u16 {
    u16::from_le_bytes(v)
}

#[inline(always)]
fn assign_with(words: &mut Words, bits: &Bits, f: impl Fn(u64, u64) -> u64) {
    for (w, b) in words.iter_mut().zip(bits) {
        *w = f(*w, u64::from_le_bytes(*b));
    }
}

#[inline(always)]
pub(super) fn assign(op: WordOp, words: &mut Words, bits: &Bits) {
    match op {
        WordOp::And => assign_with(words, bits, |a, b| a & b),
        WordOp::Or => assign_with(words, bits, |a, b| a | b),
        WordOp::Xor => assign_with(words, bits, |a, b| a ^ b),
        WordOp::AndNot => assign_with(words, bits, |a, b| a & !b),
    }
}

#[inline(always)]
fn combine_with(a: &Bits, b: &Bits, out: &mut Words, f: impl Fn(u64, u64) -> u64) -> u32 {
    let mut total = 0;
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        let w = f(u64::from_le_bytes(*a), u64::from_le_bytes(*b));
        *out = w;
        total += u64::from(w.count_ones());
    }
    total as u32
}

#[inline(always)]
pub(super) fn combine(op: WordOp, a: &Bits, b: &Bits, out: &mut Words) -> u32 {
    match op {
        WordOp::And => combine_with(a, b, out, |a, b| a & b),
        WordOp::Or => combine_with(a, b, out, |a, b| a | b),
        WordOp::Xor => combine_with(a, b, out, |a, b| a ^ b),
        WordOp::AndNot => combine_with(a, b, out, |a, b| a & !b),
    }
}

pub(super) fn append(op: WordOp, a: &Bits, b: &Bits, out: &mut Vec<u8>) -> u32 {
    let mut words = [0; 1024];
    let cardinality = combine(op, a, b, &mut words);
    out.extend_from_slice(crate::container::view::as_bits(&words).as_flattened());
    cardinality
}

#[inline(always)]
fn count_with(a: &Bits, b: &Bits, f: impl Fn(u64, u64) -> u64) -> u32 {
    let mut total = 0;
    for (a, b) in a.iter().zip(b) {
        total += u64::from(f(u64::from_le_bytes(*a), u64::from_le_bytes(*b)).count_ones());
    }
    total as u32
}

#[inline(always)]
pub(super) fn count(op: WordOp, a: &Bits, b: &Bits) -> u32 {
    match op {
        WordOp::And => count_with(a, b, |a, b| a & b),
        WordOp::Or => count_with(a, b, |a, b| a | b),
        WordOp::Xor => count_with(a, b, |a, b| a ^ b),
        WordOp::AndNot => count_with(a, b, |a, b| a & !b),
    }
}

#[inline(always)]
pub(super) fn popcount(bits: &Bits) -> u32 {
    let total: u64 = bits.iter().map(|w| u64::from(u64::from_le_bytes(*w).count_ones())).sum();
    total as u32
}

/// Evaluates the product one block of words at a time and hands each block to `sink`.
#[inline(always)]
fn product_blocks(clauses: &[Clause<'_>], mut sink: impl FnMut(usize, &[u64; BLOCK])) {
    for start in (0..1024).step_by(BLOCK) {
        let mut acc = [u64::MAX; BLOCK];
        for clause in clauses {
            let mut union = [0u64; BLOCK];
            for member in clause.members {
                for (i, u) in union.iter_mut().enumerate() {
                    *u |= word(member, start + i);
                }
            }
            let flip = if clause.negated { u64::MAX } else { 0 };
            for (a, u) in acc.iter_mut().zip(&union) {
                *a &= u ^ flip;
            }
        }
        sink(start, &acc);
    }
}

#[inline(always)]
pub(super) fn product(clauses: &[Clause<'_>], out: &mut Words) -> u32 {
    let mut total = 0;
    product_blocks(clauses, |start, block| {
        for (i, w) in block.iter().enumerate() {
            out[start + i] = *w;
            total += u64::from(w.count_ones());
        }
    });
    total as u32
}

#[inline(always)]
pub(super) fn product_count(clauses: &[Clause<'_>]) -> u32 {
    let mut total = 0;
    product_blocks(clauses, |_, block| {
        total += block.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
    });
    total as u32
}

#[inline(always)]
pub(super) fn equal_masks(values: &[u32], value: u32, words: &mut [u64]) {
    for (group, word) in values.chunks(64).zip(words) {
        let mut mask = 0_u64;
        for (bit, v) in group.iter().enumerate() {
            mask |= u64::from(*v == value) << bit;
        }
        *word |= mask;
    }
}

#[inline(always)]
pub(super) fn slice32(values: &[u32], slices: &mut [Words]) {
    for (index, group) in values.chunks(64).enumerate() {
        let mut halves = [[0_u32; 32]; 2];
        for (to, value) in halves.as_flattened_mut().iter_mut().zip(group) {
            *to = *value;
        }
        halves.iter_mut().for_each(transpose32);
        let keep = if group.len() == 64 { 0 } else { u64::MAX << group.len() };
        for (bit, slice) in slices.iter_mut().enumerate().take(32) {
            let word = u64::from(halves[0][bit]) | u64::from(halves[1][bit]) << 32;
            slice[index] = word | (slice[index] & keep);
        }
    }
}

/// Transposes 32 × 32 bits: bit `c` of row `r` becomes bit `r` of row `c`, by swapping ever
/// smaller blocks (Warren, Hacker's Delight, 7-3).
#[inline(always)]
fn transpose32(rows: &mut [u32; 32]) {
    let (mut size, mut mask) = (16, u32::MAX >> 16);
    while size != 0 {
        for start in (0..32).step_by(2 * size) {
            for row in start..start + size {
                let swap = (rows[row] >> size ^ rows[row + size]) & mask;
                rows[row] ^= swap << size;
                rows[row + size] ^= swap;
            }
        }
        size /= 2;
        mask ^= mask << size;
    }
}

/// Words of each layer that are compared at a time: enough for whole lines of each to be fetched.
const COMPARED: usize = 64;

#[inline(always)]
pub(super) fn between(layers: &[&Bits], lowest: u64, highest: u64, out: &mut Words) {
    let (blocks, _) = out.as_chunks_mut::<COMPARED>();
    for (block, start) in blocks.iter_mut().zip((0..).step_by(COMPARED)) {
        // By the bits so far, from the lowest up: not above the highest; below the lowest.
        let mut at_most = [u64::MAX; COMPARED];
        let mut below = [0; COMPARED];
        for (layer, bit) in layers.iter().zip(0..) {
            let high = if highest >> bit & 1 == 1 { u64::MAX } else { 0 };
            let low = if lowest >> bit & 1 == 1 { u64::MAX } else { 0 };
            for i in 0..COMPARED {
                let clear = !word(layer, start + i);
                at_most[i] = (clear & high) | (at_most[i] & (clear | high));
                below[i] = (clear & low) | (below[i] & (clear | low));
            }
        }
        for (to, (at_most, below)) in block.iter_mut().zip(at_most.iter().zip(&below)) {
            *to = at_most & !below;
        }
    }
}

#[inline(always)]
pub(super) fn run_count(bits: &Bits) -> u32 {
    // A run starts at each one whose lower neighbour is zero.
    let first = word(bits, 0);
    let mut total = u64::from((first & !(first << 1)).count_ones());
    for pair in bits.windows(2) {
        let [low, high] = [u64::from_le_bytes(pair[0]), u64::from_le_bytes(pair[1])];
        total += u64::from((high & !((high << 1) | (low >> 63))).count_ones());
    }
    total as u32
}

/// How many times longer a list must be for searching it to pay.
pub(super) const SEARCH_RATIO: usize = 32;

/// How many times longer a list must be for halving it for several values at once to pay.
const HALVING_RATIO: usize = 128;

/// Values of a short list that are searched for at once in a very long one: each step of a search
/// waits for the one before it, so searches in turns take little longer than one.
const SEARCHED: usize = 4;

/// Indices of the first values that are at least the targets, by halving.
#[inline(always)]
fn lower_bounds(list: &[Le16], targets: [u16; SEARCHED]) -> [usize; SEARCHED] {
    let mut low = [0; SEARCHED];
    let mut len = list.len();
    while len > 1 {
        let half = len / 2;
        for (low, target) in low.iter_mut().zip(targets) {
            // By arithmetic, since which way it goes is unpredictable.
            *low += half & usize::from(value(list[*low + half - 1]) < target).wrapping_neg();
        }
        len -= half;
    }
    for (low, target) in low.iter_mut().zip(targets) {
        *low += usize::from(list.get(*low).is_some_and(|v| value(*v) < target));
    }
    low
}

/// Searches by halving, some values at once.
#[inline(always)]
fn search_groups(short: &[Le16], long: &[Le16], mut sink: impl FnMut(u16, bool)) {
    let mut long = long;
    let (groups, rest) = short.as_chunks::<SEARCHED>();
    let mut last = [[0xff, 0xff]; SEARCHED];
    last.iter_mut().zip(rest).for_each(|(to, v)| *to = *v);
    let counted = groups.iter().map(|group| (group, SEARCHED)).chain([(&last, rest.len())]);
    for (group, count) in counted {
        let targets = group.map(value);
        let found = lower_bounds(long, targets);
        for (target, at) in targets.into_iter().zip(found).take(count) {
            sink(target, long.get(at).is_some_and(|v| value(*v) == target));
        }
        long = &long[found[SEARCHED - 1].min(long.len())..];
    }
}

/// Smallest index whose value is at least `target`, by doubling steps.
#[inline(always)]
fn gallop(list: &[Le16], target: u16) -> usize {
    let (mut low, mut high, mut step) = (0, 0, 1);
    while high < list.len() && value(list[high]) < target {
        low = high + 1;
        high += step;
        step *= 2;
    }
    low + list[low..high.min(list.len())].partition_point(|v| value(*v) < target)
}

/// Searches the long list for each value of the short one and hands on whether it is there.
#[inline(always)]
fn search_each(short: &[Le16], long: &[Le16], mut sink: impl FnMut(u16, bool)) {
    if short.len() * HALVING_RATIO < long.len() {
        return search_groups(short, long, sink);
    }
    let mut long = long;
    for v in short {
        let v = value(*v);
        long = &long[gallop(long, v)..];
        sink(v, long.first().is_some_and(|found| value(*found) == v));
    }
}

/// The searching intersection where the lengths call for it.
#[inline(always)]
pub(super) fn intersect_skewed(a: &[Le16], b: &[Le16], mut sink: impl FnMut(u16)) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let skewed = short.len() * SEARCH_RATIO < long.len();
    if skewed {
        search_each(short, long, |v, hit| {
            if hit {
                sink(v);
            }
        });
    }
    skewed
}

/// The merging intersection from the given positions on.
#[inline(always)]
pub(super) fn intersect_merge(a: &[Le16], b: &[Le16], mut sink: impl FnMut(u16, bool)) {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (value(a[i]), value(b[j]));
        sink(x, x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
}

pub(super) fn intersect(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
    let mut len = 0;
    if !intersect_skewed(a, b, |v| {
        out[len] = v;
        len += 1;
    }) {
        intersect_merge(a, b, |v, hit| {
            out[len] = v;
            len += usize::from(hit);
        });
    }
    len
}

pub(super) fn intersect_count(a: &[Le16], b: &[Le16]) -> usize {
    let mut len = 0;
    if !intersect_skewed(a, b, |_| len += 1) {
        intersect_merge(a, b, |_, hit| len += usize::from(hit));
    }
    len
}

/// The merging difference: hands on every value of `a` with whether it is missing from `b`.
#[inline(always)]
pub(super) fn subtract_merge(a: &[Le16], b: &[Le16], mut sink: impl FnMut(u16, bool)) {
    let mut j = 0;
    for x in a {
        let x = value(*x);
        while j < b.len() && value(b[j]) < x {
            j += 1;
        }
        sink(x, j == b.len() || value(b[j]) != x);
    }
}

/// The searching difference where the lengths call for it.
#[inline(always)]
pub(super) fn subtract_skewed(a: &[Le16], b: &[Le16], mut sink: impl FnMut(u16)) -> bool {
    let skewed = a.len() * SEARCH_RATIO < b.len();
    if skewed {
        search_each(a, b, |v, hit| {
            if !hit {
                sink(v);
            }
        });
    }
    skewed
}

pub(super) fn subtract(a: &[Le16], b: &[Le16], out: &mut [u16]) -> usize {
    let mut len = 0;
    if !subtract_skewed(a, b, |v| {
        out[len] = v;
        len += 1;
    }) {
        subtract_merge(a, b, |v, missing| {
            out[len] = v;
            len += usize::from(missing);
        });
    }
    len
}

#[inline(always)]
fn bit(bits: &Bits, v: u16) -> usize {
    ((word(bits, usize::from(v >> 6)) >> (v & 63)) & 1) as usize
}

#[inline(always)]
pub(super) fn probe(list: &[Le16], bits: &Bits, wanted: bool, out: &mut [u16]) -> usize {
    let out = &mut out[..=list.len()];
    let skip = usize::from(!wanted);
    let mut len = 0;
    for v in list {
        let v = value(*v);
        out[len] = v;
        len += bit(bits, v) ^ skip;
    }
    len
}

#[inline(always)]
pub(super) fn probe_count(list: &[Le16], bits: &Bits) -> usize {
    list.iter().map(|v| bit(bits, value(*v))).sum()
}

#[inline(always)]
pub(super) fn set_list(words: &mut Words, list: &[Le16]) {
    for v in list {
        let v = value(*v);
        words[usize::from(v >> 6)] |= 1 << (v & 63);
    }
}

#[inline(always)]
pub(super) fn extract16(bits: &Bits, out: &mut [u16]) -> usize {
    let mut len = 0;
    for (index, w) in bits.iter().enumerate() {
        let mut w = u64::from_le_bytes(*w);
        while w != 0 {
            out[len] = (index * 64) as u16 | w.trailing_zeros() as u16;
            len += 1;
            w &= w - 1;
        }
    }
    len
}

#[inline(always)]
pub(super) fn extract32(bits: &Bits, first: usize, last: usize, base: u32, out: &mut [u32]) -> usize {
    let mut len = 0;
    for (index, w) in bits[first..last].iter().enumerate() {
        let mut w = u64::from_le_bytes(*w);
        let base = base | ((first + index) * 64) as u32;
        while w != 0 {
            out[len] = base | w.trailing_zeros();
            len += 1;
            w &= w - 1;
        }
    }
    len
}

#[inline(always)]
pub(super) fn widen(list: &[Le16], base: u32, out: &mut [u32]) {
    for (out, v) in out.iter_mut().zip(list) {
        *out = base | u32::from(value(*v));
    }
}
