//! A conjunction on one chunk: a product of factors, each a union of containers or the complement
//! of one.
//!
//! The way it is computed depends on what the containers are:
//!
//! * of two containers, a count asks for what they have in common ([`crate::container::pair`]);
//! * a factor that is one list narrows down from that list ([`super::filter`]);
//! * runs only, in narrow unions: interval arithmetic;
//! * a small union of lists is merged into one, which then narrows;
//! * no bitset at all: lists and runs are drawn into one bitset and erased from it;
//! * otherwise one pass over all bitsets, with unions of lists and runs drawn into further ones; then
//!   runs cut the result, and negated lists and runs are erased from it.

use smallvec::SmallVec;

use super::filter::{Out, by_bitset, draw_union, erase, filter};
use crate::container::chunk::{ChunkBuf, Form, PooledChunk, RUNS_CAPACITY, Side, pairs};
use crate::container::intervals::{self, RunSink};
use crate::container::view::{as_le16, run_bounds};
use crate::container::{ArrayRef, CHUNK_SLOTS, ContainerRef, RunsRef, Scratch, pair};
use crate::kernels::{Bits, Clause, Le16, WordOp, kernels};

/// A union of containers of one chunk, or its complement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor<'b> {
    /// The containers, none of them empty.
    pub(super) members: &'b [ContainerRef<'b>],
    /// Whether the complement is meant.
    pub(super) negated: bool,
}

/// What is asked of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Its cardinality only.
    Count,
    /// Its slots, in the buffer.
    Slots,
}

/// Most run containers that are united by merging; each merge walks all runs before it, so more
/// are drawn.
const UNITED_MAX: usize = 8;

/// Lists with together at most this many values are merged rather than drawn.
const MERGE_MAX: usize = 192;

/// Computes the product of the factors; answers its cardinality and, where slots are wanted, sets
/// the form of `buf`. The product of no factors is the full chunk.
pub(super) fn product(factors: &[Factor<'_>], buf: &mut ChunkBuf, want: Want) -> u32 {
    if want == Want::Count
        && let Some(count) = count_of_two(factors)
    {
        return count;
    }
    let mut driver: Option<(usize, ArrayRef<'_>)> = None;
    let (mut runs_only, mut run_count, mut has_bitset) = (true, 0, false);
    for (index, factor) in factors.iter().enumerate() {
        if let ([ContainerRef::Array(list)], false) = (factor.members, factor.negated)
            && driver.is_none_or(|(_, best)| list.values().len() < best.values().len())
        {
            driver = Some((index, *list));
        }
        for member in factor.members {
            match member {
                ContainerRef::Runs(r) => run_count += r.run_count(),
                ContainerRef::Array(_) => runs_only = false,
                ContainerRef::Bitset(_) => (runs_only, has_bitset) = (false, true),
            }
        }
    }
    if let Some((skip, list)) = driver {
        return narrow(list.values(), factors, skip, buf, want);
    }
    let widest = factors.iter().map(|factor| factor.members.len()).max().unwrap_or(0);
    if runs_only && run_count < RUNS_CAPACITY && widest <= UNITED_MAX {
        return by_intervals(factors, buf, want);
    }
    if let Some(index) = factors.iter().position(is_small_union) {
        let mut merged = [0_u16; MERGE_MAX];
        let members = factors.get(index).map_or(&[][..], |factor| factor.members);
        let len = merge_lists(members, &mut merged);
        let merged = as_le16(merged.get(..len).unwrap_or(&[]));
        return narrow(merged, factors, index, buf, want);
    }
    if has_bitset { by_words(factors, buf, want) } else { by_drawing(factors, buf, want) }
}

/// The cardinality where there are two containers, of which one pass tells how many slots both have.
fn count_of_two(factors: &[Factor<'_>]) -> Option<u32> {
    let both = |x: &ContainerRef<'_>, y: &ContainerRef<'_>| pair::intersection_len(*x, *y);
    Some(match factors {
        [Factor { members: [x, y], negated: false }] => {
            x.cardinality().saturating_add(y.cardinality()).saturating_sub(both(x, y)).min(CHUNK_SLOTS)
        }
        [Factor { members: [x], negated: false }, Factor { members: [y], negated }]
        | [Factor { members: [y], negated }, Factor { members: [x], negated: false }] => {
            if *negated {
                x.cardinality().saturating_sub(both(x, y))
            } else {
                both(x, y)
            }
        }
        _ => return None,
    })
}

fn is_small_union(factor: &Factor<'_>) -> bool {
    let mut total = 0;
    !factor.negated
        && factor.members.iter().all(|member| match member {
            ContainerRef::Array(list) => {
                total += list.values().len();
                total <= MERGE_MAX
            }
            _ => false,
        })
}

/// Merges lists that together fit `out`.
fn merge_lists(members: &[ContainerRef<'_>], out: &mut [u16; MERGE_MAX]) -> usize {
    let mut len = 0;
    for member in members {
        if let ContainerRef::Array(list) = member {
            for (to, value) in out.iter_mut().skip(len).zip(list.iter()) {
                *to = value;
                len += 1;
            }
        }
    }
    let filled = out.get_mut(..len).unwrap_or(&mut []);
    filled.sort_unstable();
    let mut kept = 0;
    let mut last = None;
    for index in 0..len {
        if let Some(value) = out.get(index).copied()
            && last != Some(value)
            && let Some(to) = out.get_mut(kept)
        {
            *to = value;
            kept += 1;
            last = Some(value);
        }
    }
    kept
}

/// How late a factor filters: the cheapest and most selective first.
fn lateness(factor: &Factor<'_>) -> usize {
    match (factor.negated, factor.members) {
        (false, [ContainerRef::Array(list)]) => list.values().len(),
        (false, [ContainerRef::Bitset(_)]) => 1 << 16,
        (false, [ContainerRef::Runs(_)]) => 1 << 17,
        (false, _) => 1 << 18,
        (true, _) => 1 << 19,
    }
}

/// Narrows a list by all factors but the one at `skip`, which it came from.
fn narrow(list: &[Le16], factors: &[Factor<'_>], skip: usize, buf: &mut ChunkBuf, want: Want) -> u32 {
    let mut pending: SmallVec<[Factor<'_>; 8]> =
        factors.iter().enumerate().filter(|(index, _)| *index != skip).map(|(_, factor)| *factor).collect();
    if pending.len() > 1 {
        pending.sort_by_key(|factor| std::cmp::Reverse(lateness(factor)));
    }
    let mut len = list.len();
    let mut read: Option<Side> = None;
    while let Some(factor) = pending.pop() {
        let (from, to, words) = buf.split(read.unwrap_or(Side::Right));
        let candidates = match read {
            None => list,
            Some(_) => as_le16(from.get(..len).unwrap_or(&[])),
        };
        let drawn = draw_union(candidates, factor, words);
        if drawn {
            // Negated lists leave the union before the candidates ask it.
            pending.retain(|other| !erase(*other, words));
        }
        let counts = want == Want::Count && pending.is_empty();
        let out = if counts { Out::Count } else { Out::List(to) };
        len = if drawn {
            by_bitset(candidates, words.bits(), true, out)
        } else {
            filter(candidates, factor, words, out)
        };
        if counts {
            return to_u32(len);
        }
        read = Some(read.map_or(Side::Left, Side::other));
        if len == 0 {
            break;
        }
    }
    if want == Want::Slots {
        buf.form = match read {
            _ if len == 0 => Form::Empty,
            Some(side) => Form::List { side, len },
            None => {
                for (to, value) in buf.left.iter_mut().zip(list) {
                    *to = u16::from_le_bytes(*value);
                }
                Form::List { side: Side::Left, len }
            }
        };
    }
    to_u32(len)
}

/// Whether a factor is negated, and its runs.
type SignedRuns<'b> = (bool, &'b [[u8; 4]]);

/// Runs only: unions, intersections and differences of intervals.
fn by_intervals(factors: &[Factor<'_>], buf: &mut ChunkBuf, want: Want) -> u32 {
    if let [Factor { members, negated: false }] = factors {
        return unite_into(members, buf);
    }
    let united: SmallVec<[Option<PooledChunk>; 8]> =
        factors.iter().map(|factor| (factor.members.len() != 1).then(|| unite(factor.members))).collect();
    let mut operands: SmallVec<[SignedRuns<'_>; 8]> = factors
        .iter()
        .zip(&united)
        .map(|(factor, united)| {
            let runs = match (united, factor.members) {
                (Some(united), _) => united.container(),
                (None, [one]) => *one,
                (None, _) => ContainerRef::EMPTY,
            };
            match runs {
                ContainerRef::Runs(runs) => (factor.negated, runs.pairs()),
                _ => (factor.negated, &[][..]),
            }
        })
        .collect();
    operands.sort_by_key(|(negated, _)| *negated);
    // The first positive operand is where narrowing starts; without one, the full chunk is.
    let (first, rest) = match operands.split_first() {
        Some(((false, runs), rest)) => (*runs, rest),
        _ => (&[[0, 0, 0xff, 0xff]][..], &operands[..]),
    };
    // What remains is on one side of the buffer after the first step.
    let mut read: Option<Side> = None;
    let (mut len, mut cardinality) = (0, 0_u32);
    for (index, (negated, runs)) in rest.iter().enumerate() {
        let (from, to, _) = buf.split(read.unwrap_or(Side::Right));
        let remaining = match read {
            None => first,
            Some(_) => pairs(from, len),
        };
        if want == Want::Count && index + 1 == rest.len() {
            let both = intervals::intersection_len(remaining, runs);
            return match (negated, read) {
                (false, _) => both,
                (true, None) => {
                    ContainerRef::Runs(RunsRef::counted(remaining)).cardinality().saturating_sub(both)
                }
                (true, Some(_)) => cardinality.saturating_sub(both),
            };
        }
        let mut sink = RunSink::new(to);
        if *negated {
            intervals::difference(remaining, runs, |first, last| sink.push(first, last));
        } else {
            intervals::intersect_into(remaining, runs, &mut sink);
        }
        (len, cardinality) = (sink.len, sink.cardinality);
        read = Some(read.map_or(Side::Left, Side::other));
    }
    let Some(side) = read else {
        // One operand: a copy of it.
        let mut sink = RunSink::new(&mut buf.left);
        for run in first {
            let (start, end) = run_bounds(*run);
            sink.push(start, end);
        }
        let (len, cardinality) = (sink.len, sink.cardinality);
        buf.form = Form::Runs { side: Side::Left, len, cardinality };
        return cardinality;
    };
    buf.form = match len {
        0 => Form::Empty,
        _ => Form::Runs { side, len, cardinality },
    };
    cardinality
}

/// Unites run containers.
fn unite(members: &[ContainerRef<'_>]) -> PooledChunk {
    let mut buf = PooledChunk::take();
    unite_into(members, &mut buf);
    buf
}

/// Unites run containers in the buffer; answers the cardinality.
fn unite_into(members: &[ContainerRef<'_>], buf: &mut ChunkBuf) -> u32 {
    let mut runs = members.iter().map(|member| match member {
        ContainerRef::Runs(runs) => runs.pairs(),
        ContainerRef::Array(_) | ContainerRef::Bitset(_) => &[],
    });
    // The first two are united as they are stored.
    let mut first = Some(runs.next().unwrap_or(&[]));
    let (mut read, mut len, mut cardinality) = (Side::Left, 0, 0);
    loop {
        let (next, begins) = (runs.next(), first.is_some());
        if next.is_none() && !begins {
            break;
        }
        let (from, to, _) = buf.split(read);
        let before = first.take().unwrap_or_else(|| pairs(from, len));
        let mut sink = RunSink::new(to);
        intervals::union(before, next.unwrap_or(&[]), |first, last| sink.push(first, last));
        (len, cardinality, read) = (sink.len, sink.cardinality, read.other());
    }
    buf.form = if len == 0 { Form::Empty } else { Form::Runs { side: read, len, cardinality } };
    cardinality
}

/// Lists and runs only: draws the first union and erases or cuts with the others.
fn by_drawing(factors: &[Factor<'_>], buf: &mut ChunkBuf, want: Want) -> u32 {
    let ChunkBuf { words, extra, form, .. } = buf;
    let mut positive = factors.iter().filter(|factor| !factor.negated);
    match positive.next() {
        Some(first) => draw(first, words),
        None => words.fill(),
    }
    for factor in positive {
        if extra.is_empty() {
            extra.push(Scratch::new());
        }
        if let Some(scratch) = extra.first_mut() {
            draw(factor, scratch);
            (kernels().assign)(WordOp::And, words.words_mut(), scratch.bits());
        }
    }
    for factor in factors.iter().filter(|factor| factor.negated) {
        factor.members.iter().for_each(|member| words.and_not(*member));
    }
    let cardinality = words.cardinality();
    if want == Want::Slots {
        *form = Form::Words { cardinality };
    }
    cardinality
}

/// Draws the lists and runs of a factor.
fn draw(factor: &Factor<'_>, scratch: &mut Scratch) {
    scratch.clear();
    for member in factor.members.iter().filter(|member| !is_bitset(member)) {
        scratch.or(*member);
    }
}

fn is_bitset(member: &ContainerRef<'_>) -> bool {
    matches!(member, ContainerRef::Bitset(_))
}

/// Bitsets: one pass over all of them, then cuts to runs and erases what is negated and no bitset, which
/// touches the gaps between runs and what is erased and nothing else.
fn by_words(factors: &[Factor<'_>], buf: &mut ChunkBuf, want: Want) -> u32 {
    let cuts = |factor: &Factor<'_>| match (factor.negated, factor.members) {
        (false, members) => matches!(members, [ContainerRef::Runs(_)]),
        (true, members) => !members.iter().any(is_bitset),
    };
    if !factors.iter().any(cuts) {
        return by_bitsets(factors, buf, want);
    }
    let whole: SmallVec<[Factor<'_>; 8]> = factors.iter().filter(|factor| !cuts(factor)).copied().collect();
    by_bitsets(&whole, buf, Want::Slots);
    for factor in factors.iter().filter(|factor| cuts(factor)) {
        for member in factor.members {
            if factor.negated {
                buf.words.and_not(*member);
            } else {
                buf.words.and(*member);
            }
        }
    }
    let cardinality = buf.words.cardinality();
    buf.form = match want {
        Want::Slots => Form::Words { cardinality },
        Want::Count => Form::Empty,
    };
    cardinality
}

/// One pass over all bitsets, with lists and runs drawn into further ones.
fn by_bitsets(factors: &[Factor<'_>], buf: &mut ChunkBuf, want: Want) -> u32 {
    let ChunkBuf { words, extra, form, .. } = buf;
    // All negated factors are one: not in E and not in F is not in their union.
    let draws_any = |factor: &&Factor<'_>| !factor.members.iter().all(is_bitset);
    let drawn = factors.iter().filter(|factor| !factor.negated).filter(draws_any).count();
    let negated_drawn = factors.iter().filter(|factor| factor.negated).any(|f| draws_any(&f));
    while extra.len() <= drawn {
        extra.push(Scratch::new());
    }
    let mut free = extra.iter_mut();
    for factor in factors.iter().filter(|factor| !factor.negated).filter(draws_any) {
        if let Some(scratch) = free.next() {
            draw(factor, scratch);
        }
    }
    if let (true, Some(scratch)) = (negated_drawn, free.next()) {
        scratch.clear();
        for factor in factors.iter().filter(|factor| factor.negated) {
            for member in factor.members.iter().filter(|member| !is_bitset(member)) {
                scratch.or(*member);
            }
        }
    }
    let mut free = extra.iter();
    let mut members: SmallVec<[&Bits; 16]> = SmallVec::new();
    let mut bounds: SmallVec<[(usize, bool); 8]> = SmallVec::new();
    for factor in factors.iter().filter(|factor| !factor.negated) {
        push_bitsets(factor, &mut members);
        if draws_any(&factor)
            && let Some(scratch) = free.next()
        {
            members.push(scratch.bits());
        }
        bounds.push((members.len(), false));
    }
    if factors.iter().any(|factor| factor.negated) {
        factors.iter().filter(|factor| factor.negated).for_each(|f| push_bitsets(f, &mut members));
        if let (true, Some(scratch)) = (negated_drawn, free.next()) {
            members.push(scratch.bits());
        }
        bounds.push((members.len(), true));
    }
    let mut rest = &members[..];
    let mut start = 0;
    let clauses: SmallVec<[Clause<'_>; 8]> = bounds
        .iter()
        .map(|(end, negated)| {
            let (members, after) = rest.split_at((end - start).min(rest.len()));
            (rest, start) = (after, *end);
            Clause { members, negated: *negated }
        })
        .collect();
    match want {
        Want::Count => count(&clauses),
        Want::Slots => {
            let cardinality = match &clauses[..] {
                [Clause { members: [a], negated: false }, Clause { members: [b], negated }] => {
                    let op = if *negated { WordOp::AndNot } else { WordOp::And };
                    (kernels().combine)(op, a, b, words.words_mut())
                }
                clauses => (kernels().product)(clauses, words.words_mut()),
            };
            *form = Form::Words { cardinality };
            cardinality
        }
    }
}

fn push_bitsets<'b>(factor: &Factor<'b>, members: &mut SmallVec<[&'b Bits; 16]>) {
    for member in factor.members {
        if let ContainerRef::Bitset(b) = member {
            members.push(b.bits());
        }
    }
}

fn count(clauses: &[Clause<'_>]) -> u32 {
    match clauses {
        [Clause { members: [a], negated: false }, Clause { members: [b], negated }] => {
            let op = if *negated { WordOp::AndNot } else { WordOp::And };
            (kernels().count)(op, a, b)
        }
        clauses => (kernels().product_count)(clauses),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a chunk has 65,536 slots")]
fn to_u32(len: usize) -> u32 {
    len as u32
}
