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
        Self {
            list,
            len: 0,
            cardinality: 0,
        }
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

/// Runs in `a` or `b`.
pub(crate) fn union(a: &[[u8; 4]], b: &[[u8; 4]], mut sink: impl FnMut(u16, u16)) {
    let mut a = a.iter().map(|run| run_bounds(*run)).peekable();
    let mut b = b.iter().map(|run| run_bounds(*run)).peekable();
    let mut open: Option<(u16, u16)> = None;
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if y.0 < x.0 => b.next(),
            (Some(_), _) => a.next(),
            (None, _) => b.next(),
        };
        match (&mut open, next) {
            (Some((_, last)), Some(run)) if u32::from(run.0) <= u32::from(*last) + 1 => {
                *last = (*last).max(run.1);
            }
            (_, Some(run)) => {
                if let Some((first, last)) = open.replace(run) {
                    sink(first, last);
                }
            }
            (_, None) => break,
        }
    }
    if let Some((first, last)) = open {
        sink(first, last);
    }
}

/// Runs in both `a` and `b`.
#[inline]
pub(crate) fn intersection(a: &[[u8; 4]], b: &[[u8; 4]], mut sink: impl FnMut(u16, u16)) {
    let (mut a, mut b) = (a.iter(), b.iter());
    let (mut x, mut y) = (a.next(), b.next());
    while let (Some(run_a), Some(run_b)) = (x, y) {
        let ((a_first, a_last), (b_first, b_last)) = (run_bounds(*run_a), run_bounds(*run_b));
        let (first, last) = (a_first.max(b_first), a_last.min(b_last));
        if first <= last {
            sink(first, last);
        }
        if a_last <= b_last {
            x = a.next();
        }
        if b_last <= a_last {
            y = b.next();
        }
    }
}

/// Runs in `a` and not in `b`.
#[inline]
pub(crate) fn difference(a: &[[u8; 4]], b: &[[u8; 4]], mut sink: impl FnMut(u16, u16)) {
    let mut b = b.iter().map(|run| run_bounds(*run)).peekable();
    for run in a {
        let (first, last) = run_bounds(*run);
        // What is left of the run; past its end where nothing is.
        let mut from = u32::from(first);
        while b.next_if(|hole| u32::from(hole.1) < from).is_some() {}
        while let Some((hole_first, hole_last)) = b.peek().copied() {
            if hole_first > last {
                break;
            }
            if let (Ok(start), Some(end)) = (u16::try_from(from), hole_first.checked_sub(1))
                && start <= end
            {
                sink(start, end);
            }
            from = from.max(u32::from(hole_last) + 1);
            if hole_last > last {
                break;
            }
            b.next();
        }
        if let Ok(start) = u16::try_from(from)
            && start <= last
        {
            sink(start, last);
        }
    }
}
