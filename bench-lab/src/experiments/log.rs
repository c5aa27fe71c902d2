//! A plain ops log for experiments about scanning and writing.
//!
//! Frame: length of the value (u32), CRC-32 of key and value (u32), key (u64), value, zeros up to a multiple of 8. Regions of a fixed size
//! hold whole frames; what is left of a region is zero.

use std::path::Path;

use anyhow::Result;

use crate::random::Random;

/// Bytes before the value.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of a region of a scanned log.
pub(super) const REGION_BYTES: usize = 1 << 20;

/// A frame where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) key: u64,
    pub(super) value: &'a [u8],
    crc: u32,
}

/// Bytes of a frame with a value of so many.
pub(super) fn frame_bytes(value_len: usize) -> usize {
    (HEADER_BYTES + value_len).next_multiple_of(8)
}

fn checksum(key: u64, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.to_le_bytes());
    hasher.update(value);
    hasher.finalize()
}

/// Appends a frame; without a checksum, that field is zero.
#[inline]
pub(super) fn push_frame(out: &mut Vec<u8>, key: u64, value: &[u8], checked: bool) {
    let end = out.len() + frame_bytes(value.len());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(&(if checked { checksum(key, value) } else { 0 }).to_le_bytes());
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(value);
    out.resize(end, 0);
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, not checked; none where there are only zeros or too little.
    #[inline]
    pub(super) fn at(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let value = rest.get(..word(0) as usize)?;
        let key = u64::from(word(8)) | u64::from(word(12)) << 32;
        (word(0) != 0).then_some(Self { key, value, crc: word(4) })
    }

    /// Whether the checksum is right.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        checksum(self.key, self.value) == self.crc
    }
}

/// Calls `f` with offset and frame of each whole frame, region after region.
pub(super) fn for_each_frame<'a>(bytes: &'a [u8], region_bytes: usize, mut f: impl FnMut(usize, Frame<'a>)) {
    for (index, region) in bytes.chunks(region_bytes).enumerate() {
        let mut at = 0;
        while let Some(frame) = region.get(at..).and_then(Frame::at) {
            f(index * region_bytes + at, frame);
            at += frame_bytes(frame.value.len());
        }
    }
}

/// What a log holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogPlan {
    pub(super) frames: u64,
    pub(super) mean_len: u32,
    /// Share of the frames that overwrite an earlier one.
    pub(super) overwritten: f64,
    pub(super) seed: u64,
}

impl LogPlan {
    /// Number of distinct keys.
    pub(super) fn keys(&self) -> u64 {
        self.frames - (self.frames as f64 * self.overwritten) as u64
    }

    /// Calls `f` with key and value of each frame, in order: every key once, overwrites of random keys in between.
    pub(super) fn for_each(&self, mut f: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut random = Random::new(self.seed, 50);
        let mut pool = vec![0; 1 << 20];
        random.fill(&mut pool);
        let (keys, mut next) = (self.keys(), 0);
        for frame in 0..self.frames {
            let left = self.frames - frame;
            let is_new = next == 0 || random.chance((keys - next) as f64 / left as f64);
            let key = if is_new && next < keys {
                next += 1;
                next - 1
            } else {
                u64::from(random.below(next as u32))
            };
            let len = (self.mean_len - 50 + random.below(101)) as usize;
            let at = random.below((pool.len() - len) as u32) as usize;
            f(key, &pool[at..at + len])?;
        }
        Ok(())
    }

    /// Writes the log.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        use std::io::Write;
        let mut file = std::fs::File::create(path)?;
        let mut region = Vec::with_capacity(REGION_BYTES);
        self.for_each(|key, value| {
            if region.len() + frame_bytes(value.len()) > REGION_BYTES {
                region.resize(REGION_BYTES, 0);
                file.write_all(&region)?;
                region.clear();
            }
            push_frame(&mut region, key, value, true);
            Ok(())
        })?;
        file.write_all(&region)?;
        file.sync_all()?;
        Ok(())
    }
}

/// What of a live record goes into a digest: its key, length, and ends of its value.
pub(super) fn fingerprint(key: u64, value: &[u8]) -> u64 {
    let mut ends = [0; 16];
    let count = value.len().min(8);
    ends[..count].copy_from_slice(&value[..count]);
    ends[8..8 + count].copy_from_slice(&value[value.len() - count..]);
    let halves = u128::from_le_bytes(ends);
    crate::random::mix(key ^ crate::random::mix(halves as u64))
        ^ crate::random::mix((halves >> 64) as u64 ^ value.len() as u64)
}
