//! Narrowing a list of candidates.
//!
//! The smallest list of a conjunction never becomes a bitset: the other operands are asked about
//! its values, by merging or galloping where they are lists and by testing bits where they are
//! bitsets. Several operands that are or-ed are first drawn into one bitset where the candidates
//! are many enough to pay for it.

use smallvec::SmallVec;

use super::product::Factor;
use crate::container::chunk::List;
use crate::container::pair::split_below;
use crate::container::view::run_bounds;
use crate::container::{ArrayRef, ContainerRef, Scratch};
use crate::kernels::{Bits, Le16, kernels};

/// Where the values that pass go: to a list, or nowhere but into the count.
pub(super) enum Out<'a> {
    Count,
    List(&'a mut List),
}

/// A list value is asked for by searching where the lists asked are this many times longer.
const SEARCH_RATIO: usize = 16;

/// Keeps the candidates that the factor holds; answers how many.
pub(super) fn filter(candidates: &[Le16], factor: Factor<'_>, words: &mut Scratch, out: Out<'_>) -> usize {
    let wanted = !factor.negated;
    match (factor.members, out) {
        ([ContainerRef::Array(a)], Out::List(list)) if wanted => {
            (kernels().intersect)(candidates, a.values(), list)
        }
        ([ContainerRef::Array(a)], Out::List(list)) => (kernels().subtract)(candidates, a.values(), list),
        ([ContainerRef::Array(a)], Out::Count) => {
            let hits = (kernels().intersect_count)(candidates, a.values());
            if wanted { hits } else { candidates.len() - hits }
        }
        ([ContainerRef::Bitset(b)], out) => by_bitset(candidates, b.bits(), wanted, out),
        ([ContainerRef::Runs(r)], out) => by_runs(candidates, r.pairs(), wanted, out),
        (members, out) => by_union(candidates, members, wanted, words, out),
    }
}

/// Appends values that pass to a list or counts them.
struct Passed<'a> {
    out: Out<'a>,
    len: usize,
}

impl Passed<'_> {
    #[inline]
    fn offer(&mut self, value: u16, passes: bool) {
        if let Out::List(list) = &mut self.out
            && let Some(to) = list.get_mut(self.len)
        {
            *to = value;
        }
        self.len += usize::from(passes);
    }
}

/// Keeps the candidates that are, or are not, inside runs.
pub(super) fn by_runs(candidates: &[Le16], runs: &[[u8; 4]], wanted: bool, out: Out<'_>) -> usize {
    let mut passed = Passed { out, len: 0 };
    let mut rest = candidates;
    for run in runs {
        let (first, last) = run_bounds(*run);
        let (before, from_first) = split_below(rest, u32::from(first));
        let (inside, after) = split_below(from_first, u32::from(last) + 1);
        let keep = if wanted { inside } else { before };
        for v in keep {
            passed.offer(u16::from_le_bytes(*v), true);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    if !wanted {
        for v in rest {
            passed.offer(u16::from_le_bytes(*v), true);
        }
    }
    passed.len
}

fn by_union(
    candidates: &[Le16],
    members: &[ContainerRef<'_>],
    wanted: bool,
    words: &mut Scratch,
    out: Out<'_>,
) -> usize {
    let mut bitsets: SmallVec<[&Bits; 8]> = SmallVec::new();
    let (mut lists_len, mut has_lists) = (0, false);
    for member in members {
        match member {
            ContainerRef::Bitset(b) => bitsets.push(b.bits()),
            ContainerRef::Array(a) => (lists_len, has_lists) = (lists_len + a.values().len(), true),
            ContainerRef::Runs(_) => has_lists = true,
        }
    }
    if has_lists && searches(candidates, lists_len) {
        return by_search(candidates, members, wanted, out);
    }
    if has_lists {
        words.clear();
        for member in members.iter().filter(|m| !matches!(m, ContainerRef::Bitset(_))) {
            words.or(*member);
        }
        bitsets.push(words.bits());
    }
    match &bitsets[..] {
        [bits] => by_bitset(candidates, bits, wanted, out),
        bitsets => by_bits(candidates, bitsets, wanted, out),
    }
}

/// Keeps the candidates whose bit is as wanted.
pub(super) fn by_bitset(candidates: &[Le16], bits: &Bits, wanted: bool, out: Out<'_>) -> usize {
    match out {
        Out::List(list) => (kernels().probe)(candidates, bits, wanted, list),
        Out::Count => {
            let hits = (kernels().probe_count)(candidates, bits);
            if wanted { hits } else { candidates.len() - hits }
        }
    }
}

/// Whether candidates are too few for drawing the lists asked about.
fn searches(candidates: &[Le16], lists_len: usize) -> bool {
    candidates.len() < 16 || lists_len > SEARCH_RATIO * candidates.len()
}

/// Draws the union of a factor into `words`, where it consists of lists and the candidates are
/// many enough for that to pay.
pub(super) fn draw_union(candidates: &[Le16], factor: Factor<'_>, words: &mut Scratch) -> bool {
    let lists_len = factor.members.iter().map(|member| match member {
        ContainerRef::Array(a) => a.values().len(),
        _ => 0,
    });
    let draws = !factor.negated
        && factor.members.len() > 1
        && factor.members.iter().all(is_list)
        && !searches(candidates, lists_len.sum());
    if draws {
        words.clear();
        factor.members.iter().for_each(|member| words.or(*member));
    }
    draws
}

/// Takes a negated factor of lists out of what was drawn; answers whether it was one.
pub(super) fn erase(factor: Factor<'_>, words: &mut Scratch) -> bool {
    let applies = factor.negated && factor.members.iter().all(is_list);
    if applies {
        factor.members.iter().for_each(|member| words.and_not(*member));
    }
    applies
}

/// Whether a container is better drawn than combined word by word.
fn is_list(container: &ContainerRef<'_>) -> bool {
    match container {
        ContainerRef::Array(_) => true,
        ContainerRef::Bitset(_) => false,
        ContainerRef::Runs(r) => r.run_count() < 256,
    }
}

fn by_bits(candidates: &[Le16], bitsets: &[&Bits], wanted: bool, out: Out<'_>) -> usize {
    let mut passed = Passed { out, len: 0 };
    for value in candidates {
        let value = u16::from_le_bytes(*value);
        let (index, bit) = (usize::from(value >> 6), value & 63);
        let union = bitsets.iter().fold(0, |union, bits| {
            union | bits.get(index).map_or(0, |word| u64::from_le_bytes(*word) >> bit)
        });
        passed.offer(value, (union & 1 == 1) == wanted);
    }
    passed.len
}

fn by_search(candidates: &[Le16], members: &[ContainerRef<'_>], wanted: bool, out: Out<'_>) -> usize {
    let mut passed = Passed { out, len: 0 };
    for value in ArrayRef::new(candidates).iter() {
        let hit = members.iter().any(|member| member.contains(value));
        passed.offer(value, hit == wanted);
    }
    passed.len
}
