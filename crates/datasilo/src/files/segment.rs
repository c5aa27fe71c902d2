//! A segment: frames in a mapped file.

use std::ops::Range;

use crate::bytes::address::{FileNumber, FrameAddress, WORD};
use crate::bytes::file_header::{
    FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, FileKind, HeaderFlaw, KNOWN_FEATURES, SegmentRole, SiloId,
};
use crate::bytes::frame::{BLOCK_LEN, FrameView};
use crate::bytes::group::segment_seed;
use crate::error::{Error, Result};
use crate::storage::{Access, DirFiles, MappedRegion, SiloFile, advise, prefetch};

use super::log_scan::Window;
use super::verified::VerifiedBits;

/// Offset of the first group.
pub(crate) const FIRST_GROUP: u64 = FILE_HEADER_LEN as u64;

/// How a segment comes into being.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentSpec {
    pub(crate) number: FileNumber,
    pub(crate) silo_id: SiloId,
    pub(crate) role: SegmentRole,
    pub(crate) generation: u64,
    /// The most bytes that it will have.
    pub(crate) capacity: u64,
    /// The log segment before it and how much of that is in use, in bytes.
    pub(crate) previous: Option<(FileNumber, u64)>,
}

/// A segment file, mapped for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    number: FileNumber,
    header: FileHeader,
    seed: u32,
    file: SiloFile,
    region: MappedRegion,
    /// Bytes that are mapped; the file may be shorter.
    capacity: u64,
    /// Four bits for each 4 KiB of the file; see [`Segment::verify_once`].
    verified: VerifiedBits,
}

/// Which thing beginning in a 4 KiB window of the file was verified. Of each kind at most one
/// can begin in a window, since frames that have block tables are longer than that.
#[derive(Clone, Copy)]
enum Verified {
    BlockedFrame = 0,
    FullBlock = 1,
    LastBlock = 2,
    /// All blocks of a value: noted at its frame.
    WholeValue = 3,
}

impl Segment {
    /// Creates the file with its header. Space is allocated by the caller.
    pub(crate) fn create(files: &DirFiles, spec: &SegmentSpec) -> Result<Self> {
        let file = files.create(&DirFiles::file_name(FileKind::Segment, spec.number))?;
        let mut header = FileHeader::new(FileKind::Segment, spec.silo_id, spec.number, spec.generation);
        header.role = spec.role.to_code().into();
        header.detail = u32::try_from(spec.capacity.div_ceil(WORD)).unwrap_or(u32::MAX).into();
        if let Some((number, used)) = spec.previous {
            header.prev_number = number.into();
            header.prev_words = crate::bytes::address::words(used).into();
        }
        let header = header.seal();
        file.write_all_at(zerocopy::IntoBytes::as_bytes(&header), 0)?;
        let region = file.map(spec.capacity)?;
        let segment = Self::assemble(file, header, region, spec.capacity);
        segment.advise_point_reads();
        segment.region.raise_readable(FIRST_GROUP);
        Ok(segment)
    }

    /// Opens a segment whose first `readable` bytes are final; `None` if only the header is known
    /// to be so. `origin` is the silo id that the header must show.
    pub(crate) fn open(
        files: &DirFiles,
        number: FileNumber,
        origin: SiloId,
        readable: Option<u64>,
    ) -> Result<Self> {
        let file = files.open(&DirFiles::file_name(FileKind::Segment, number), false)?;
        let file_len = file.len()?;
        let header = read_header(&file, FileKind::Segment, number, origin)?;
        if let Some(expected) = readable
            && file_len < expected
        {
            return Err(Error::corrupt(
                file.path(),
                file_len.min(expected),
                format!("the file has {file_len} bytes, the manifest says {expected}"),
            ));
        }
        // An unsealed file may still grow, up to what its header says.
        let capacity = readable.unwrap_or(file_len.max(u64::from(header.detail.get()) * WORD));
        let region = file.map(capacity)?;
        let segment = Self::assemble(file, header, region, capacity);
        segment.advise_point_reads();
        segment.region.raise_readable(readable.unwrap_or(FIRST_GROUP).min(file_len));
        Ok(segment)
    }

    /// Opens a segment of which only the name is known. Nothing but its header is readable at first.
    pub(crate) fn open_unnamed(files: &DirFiles, number: FileNumber) -> Result<Self> {
        let name = DirFiles::file_name(FileKind::Segment, number);
        let bytes = {
            let file = files.open(&name, false)?;
            let mut bytes = [0; FILE_HEADER_LEN];
            file.read_at(&mut bytes, 0)?;
            bytes
        };
        let header = FileHeader::validate(&bytes, FileKind::Segment)
            .map_err(|flaw| header_error(&files.path(&name), &flaw))?;
        Self::open(files, number, header.silo_id, None)
    }

    /// Opens a segment whose header is damaged; what the header should say comes from the manifest.
    /// Nothing but the header is readable at first.
    pub(crate) fn open_headless(
        files: &DirFiles,
        number: FileNumber,
        origin: SiloId,
        role: SegmentRole,
    ) -> Result<Self> {
        let file = files.open(&DirFiles::file_name(FileKind::Segment, number), false)?;
        let file_len = file.len()?;
        let mut header = FileHeader::new(FileKind::Segment, origin, number, 0);
        header.role = role.to_code().into();
        let region = file.map(file_len)?;
        region.raise_readable(FIRST_GROUP.min(file_len));
        Ok(Self::assemble(file, header.seal(), region, file_len))
    }

    fn assemble(file: SiloFile, header: FileHeader, region: MappedRegion, capacity: u64) -> Self {
        let number = header.number.get();
        let windows = capacity / BLOCK_LEN as u64 + 1;
        Self {
            number,
            seed: segment_seed(header.silo_id, number),
            header,
            file,
            region,
            capacity,
            verified: VerifiedBits::new(windows * 4),
        }
    }

    fn advise_point_reads(&self) {
        advise(&self.region, Access::Point, 0, usize::try_from(self.capacity).unwrap_or(usize::MAX));
    }

    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    /// Id of the silo that wrote the file.
    pub(crate) fn origin(&self) -> SiloId {
        self.header.silo_id
    }

    /// Generation of the manifest that the file was begun for.
    pub(crate) fn generation(&self) -> u64 {
        self.header.generation.get()
    }

    pub(crate) fn role(&self) -> Option<SegmentRole> {
        SegmentRole::from_code(self.header.role.get())
    }

    /// The log segment before this one, and how many bytes of it were in use.
    pub(crate) fn previous(&self) -> Option<(FileNumber, u64)> {
        let number = self.header.prev_number.get();
        (number != 0).then(|| (number, u64::from(self.header.prev_words.get()) * WORD))
    }

    /// The most bytes that the mapping can lend.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Start value for checksums of group headers.
    pub(crate) fn seed(&self) -> u32 {
        self.seed
    }

    pub(crate) fn file(&self) -> &SiloFile {
        &self.file
    }

    /// The final bytes, for walking.
    pub(crate) fn window(&self) -> Window<'_> {
        Window { bytes: self.bytes(), base: 0, seed: self.seed }
    }

    /// The bytes that are final.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.region.bytes()
    }

    /// See [`MappedRegion::raise_readable`].
    pub(crate) fn raise_readable(&self, len: u64) {
        self.region.raise_readable(len);
    }

    /// Starts loading so many cache lines of the frame at a word.
    #[inline]
    pub(crate) fn prefetch(&self, word: u32, lines: usize) {
        for line in 0..lines {
            prefetch(self.bytes(), word as usize * 8 + line * 64);
        }
    }

    /// Asks the kernel to read a range ahead.
    pub(crate) fn read_ahead(&self, offset: usize, len: usize) {
        advise(&self.region, Access::Soon, offset, len);
    }

    /// Corruption at an offset of this file.
    #[cold]
    pub(crate) fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::corrupt(self.file.path(), offset, what)
    }

    /// The frame at a word: in bounds, checksum not looked at.
    #[inline]
    pub(crate) fn frame(&self, word: u32, align: usize) -> Result<FrameView<'_>> {
        let offset = u64::from(word) * WORD;
        usize::try_from(offset)
            .ok()
            .and_then(|offset| self.bytes().get(offset..))
            .and_then(|bytes| FrameView::parse(bytes, align))
            .ok_or_else(|| self.corrupt(offset, "an index entry leads to something that is no frame"))
    }

    /// Address of a place in this segment.
    pub(crate) fn address(&self, offset: u64) -> FrameAddress {
        FrameAddress::new(self.number, crate::bytes::address::words(offset))
    }

    /// Checks a frame's own checksum: everything but the value of a blocked frame.
    #[inline]
    pub(crate) fn verify_frame(&self, word: u32, frame: &FrameView<'_>, keyspace: u32) -> Result<()> {
        let offset = u64::from(word) * WORD;
        let good = if frame.is_blocked() {
            self.verify_once(offset, Verified::BlockedFrame, || frame.verify_frame(keyspace))
        } else {
            frame.verify_frame(keyspace)
        };
        if good { Ok(()) } else { Err(self.corrupt(offset, "the frame's checksum does not match")) }
    }

    /// Checks the blocks of a blocked frame's value that `range` touches.
    pub(crate) fn verify_value(&self, word: u32, frame: &FrameView<'_>, range: Range<usize>) -> Result<()> {
        if !frame.is_blocked() || range.is_empty() {
            return Ok(());
        }
        if range == (0..frame.value_len()) {
            // One look for all blocks, once they were verified.
            let mut outcome = Ok(());
            self.verify_once(u64::from(word) * WORD, Verified::WholeValue, || {
                outcome = self.verify_blocks(word, frame, range);
                outcome.is_ok()
            });
            return outcome;
        }
        self.verify_blocks(word, frame, range)
    }

    fn verify_blocks(&self, word: u32, frame: &FrameView<'_>, range: Range<usize>) -> Result<()> {
        let value_start = u64::from(word) * WORD + frame.value_offset() as u64;
        let last = frame.block_count() - 1;
        for block in range.start / BLOCK_LEN..=(range.end - 1) / BLOCK_LEN {
            let offset = value_start + (block * BLOCK_LEN) as u64;
            let kind = if block == last { Verified::LastBlock } else { Verified::FullBlock };
            if !self.verify_once(offset, kind, || frame.verify_block(block)) {
                return Err(self.corrupt(offset, "a value block's checksum does not match"));
            }
        }
        Ok(())
    }

    #[inline]
    fn verify_once(&self, offset: u64, kind: Verified, verify: impl FnOnce() -> bool) -> bool {
        self.verified.check(offset / BLOCK_LEN as u64 * 4 + kind as u64, verify)
    }
}

/// Reads and checks the header of a numbered file.
pub(crate) fn read_header(
    file: &SiloFile,
    kind: FileKind,
    number: FileNumber,
    origin: SiloId,
) -> Result<FileHeader> {
    let mut bytes = [0; FILE_HEADER_LEN];
    let read = file.read_at(&mut bytes, 0)?;
    let header = *FileHeader::validate(bytes.get(..read).unwrap_or_default(), kind)
        .map_err(|flaw| header_error(file.path(), &flaw))?;
    if header.number.get() != number {
        let what = format!("the header says file number {}", header.number.get());
        return Err(Error::corrupt(file.path(), 0, what));
    }
    if header.silo_id != origin {
        return Err(Error::corrupt(file.path(), 0, "the file belongs to another silo"));
    }
    Ok(header)
}

/// The error for a header that was refused.
pub(crate) fn header_error(path: &std::path::Path, flaw: &HeaderFlaw) -> Error {
    match *flaw {
        HeaderFlaw::Damaged(what) => Error::corrupt(path, 0, what),
        HeaderFlaw::Version(found) => {
            Error::UnsupportedVersion { path: path.to_path_buf(), found, supported: FORMAT_VERSION }
        }
        HeaderFlaw::Features(features) => {
            Error::UnsupportedFeatures { path: path.to_path_buf(), features: features & !KNOWN_FEATURES }
        }
    }
}
