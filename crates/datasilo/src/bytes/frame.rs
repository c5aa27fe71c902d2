//! Frames: one mutation each, self-delimiting and checksummed.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::address::align_up;
use super::checksum::{crc, seeded_crc};

/// Length of a frame header in bytes.
pub(crate) const FRAME_HEADER_LEN: usize = size_of::<FrameHeader>();
const _: () = assert!(FRAME_HEADER_LEN == 12);

/// The longest key, in bytes.
pub(crate) const MAX_KEY_LEN: usize = u16::MAX as usize;

/// The longest value, in bytes.
pub(crate) const MAX_VALUE_LEN: u64 = u32::MAX as u64;

/// Values longer than this have a checksum per block of this length.
pub(crate) const BLOCK_LEN: usize = 4096;

/// `key_len` code for "the length follows in two bytes".
const LONG_KEY: u8 = 255;

const COMBINED: u8 = 1 << 2;
const KNOWN_FLAGS: u8 = 0b111;

/// What a frame does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Put,
    Delete,
    Merge,
    /// No mutation: fills the distance to an aligned frame.
    Fill,
}

impl FrameKind {
    const fn code(self) -> u8 {
        match self {
            Self::Put => 0,
            Self::Delete => 1,
            Self::Merge => 2,
            Self::Fill => 3,
        }
    }

    const fn of(flags: u8) -> Self {
        match flags & 0b11 {
            0 => Self::Put,
            1 => Self::Delete,
            2 => Self::Merge,
            _ => Self::Fill,
        }
    }
}

/// See the format page, "Frame header".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FrameHeader {
    pub(crate) crc: U32,
    pub(crate) value_len: U32,
    pub(crate) ordinal: U16,
    pub(crate) flags: u8,
    pub(crate) key_len: u8,
}

/// A mutation about to be encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameInput<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) ordinal: u16,
    /// The frame stands for earlier ones of its key.
    pub(crate) combined: bool,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Where the parts of a frame lie, relative to its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameLayout {
    key: usize,
    table: usize,
    value: usize,
    end: usize,
}

impl FrameLayout {
    fn new(key_len: usize, value_len: usize, align: usize) -> Self {
        let long = if key_len >= usize::from(LONG_KEY) { 2 } else { 0 };
        let key = FRAME_HEADER_LEN + long;
        let table = key + key_len;
        let blocks = if value_len > BLOCK_LEN { value_len.div_ceil(BLOCK_LEN) } else { 0 };
        let value = round_up(table + blocks * 4, align);
        Self { key, table, value, end: round_up(value + value_len, 8) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "lengths of frames fit usize on 64-bit targets")]
fn round_up(len: usize, align: usize) -> usize {
    align_up(len as u64, align as u64) as usize
}

/// Length that [`encode_frame`] will append for this key and value.
pub(crate) fn frame_len(key_len: usize, value_len: usize, align: usize) -> usize {
    FrameLayout::new(key_len, value_len, align).end
}

/// Appends a frame to `buffer`, whose length must be where the frame may start.
///
/// The caller has checked the lengths of key and value.
pub(crate) fn encode_frame(buffer: &mut Vec<u8>, keyspace: u32, align: usize, input: &FrameInput<'_>) {
    let FrameInput { kind, ordinal, combined, key, value } = *input;
    let layout = FrameLayout::new(key.len(), value.len(), align);
    let start = buffer.len();
    let long = key.len() >= usize::from(LONG_KEY);
    let header = FrameHeader {
        crc: 0.into(),
        value_len: u32::try_from(value.len()).expect("value length was checked").into(),
        ordinal: ordinal.into(),
        flags: kind.code() | if combined { COMBINED } else { 0 },
        key_len: if long { LONG_KEY } else { u8::try_from(key.len()).unwrap_or(LONG_KEY) },
    };
    buffer.reserve(layout.end);
    buffer.extend_from_slice(header.as_bytes());
    if long {
        let len = u16::try_from(key.len()).expect("key length was checked");
        buffer.extend_from_slice(&len.to_le_bytes());
    }
    buffer.extend_from_slice(key);
    let blocked = value.len() > BLOCK_LEN;
    if blocked {
        for block in value.chunks(BLOCK_LEN) {
            buffer.extend_from_slice(&crc(block).to_le_bytes());
        }
    }
    buffer.resize(start + layout.value, 0);
    buffer.extend_from_slice(value);
    buffer.resize(start + layout.end, 0);
    let covered = if blocked { layout.value } else { layout.end };
    let crc = seeded_crc(keyspace, buffer.get(start + 4..start + covered).unwrap_or_default());
    if let Some(field) = buffer.get_mut(start..start + 4) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
}

/// Appends a fill frame of exactly `len` bytes: a multiple of 8, at least 16.
pub(crate) fn encode_fill(buffer: &mut Vec<u8>, keyspace: u32, len: usize) {
    assert!(len >= 16 && len.is_multiple_of(8), "a fill frame cannot have {len} bytes");
    // Fills are shorter than two alignments, so they never have a block table.
    let zeros = [0u8; 128];
    let value = zeros.get(..len - FRAME_HEADER_LEN).expect("fills are below 128 bytes");
    let input = FrameInput { kind: FrameKind::Fill, ordinal: 0, combined: false, key: &[], value };
    encode_frame(buffer, keyspace, 1, &input);
}

/// Length of the fill that brings a frame at `position` to a multiple of `align`; 0 if none is needed.
pub(crate) fn fill_len(position: usize, align: usize) -> usize {
    if align <= 8 {
        return 0;
    }
    match round_up(position, align) - position {
        8 => 8 + align,
        gap => gap,
    }
}

/// A put of the plainest shape, which most are: short key, no alignment, no block table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainPut<'a> {
    crc: u32,
    /// Everything that the checksum covers.
    covered: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> PlainPut<'a> {
    /// Looks at the frame that starts `bytes`, of a keyspace without alignment. `None` if it is
    /// not such a put; it may still be another frame.
    #[inline]
    pub(crate) fn first(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = FrameHeader::ref_from_prefix(bytes).ok()?;
        Self::with_key_len(bytes, usize::from(header.key_len))
    }

    /// [`PlainPut::first`] of this key.
    #[inline]
    pub(crate) fn of_key(bytes: &'a [u8], key: &[u8]) -> Option<Self> {
        Self::with_key_len(bytes, key.len()).filter(|put| put.key == key)
    }

    /// The length comes from the caller, so that one who knows it has the value's address without waiting for the
    /// header: the two are often in different cache lines.
    #[inline]
    fn with_key_len(bytes: &'a [u8], key_len: usize) -> Option<Self> {
        let (header, after) = FrameHeader::ref_from_prefix(bytes).ok()?;
        let value_len = header.value_len.get() as usize;
        let plain = header.flags & 0b11 == FrameKind::Put.code()
            && header.flags & !KNOWN_FLAGS == 0
            && usize::from(header.key_len) == key_len
            && header.key_len != LONG_KEY
            && value_len <= BLOCK_LEN;
        if !plain {
            return None;
        }
        let (key, rest) = after.split_at_checked(key_len)?;
        let end = (FRAME_HEADER_LEN + key_len + value_len).next_multiple_of(8);
        Some(Self { crc: header.crc.get(), covered: bytes.get(4..end)?, key, value: rest.get(..value_len)? })
    }

    /// Bytes of the whole frame.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        4 + self.covered.len()
    }

    #[inline]
    pub(crate) fn verify(&self, keyspace: u32) -> bool {
        seeded_crc(keyspace, self.covered) == self.crc
    }
}

/// A frame in place. Its bounds are checked, its checksum is not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameView<'a> {
    bytes: &'a [u8],
    header: FrameHeader,
    layout: FrameLayout,
}

impl<'a> FrameView<'a> {
    /// Looks at the frame that starts `bytes`. `None` if it does not fit in them.
    #[inline]
    pub(crate) fn parse(bytes: &'a [u8], align: usize) -> Option<Self> {
        let (header, after) = FrameHeader::read_from_prefix(bytes).ok()?;
        let value_len = header.value_len.get() as usize;
        let key_len = if header.key_len == LONG_KEY {
            let len = usize::from(u16::from_le_bytes(*after.first_chunk::<2>()?));
            if len < usize::from(LONG_KEY) {
                return None;
            }
            len
        } else {
            usize::from(header.key_len)
        };
        if header.flags & !KNOWN_FLAGS != 0 {
            return None;
        }
        // Fills make up the distance to an aligned frame and are not aligned themselves.
        let align = if FrameKind::of(header.flags) == FrameKind::Fill { 1 } else { align };
        let layout = FrameLayout::new(key_len, value_len, align);
        let bytes = bytes.get(..layout.end)?;
        Some(Self { bytes, header, layout })
    }

    pub(crate) fn kind(&self) -> FrameKind {
        FrameKind::of(self.header.flags)
    }

    pub(crate) fn ordinal(&self) -> u16 {
        self.header.ordinal.get()
    }

    pub(crate) fn is_combined(&self) -> bool {
        self.header.flags & COMBINED != 0
    }

    #[inline]
    pub(crate) fn key(&self) -> &'a [u8] {
        self.bytes.get(self.layout.key..self.layout.table).unwrap_or_default()
    }

    /// The value's bytes, unverified.
    #[inline]
    pub(crate) fn value(&self) -> &'a [u8] {
        let end = self.layout.value + self.value_len();
        self.bytes.get(self.layout.value..end).unwrap_or_default()
    }

    pub(crate) fn value_len(&self) -> usize {
        self.header.value_len.get() as usize
    }

    /// Offset of the value from the frame's start.
    pub(crate) fn value_offset(&self) -> usize {
        self.layout.value
    }

    /// Bytes of the whole frame.
    pub(crate) fn len(&self) -> usize {
        self.layout.end
    }

    /// The whole frame.
    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// True if the value has a checksum per block.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        self.value_len() > BLOCK_LEN
    }

    /// Checks the frame's own checksum (which leaves out the value of a blocked frame).
    #[inline]
    pub(crate) fn verify_frame(&self, keyspace: u32) -> bool {
        let covered = if self.is_blocked() { self.layout.value } else { self.layout.end };
        let bytes = self.bytes.get(4..covered).unwrap_or_default();
        seeded_crc(keyspace, bytes) == self.header.crc.get()
    }

    /// Checks one block of a blocked frame's value.
    pub(crate) fn verify_block(&self, block: usize) -> bool {
        let entry = self.layout.table + block * 4;
        let Some(expected) = self.bytes.get(entry..entry + 4).and_then(|b| b.first_chunk::<4>()) else {
            return false;
        };
        let value = self.value();
        let start = block * BLOCK_LEN;
        let end = (start + BLOCK_LEN).min(value.len());
        value.get(start..end).is_some_and(|bytes| crc(bytes) == u32::from_le_bytes(*expected))
    }

    /// Blocks of a blocked frame's value.
    pub(crate) fn block_count(&self) -> usize {
        if self.is_blocked() { self.value_len().div_ceil(BLOCK_LEN) } else { 0 }
    }

    /// Checks everything that a checksum covers.
    pub(crate) fn verify_whole(&self, keyspace: u32) -> bool {
        self.verify_frame(keyspace) && (0..self.block_count()).all(|b| self.verify_block(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(kind: FrameKind, combined: bool, key: &[u8], value: &[u8], align: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        encode_frame(&mut buffer, 5, align, &FrameInput { kind, ordinal: 3, combined, key, value });
        buffer
    }

    #[test]
    fn frames_of_every_shape_read_back() {
        let long_key = vec![b'k'; 300];
        let blocked = vec![9u8; 3 * BLOCK_LEN + 1];
        for key in [&b""[..], b"12345678", &long_key[..254], &long_key[..255], &long_key] {
            for value in [&b""[..], b"v", &blocked[..BLOCK_LEN], &blocked] {
                for align in [1, 8, 64] {
                    for combined in [false, true] {
                        let bytes = encode(FrameKind::Merge, combined, key, value, align);
                        assert_eq!(bytes.len() % 8, 0);
                        assert_eq!(bytes.len(), frame_len(key.len(), value.len(), align));
                        let frame = FrameView::parse(&bytes, align).unwrap();
                        assert_eq!((frame.key(), frame.value()), (key, value));
                        assert_eq!((frame.kind(), frame.ordinal()), (FrameKind::Merge, 3));
                        assert_eq!(frame.is_combined(), combined);
                        assert_eq!(frame.value_offset() % align, 0);
                        assert!(frame.verify_whole(5));
                        assert!(!frame.verify_frame(6), "the keyspace is part of the checksum");
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_frame_costs_twelve_bytes() {
        assert_eq!(frame_len(8, 300, 1), 320);
        assert_eq!(frame_len(8, 24, 1), 48);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for (value_len, align) in [(0, 1), (20, 1), (30, 64), (2 * BLOCK_LEN + 3, 1)] {
            let bytes = encode(FrameKind::Put, false, b"key", &vec![1; value_len], align);
            let padding = value_len > BLOCK_LEN; // only the tail of a blocked frame is uncovered
            let end = FrameView::parse(&bytes, align).unwrap().value_offset() + value_len;
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let noticed = FrameView::parse(&damaged, align).is_none_or(|f| !f.verify_whole(5));
                assert_eq!(noticed, !(padding && bit / 8 >= end), "bit {bit} of {value_len}");
            }
        }
    }

    #[test]
    fn truncated_frames_do_not_parse() {
        let bytes = encode(FrameKind::Put, false, &[1; 260], &[2; 5000], 1);
        for len in 0..bytes.len() {
            assert!(FrameView::parse(&bytes[..len], 1).is_none());
        }
    }

    #[test]
    fn fills_reach_the_alignment() {
        for align in [16usize, 32, 64] {
            for position in (40..400).step_by(8) {
                let len = fill_len(position, align);
                assert!(len == 0 || len >= 16);
                assert_eq!((position + len) % align, 0);
                if len > 0 {
                    let mut buffer = Vec::new();
                    encode_fill(&mut buffer, 5, len);
                    assert_eq!(buffer.len(), len);
                    let fill = FrameView::parse(&buffer, 1).unwrap();
                    assert!(fill.kind() == FrameKind::Fill && fill.verify_whole(5));
                }
            }
        }
        assert_eq!(fill_len(48, 8), 0);
    }
}
