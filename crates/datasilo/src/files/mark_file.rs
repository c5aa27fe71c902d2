//! The file of the sync mark.

use crate::bytes::address::FileNumber;
use crate::bytes::file_header::SiloId;
use crate::bytes::mark::{MARK_SLOT_LEN, SyncMark};
use crate::error::Result;
use crate::storage::{DirFiles, SiloFile};

/// Name of the mark file in a silo's directory.
pub(crate) const MARK: &str = "MARK";

/// The writer's handle on the mark file.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: SiloFile,
    silo_id: SiloId,
    counter: u64,
}

impl MarkFile {
    /// Opens or creates the mark file for writing.
    pub(crate) fn open(files: &DirFiles, silo_id: SiloId) -> Result<Self> {
        let file = files.open_or_create(MARK)?;
        file.allocate(0, 2 * MARK_SLOT_LEN as u64)?;
        let counter = read(files, silo_id)?.map_or(0, |mark| mark.counter);
        Ok(Self { file, silo_id, counter })
    }

    /// Notes up to where a segment was synced.
    pub(crate) fn store(&mut self, segment: FileNumber, synced: u64) -> Result<()> {
        // Wraps only if a file said so; the second mark after that is the newest again.
        self.counter = self.counter.wrapping_add(1);
        let mark = SyncMark { counter: self.counter, segment, synced };
        self.file.write_all_at(&mark.encode(self.silo_id), mark.slot_offset())
    }
}

/// The newest valid mark, if any.
pub(crate) fn read(files: &DirFiles, silo_id: SiloId) -> Result<Option<SyncMark>> {
    match files.read(MARK, 2 * MARK_SLOT_LEN as u64) {
        Ok(bytes) => Ok(SyncMark::newest(&bytes, silo_id)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
