//! Questions about two containers that need no buffer.

use super::intervals;
use super::scratch::count_range;
use super::view::{ContainerRef, RunsRef};
use crate::kernels::{Le16, WordOp, kernels};

/// Number of slots in both containers; nothing is stored.
#[must_use]
pub(crate) fn intersection_len(a: ContainerRef<'_>, b: ContainerRef<'_>) -> u32 {
    match (a, b) {
        (ContainerRef::Array(a), ContainerRef::Array(b)) => {
            to_u32((kernels().intersect_count)(a.values(), b.values()))
        }
        (ContainerRef::Bitset(a), ContainerRef::Bitset(b)) => {
            (kernels().count)(WordOp::And, a.bits(), b.bits())
        }
        (ContainerRef::Array(list), ContainerRef::Bitset(b))
        | (ContainerRef::Bitset(b), ContainerRef::Array(list)) => {
            to_u32((kernels().probe_count)(list.values(), b.bits()))
        }
        (ContainerRef::Array(list), ContainerRef::Runs(runs))
        | (ContainerRef::Runs(runs), ContainerRef::Array(list)) => list_in_runs(list.values(), runs),
        (ContainerRef::Bitset(b), ContainerRef::Runs(runs))
        | (ContainerRef::Runs(runs), ContainerRef::Bitset(b)) => {
            // Runs of bytes that nobody validated may overlap.
            runs.iter()
                .fold(0, |total: u32, (first, last)| total.saturating_add(count_range(b.bits(), first, last)))
        }
        (ContainerRef::Runs(a), ContainerRef::Runs(b)) => intervals::intersection_len(a.pairs(), b.pairs()),
    }
}

/// Number of list values inside runs: two searches per run or a look at every value, whichever
/// side is shorter.
fn list_in_runs(list: &[Le16], runs: RunsRef<'_>) -> u32 {
    let mut total = 0;
    let mut rest = list;
    for (first, last) in runs.iter() {
        let (_, from) = split_below(rest, u32::from(first));
        let (inside, after) = split_below(from, u32::from(last) + 1);
        total += to_u32(inside.len());
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    total
}

/// Splits an ascending list before the first value that is at least `bound`, by doubling steps.
#[inline]
pub(crate) fn split_below(list: &[Le16], bound: u32) -> (&[Le16], &[Le16]) {
    let below = |v: &Le16| u32::from(u16::from_le_bytes(*v)) < bound;
    let (mut low, mut high, mut step) = (0, 0, 1);
    while list.get(high).is_some_and(below) {
        low = high + 1;
        high += step;
        step *= 2;
    }
    let between = list.get(low..high.min(list.len())).unwrap_or(&[]);
    list.split_at(low + between.partition_point(below))
}

#[expect(clippy::cast_possible_truncation, reason = "a chunk has 65,536 slots")]
fn to_u32(len: usize) -> u32 {
    len as u32
}
