//! The first 64 bytes of every segment and index run.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::address::FileNumber;
use super::checksum;

/// The newest format version that this crate writes and reads.
pub(crate) const FORMAT_VERSION: u16 = 1;

/// Feature bits that this crate knows.
pub(crate) const KNOWN_FEATURES: u32 = 0;

/// Length of a file header in bytes.
pub(crate) const FILE_HEADER_LEN: usize = size_of::<FileHeader>();
const _: () = assert!(FILE_HEADER_LEN == 64);

/// Random id of a silo; ties its files together.
pub(crate) type SiloId = [u8; 16];

/// Which kind of file a header begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Segment,
    Index,
}

impl FileKind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"SILOSEG1",
            Self::Index => *b"SILOIDX1",
        }
    }
}

/// What a segment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentRole {
    Log,
    Bulk,
    Compaction,
}

impl SegmentRole {
    pub(crate) const fn to_code(self) -> u32 {
        match self {
            Self::Log => 1,
            Self::Bulk => 2,
            Self::Compaction => 3,
        }
    }

    pub(crate) const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Log),
            2 => Some(Self::Bulk),
            3 => Some(Self::Compaction),
            _ => None,
        }
    }
}

/// See the format page, "File header".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FileHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: U16,
    pub(crate) reserved: U16,
    pub(crate) features: U32,
    pub(crate) silo_id: SiloId,
    pub(crate) number: U32,
    pub(crate) role: U32,
    pub(crate) generation: U64,
    pub(crate) prev_number: U32,
    pub(crate) prev_words: U32,
    pub(crate) detail: U32,
    pub(crate) crc: U32,
}

/// Why a header was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    /// Not the bytes that were written.
    Damaged(&'static str),
    /// Written by a newer version.
    Version(u16),
    /// Uses unknown features.
    Features(u32),
}

impl FileHeader {
    pub(crate) fn new(kind: FileKind, silo_id: SiloId, number: FileNumber, generation: u64) -> Self {
        Self {
            magic: kind.magic(),
            version: FORMAT_VERSION.into(),
            reserved: 0.into(),
            features: KNOWN_FEATURES.into(),
            silo_id,
            number: number.into(),
            role: 0.into(),
            generation: generation.into(),
            prev_number: 0.into(),
            prev_words: 0.into(),
            detail: 0.into(),
            crc: 0.into(),
        }
    }

    /// Computes the checksum; call it when all other fields are set.
    pub(crate) fn seal(mut self) -> Self {
        self.crc = self.expected_crc().into();
        self
    }

    fn expected_crc(&self) -> u32 {
        let covered = self.as_bytes().split_last_chunk::<4>().map_or(&[][..], |(head, _)| head);
        checksum::crc(covered)
    }

    /// Reads and checks the header at the start of `bytes`.
    ///
    /// The checksum comes before version and features: every version computes it in this way, so
    /// that damage is not taken for a newer version.
    pub(crate) fn validate(bytes: &[u8], kind: FileKind) -> Result<&Self, HeaderFlaw> {
        let (header, _) = Self::ref_from_prefix(bytes)
            .map_err(|_| HeaderFlaw::Damaged("the file is shorter than its header"))?;
        if header.magic != kind.magic() {
            return Err(HeaderFlaw::Damaged("the magic number is wrong"));
        }
        if header.crc.get() != header.expected_crc() {
            return Err(HeaderFlaw::Damaged("the header's checksum does not match"));
        }
        let version = header.version.get();
        if version > FORMAT_VERSION {
            return Err(HeaderFlaw::Version(version));
        }
        if version == 0 {
            return Err(HeaderFlaw::Damaged("format version 0 does not exist"));
        }
        let unknown = header.features.get() & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(HeaderFlaw::Features(unknown));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> FileHeader {
        FileHeader::new(FileKind::Segment, [7; 16], 3, 9).seal()
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let good = sample();
        assert!(FileHeader::validate(good.as_bytes(), FileKind::Segment).is_ok());
        for bit in 0..FILE_HEADER_LEN * 8 {
            let mut bytes = good.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flaw = FileHeader::validate(&bytes, FileKind::Segment).err();
            assert!(matches!(flaw, Some(HeaderFlaw::Damaged(_))), "bit {bit}: {flaw:?}");
        }
        assert!(FileHeader::validate(good.as_bytes(), FileKind::Index).is_err());
        assert!(FileHeader::validate(&good.as_bytes()[..63], FileKind::Segment).is_err());
    }

    #[test]
    fn a_newer_version_and_unknown_features_are_named() {
        let mut newer = sample();
        newer.version = 2.into();
        assert_eq!(
            FileHeader::validate(newer.seal().as_bytes(), FileKind::Segment).err(),
            Some(HeaderFlaw::Version(2))
        );
        let mut featured = sample();
        featured.features = 4.into();
        assert_eq!(
            FileHeader::validate(featured.seal().as_bytes(), FileKind::Segment).err(),
            Some(HeaderFlaw::Features(4))
        );
    }
}
