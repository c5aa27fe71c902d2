//! Writing a blob chunk by chunk.

use std::io;

use smallvec::SmallVec;

use super::buf::BitmapBuf;
use super::header::{OFFSETS_FROM, header_bytes, write_cookie};
use crate::container::encode::{Layout, encode_into};
use crate::container::{ARRAY_MAX, BitsetRef, CHUNK_SLOTS, ContainerKind, ContainerRef, Scratch};
use crate::error::BitmapError;
use crate::kernels::{WordOp, kernels};

/// What the header will say of one container.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u16,
    /// Cardinality − 1.
    last_rank: u16,
    has_runs: bool,
    /// Where the body starts, from the first body.
    start: u32,
}

/// Builds a portable blob from containers given in ascending order of their keys.
#[derive(Clone, Debug, Default)]
pub struct BitmapWriter {
    layout: Layout,
    entries: SmallVec<[Entry; 8]>,
    has_runs: bool,
    /// Room for a header, then the bodies: a header that fits needs no copy of the bodies.
    bytes: Vec<u8>,
    /// Bytes of that room.
    gap: usize,
}

impl BitmapWriter {
    /// A writer that chooses encodings by `layout`.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// A writer with room for `containers` containers and `bytes` bytes of bodies; up to so many
    /// containers, finishing copies nothing.
    #[must_use]
    pub fn with_capacity(layout: Layout, containers: usize, bytes: usize) -> Self {
        let gap = header_bytes(containers, false).max(header_bytes(containers, true));
        let mut room = Vec::with_capacity(gap + bytes);
        room.resize(gap, 0);
        Self { layout, entries: SmallVec::with_capacity(containers), has_runs: false, bytes: room, gap }
    }

    /// The bodies written so far.
    fn bodies(&self) -> &[u8] {
        self.bytes.get(self.gap..).unwrap_or(&[])
    }

    /// Appends a chunk; one without values leaves no trace. O(bytes) of the container: its values
    /// are counted, whatever cardinality it records.
    ///
    /// # Errors
    /// [`BitmapError::ChunkOrder`] unless `key` is above all keys before it.
    pub fn push(&mut self, key: u16, container: ContainerRef<'_>) -> Result<(), BitmapError> {
        self.push_counted(key, container, container.counted())
    }

    /// Appends a chunk whose cardinality the caller has counted, or took from bytes whose insides
    /// nobody checked: what the blob's structure hangs on is counted again, which costs little
    /// beside writing.
    pub(crate) fn push_counted(
        &mut self,
        key: u16,
        container: ContainerRef<'_>,
        cardinality: u32,
    ) -> Result<(), BitmapError> {
        self.push_in(key, container, cardinality, self.layout)
    }

    /// The same in another layout: a chunk that comes in its smallest encoding need not be searched
    /// for runs again.
    pub(crate) fn push_in(
        &mut self,
        key: u16,
        container: ContainerRef<'_>,
        cardinality: u32,
        layout: Layout,
    ) -> Result<(), BitmapError> {
        let cardinality = match container {
            ContainerRef::Array(_) | ContainerRef::Runs(_) => container.counted(),
            ContainerRef::Bitset(_) if cardinality <= ARRAY_MAX => container.counted(),
            ContainerRef::Bitset(_) => cardinality.min(CHUNK_SLOTS),
        };
        if cardinality == 0 {
            return Ok(());
        }
        self.check_order(key)?;
        let start = self.bytes.len();
        let kind = encode_into(container, cardinality, layout, &mut self.bytes);
        self.note(key, cardinality, kind, start);
        Ok(())
    }

    /// Appends the chunk with the slots in both bitsets, computed where the blob takes it.
    pub(crate) fn push_both(
        &mut self,
        key: u16,
        a: BitsetRef<'_>,
        b: BitsetRef<'_>,
    ) -> Result<(), BitmapError> {
        self.check_order(key)?;
        let start = self.bytes.len();
        let cardinality = (kernels().append)(WordOp::And, a.bits(), b.bits(), &mut self.bytes);
        if cardinality <= ARRAY_MAX {
            let mut words = Scratch::new();
            if let Some((bits, [])) =
                self.bytes.get(start..).and_then(|tail| tail.as_chunks().0.split_first_chunk())
            {
                words.load(BitsetRef::new(bits, cardinality).into());
            }
            self.bytes.truncate(start);
            return self.push_counted(key, words.as_bitset(cardinality).into(), cardinality);
        }
        self.note(key, cardinality, ContainerKind::Bitset, start);
        Ok(())
    }

    /// Whether a chunk may come next.
    fn check_order(&self, key: u16) -> Result<(), BitmapError> {
        match self.entries.last() {
            Some(last) if last.key >= key => Err(BitmapError::ChunkOrder { last: last.key, got: key }),
            _ => Ok(()),
        }
    }

    /// Notes a container that was written from `start` of the room and bodies on.
    fn note(&mut self, key: u16, cardinality: u32, kind: ContainerKind, start: usize) {
        self.has_runs |= kind == ContainerKind::Runs;
        self.entries.push(Entry {
            key,
            last_rank: u16::try_from(cardinality.saturating_sub(1)).unwrap_or(u16::MAX),
            has_runs: kind == ContainerKind::Runs,
            start: to_u32(start - self.gap),
        });
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.truncate(self.gap);
        self.has_runs = false;
    }

    /// Number of containers written so far.
    pub(crate) fn container_count(&self) -> usize {
        self.entries.len()
    }

    /// Number of slots written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.last_rank) + 1).sum()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the blob would have if finished now.
    #[must_use]
    pub fn blob_bytes(&self) -> usize {
        header_bytes(self.entries.len(), self.has_runs) + self.bodies().len()
    }

    /// Appends the blob to `out`.
    pub fn finish_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.blob_bytes());
        self.push_header(out);
        out.extend_from_slice(self.bodies());
    }

    /// The blob of several parts whose chunks ascend from part to part: bodies are copied, never
    /// looked at. O(bytes), at about the speed of copying.
    ///
    /// # Errors
    /// [`BitmapError::PartOrder`] where a part starts at or below the last chunk before it.
    pub fn concatenate(parts: &[BitmapWriter]) -> Result<BitmapBuf, BitmapError> {
        let mut all = BitmapWriter::default();
        let mut start = 0;
        let entry_count = parts.iter().map(|part| part.entries.len()).sum();
        all.entries.reserve(entry_count);
        for (index, part) in parts.iter().enumerate() {
            if let (Some(last), Some(first)) = (all.entries.last(), part.entries.first())
                && last.key >= first.key
            {
                return Err(BitmapError::PartOrder { part: index });
            }
            all.has_runs |= part.has_runs;
            let shifted = part.entries.iter().map(|e| Entry { start: e.start + start, ..*e });
            all.entries.extend(shifted);
            start += to_u32(part.bodies().len());
        }
        let mut bytes = Vec::with_capacity(header_bytes(entry_count, all.has_runs) + start as usize);
        all.push_header(&mut bytes);
        for part in parts {
            bytes.extend_from_slice(part.bodies());
        }
        Ok(BitmapBuf::from_valid(bytes))
    }

    /// The finished blob.
    #[must_use]
    pub fn finish(mut self) -> BitmapBuf {
        let len = header_bytes(self.entries.len(), self.has_runs);
        let mut bytes = std::mem::take(&mut self.bytes);
        if let Some(start) = self.gap.checked_sub(len)
            && let Some(mut room) = bytes.get_mut(start..self.gap)
            && self.write_header(&mut room).is_ok()
        {
            return BitmapBuf::from_valid_at(bytes, start);
        }
        let mut blob = Vec::with_capacity(len + bytes.len() - self.gap);
        self.push_header(&mut blob);
        blob.extend_from_slice(bytes.get(self.gap..).unwrap_or(&[]));
        BitmapBuf::from_valid(blob)
    }

    /// Writes the header; memory takes all of it.
    fn write_header(&self, out: &mut impl io::Write) -> io::Result<()> {
        let count = self.entries.len();
        let has_runs = self.has_runs;
        let bodies_start = header_bytes(count, has_runs);
        write_cookie(count, has_runs, out)?;
        if has_runs {
            for group in self.entries.chunks(8) {
                let flags = group
                    .iter()
                    .enumerate()
                    .fold(0_u8, |flags, (bit, entry)| flags | (u8::from(entry.has_runs) << bit));
                out.write_all(&[flags])?;
            }
        }
        for entry in &self.entries {
            let [key_low, key_high] = entry.key.to_le_bytes();
            let [rank_low, rank_high] = entry.last_rank.to_le_bytes();
            out.write_all(&[key_low, key_high, rank_low, rank_high])?;
        }
        if !has_runs || count >= OFFSETS_FROM {
            for entry in &self.entries {
                out.write_all(&(to_u32(bodies_start) + entry.start).to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// Appends the header to memory.
    fn push_header(&self, out: &mut Vec<u8>) {
        let written = self.write_header(out);
        debug_assert!(written.is_ok(), "memory takes all of it");
    }
}

/// A blob has at most 65,536 containers of 8 KiB and a header, so its offsets fit 32 bits.
fn to_u32(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
