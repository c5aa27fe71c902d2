//! The header of a portable blob: cookie, run flags, keys and cardinalities, offsets.

use std::io;

use super::error_at::{take, take_array};
use crate::container::encode::body_bytes;
use crate::container::{ARRAY_MAX, ContainerKind};
use crate::error::BitmapError;

/// First four bytes of a blob without run containers.
pub(crate) const COOKIE_NO_RUNS: u32 = 12_346;
/// First two bytes of a blob with run containers; the next two are the container count − 1.
pub(crate) const COOKIE_RUNS: u16 = 12_347;
/// A blob with run containers has an offset header from this many containers on.
pub(crate) const OFFSETS_FROM: usize = 4;
/// Most containers of a blob.
pub(crate) const CONTAINERS_MAX: usize = 1 << 16;

/// The parts of a blob's header, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    /// Key and cardinality − 1 of each container, both 16 bits.
    pub(super) descriptions: &'a [[u8; 4]],
    /// A bit per container: whether it has runs. Empty where none has.
    pub(super) run_flags: &'a [u8],
    /// Where each body starts, where the blob has that table.
    pub(super) offsets: Option<&'a [[u8; 4]]>,
    /// Where the first body starts.
    pub(super) bodies_start: usize,
}

impl<'a> Header<'a> {
    /// Reads the header; checks nothing but that it is there in full.
    #[inline]
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BitmapError> {
        let (cookie, rest) = take_array::<4>("the cookie", bytes, bytes.len())?;
        let [low, high] = [[cookie[0], cookie[1]], [cookie[2], cookie[3]]];
        let has_runs = u16::from_le_bytes(low) == COOKIE_RUNS;
        let (count, run_flags, rest) = if has_runs {
            let count = usize::from(u16::from_le_bytes(high)) + 1;
            let (flags, rest) = take("the run flags", rest, count.div_ceil(8), bytes.len())?;
            (count, flags, rest)
        } else if u32::from_le_bytes(*cookie) == COOKIE_NO_RUNS {
            let (count, rest) = take_array::<4>("the container count", rest, bytes.len())?;
            (u32::from_le_bytes(*count) as usize, &[][..], rest)
        } else {
            return Err(BitmapError::malformed("neither cookie of the format", 0));
        };
        if count > CONTAINERS_MAX {
            return Err(BitmapError::malformed("more than 65,536 containers", 4));
        }
        let (descriptions, rest) = take("the descriptions", rest, 4 * count, bytes.len())?;
        let (offsets, rest) = if has_runs && count < OFFSETS_FROM {
            (None, rest)
        } else {
            let (offsets, rest) = take("the offsets", rest, 4 * count, bytes.len())?;
            (Some(offsets.as_chunks().0), rest)
        };
        Ok(Self {
            descriptions: descriptions.as_chunks().0,
            run_flags,
            offsets,
            bodies_start: bytes.len() - rest.len(),
        })
    }

    /// Number of containers.
    #[inline]
    pub(super) fn container_count(&self) -> usize {
        self.descriptions.len()
    }

    /// Sum of the recorded cardinalities.
    pub(super) fn len(&self) -> u64 {
        let last_ranks = self.descriptions.iter().map(|d| u64::from(u16::from_le_bytes([d[2], d[3]])));
        last_ranks.sum::<u64>() + self.descriptions.len() as u64
    }

    /// Key of container `index`, or zero past the end.
    #[inline]
    pub(super) fn key(&self, index: usize) -> u16 {
        self.descriptions.get(index).map_or(0, |d| u16::from_le_bytes([d[0], d[1]]))
    }

    /// Recorded cardinality of container `index`, or zero past the end.
    #[inline]
    pub(super) fn cardinality(&self, index: usize) -> u32 {
        self.descriptions.get(index).map_or(0, |d| u32::from(u16::from_le_bytes([d[2], d[3]])) + 1)
    }

    /// Whether container `index` has runs.
    #[inline]
    pub(super) fn has_runs_at(&self, index: usize) -> bool {
        self.run_flags.get(index / 8).is_some_and(|flags| flags >> (index % 8) & 1 == 1)
    }

    /// Encoding of container `index`.
    #[inline]
    pub(super) fn kind(&self, index: usize) -> ContainerKind {
        if self.has_runs_at(index) {
            ContainerKind::Runs
        } else if self.cardinality(index) <= ARRAY_MAX {
            ContainerKind::Array
        } else {
            ContainerKind::Bitset
        }
    }

    /// Recorded offset of container `index`.
    #[inline]
    pub(super) fn offset(&self, index: usize) -> Option<usize> {
        self.offsets?.get(index).map(|o| u32::from_le_bytes(*o) as usize)
    }

    /// Bytes of the body of container `index` that starts at `offset` of `bytes`; reads the run
    /// count of a run container and checks nothing else.
    pub(super) fn body_bytes_at(
        &self,
        index: usize,
        bytes: &[u8],
        offset: usize,
    ) -> Result<usize, BitmapError> {
        let kind = self.kind(index);
        let run_count = match (kind, bytes.get(offset..).and_then(<[u8]>::first_chunk)) {
            (ContainerKind::Runs, Some(count)) => usize::from(u16::from_le_bytes(*count)),
            (ContainerKind::Runs, None) => {
                return Err(BitmapError::truncated("a run count", offset, 2, bytes.len()));
            }
            _ => 0,
        };
        let need = body_bytes(kind, self.cardinality(index), run_count);
        if bytes.len().saturating_sub(offset) < need {
            return Err(BitmapError::truncated("a container", offset, need, bytes.len()));
        }
        Ok(need)
    }
}

/// Bytes of the header of a blob with `count` containers.
pub(crate) fn header_bytes(count: usize, has_runs: bool) -> usize {
    if !has_runs {
        8 + 8 * count
    } else if count < OFFSETS_FROM {
        4 + count.div_ceil(8) + 4 * count
    } else {
        4 + count.div_ceil(8) + 8 * count
    }
}

/// Writes the cookie and the container count.
#[expect(clippy::cast_possible_truncation, reason = "a blob has at most 65,536 containers")]
pub(crate) fn write_cookie(count: usize, has_runs: bool, out: &mut impl io::Write) -> io::Result<()> {
    if has_runs {
        out.write_all(&COOKIE_RUNS.to_le_bytes())?;
        out.write_all(&((count - 1) as u16).to_le_bytes())
    } else {
        out.write_all(&COOKIE_NO_RUNS.to_le_bytes())?;
        out.write_all(&(count as u32).to_le_bytes())
    }
}
