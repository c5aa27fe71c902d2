//! Sequence numbers, file numbers and frame addresses.

/// Bytes of a word, the unit of addresses in a segment.
pub(crate) const WORD: u64 = 8;

/// Position of a mutation in the silo's history. Higher is later.
pub(crate) type SeqNo = u64;

/// Sequence numbers stay below this, by far: sums of two do not overflow.
pub(crate) const MAX_SEQ: SeqNo = 1 << 62;

/// The most bytes of a segment: offsets are counted in words of 32 bits.
pub(crate) const MAX_SEGMENT_LEN: u64 = u32::MAX as u64 * WORD;

/// Number in the name of a segment or index file; never reused.
pub(crate) type FileNumber = u32;

/// Where a frame lies: a segment, and the word in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FrameAddress(u64);

impl FrameAddress {
    pub(crate) const fn new(segment: FileNumber, word: u32) -> Self {
        Self((segment as u64) << 32 | word as u64)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn segment(self) -> FileNumber {
        (self.0 >> 32) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub(crate) const fn word(self) -> u32 {
        self.0 as u32
    }

    /// Offset of the frame in its segment file, in bytes.
    pub(crate) const fn offset(self) -> u64 {
        self.word() as u64 * WORD
    }
}

/// `len` rounded up to a multiple of `align`, which is a power of two.
pub(crate) const fn align_up(len: u64, align: u64) -> u64 {
    (len + align - 1) & !(align - 1)
}

/// Words of `bytes`, a multiple of eight below 32 GiB.
///
/// # Panics
/// Panics if `bytes` is neither: every caller has checked lengths at the door.
pub(crate) fn words(bytes: u64) -> u32 {
    assert!(bytes.is_multiple_of(WORD), "{bytes} is not a multiple of 8");
    u32::try_from(bytes / WORD).expect("segment offsets stay below 32 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_segment_and_word() {
        let a = FrameAddress::new(7, u32::MAX);
        assert_eq!((a.segment(), a.word(), a.offset()), (7, u32::MAX, u64::from(u32::MAX) * 8));
        assert_eq!(FrameAddress::from_bits(a.to_bits()), a);
    }

    #[test]
    fn align_up_keeps_multiples() {
        assert_eq!([0, 1, 8, 9].map(|n| align_up(n, 8)), [0, 8, 8, 16]);
    }
}
