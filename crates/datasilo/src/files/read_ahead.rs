//! Reading ahead of a pass over a segment.

use std::ops::Range;

use crate::storage::READ_AHEAD;

use super::segment::Segment;

/// How far a pass over a segment, in file order, has asked the kernel to read. Mappings are advised for point reads,
/// so that what was not asked for comes page by page.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    asked: u64,
}

impl ReadAhead {
    /// For a pass that begins at an offset.
    pub(crate) fn from(offset: u64) -> Self {
        Self { asked: offset }
    }

    /// Asks for what is read next, from `at` to `end`, and for what follows it. Nothing between the last `end` and `at`
    /// is asked for, if it was not.
    pub(crate) fn reach(&mut self, segment: &Segment, at: u64, end: u64) {
        let Range { start, end } = self.next(at, end);
        if let (Ok(offset), Ok(len)) = (usize::try_from(start), usize::try_from(end - start)) {
            segment.read_ahead(offset, len);
        }
    }

    /// What to ask for: whole windows, so that few small groups need a call.
    fn next(&mut self, at: u64, end: u64) -> Range<u64> {
        const WINDOW: u64 = READ_AHEAD as u64;
        let start = self.asked.max(at);
        let missing = (end + WINDOW / 2).saturating_sub(start);
        self.asked = start + missing.next_multiple_of(WINDOW);
        start..self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = READ_AHEAD as u64;

    #[test]
    fn a_pass_asks_once_for_everything_and_not_far_ahead() {
        let mut ahead = ReadAhead::from(64);
        let (mut at, mut asked, mut calls) = (64, 64, 0);
        // Small groups, some longer than a window, one of many windows.
        for step in 0..5000_u64 {
            let len = match step {
                4000 => 9 * WINDOW + 8,
                _ if step % 500 == 499 => WINDOW + 16,
                _ => 8 + step * 131 % 9000 * 8,
            };
            let range = ahead.next(at, at + len);
            assert_eq!(range.start, asked, "nothing is left out or asked for twice");
            asked = range.end;
            calls += u64::from(!range.is_empty());
            at += len;
            assert!(asked >= at + WINDOW / 2 && asked < at + 2 * WINDOW, "at {at}, asked up to {asked}");
        }
        assert!(calls <= at / WINDOW + 1, "{calls} calls for {at} bytes");
    }

    #[test]
    fn what_a_pass_jumps_over_is_not_asked_for() {
        let mut ahead = ReadAhead::from(0);
        assert_eq!(ahead.next(0, 100), 0..WINDOW);
        let behind = 50 * WINDOW;
        assert_eq!(ahead.next(behind, behind), behind..behind + WINDOW);
        assert!(ahead.next(behind, behind + 9).is_empty());
    }
}
