//! Sorting (value, slot) pairs of a load.
//!
//! Radix sort that looks only at the bits in which values differ. Few bits are sorted from the
//! lowest digit up over all pairs; many bits are first partitioned by their highest digit, so that
//! the rest is done part by part in the processor's cache, on several threads if wanted. Both keep
//! the order of pairs with one value, so slots need not be looked at where they come in order, as
//! they do in a load.

use rayon::prelude::*;

/// A value and a slot.
type Pair = (u64, u32);

/// Most bits of a digit: what a pass scatters to stays within reach of the address cache.
const DIGIT_BITS: u32 = 8;
/// Bits by which pairs are partitioned.
const PARTITION_BITS: u32 = 8;
/// Most bits that are sorted without partitioning first.
const DIRECT_BITS: u32 = 24;
/// Fewest pairs that are partitioned.
const PARTITION_MIN: usize = 1 << 16;
/// Fewest pairs for which a radix pass is worth its counts.
const RADIX_MIN: usize = 256;
/// Fewest pairs that are given to several threads.
const PARALLEL_MIN: usize = 1 << 18;

/// Sorts pairs by value, then slot; O(pairs · significant bits of values). Fastest where slots
/// already ascend.
///
/// `room` is grown to as many pairs and left with anything in it; keep it from one sort to the
/// next, since memory that is touched for the first time costs about as much as a pass.
pub fn sort_pairs(pairs: &mut Vec<Pair>, room: &mut Vec<Pair>) {
    Sorter { threads: 1 }.sort(pairs, room);
}

/// The same on the threads of the current `rayon` pool.
pub fn par_sort_pairs(pairs: &mut Vec<Pair>, room: &mut Vec<Pair>) {
    let threads = if pairs.len() < PARALLEL_MIN { 1 } else { rayon::current_num_threads() };
    Sorter { threads }.sort(pairs, room);
}

/// Bits `shift` to `shift + bits` of a key.
#[derive(Clone, Copy)]
struct Digit {
    shift: u32,
    bits: u32,
}

impl Digit {
    #[expect(clippy::cast_possible_truncation, reason = "a digit has few bits")]
    #[inline]
    fn of(self, key: u64) -> usize {
        (key >> self.shift & ((1 << self.bits) - 1)) as usize
    }

    fn count(self) -> usize {
        1 << self.bits
    }
}

struct Sorter {
    threads: usize,
}

impl Sorter {
    fn sort(&self, pairs: &mut Vec<Pair>, room: &mut Vec<Pair>) {
        let survey = Survey::of(pairs);
        if survey.sorted {
            return;
        }
        room.resize(pairs.len(), (0, 0));
        if !survey.slots_ascend && sort_digits(pairs, room, survey.slot_bits, &|pair| u64::from(pair.1)) {
            std::mem::swap(pairs, room);
        }
        let bits = survey.value_bits;
        let partition = self.threads > 1 || bits > DIRECT_BITS;
        if partition && pairs.len() >= PARTITION_MIN && bits > PARTITION_BITS {
            let digit = Digit { shift: bits - PARTITION_BITS, bits: PARTITION_BITS };
            let ends = self.partition(pairs, room, digit);
            self.sort_parts(room, pairs, &ends, digit.shift);
            std::mem::swap(pairs, room);
        } else if sort_digits(pairs, room, bits, &|pair| pair.0) {
            std::mem::swap(pairs, room);
        }
    }

    /// Moves pairs to `room` by their digit; answers where each digit's pairs end.
    fn partition(&self, pairs: &[Pair], room: &mut [Pair], digit: Digit) -> Vec<usize> {
        let chunk_len = pairs.len().div_ceil(self.threads).max(1);
        let chunks: Vec<&[Pair]> = pairs.chunks(chunk_len).collect();
        let counts = |chunk: &&[Pair]| digit_counts(chunk, digit);
        let counts: Vec<Vec<usize>> = match &*chunks {
            [chunk] => vec![counts(chunk)],
            _ => chunks.par_iter().map(counts).collect(),
        };
        // Each chunk gets for each digit a place of its own in the room.
        let mut places: Vec<Vec<&mut [Pair]>> = chunks.iter().map(|_| Vec::new()).collect();
        let (mut rest, mut ends, mut end) = (room, Vec::with_capacity(digit.count()), 0);
        for number in 0..digit.count() {
            for (places, counts) in places.iter_mut().zip(&counts) {
                let count = counts.get(number).copied().unwrap_or(0);
                let (place, behind) = rest.split_at_mut(count);
                places.push(place);
                rest = behind;
                end += count;
            }
            ends.push(end);
        }
        if let ([chunk], Some(places)) = (&*chunks, places.first_mut()) {
            scatter(chunk, places, digit);
        } else {
            chunks.into_par_iter().zip(places).for_each(|(chunk, mut places)| {
                scatter(chunk, &mut places, digit);
            });
        }
        ends
    }

    /// Sorts each part of `pairs` by the lowest `bits`.
    fn sort_parts(&self, mut pairs: &mut [Pair], mut room: &mut [Pair], ends: &[usize], bits: u32) {
        let mut parts = Vec::with_capacity(ends.len());
        let mut begin = 0;
        for end in ends {
            let (part, rest) = std::mem::take(&mut pairs).split_at_mut(end - begin);
            let (part_room, rest_room) = std::mem::take(&mut room).split_at_mut(end - begin);
            (pairs, room, begin) = (rest, rest_room, *end);
            if part.len() > 1 {
                parts.push((part, part_room));
            }
        }
        let sort = |(part, room): (&mut [Pair], &mut [Pair])| sort_part(part, room, bits);
        if self.threads > 1 {
            parts.into_par_iter().for_each(sort);
        } else {
            parts.into_iter().for_each(sort);
        }
    }
}

/// Moves pairs to the places of their digits.
fn scatter(pairs: &[Pair], places: &mut [&mut [Pair]], digit: Digit) {
    let mut filled = vec![0_usize; digit.count()];
    for pair in pairs {
        let number = digit.of(pair.0);
        if let (Some(place), Some(at)) = (places.get_mut(number), filled.get_mut(number)) {
            if let Some(to) = place.get_mut(*at) {
                *to = *pair;
            }
            *at += 1;
        }
    }
}

/// Sorts by the lowest `bits` of values a part whose values differ in no others.
fn sort_part(pairs: &mut [Pair], room: &mut [Pair], bits: u32) {
    let passes = bits.div_ceil(8) as usize;
    // A comparing sort takes about as many passes as the count has bits, half as fast each.
    if pairs.len() < RADIX_MIN || passes > 2 * pairs.len().ilog2() as usize / 3 {
        pairs.sort_unstable();
    } else if sort_digits(pairs, room, bits, &|pair| pair.0) {
        pairs.copy_from_slice(room);
    }
}

/// What one look at all pairs tells.
struct Survey {
    sorted: bool,
    slots_ascend: bool,
    /// Bits from the lowest up to the highest in which values differ.
    value_bits: u32,
    /// The same of slots.
    slot_bits: u32,
}

impl Survey {
    fn of(pairs: &[Pair]) -> Self {
        let first = pairs.first().copied().unwrap_or_default();
        let (mut before, mut sorted, mut slots_ascend) = (first, true, true);
        let (mut values, mut slots) = (0, 0);
        for pair in pairs {
            sorted &= before <= *pair;
            slots_ascend &= before.1 <= pair.1;
            values |= pair.0 ^ first.0;
            slots |= pair.1 ^ first.1;
            before = *pair;
        }
        let [value_bits, slot_bits] = [values, u64::from(slots)].map(|bits| 64 - bits.leading_zeros());
        Self { sorted, slots_ascend, value_bits, slot_bits }
    }
}

fn digit_counts(pairs: &[Pair], digit: Digit) -> Vec<usize> {
    let mut counts = vec![0; digit.count()];
    for pair in pairs {
        if let Some(count) = counts.get_mut(digit.of(pair.0)) {
            *count += 1;
        }
    }
    counts
}

/// Sorts by the lowest `bits` of keys, from the lowest digit up; keeps the order of equal ones.
/// Answers whether the sorted pairs are in `room`.
fn sort_digits<K: Fn(&Pair) -> u64>(pairs: &mut [Pair], room: &mut [Pair], bits: u32, key: &K) -> bool {
    let passes = bits.div_ceil(DIGIT_BITS).max(1);
    let width = bits.div_ceil(passes);
    let digits: Vec<Digit> =
        (0..passes).map(|pass| Digit { shift: pass * width, bits: width.min(bits - pass * width) }).collect();
    let mut counts: Vec<Vec<usize>> = digits.iter().map(|digit| vec![0; digit.count()]).collect();
    for pair in &*pairs {
        for (digit, counts) in digits.iter().zip(&mut counts) {
            if let Some(count) = counts.get_mut(digit.of(key(pair))) {
                *count += 1;
            }
        }
    }
    let (mut from, mut to) = (pairs, room);
    let mut moved = false;
    for (digit, mut counts) in digits.into_iter().zip(counts) {
        if counts.contains(&from.len()) {
            // All pairs have the same.
            continue;
        }
        let mut begin = 0;
        for count in &mut counts {
            begin += std::mem::replace(count, begin);
        }
        for pair in &*from {
            if let Some(at) = counts.get_mut(digit.of(key(pair))) {
                if let Some(to) = to.get_mut(*at) {
                    *to = *pair;
                }
                *at += 1;
            }
        }
        std::mem::swap(&mut from, &mut to);
        moved = !moved;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudo_random(count: usize, f: impl Fn(u64) -> u64) -> impl Iterator<Item = u64> {
        let mut state = 88_172_645_463_325_252_u64;
        (0..count).map(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f(state)
        })
    }

    #[test]
    fn any_values_and_slots_are_sorted_like_the_library_sorts_them() {
        type Shape = (&'static str, fn(u64) -> u64);
        let shapes: [Shape; 7] = [
            ("random", |x| x),
            ("24 bits", |x| x >> 40),
            ("few high ones", |x| x & 7 << 61),
            ("skewed", |x| (x >> 20) >> (x % 44)),
            ("one", |_| 17),
            ("middle bits", |x| x & 0xfff << 30),
            ("two clusters", |x| (x & 1) << 63 | x >> 1 & 0xff),
        ];
        for (name, shape) in shapes {
            for count in [0, 1, 2, 300, 5000, PARTITION_MIN + 17, PARALLEL_MIN + 5] {
                for slots_ascend in [true, false] {
                    let slots =
                        (0..).map(
                            |slot: u32| if slots_ascend { slot } else { slot.wrapping_mul(0x9e37_79b9) >> 3 },
                        );
                    let pairs: Vec<Pair> = pseudo_random(count, shape).zip(slots).collect();
                    let mut expected = pairs.clone();
                    expected.sort_unstable();
                    let mut sorted = pairs.clone();
                    let mut room = Vec::new();
                    sort_pairs(&mut sorted, &mut room);
                    assert!(sorted == expected, "{name}, {count}, {slots_ascend}");
                    let mut sorted = pairs;
                    Sorter { threads: 3 }.sort(&mut sorted, &mut room);
                    assert!(sorted == expected, "{name}, {count}, {slots_ascend}, threads");
                }
            }
        }
    }
}
