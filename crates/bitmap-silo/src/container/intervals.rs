//! Set algebra on lists of runs.
//!
//! Each function hands the runs of its result, as (first, last) ascending and neither overlapping
//! nor touching, to a sink, so that counting stores nothing.

use super::chunk::{List, RUNS_CAPACITY};
use super::view::run_bounds;

/// Collects runs in a list buffer as (first, length − 1).
pub(crate) struct RunSink<'a> {
    list: &'a mut List,
    /// Runs stored.
    pub(crate) len: usize,
    /// Values in them.
    pub(crate) cardinality: u32,
}

impl<'a> RunSink<'a> {
    pub(crate) fn new(list: &'a mut List) -> Self {
        Self { list, len: 0, cardinality: 0 }
    }

    /// Appends a run; callers bound the number of runs by [`RUNS_CAPACITY`].
    #[inline]
    pub(crate) fn push(&mut self, first: u16, last: u16) {
        debug_assert!(self.len < RUNS_CAPACITY, "callers bound the number of runs");
        if let Some([start, len]) = self.list.get_mut(2 * self.len..2 * self.len + 2) {
            (*start, *len) = (first, last - first);
            self.len += 1;
            self.cardinality += u32::from(last - first) + 1;
        }
    }
}

/// First and last value of the run at `index`, or past every slot.
#[inline]
fn bounds_at(runs: &[[u8; 4]], index: usize) -> (u32, u32) {
    runs.get(index).map_or((PAST, PAST), |run| {
        let (first, last) = run_bounds(*run);
        (u32::from(first), u32::from(last))
    })
}

/// Above every slot and every slot's successor.
const PAST: u32 = 1 << 20;

/// Both ends of a run as slots; callers pass numbers below 65,536.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "callers pass slots of one chunk")]
fn as_slots(first: u32, last: u32) -> (u16, u16) {
    (first as u16, last as u16)
}

/// Runs in `a` or `b`.
#[inline]
pub(crate) fn union(a: &[[u8; 4]], b: &[[u8; 4]], mut sink: impl FnMut(u16, u16)) {
    let (mut i, mut j) = (0, 0);
    // The run under way; it has values once the first run was taken.
    let (mut open_first, mut open_last) = (PAST, 0);
    for _ in 0..a.len() + b.len() {
        let ((a_first, a_last), (b_first, b_last)) = (bounds_at(a, i), bounds_at(b, j));
        let takes_b = b_first < a_first;
        let (first, last) = if takes_b { (b_first, b_last) } else { (a_first, a_last) };
        i += usize::from(!takes_b);
        j += usize::from(takes_b);
        let apart = first > open_last + 1;
        if apart && open_first != PAST {
            let (first, last) = as_slots(open_first, open_last);
            sink(first, last);
        }
        let begins = apart || open_first == PAST;
        open_first = if begins { first } else { open_first };
        open_last = if begins { last } else { open_last.max(last) };
    }
    if open_first != PAST {
        let (first, last) = as_slots(open_first, open_last);
        sink(first, last);
    }
}

/// Walks two lists of runs and hands each pair under way, as (first, last) of what is common to both,
/// to `sink`; the pair has nothing in common where that ends before it begins.
///
/// Which side moves on is unpredictable, so nothing branches on it; and the runs behind the pair are
/// loaded before that is known, so that a step does not wait for its loads.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the sink's counters belong in registers")]
fn walk_both(a: &[[u8; 4]], b: &[[u8; 4]], mut sink: impl FnMut(u32, u32)) {
    let (mut a_index, mut b_index) = (0, 0);
    let (mut x, mut y) = (bounds_at(a, 0), bounds_at(b, 0));
    while a_index < a.len() && b_index < b.len() {
        let (next_x, next_y) = (bounds_at(a, a_index + 1), bounds_at(b, b_index + 1));
        sink(x.0.max(y.0), x.1.min(y.1));
        let (moves_x, moves_y) = (x.1 <= y.1, y.1 <= x.1);
        a_index += usize::from(moves_x);
        b_index += usize::from(moves_y);
        x = if moves_x { next_x } else { x };
        y = if moves_y { next_y } else { y };
    }
}

/// Writes the runs in both `a` and `b`. Every step stores and only counts where the runs overlap,
/// which is as unpredictable as which side moves on.
#[inline(never)]
pub(crate) fn intersect_into(a: &[[u8; 4]], b: &[[u8; 4]], sink: &mut RunSink<'_>) {
    let (pairs, _) = sink.list.as_chunks_mut::<2>();
    let (mut len, mut cardinality) = (0, 0);
    walk_both(a, b, |first, last| {
        if let Some(pair) = pairs.get_mut(len) {
            let (start, more) = as_slots(first, last.wrapping_sub(first));
            *pair = [start, more];
        }
        len += usize::from(first <= last);
        cardinality += (last + 1).saturating_sub(first);
    });
    (sink.len, sink.cardinality) = (len, cardinality);
}

/// Number of values in both `a` and `b`.
#[inline(never)]
pub(crate) fn intersection_len(a: &[[u8; 4]], b: &[[u8; 4]]) -> u32 {
    let mut total = 0_u32;
    // Runs of bytes that nobody validated may overlap.
    walk_both(a, b, |first, last| total = total.saturating_add((last + 1).saturating_sub(first)));
    total
}

/// Runs in `a` and not in `b`.
#[inline]
pub(crate) fn difference(a: &[[u8; 4]], b: &[[u8; 4]], mut sink: impl FnMut(u16, u16)) {
    let mut j = 0;
    for run in a {
        let (first, last) = run_bounds(*run);
        let last = u32::from(last);
        // What is left of the run; past its end where nothing is.
        let mut from = u32::from(first);
        while bounds_at(b, j).1 < from {
            j += 1;
        }
        loop {
            let (hole_first, hole_last) = bounds_at(b, j);
            if hole_first > last {
                break;
            }
            if from < hole_first {
                let (first, last) = as_slots(from, hole_first - 1);
                sink(first, last);
            }
            from = from.max(hole_last + 1);
            if hole_last > last {
                break;
            }
            j += 1;
        }
        if from <= last {
            let (first, last) = as_slots(from, last);
            sink(first, last);
        }
    }
}
