//! Which slots of a chunk have a key, with ranks.

use super::error::ColumnError;
use crate::container::{ARRAY_MAX, ArrayRef, BITSET_BYTES, BitsetRef, ContainerRef, Scratch};
use crate::kernels::{Bits, Le16};

/// Words of a chunk's bitset.
const WORDS: usize = 1024;
/// Bytes of the bitset form: words, then a rank for each.
pub(super) const BITSET_FORM_BYTES: usize = BITSET_BYTES + 2 * WORDS;

/// Form bytes of the header.
pub(super) const PREFIX: u8 = 0;
pub(super) const LIST: u8 = 1;
pub(super) const BITSET: u8 = 2;

/// The slots with a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence<'a> {
    /// The first so many slots.
    Prefix(u32),
    List(&'a [Le16]),
    Bitset {
        bits: &'a Bits,
        ranks: &'a [Le16; WORDS],
        count: u32,
    },
}

/// The form in which `count` slots are stored, the last of which is `last`.
pub(super) fn form(count: usize, last: u16) -> u8 {
    if count == usize::from(last) + 1 {
        PREFIX
    } else if count <= ARRAY_MAX as usize {
        LIST
    } else {
        BITSET
    }
}

/// Bytes of a form.
pub(super) fn form_bytes(form: u8, count: usize) -> Option<usize> {
    match form {
        PREFIX => Some(0),
        LIST => Some(2 * count),
        BITSET => Some(BITSET_FORM_BYTES),
        _ => None,
    }
}

/// Appends the form of ascending slots.
pub(super) fn encode_into(form: u8, slots: &[u16], out: &mut Vec<u8>) {
    match form {
        LIST => out.extend_from_slice(zerocopy::IntoBytes::as_bytes(slots)),
        BITSET => {
            let mut words = Scratch::new();
            words.or(ArrayRef::from_values(slots).into());
            out.extend_from_slice(words.bits().as_flattened());
            let mut rank = 0_u16;
            for word in words.words() {
                out.extend_from_slice(&rank.to_le_bytes());
                rank = rank.wrapping_add(low16(word.count_ones()));
            }
        }
        _ => {}
    }
}

impl<'a> Presence<'a> {
    /// The form over bytes of the length that [`form_bytes`] says.
    pub(super) fn open(form: u8, bytes: &'a [u8], count: u32) -> Option<Self> {
        Some(match form {
            PREFIX => Self::Prefix(count),
            LIST => Self::List(bytes.as_chunks().0),
            _ => {
                let (bits, ranks) = bytes.split_at_checked(BITSET_BYTES)?;
                Self::Bitset {
                    bits: bits.as_chunks().0.first_chunk()?,
                    ranks: ranks.as_chunks().0.first_chunk()?,
                    count,
                }
            }
        })
    }

    /// How many present slots are below `low`, if it is present.
    #[inline]
    pub(super) fn rank(&self, low: u16) -> Option<u32> {
        match self {
            Self::Prefix(count) => Some(u32::from(low)).filter(|low| low < count),
            Self::List(list) => {
                let at = list.partition_point(|v| u16::from_le_bytes(*v) < low);
                list.get(at).filter(|v| u16::from_le_bytes(**v) == low).map(|_| index(at))
            }
            Self::Bitset { bits, ranks, .. } => {
                let word = u64::from_le_bytes(*bits.get(usize::from(low >> 6))?);
                let bit = low & 63;
                if word >> bit & 1 == 0 {
                    return None;
                }
                let before = u16::from_le_bytes(*ranks.get(usize::from(low >> 6))?);
                Some(u32::from(before) + (word & !(u64::MAX << bit)).count_ones())
            }
        }
    }

    /// The present slot with `rank` present ones below it.
    pub(super) fn select(&self, rank: u32) -> Option<u16> {
        match self {
            Self::Prefix(count) => (rank < *count).then(|| low16(rank)),
            Self::List(list) => list.get(rank as usize).map(|v| u16::from_le_bytes(*v)),
            Self::Bitset { bits, ranks, count } => {
                if rank >= *count {
                    return None;
                }
                let at = ranks.partition_point(|r| u32::from(u16::from_le_bytes(*r)) <= rank);
                let at = at.checked_sub(1)?;
                let mut word = u64::from_le_bytes(*bits.get(at)?);
                for _ in u32::from(u16::from_le_bytes(*ranks.get(at)?))..rank {
                    word &= word.wrapping_sub(1);
                }
                (word != 0).then(|| low16(index(at) * 64 + word.trailing_zeros()))
            }
        }
    }

    /// Puts the slots into `words`, in place of what was there.
    pub(super) fn load_into(&self, words: &mut Scratch) {
        match self {
            Self::Prefix(count) => {
                words.clear();
                if let Some(last) = count.checked_sub(1) {
                    words.insert_range(0, low16(last));
                }
            }
            Self::List(list) => words.load(ContainerRef::Array(ArrayRef::new(list))),
            Self::Bitset { bits, count, .. } => words.load(BitsetRef::new(bits, *count).into()),
        }
    }

    /// Checks what opening takes on trust.
    pub(super) fn validate(&self, offset: usize) -> Result<(), ColumnError> {
        match self {
            Self::Prefix(_) => Ok(()),
            Self::List(list) => {
                let ascend = ArrayRef::new(list).iter().is_sorted_by(|a, b| a < b);
                let gap = list.last().is_none_or(|last| usize::from(u16::from_le_bytes(*last)) >= list.len());
                if !ascend {
                    return Err(ColumnError::malformed("present slots do not ascend", offset));
                }
                if gap { Ok(()) } else { Err(ColumnError::malformed("a prefix stored as a list", offset)) }
            }
            Self::Bitset { bits, ranks, count } => {
                let mut rank = 0_u32;
                for (word, stored) in bits.iter().zip(*ranks) {
                    // A full chunk is a prefix, so ranks fit 16 bits.
                    if u32::from(u16::from_le_bytes(*stored)) != rank {
                        return Err(ColumnError::malformed(
                            "a rank is not the number of ones before",
                            offset,
                        ));
                    }
                    rank += u64::from_le_bytes(*word).count_ones();
                }
                if rank != *count {
                    return Err(ColumnError::malformed("the bitset has other than n ones", offset));
                }
                Ok(())
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "slots and ranks of one chunk")]
pub(super) fn low16(value: u32) -> u16 {
    value as u16
}

#[expect(clippy::cast_possible_truncation, reason = "indices of one chunk")]
pub(super) fn index(value: usize) -> u32 {
    value as u32
}
