//! Page advice: what the kernel is told about how a mapping will be read.
//!
//! | file | access | advice | why |
//! |---|---|---|---|
//! | index run | point reads | random | a look-up needs one page; read-ahead would evict others |
//! | index run | checkpoint, scan, compaction | will-need, a window ahead | read once from end to end |
//! | segment | point reads | random | as above; values above a page fault in one by one |
//! | segment | scan, compaction, recovery | will-need, a window ahead | sequential, without disturbing the advice for point reads on the same mapping |
//!
//! `madvise(SEQUENTIAL)` would hold for a whole mapping, which point reads share; the window
//! ahead has the same effect for one pass only. Kernels that lack an advice ignore it.

use memmap2::Advice;

use super::MappedRegion;

/// How far ahead of a sequential pass pages are asked for, in bytes.
pub(crate) const READ_AHEAD: usize = 4 << 20;
/// What is asked for by one advice, in bytes. Linux reads no more for it than the device's read-ahead or its largest
/// transfer (`force_page_cache_ra`), of which the first is 128 KiB unless somebody changed it; what lies behind would
/// come page by page.
const ASKED_AT_ONCE: usize = 128 << 10;

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
    // Advice counts in pages; the page that the range starts in is part of it.
    let aligned = offset & !(4096 - 1);
    let end = offset.saturating_add(len).min(region.len());
    match access {
        Access::Point => region.advise(Advice::Random, aligned, end.saturating_sub(aligned)),
        Access::Soon => {
            for start in (aligned..end).step_by(ASKED_AT_ONCE) {
                region.advise(Advice::WillNeed, start, ASKED_AT_ONCE.min(end - start));
            }
        }
    }
}
