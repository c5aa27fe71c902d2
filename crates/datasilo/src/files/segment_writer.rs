//! Appending groups to a segment.

use std::io::IoSlice;
use std::sync::Arc;

use smallvec::SmallVec;

pub(crate) use crate::bytes::address::MAX_SEGMENT_LEN;
use crate::bytes::address::align_up;
use crate::bytes::group::{GROUP_HEADER_LEN, Group, GroupKind};
use crate::error::{Error, Result};

use super::segment::{FIRST_GROUP, Segment};

/// File systems that keep large folios make one huge page of each stretch of this many bytes that is
/// written at once, at a multiple of it. Large writes are laid out so.
pub(crate) const HUGE_WRITE: usize = 2 << 20;

/// What a huge write needs beyond its frames: group header, alignment, file header and pad.
pub(crate) const HUGE_WRITE_SLACK: usize = 512;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The frames of one group, in one or more pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupFrames<'a> {
    /// Kind, sequence numbers, keyspace, alignment and count are taken from here;
    /// place, length, batch flags and sync mark are filled in.
    pub(crate) template: Group,
    pub(crate) pieces: &'a [&'a [u8]],
}

/// Bytes of pad before a group whose payload must start at a multiple of `align`.
///
/// Frames inside a group are laid out relative to its payload, so the payload must be aligned.
fn pad_before(at: u64, align: u64) -> u64 {
    let header = GROUP_HEADER_LEN as u64;
    let align = align.max(8);
    let mut gap = align_up(at + header, align) - (at + header);
    while gap != 0 && gap < header {
        gap += align;
    }
    gap
}

/// Groups with their places; for those that are not pads, their position in the batch.
type PlacedGroups = SmallVec<[(Group, Option<usize>); 2]>;

/// Offsets of the payloads of a batch's groups.
pub(crate) type Payloads = SmallVec<[u64; 4]>;

/// Writes of at most this many bytes are put together in one buffer first: the system takes one
/// slice faster than several.
const SMALL_WRITE: usize = 512;

/// Where the groups of a batch come to lie, pads included, and up to where they reach.
fn place(groups: &[GroupFrames<'_>], start: u64, synced: u64) -> (PlacedGroups, u64) {
    let mut placed = PlacedGroups::new();
    let mut at = start;
    for (index, frames) in groups.iter().enumerate() {
        let gap = pad_before(at, frames.template.align() as u64);
        if gap > 0 {
            let pad = Group::alone(GroupKind::Pad, at, gap - GROUP_HEADER_LEN as u64);
            placed.push((Group { synced, ..pad }, None));
            at += gap;
        }
        let payload_len = frames.pieces.iter().map(|piece| piece.len() as u64).sum();
        let group = Group { offset: at, payload_len, synced, ..frames.template };
        at = group.end();
        placed.push((group, Some(index)));
    }
    let last = placed.len().saturating_sub(1);
    for (index, (group, _)) in placed.iter_mut().enumerate() {
        group.first = index == 0;
        group.last = index == last;
    }
    (placed, at)
}

/// The growing end of a segment.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    segment: Arc<Segment>,
    tail: u64,
    allocated: u64,
    allocate_step: u64,
    capacity: u64,
    synced: u64,
    /// A range that a failed write may have left bytes in, to be covered by a pad.
    damaged: Option<u64>,
}

impl SegmentWriter {
    /// Appends to a segment that was just created.
    pub(crate) fn new(segment: Arc<Segment>, capacity: u64, allocate_step: u64) -> Self {
        Self {
            segment,
            tail: FIRST_GROUP,
            allocated: 0,
            allocate_step,
            capacity,
            synced: FIRST_GROUP,
            damaged: None,
        }
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Up to where the segment is in use.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Notes that the segment was synced up to here; later groups carry the mark.
    pub(crate) fn note_synced(&mut self, synced: u64) {
        self.synced = self.synced.max(synced);
    }

    /// The longest batch of these groups that could result, wherever it starts.
    pub(crate) fn worst_len(groups: &[GroupFrames<'_>]) -> u64 {
        let pad = |frames: &GroupFrames<'_>| {
            if frames.template.align() > 8 {
                2 * GROUP_HEADER_LEN as u64 + frames.template.align() as u64
            } else {
                0
            }
        };
        groups
            .iter()
            .map(|frames| {
                GROUP_HEADER_LEN as u64
                    + pad(frames)
                    + frames.pieces.iter().map(|p| p.len() as u64).sum::<u64>()
            })
            .sum()
    }

    /// True if a batch of at most `len` bytes fits.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        self.tail + len <= self.capacity
    }

    /// Reserves disk space for `len` more bytes.
    pub(crate) fn allocate(&mut self, len: u64) -> Result<()> {
        let needed = self.tail + len;
        if needed <= self.allocated {
            return Ok(());
        }
        let least = align_up(needed - self.allocated, 4096);
        let end = |step: u64| (self.allocated + step).min(self.capacity).max(needed);
        let reserve =
            |end: u64| self.segment.file().allocate(self.allocated, end - self.allocated).map(|()| end);
        self.allocated = match reserve(end(least.max(self.allocate_step))) {
            // A disk that is nearly full may still have room for what is needed now.
            Err(Error::DiskFull { .. }) if least < self.allocate_step => reserve(end(least))?,
            result => result?,
        };
        Ok(())
    }

    /// [`SegmentWriter::append`] for a batch of about [`HUGE_WRITE`] bytes.
    pub(crate) fn append_huge(&mut self, groups: &[GroupFrames<'_>]) -> Result<Payloads> {
        let start = self.tail;
        let lease = self.lease_huge(groups, 0)?;
        self.tail = start;
        let payloads = lease.write(groups)?;
        self.advance(lease.end);
        Ok(payloads)
    }

    /// Bytes of frames that a huge write may have, so that it ends where the next one should start.
    pub(crate) fn huge_room(&self) -> u64 {
        align_up(self.tail + 1, HUGE_WRITE as u64) - self.tail
    }

    /// Appends groups as one batch, and returns the offsets of their payloads.
    ///
    /// If writing fails, nothing of the batch counts: what it may have left in the file is covered
    /// by a pad before anything else is written.
    pub(crate) fn append(&mut self, groups: &[GroupFrames<'_>]) -> Result<Payloads> {
        self.cover_damage()?;
        let start = self.tail;
        let lease = self.lease(groups)?;
        self.tail = start;
        let end = lease.end;
        match lease.write(groups) {
            Ok(payloads) => {
                self.advance(end);
                Ok(payloads)
            }
            Err(error) => {
                self.damaged = Some(end);
                // Best tried now; if it fails too, the next append tries again.
                if let Err(again) = self.cover_damage() {
                    tracing::warn!(error = %again, "a failed write could not be covered yet");
                }
                Err(error)
            }
        }
    }

    /// Reserves the place of a batch, to be written by [`Lease::write`], possibly while others
    /// write elsewhere in the segment.
    pub(crate) fn lease(&mut self, groups: &[GroupFrames<'_>]) -> Result<Lease> {
        let (placed, end) = place(groups, self.tail, self.synced);
        assert!(end <= self.capacity, "the caller made sure that the batch fits");
        self.allocate(end - self.tail)?;
        let start = self.tail;
        self.tail = end;
        Ok(Lease { segment: Arc::clone(&self.segment), start, end, placed })
    }

    /// [`SegmentWriter::lease`] for a batch of about [`HUGE_WRITE`] bytes: padded up to the next
    /// multiple of that, so that this write and the next one fill huge pages. The last `reserve` bytes
    /// of the segment are left free.
    pub(crate) fn lease_huge(&mut self, groups: &[GroupFrames<'_>], reserve: u64) -> Result<Lease> {
        let mut lease = self.lease(groups)?;
        let gap = align_up(lease.end, HUGE_WRITE as u64) - lease.end;
        let header = GROUP_HEADER_LEN as u64;
        let wasteful = gap > lease.len() / 64;
        if gap >= header && !wasteful && lease.end + gap + reserve <= self.capacity {
            let mut pad = Group::alone(GroupKind::Pad, lease.end, gap - header);
            pad.synced = self.synced;
            self.allocate(gap)?;
            self.tail += gap;
            lease.end += gap;
            lease.placed.push((pad, None));
        }
        Ok(lease)
    }

    fn advance(&mut self, end: u64) {
        self.tail = end;
        self.segment.raise_readable(end);
    }

    /// Covers what a failed write may have left, which takes room.
    pub(crate) fn cover_damage(&mut self) -> Result<()> {
        let Some(end) = self.damaged else {
            return Ok(());
        };
        let payload_len = end - self.tail - GROUP_HEADER_LEN as u64;
        let pad = Group { synced: self.synced, ..Group::alone(GroupKind::Pad, self.tail, payload_len) };
        self.segment.file().write_all_at(&pad.encode(self.segment.seed()), self.tail)?;
        self.damaged = None;
        self.advance(end);
        Ok(())
    }

    /// Refuses batches that no segment can hold.
    pub(crate) fn check_len(len: u64) -> Result<()> {
        if FIRST_GROUP + len > MAX_SEGMENT_LEN {
            return Err(Error::BatchTooLarge { bytes: len, max: MAX_SEGMENT_LEN - FIRST_GROUP });
        }
        Ok(())
    }
}

/// A reserved stretch of a segment.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) segment: Arc<Segment>,
    start: u64,
    end: u64,
    placed: PlacedGroups,
}

impl Lease {
    /// Writes the groups that the lease was made for. Returns the offsets of their payloads.
    pub(crate) fn write(&self, groups: &[GroupFrames<'_>]) -> Result<Payloads> {
        let seed = self.segment.seed();
        let headers: SmallVec<[[u8; GROUP_HEADER_LEN]; 2]> =
            self.placed.iter().map(|(group, _)| group.encode(seed)).collect();
        let mut slices: SmallVec<[IoSlice<'_>; 4]> = SmallVec::new();
        for ((group, index), header) in self.placed.iter().zip(&headers) {
            slices.push(IoSlice::new(header));
            if let Some(frames) = index.and_then(|index| groups.get(index)) {
                slices.extend(frames.pieces.iter().map(|piece| IoSlice::new(piece)));
            } else {
                let len = usize::try_from(group.payload_len).expect("pads are short");
                slices.push(IoSlice::new(ZEROS.get(..len).expect("pads are below 64 KiB")));
            }
        }
        if self.len() <= SMALL_WRITE as u64 {
            let mut small: SmallVec<[u8; SMALL_WRITE]> = SmallVec::new();
            slices.iter().for_each(|slice| small.extend_from_slice(slice));
            self.segment.file().write_all_at(&small, self.start)?;
        } else {
            self.segment.file().write_slices_at(&mut slices, self.start)?;
        }
        let offsets = self.placed.iter().filter(|(_, index)| index.is_some());
        Ok(offsets.map(|(group, _)| group.payload_offset()).collect())
    }

    /// Bytes of the stretch.
    pub(crate) fn len(&self) -> u64 {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_align_payloads() {
        for at in (64..600).step_by(8) {
            for align in [1, 8, 16, 32, 64u64] {
                let gap = pad_before(at, align);
                assert!(gap == 0 || gap >= 40);
                assert_eq!((at + gap + 40) % align.max(8), 0);
            }
        }
    }
}
