//! Counting the ones of a bitset in many runs, by ranks.

#![expect(
    clippy::cast_possible_truncation,
    clippy::inline_always,
    reason = "bodies are instantiated per instruction set; ranks are those of one chunk"
)]

use super::Bits;

/// Entries of [`Ranks`]: one for each 32 slots, and one behind the last.
const ENTRIES: usize = 2049;
/// For each 32 slots of a bitset: their bits, and above them the number of ones before.
pub(crate) type Ranks = [u64; ENTRIES];

/// Room for ranks: those of the empty bitset.
pub(crate) fn no_ranks() -> Box<Ranks> {
    match vec![0; ENTRIES].into_boxed_slice().try_into() {
        Ok(ranks) => ranks,
        Err(_) => unreachable!("there are as many entries as were asked for"),
    }
}

/// Makes the ranks of a bitset.
#[inline(always)]
pub(super) fn rank(bits: &Bits, ranks: &mut Ranks) {
    let mut before = 0_u64;
    let (pairs, end) = ranks.as_chunks_mut::<2>();
    for ([low, high], word) in pairs.iter_mut().zip(bits) {
        let word = u64::from_le_bytes(*word);
        let (first, second) = (word & 0xffff_ffff, word >> 32);
        *low = before << 32 | first;
        before += u64::from(first.count_ones());
        *high = before << 32 | second;
        before += u64::from(second.count_ones());
    }
    end.fill(before << 32);
}

/// Ones below a slot, which is at most 65,536.
#[inline(always)]
fn below(ranks: &Ranks, slot: u32) -> u32 {
    let entry = ranks.get((slot >> 5) as usize).copied().unwrap_or(0);
    let [before, bits] = [entry >> 32, entry & !(u64::MAX << (slot & 31)) & 0xffff_ffff];
    before as u32 + bits.count_ones()
}

/// Number of ones in runs, each counted for itself. A run that would leave the chunk ends with it.
#[inline(always)]
pub(super) fn count_runs(ranks: &Ranks, runs: &[[u8; 4]]) -> u32 {
    runs.iter().fold(0, |sum: u32, run| {
        let run = u32::from_le_bytes(*run);
        let first = run & 0xffff;
        let end = (first + (run >> 16) + 1).min(1 << 16);
        sum.wrapping_add(below(ranks, end).wrapping_sub(below(ranks, first)))
    })
}
