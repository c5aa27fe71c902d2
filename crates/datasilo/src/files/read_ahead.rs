//! Reading ahead of a pass over a segment.

use crate::storage::READ_AHEAD;

use super::segment::Segment;

/// Most bytes of one group that are asked for at once.
const MOST_OF_A_GROUP: u64 = 64 << 20;

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

    /// Asks for what is left of the group from `at` to `end`, which is read next, and for what follows it.
    pub(crate) fn group(&mut self, segment: &Segment, at: u64, end: u64) {
        let wanted = end.min(at.saturating_add(MOST_OF_A_GROUP)) + READ_AHEAD as u64 / 2;
        while self.asked < wanted {
            if let Ok(offset) = usize::try_from(self.asked) {
                segment.read_ahead(offset, READ_AHEAD);
            }
            self.asked += READ_AHEAD as u64;
        }
    }
}
