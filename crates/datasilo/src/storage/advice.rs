//! Page advice: what the kernel is told about how a mapping will be read.
//!
//! | file | access | advice | why |
//! |---|---|---|---|
//! | index run | point reads | random | a look-up needs one page; read-ahead would evict others |
//! | index run | checkpoint, scan, compaction | will-need for the run | read once from end to end |
//! | segment | point reads | random | as above; values above a page fault in one by one |
//! | segment | scan, compaction, recovery | will-need, a window ahead | sequential, without disturbing the advice for point reads on the same mapping |
//!
//! `madvise(SEQUENTIAL)` would hold for a whole mapping, which point reads share; the window
//! ahead has the same effect for one pass only. Kernels that lack an advice ignore it.

use memmap2::Advice;

use super::MappedRegion;

/// How far ahead of a sequential pass pages are asked for, in bytes.
pub(crate) const READ_AHEAD: usize = 4 << 20;

/// How a range of a mapping is about to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Single pages, in no order.
    Point,
    /// All of the range, soon.
    Soon,
}

/// Tells the kernel how a range of a mapping will be read.
pub(crate) fn advise(region: &MappedRegion, access: Access, offset: usize, len: usize) {
    let advice = match access {
        Access::Point => Advice::Random,
        Access::Soon => Advice::WillNeed,
    };
    // Advice counts in pages; the page that the range starts in is part of it.
    let aligned = offset & !(4096 - 1);
    region.advise(advice, aligned, len + (offset - aligned));
}
