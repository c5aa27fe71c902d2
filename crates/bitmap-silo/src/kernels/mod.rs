//! Inner loops over container bodies, one table of functions per instruction set.
//!
//! [`kernels`] picks the widest table the processor has, once per process; every entry of every
//! table computes the same function (a test compares them on all container kinds), so callers
//! never ask which one they got. The scalar table is the specification: the wide tables are the
//! same loops compiled for more instructions, except where written out by hand.

mod ranks;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub(crate) use datasilo::prefetch;
pub(crate) use ranks::{Ranks, no_ranks};

/// Words of a bitset container, little-endian, at any alignment.
pub(crate) type Bits = [[u8; 8]; 1024];
/// Words of a bitset in memory.
pub(crate) type Words = [u64; 1024];
/// One 16-bit value of a list, little-endian, at any alignment.
pub(crate) type Le16 = [u8; 2];

/// Room that list-producing kernels may write past the values they report.
pub(crate) const LIST_SLACK: usize = 64;

/// One factor of a product: the union of some bitsets, negated or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clause<'a> {
    /// Bitsets whose union this is; none means the empty set.
    pub(crate) members: &'a [&'a Bits],
    /// Whether the complement of the union is meant.
    pub(crate) negated: bool,
}

/// The operation of a two-operand kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordOp {
    And,
    Or,
    Xor,
    AndNot,
}

/// Functions over container bodies for one instruction set.
#[derive(Debug)]
pub(crate) struct Kernels {
    /// The instruction set, for reports.
    pub(crate) name: &'static str,
    /// `words = words op bits`.
    pub(crate) assign: fn(WordOp, &mut Words, &Bits),
    /// `out = a op b`; answers the cardinality of the result.
    pub(crate) combine: fn(WordOp, &Bits, &Bits, &mut Words) -> u32,
    /// Appends the bytes of `a op b` to a vector; answers the cardinality of the result.
    pub(crate) append: fn(WordOp, &Bits, &Bits, &mut Vec<u8>) -> u32,
    /// Cardinality of `a op b`, without a store.
    pub(crate) count: fn(WordOp, &Bits, &Bits) -> u32,
    /// Cardinality of one bitset.
    pub(crate) popcount: fn(&Bits) -> u32,
    /// `out =` the product of all clauses (everything where there is none); answers its
    /// cardinality.
    pub(crate) product: fn(&[Clause<'_>], &mut Words) -> u32,
    /// Cardinality of the product of all clauses, without a store.
    pub(crate) product_count: fn(&[Clause<'_>]) -> u32,
    /// For every 64 values a word: ors a one where the value equals the one asked for.
    pub(crate) equal_masks: fn(&[u32], u32, &mut [u64]),
    /// Slices values into bits: bit `b` of value `i` becomes bit `i` of set `b`, for as many sets,
    /// up to 32, as there are; at most 65,536 values. Bits past the last value are left.
    pub(crate) slice32: fn(&[u32], &mut [Words]),
    /// For numbers given by their bits, lowest first: those from one number to another, both
    /// inclusive. Bits of these past the sets must be zero.
    pub(crate) between: fn(&[&Bits], u64, u64, &mut Words),
    /// Number of maximal runs of ones.
    pub(crate) run_count: fn(&Bits) -> u32,
    /// Values in both ascending lists. `out` has room for both lengths and [`LIST_SLACK`].
    pub(crate) intersect: fn(&[Le16], &[Le16], &mut [u16]) -> usize,
    /// How many values are in both ascending lists.
    pub(crate) intersect_count: fn(&[Le16], &[Le16]) -> usize,
    /// Values of the first ascending list that are not in the second. `out` has room for both
    /// lengths and [`LIST_SLACK`].
    pub(crate) subtract: fn(&[Le16], &[Le16], &mut [u16]) -> usize,
    /// Values of the list whose bit equals the flag. `out` has room for the list and
    /// [`LIST_SLACK`].
    pub(crate) probe: fn(&[Le16], &Bits, bool, &mut [u16]) -> usize,
    /// How many values of the list have their bit set.
    pub(crate) probe_count: fn(&[Le16], &Bits) -> usize,
    /// Makes the ranks of a bitset.
    pub(crate) rank: fn(&Bits, &mut Ranks),
    /// Number of ones in runs, by the ranks of their bitset.
    pub(crate) count_runs: fn(&Ranks, &[[u8; 4]]) -> u32,
    /// Sets the bits of a list.
    pub(crate) set_list: fn(&mut Words, &[Le16]),
    /// Writes the set bits as ascending values; `out` has room for all and [`LIST_SLACK`].
    pub(crate) extract16: fn(&Bits, &mut [u16]) -> usize,
    /// Writes `base |` each set bit, ascending, for the words from `first` up to `last`
    /// (exclusive); `out` has room for all and [`LIST_SLACK`].
    pub(crate) extract32: fn(&Bits, usize, usize, u32, &mut [u32]) -> usize,
    /// Writes `base |` each value of a list to an `out` of the same length.
    pub(crate) widen: fn(&[Le16], u32, &mut [u32]),
}

/// The table for this processor.
#[inline]
pub(crate) fn kernels() -> &'static Kernels {
    static PICKED: OnceLock<&'static Kernels> = OnceLock::new();
    PICKED.get_or_init(|| tables().last().copied().unwrap_or(&scalar::TABLE))
}

/// Name of the instruction set whose kernels this process runs: `scalar`, `avx2` or `avx512`.
#[must_use]
pub fn instruction_set() -> &'static str {
    kernels().name
}

/// All tables that this processor can run, the narrowest first.
pub(crate) fn tables() -> Vec<&'static Kernels> {
    let mut tables = vec![&scalar::TABLE];
    #[cfg(target_arch = "x86_64")]
    tables.extend(x86::tables());
    tables
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::many_single_char_names,
    reason = "test inputs are small, and operands have no better names"
)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Bitsets from empty to full, clustered and random.
    fn bitsets() -> Vec<Box<Bits>> {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut all = vec![Box::new([[0; 8]; 1024]), Box::new([[0xff; 8]; 1024])];
        for ones_in_64 in [0.02, 0.5, 4.0, 20.0, 32.0, 60.0] {
            let mut words = Box::new([[0; 8]; 1024]);
            for word in words.iter_mut() {
                let mut bits = 0_u64;
                for bit in 0..64 {
                    bits |= u64::from(rng.random_bool(ones_in_64 / 64.0)) << bit;
                }
                *word = bits.to_le_bytes();
            }
            all.push(words);
        }
        let mut clustered = Box::new([[0; 8]; 1024]);
        clustered[100..300].fill([0xff; 8]);
        clustered[700] = [1, 0, 0, 0, 0, 0, 0, 0x80];
        clustered[1023] = [0, 0, 0, 0, 0, 0, 0, 0x80];
        all.push(clustered);
        all
    }

    /// Ascending lists of lengths around the block sizes of the kernels.
    fn lists() -> Vec<Vec<Le16>> {
        let mut rng = SmallRng::seed_from_u64(8);
        let mut all = Vec::new();
        for len in [0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 100, 1000, 4096] {
            for spread in [1_usize, 3, 16] {
                let ends = [rng.random::<bool>(), rng.random()];
                let mut values: Vec<u16> = (0..len)
                    .map(|_| rng.random_range(0..(len * spread).clamp(1, 65_536)) as u16)
                    .chain(ends[0].then_some(0))
                    .chain(ends[1].then_some(u16::MAX))
                    .collect();
                values.sort_unstable();
                values.dedup();
                all.push(values.into_iter().map(u16::to_le_bytes).collect());
            }
        }
        all
    }

    #[test]
    fn wide_tables_agree_with_the_scalar_one_on_bitsets() {
        let (all, scalar) = (bitsets(), tables()[0]);
        let ops = [WordOp::And, WordOp::Or, WordOp::Xor, WordOp::AndNot];
        for wide in &tables()[1..] {
            for a in &all {
                assert_eq!((wide.popcount)(a), (scalar.popcount)(a), "{}", wide.name);
                assert_eq!((wide.run_count)(a), (scalar.run_count)(a), "{}", wide.name);
                let (mut x, mut y) = (vec![0; 65_536 + 64], vec![0; 65_536 + 64]);
                let (n, m) = ((wide.extract16)(a, &mut x), (scalar.extract16)(a, &mut y));
                assert_eq!(x[..n], y[..m], "{}", wide.name);
                let (mut x, mut y) = (vec![0; 65_536 + 64], vec![0; 65_536 + 64]);
                for (first, last) in [(0, 1024), (3, 700), (1023, 1024), (5, 5)] {
                    let n = (wide.extract32)(a, first, last, 5 << 16, &mut x);
                    let m = (scalar.extract32)(a, first, last, 5 << 16, &mut y);
                    assert_eq!(x[..n], y[..m], "{}", wide.name);
                }
                for b in &all {
                    for op in ops {
                        let (mut x, mut y) = ([1; 1024], [2; 1024]);
                        let n = (wide.combine)(op, a, b, &mut x);
                        assert_eq!(n, (scalar.combine)(op, a, b, &mut y), "{}", wide.name);
                        assert_eq!(x, y, "{}", wide.name);
                        for table in [wide, &scalar] {
                            let mut bytes = vec![7; 3];
                            assert_eq!(n, (table.append)(op, a, b, &mut bytes), "{}", table.name);
                            let (words, rest) = bytes[3..].as_chunks();
                            assert!(rest.is_empty() && bytes[..3] == [7; 3], "{}", table.name);
                            assert!(words.iter().copied().eq(x.map(u64::to_le_bytes)), "{}", table.name);
                        }
                        assert_eq!(n, (wide.count)(op, a, b), "{}", wide.name);
                        assert_eq!(n, (scalar.count)(op, a, b));
                        let mut z = a.map(u64::from_le_bytes);
                        (wide.assign)(op, &mut z, b);
                        assert_eq!(z, x, "{}", wide.name);
                    }
                }
            }
        }
    }

    #[test]
    fn ranks_count_the_ones_of_runs() {
        let mut rng = SmallRng::seed_from_u64(9);
        for bits in bitsets() {
            let bounds = [(0, 0), (0, u16::MAX), (u16::MAX, u16::MAX), (31, 32), (32, 63), (64, 64)];
            let random = (0..300).map(|_| (rng.random::<u16>(), rng.random_range(0..200)));
            let random = random.map(|(first, more)| (first, first.saturating_add(more)));
            let bounds: Vec<(u16, u16)> = bounds.into_iter().chain(random).collect();
            let runs: Vec<[u8; 4]> =
                bounds.iter().map(|(first, last)| crate::container::view::run_pair(*first, *last)).collect();
            let wanted: u32 =
                bounds.iter().map(|(a, b)| crate::container::scratch::count_range(&bits, *a, *b)).sum();
            for table in tables() {
                let mut ranks = no_ranks();
                (table.rank)(&bits, &mut ranks);
                assert_eq!((table.count_runs)(&ranks, &runs), wanted, "{}", table.name);
                assert_eq!((table.count_runs)(&ranks, &[[0xff; 4]]), u32::from(bits[1023][7] >> 7));
            }
        }
    }

    #[test]
    fn wide_tables_agree_with_the_scalar_one_on_masks() {
        let mut rng = SmallRng::seed_from_u64(10);
        for wide in &tables()[1..] {
            for len in [0, 1, 63, 64, 65, 1000] {
                let values: Vec<u32> = (0..len).map(|_| rng.random_range(0..4)).collect();
                let (mut x, mut y) = (vec![0; 17], vec![0; 17]);
                for value in [0, 3, u32::MAX] {
                    (wide.equal_masks)(&values, value, &mut x);
                    (tables()[0].equal_masks)(&values, value, &mut y);
                    assert_eq!(x, y, "{}", wide.name);
                }
                let ones: u32 = x.iter().map(|w| w.count_ones()).sum();
                let expected = values.iter().filter(|v| [0, 3].contains(*v)).count();
                assert_eq!(ones as usize, expected);
            }
        }
    }

    #[test]
    fn tables_slice_values_and_compare_slices() {
        let mut rng = SmallRng::seed_from_u64(12);
        for (count, width) in
            [(0, 1_usize), (1, 32), (63, 7), (64, 32), (1000, 31), (65_536, 32), (65_500, 1)]
        {
            let mask = u32::MAX >> (32 - width);
            let values: Vec<u32> = (0..count).map(|_| rng.random::<u32>() & mask).collect();
            for table in tables() {
                let mut slices = vec![[0; 1024]; width];
                (table.slice32)(&values, &mut slices);
                for (i, value) in values.iter().enumerate() {
                    let bit = |slice: &Words| (slice[i / 64] >> (i % 64) & 1) as u32;
                    let back: u32 = slices.iter().zip(0..).map(|(slice, b)| bit(slice) << b).sum();
                    assert_eq!(back, *value, "{}", table.name);
                }
                let bits: Vec<Box<Bits>> = slices.iter().map(|s| Box::new(s.map(u64::to_le_bytes))).collect();
                let bits: Vec<&Bits> = bits.iter().map(|bits| &**bits).collect();
                let somewhere = values.get(count / 2).copied().unwrap_or(0);
                for (low, high) in [(0, 0), (0, mask), (mask, mask), (somewhere, mask), (1, somewhere)] {
                    let mut found = [3; 1024];
                    (table.between)(&bits, u64::from(low), u64::from(high), &mut found);
                    for (i, value) in values.iter().enumerate() {
                        let bit = found[i / 64] >> (i % 64) & 1 == 1;
                        assert_eq!(bit, (low..=high).contains(value), "{}", table.name);
                    }
                }
            }
        }
    }

    #[test]
    fn wide_tables_agree_with_the_scalar_one_on_products() {
        let (all, scalar) = (bitsets(), tables()[0]);
        let mut rng = SmallRng::seed_from_u64(9);
        for wide in &tables()[1..] {
            for _ in 0..200 {
                let members: Vec<Vec<&Bits>> = (0..rng.random_range(0..4))
                    .map(|_| {
                        (0..rng.random_range(0..4)).map(|_| &*all[rng.random_range(0..all.len())]).collect()
                    })
                    .collect();
                let clauses: Vec<_> =
                    members.iter().map(|members| Clause { members, negated: rng.random() }).collect();
                let (mut x, mut y) = ([1; 1024], [2; 1024]);
                let n = (wide.product)(&clauses, &mut x);
                assert_eq!(n, (scalar.product)(&clauses, &mut y), "{}", wide.name);
                assert_eq!(x, y, "{}", wide.name);
                assert_eq!(n, (wide.product_count)(&clauses), "{}", wide.name);
                assert_eq!(n, (scalar.product_count)(&clauses));
            }
        }
    }

    #[test]
    fn wide_tables_agree_with_the_scalar_one_on_lists() {
        let (bitsets, lists, scalar) = (bitsets(), lists(), tables()[0]);
        for wide in &tables()[1..] {
            for a in &lists {
                let (mut x, mut y) = (vec![0; 2 * 4200 + LIST_SLACK], vec![0; 2 * 4200]);
                for b in &lists {
                    let (n, m) = ((wide.intersect)(a, b, &mut x), (scalar.intersect)(a, b, &mut y));
                    assert_eq!(x[..n], y[..m], "{}", wide.name);
                    assert_eq!(n, (wide.intersect_count)(a, b), "{}", wide.name);
                    assert_eq!(n, (scalar.intersect_count)(a, b));
                    let (n, m) = ((wide.subtract)(a, b, &mut x), (scalar.subtract)(a, b, &mut y));
                    assert_eq!(x[..n], y[..m], "{}", wide.name);
                }
                for bits in &bitsets {
                    for wanted in [false, true] {
                        let n = (wide.probe)(a, bits, wanted, &mut x);
                        let m = (scalar.probe)(a, bits, wanted, &mut y);
                        assert_eq!(x[..n], y[..m], "{}", wide.name);
                    }
                    assert_eq!((wide.probe_count)(a, bits), (scalar.probe_count)(a, bits));
                    let mut words = [bits.map(u64::from_le_bytes); 2];
                    (wide.set_list)(&mut words[0], a);
                    (scalar.set_list)(&mut words[1], a);
                    assert_eq!(words[0], words[1], "{}", wide.name);
                }
                let mut words = [vec![0; a.len()], vec![0; a.len()]];
                (wide.widen)(a, 9 << 16, &mut words[0]);
                (scalar.widen)(a, 9 << 16, &mut words[1]);
                assert_eq!(words[0], words[1], "{}", wide.name);
            }
        }
    }
}
