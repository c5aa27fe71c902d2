//! Appending groups to a segment.

use std::io::IoSlice;
use std::sync::Arc;

use crate::bytes::address::align_up;
pub(crate) use crate::bytes::address::MAX_SEGMENT_LEN;
use crate::bytes::group::{GROUP_HEADER_LEN, Group, GroupKind};
use crate::error::{Error, Result};

use super::segment::{FIRST_GROUP, Segment};

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

/// Where the groups of a batch come to lie, pads included, and up to where they reach.
fn place(groups: &[GroupFrames<'_>], start: u64, synced: u64) -> (Vec<(Group, Option<usize>)>, u64) {
    let mut placed: Vec<(Group, Option<usize>)> = Vec::with_capacity(groups.len());
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
            if frames.template.align() > 8 { 2 * GROUP_HEADER_LEN as u64 + frames.template.align() as u64 } else { 0 }
        };
        groups
            .iter()
            .map(|frames| {
                GROUP_HEADER_LEN as u64 + pad(frames) + frames.pieces.iter().map(|p| p.len() as u64).sum::<u64>()
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
        let step = align_up(needed - self.allocated, 4096).max(self.allocate_step);
        let end = (self.allocated + step).min(self.capacity).max(needed);
        self.segment.file().allocate(self.allocated, end - self.allocated)?;
        self.allocated = end;
        Ok(())
    }

    /// Appends groups as one batch, and returns the offsets of their payloads.
    ///
    /// If writing fails, nothing of the batch counts: what it may have left in the file is covered
    /// by a pad before anything else is written.
    pub(crate) fn append(&mut self, groups: &[GroupFrames<'_>]) -> Result<Vec<u64>> {
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

    fn advance(&mut self, end: u64) {
        self.tail = end;
        self.segment.raise_readable(end);
    }

    /// Covers what a failed write may have left.
    fn cover_damage(&mut self) -> Result<()> {
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
    placed: Vec<(Group, Option<usize>)>,
}

impl Lease {
    /// Writes the groups that the lease was made for. Returns the offsets of their payloads.
    pub(crate) fn write(&self, groups: &[GroupFrames<'_>]) -> Result<Vec<u64>> {
        let seed = self.segment.seed();
        let headers: Vec<[u8; GROUP_HEADER_LEN]> =
            self.placed.iter().map(|(group, _)| group.encode(seed)).collect();
        let zeros = [0u8; 128];
        let mut slices = Vec::with_capacity(self.placed.len() * 2);
        for ((group, index), header) in self.placed.iter().zip(&headers) {
            slices.push(IoSlice::new(header));
            match index.and_then(|index| groups.get(index)) {
                Some(frames) => slices.extend(frames.pieces.iter().map(|piece| IoSlice::new(piece))),
                None => {
                    let len = usize::try_from(group.payload_len).unwrap_or(zeros.len());
                    slices.push(IoSlice::new(zeros.get(..len).unwrap_or(&zeros)));
                }
            }
        }
        self.segment.file().write_slices_at(&mut slices, self.start)?;
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
