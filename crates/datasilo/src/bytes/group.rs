//! Group headers: what ties a run of frames to its place, its keyspace and its batch.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::address::{FileNumber, MAX_SEGMENT_LEN, MAX_SEQ, SeqNo, WORD, words};
use super::checksum::{crc, seeded_crc};
use super::file_header::SiloId;

/// Length of a group header in bytes.
pub(crate) const GROUP_HEADER_LEN: usize = size_of::<GroupHeader>();
const _: () = assert!(GROUP_HEADER_LEN == 40);

const GROUP_MAGIC: u32 = 0x5052_4753;
const FIRST: u8 = 1;
const LAST: u8 = 2;

/// What the payload of a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Frames,
    Pad,
    Fold,
    Seal,
    Catalog,
}

impl GroupKind {
    const fn code(self) -> u8 {
        match self {
            Self::Frames => 1,
            Self::Pad => 2,
            Self::Fold => 3,
            Self::Seal => 4,
            Self::Catalog => 5,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Frames),
            2 => Some(Self::Pad),
            3 => Some(Self::Fold),
            4 => Some(Self::Seal),
            5 => Some(Self::Catalog),
            _ => None,
        }
    }
}

/// See the format page, "Group header".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct GroupHeader {
    pub(crate) magic: U32,
    pub(crate) crc: U32,
    pub(crate) base_seq: U64,
    pub(crate) offset_words: U32,
    pub(crate) payload_words: U32,
    pub(crate) frame_count: U32,
    pub(crate) keyspace: U32,
    pub(crate) synced_words: U32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) align_shift: u8,
    pub(crate) reserved: u8,
}

/// What a group header says, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) kind: GroupKind,
    /// First and last group of its batch.
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) base_seq: SeqNo,
    pub(crate) keyspace: u32,
    pub(crate) align_shift: u8,
    pub(crate) frame_count: u32,
    /// Offset of the header in its segment, in bytes.
    pub(crate) offset: u64,
    /// Bytes after the header.
    pub(crate) payload_len: u64,
    /// The sync mark that the header carries, in bytes.
    pub(crate) synced: u64,
}

/// Start value for the checksums of a segment's group headers.
pub(crate) fn segment_seed(silo_id: SiloId, number: FileNumber) -> u32 {
    seeded_crc(crc(&silo_id), &number.to_le_bytes())
}

impl Group {
    /// A group of `kind` that is a batch of its own.
    pub(crate) fn alone(kind: GroupKind, offset: u64, payload_len: u64) -> Self {
        Self {
            kind,
            first: true,
            last: true,
            base_seq: 0,
            keyspace: 0,
            align_shift: 0,
            frame_count: 0,
            offset,
            payload_len,
            synced: 0,
        }
    }

    /// Offset of the first byte after the group.
    pub(crate) fn end(&self) -> u64 {
        self.payload_offset() + self.payload_len
    }

    /// Offset of the payload in the segment.
    pub(crate) fn payload_offset(&self) -> u64 {
        self.offset + GROUP_HEADER_LEN as u64
    }

    /// Alignment of the keyspace's values, in bytes.
    pub(crate) fn align(&self) -> usize {
        1 << self.align_shift
    }

    pub(crate) fn encode(&self, seed: u32) -> [u8; GROUP_HEADER_LEN] {
        let mut header = GroupHeader {
            magic: GROUP_MAGIC.into(),
            crc: 0.into(),
            base_seq: self.base_seq.into(),
            offset_words: words(self.offset).into(),
            payload_words: words(self.payload_len).into(),
            frame_count: self.frame_count.into(),
            keyspace: self.keyspace.into(),
            synced_words: words(self.synced).into(),
            kind: self.kind.code(),
            flags: if self.first { FIRST } else { 0 } | if self.last { LAST } else { 0 },
            align_shift: self.align_shift,
            reserved: 0,
        };
        header.crc = header.expected_crc(seed).into();
        zerocopy::transmute!(header)
    }

    /// Reads the header that starts `bytes`, which lie at `offset` of a segment with this seed.
    /// Says what is wrong if it is not one. That the payload fits is left to the caller.
    pub(crate) fn decode(bytes: &[u8], seed: u32, offset: u64) -> Result<Self, &'static str> {
        let Ok((header, _)) = GroupHeader::ref_from_prefix(bytes) else {
            return Err("the segment ends within a group header");
        };
        if header.magic.get() != GROUP_MAGIC {
            return Err("no group header starts here");
        }
        if header.crc.get() != header.expected_crc(seed) {
            return Err("the group header's checksum does not match");
        }
        if u64::from(header.offset_words.get()) * WORD != offset {
            return Err("the group header belongs to another place");
        }
        let Some(kind) = GroupKind::of(header.kind) else {
            return Err("the group is of an unknown kind");
        };
        if header.flags & !(FIRST | LAST) != 0 || header.align_shift > 6 || header.reserved != 0 {
            return Err("the group header has unknown flags");
        }
        let payload_len = u64::from(header.payload_words.get()) * WORD;
        if header.base_seq.get() > MAX_SEQ || offset + GROUP_HEADER_LEN as u64 + payload_len > MAX_SEGMENT_LEN
        {
            return Err("the group header has impossible numbers");
        }
        Ok(Self {
            kind,
            first: header.flags & FIRST != 0,
            last: header.flags & LAST != 0,
            base_seq: header.base_seq.get(),
            keyspace: header.keyspace.get(),
            align_shift: header.align_shift,
            frame_count: header.frame_count.get(),
            offset,
            payload_len,
            synced: u64::from(header.synced_words.get()) * WORD,
        })
    }
}

impl GroupHeader {
    fn expected_crc(&self, seed: u32) -> u32 {
        seeded_crc(seed, self.as_bytes().get(8..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Group {
        Group {
            first: false,
            base_seq: 1 << 40,
            keyspace: 3,
            align_shift: 6,
            frame_count: 9,
            synced: 64,
            ..Group::alone(GroupKind::Fold, 4096, 800)
        }
    }

    #[test]
    fn a_group_reads_back_only_at_its_place() {
        let seed = segment_seed([1; 16], 2);
        let bytes = sample().encode(seed);
        assert_eq!(Group::decode(&bytes, seed, 4096), Ok(sample()));
        assert!(Group::decode(&bytes, seed, 4104).is_err());
        assert!(Group::decode(&bytes, segment_seed([1; 16], 3), 4096).is_err());
        assert!(Group::decode(&bytes[..39], seed, 4096).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = sample().encode(7);
        for bit in 0..GROUP_HEADER_LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Group::decode(&damaged, 7, 4096).is_err(), "bit {bit}");
        }
    }
}
