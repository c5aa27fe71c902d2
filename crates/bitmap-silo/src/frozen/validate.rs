//! The one validator of portable blobs, for bytes from strangers, checks and fuzzers.

use super::header::Header;
use super::view::{FrozenBitmap, Layout};
use crate::container::{ArrayRef, BitsetRef, ContainerKind, ContainerRef, RunsRef};
use crate::error::BitmapError;

impl<'a> FrozenBitmap<'a> {
    /// Opens bytes from a stranger: accepts exactly what the Roaring format accepts, and checks
    /// every container.
    ///
    /// As the reference readers do, it ignores bytes after the blob, offsets (bodies lie end to
    /// end) and the recorded cardinality of run containers. Where those turn out wrong, the view
    /// finds bodies by walking and counts runs itself: right, but O(containers) per access, so
    /// re-encode such a bitmap before using it much. O(bytes), nothing allocated.
    ///
    /// # Errors
    /// [`BitmapError`] naming the rule broken and where: a wrong cookie, more than 65,536
    /// containers, bytes cut short, keys or array values that do not ascend strictly, a bitset
    /// whose ones are not as many as recorded, no run, runs that overlap, touch or leave the
    /// chunk.
    pub fn from_untrusted(bytes: &'a [u8]) -> Result<Self, BitmapError> {
        let header = Header::parse(bytes)?;
        let mut view = Self { bytes, header, layout: Layout::Table, recount: false };
        let mut offset = header.bodies_start;
        view.check_keys()?;
        for index in 0..header.container_count() {
            if header.offsets.is_some() && header.offset(index) != Some(offset) {
                view.layout = Layout::Walk;
            }
            let len = header.body_bytes_at(index, bytes, offset)?;
            let body = bytes.get(offset..offset + len).unwrap_or(&[]);
            let container = body_view(&header, index, body)
                .ok_or_else(|| BitmapError::malformed("a body of the wrong size", offset))?;
            if let Some(what) = broken_rule(container) {
                return Err(BitmapError::malformed(what, offset));
            }
            view.recount |= container.cardinality() != header.cardinality(index);
            offset += len;
        }
        if header.offsets.is_none() {
            view.layout = Layout::Few;
        }
        view.bytes = bytes.get(..offset).unwrap_or(bytes);
        Ok(view)
    }

    /// Checks every byte of the bitmap, as [`from_untrusted`](Self::from_untrusted) does, and
    /// beyond that what this crate's writers promise: true offsets and cardinalities.
    ///
    /// # Errors
    /// [`BitmapError`] naming the first rule broken and where.
    pub fn validate(&self) -> Result<(), BitmapError> {
        let view = FrozenBitmap::from_untrusted(self.bytes)?;
        if view.layout == Layout::Walk {
            return Err(BitmapError::malformed("an offset is not its body's", 0));
        }
        if view.recount {
            return Err(BitmapError::malformed("a run container's cardinality is wrong", 0));
        }
        Ok(())
    }
}

/// The container of a body, with its cardinality counted where it has runs.
fn body_view<'a>(header: &Header<'_>, index: usize, body: &'a [u8]) -> Option<ContainerRef<'a>> {
    Some(match header.kind(index) {
        ContainerKind::Array => ArrayRef::new(body.as_chunks().0).into(),
        ContainerKind::Bitset => {
            let bits = body.as_chunks().0.first_chunk()?;
            BitsetRef::new(bits, header.cardinality(index)).into()
        }
        ContainerKind::Runs => RunsRef::counted(body.get(2..)?.as_chunks().0).into(),
    })
}

/// The rule that the inside of a container breaks, if any.
fn broken_rule(container: ContainerRef<'_>) -> Option<&'static str> {
    match container {
        ContainerRef::Array(a) => {
            let ascending = a.values().windows(2).fold(true, |ok, pair| match pair {
                [x, y] => ok & (u16::from_le_bytes(*x) < u16::from_le_bytes(*y)),
                _ => ok,
            });
            (!ascending).then_some("array values do not ascend strictly")
        }
        ContainerRef::Bitset(b) => {
            (container.counted() != b_cardinality(b)).then_some("a bitset's ones are not as many as recorded")
        }
        ContainerRef::Runs(r) => {
            if r.run_count() == 0 {
                return Some("a run container without runs");
            }
            let mut free_from = 0_u32;
            for pair in r.pairs() {
                let first = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
                let last = first + u32::from(u16::from_le_bytes([pair[2], pair[3]]));
                if last > u32::from(u16::MAX) {
                    return Some("a run leaves its chunk");
                }
                if first < free_from {
                    return Some("runs overlap, touch or do not ascend");
                }
                free_from = last + 2;
            }
            None
        }
    }
}

fn b_cardinality(bitset: BitsetRef<'_>) -> u32 {
    ContainerRef::Bitset(bitset).cardinality()
}
