//! The sync mark: up to where the log was synced.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::address::{FileNumber, WORD, words};
use super::checksum;
use super::file_header::SiloId;

/// Length of one of the two slots in bytes.
pub(crate) const MARK_SLOT_LEN: usize = size_of::<MarkSlot>();
const _: () = assert!(MARK_SLOT_LEN == 64);

const MARK_MAGIC: u32 = 0x4B52_414D;

/// See the format page, "Mark slot".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct MarkSlot {
    pub(crate) magic: U32,
    pub(crate) crc: U32,
    pub(crate) silo_id: SiloId,
    pub(crate) counter: U64,
    pub(crate) segment: U32,
    pub(crate) synced_words: U32,
    pub(crate) reserved: [u8; 24],
}

/// A sync position of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncMark {
    pub(crate) counter: u64,
    pub(crate) segment: FileNumber,
    /// In bytes.
    pub(crate) synced: u64,
}

impl SyncMark {
    /// Which of the two slots this mark goes to, as an offset in the file.
    pub(crate) fn slot_offset(&self) -> u64 {
        (self.counter % 2) * MARK_SLOT_LEN as u64
    }

    pub(crate) fn encode(&self, silo_id: SiloId) -> [u8; MARK_SLOT_LEN] {
        let mut slot = MarkSlot {
            magic: MARK_MAGIC.into(),
            crc: 0.into(),
            silo_id,
            counter: self.counter.into(),
            segment: self.segment.into(),
            synced_words: words(self.synced).into(),
            reserved: [0; 24],
        };
        slot.crc = slot.expected_crc().into();
        zerocopy::transmute!(slot)
    }

    /// The newer of the valid marks in a mark file. None is no error: marks are not synced.
    pub(crate) fn newest(file: &[u8], silo_id: SiloId) -> Option<Self> {
        file.chunks_exact(MARK_SLOT_LEN)
            .take(2)
            .filter_map(|bytes| {
                let slot = MarkSlot::read_from_bytes(bytes).ok()?;
                let valid = slot.magic.get() == MARK_MAGIC
                    && slot.silo_id == silo_id
                    && slot.crc.get() == slot.expected_crc();
                valid.then(|| Self {
                    counter: slot.counter.get(),
                    segment: slot.segment.get(),
                    synced: u64::from(slot.synced_words.get()) * WORD,
                })
            })
            .max_by_key(|mark| mark.counter)
    }
}

impl MarkSlot {
    fn expected_crc(&self) -> u32 {
        checksum::crc(self.as_bytes().get(8..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_valid_mark_counts() {
        let older = SyncMark { counter: 4, segment: 1, synced: 64 };
        let newer = SyncMark { counter: 5, segment: 2, synced: 128 };
        let mut file = [older.encode([3; 16]), newer.encode([3; 16])].concat();
        assert_eq!(SyncMark::newest(&file, [3; 16]), Some(newer));
        assert_eq!(SyncMark::newest(&file, [4; 16]), None);
        file[MARK_SLOT_LEN + 30] ^= 1;
        assert_eq!(SyncMark::newest(&file, [3; 16]), Some(older));
        assert_eq!(SyncMark::newest(&file[..63], [3; 16]), None);
    }
}
