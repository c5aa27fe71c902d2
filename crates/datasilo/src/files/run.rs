//! An index run: from the hash of a key to its frames.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use crate::bytes::address::{FileNumber, FrameAddress};
use crate::bytes::checksum;
use crate::bytes::file_header::{FILE_HEADER_LEN, FileKind, SiloId};
use crate::bytes::index::{
    Geometry, INDEX_HEADER_LEN, IndexHeader, LINE_SLOTS, PAGE_LEN, PAGE_LINES, PAGE_SLOTS, PAGE_SPILLS,
    PageTrailer, PartRow, Slot, TAG_BITS, address_in_part, decode_chain, page_check,
};
use crate::bytes::manifest::RunRecord;
use crate::error::{Error, Result};
use crate::storage::{Access, DirFiles, MappedRegion, READ_AHEAD, SiloFile, advise, prefetch};

use super::line::{Line, matching, slot_at};
use super::segment::{Segment, read_header};
use super::verified::VerifiedBits;

/// Hash of a key in a silo with this seed.
#[inline]
pub(crate) fn key_hash(key: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// Segments by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct SegmentMap {
    /// Ascending by number.
    segments: Vec<Arc<Segment>>,
}

impl SegmentMap {
    pub(crate) fn get(&self, number: FileNumber) -> Option<&Arc<Segment>> {
        // Most look-ups are for the newest segment, which the memtable writes to.
        if let Some(last) = self.segments.last()
            && last.number() == number
        {
            return Some(last);
        }
        let at = self.segments.binary_search_by_key(&number, |s| s.number()).ok()?;
        self.segments.get(at)
    }

    pub(crate) fn insert(&mut self, segment: Arc<Segment>) {
        let at = self.segments.partition_point(|s| s.number() < segment.number());
        self.segments.insert(at, segment);
    }

    pub(crate) fn remove(&mut self, number: FileNumber) {
        self.segments.retain(|s| s.number() != number);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter()
    }
}

/// What an index slot leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A put or a delete, or the only merge of a key.
    Frame(FrameAddress),
    /// Base, if any, and operands in the order of their sequence numbers.
    Chain(Vec<FrameAddress>),
}

impl Target {
    /// Address of a frame that bears the key.
    pub(crate) fn any_frame(&self) -> Option<FrameAddress> {
        match self {
            Self::Frame(address) => Some(*address),
            Self::Chain(addresses) => addresses.last().copied(),
        }
    }

    pub(crate) fn frames(&self) -> &[FrameAddress] {
        match self {
            Self::Frame(address) => std::slice::from_ref(address),
            Self::Chain(addresses) => addresses,
        }
    }
}

/// A part of a segment that slots of a run refer to.
#[derive(Debug)]
struct Part {
    segment: Arc<Segment>,
    base_word: u32,
}

/// An immutable hash table in a mapped file.
#[derive(Debug)]
pub(crate) struct Run {
    number: FileNumber,
    origin: SiloId,
    geometry: Geometry,
    entry_count: u64,
    /// Home pages and spill pages.
    table_pages: u64,
    spilled: bool,
    file: SiloFile,
    file_len: u64,
    region: MappedRegion,
    verified: VerifiedBits,
    parts: Vec<Part>,
    chains: std::ops::Range<usize>,
}

/// Pages of half of what a pass asks for ahead.
const STRETCH: u64 = (READ_AHEAD / PAGE_LEN / 2) as u64;

/// A page of the table as slots; the last word is the trailer.
pub(crate) type PageWords = [U64; PAGE_LEN / 8];

impl Run {
    /// Opens a run that the manifest names. Costs nothing per entry.
    pub(crate) fn open(
        files: &DirFiles,
        record: &RunRecord,
        keyspace: u32,
        hash_seed: u64,
        segments: &SegmentMap,
    ) -> Result<Self> {
        let file = files.open(&DirFiles::file_name(FileKind::Index, record.file), false)?;
        let path = file.path().to_path_buf();
        let damaged = |offset: usize, what: &str| Error::corrupt(&path, offset as u64, what);
        let header = read_header(&file, FileKind::Index, record.file, record.origin)?;
        let file_len = file.len()?;
        if file_len != record.file_len {
            let what = format!("the file has {file_len} bytes, the manifest says {}", record.file_len);
            return Err(Error::corrupt(&path, file_len.min(record.file_len), what));
        }
        let region = file.map(file_len)?;
        region.raise_readable(file_len);
        let bytes = region.bytes();
        let index_header = bytes
            .get(FILE_HEADER_LEN..FILE_HEADER_LEN + INDEX_HEADER_LEN)
            .and_then(|b| IndexHeader::read_from_bytes(b).ok())
            .filter(|h| h.crc.get() == h.expected_crc())
            .ok_or_else(|| damaged(FILE_HEADER_LEN, "the index header's checksum does not match"))?;
        if header.detail.get() != keyspace || index_header.hash_seed.get() != hash_seed {
            return Err(damaged(FILE_HEADER_LEN, "the index run belongs to another keyspace or silo"));
        }
        let geometry = Geometry::from_header(&index_header)
            .ok_or_else(|| damaged(FILE_HEADER_LEN, "the index header describes no table"))?;
        let table_pages = geometry.page_count() + u64::from(index_header.spill_pages.get());
        let shape = Shape::new(table_pages, &index_header)
            .filter(|shape| shape.file_len as u64 == file_len)
            .ok_or_else(|| damaged(FILE_HEADER_LEN, "the index header does not fit the file's length"))?;
        let entries = index_header.entry_count.get();
        if entries != record.entries || entries > table_pages.saturating_mul(PAGE_SLOTS as u64) {
            return Err(damaged(FILE_HEADER_LEN, "the index header's count of entries cannot be right"));
        }
        let rows = bytes.get(shape.parts..shape.chains).unwrap_or_default();
        if checksum::crc(rows) != index_header.parts_crc.get() {
            return Err(damaged(shape.parts, "the part table's checksum does not match"));
        }
        let rows = <[PartRow]>::ref_from_bytes(rows)
            .map_err(|_| damaged(shape.parts, "the part table has a broken length"))?;
        let parts = rows
            .iter()
            .map(|row| {
                let segment = segments.get(row.segment.get())?;
                let base = address_in_part(*row, 0)?;
                Some(Part { segment: Arc::clone(segment), base_word: base.word() })
            })
            .collect::<Option<Vec<Part>>>()
            .ok_or_else(|| damaged(shape.parts, "the part table names a segment that is not there"))?;
        advise(&region, Access::Point, 0, shape.file_len);
        Ok(Self {
            number: record.file,
            origin: record.origin,
            geometry,
            entry_count: entries,
            table_pages,
            spilled: index_header.flags & 1 != 0,
            file,
            file_len,
            verified: VerifiedBits::new(table_pages),
            parts,
            chains: shape.chains..shape.file_len,
            region,
        })
    }

    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn entry_count(&self) -> u64 {
        self.entry_count
    }

    pub(crate) fn file_len(&self) -> u64 {
        self.file_len
    }

    pub(crate) fn table_pages(&self) -> u64 {
        self.table_pages
    }

    /// True if some keys lie outside their home pages.
    pub(crate) fn is_spilled(&self) -> bool {
        self.spilled
    }

    /// The manifest's record of this run.
    pub(crate) fn record(&self) -> RunRecord {
        RunRecord {
            file: self.number,
            origin: self.origin,
            file_len: self.file_len,
            entries: self.entry_count,
        }
    }

    /// Starts loading the cache line where a hash has its home.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let (page, tag) = self.geometry.place(hash);
        if let Ok(page) = usize::try_from(page) {
            prefetch(self.region.bytes(), (page + 1) * PAGE_LEN + self.geometry.line(tag) * 64);
        }
    }

    /// The words of a page, verified when first touched.
    #[inline]
    pub(crate) fn page(&self, page: u64) -> Result<&PageWords> {
        let words = usize::try_from(page)
            .ok()
            .and_then(|page| self.region.bytes().get((page + 1) * PAGE_LEN..)?.get(..PAGE_LEN))
            .and_then(|bytes| PageWords::ref_from_bytes(bytes).ok());
        let Some(words) = words else {
            return Err(self.corrupt(page, "the page is behind the end of the table"));
        };
        if self.verified.check(page, || page_is_intact(words, self.number, page)) {
            Ok(words)
        } else {
            Err(self.corrupt(page, "the index page's checksum does not match"))
        }
    }

    /// The words of a page in a pass over all pages in their order: the kernel is asked to read those that follow.
    #[inline]
    pub(crate) fn page_in_pass(&self, page: u64) -> Result<&PageWords> {
        if page.is_multiple_of(STRETCH) {
            let from = if page == 0 { 0 } else { page + STRETCH };
            let pages = page + 2 * STRETCH - from;
            if let (Ok(from), Ok(pages)) = (usize::try_from(from), usize::try_from(pages)) {
                advise(&self.region, Access::Soon, (from + 1) * PAGE_LEN, pages * PAGE_LEN);
            }
        }
        self.page(page)
    }

    /// Corruption in a page.
    #[cold]
    pub(crate) fn corrupt(&self, page: u64, what: &str) -> Error {
        Error::corrupt(self.file.path(), (page + 1) * PAGE_LEN as u64, what)
    }

    /// Offers every slot that a key with this hash may have to `matches`, until it returns something.
    #[inline]
    pub(crate) fn find<T>(
        &self,
        hash: u64,
        mut matches: impl FnMut(Slot) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (mut page, tag) = self.geometry.place(hash);
        let home = self.geometry.line(tag);
        loop {
            let words = self.page(page)?;
            for step in 0..PAGE_LINES {
                let line = (home + step) % PAGE_LINES;
                let slots = line_of(words, line);
                let mut candidates = matching(slots, tag) & slot_mask(line);
                while candidates != 0 {
                    let slot = slot_at(slots, candidates.trailing_zeros());
                    if !slot.is_empty()
                        && let Some(found) = matches(slot)?
                    {
                        return Ok(Some(found));
                    }
                    candidates &= candidates - 1;
                }
                // Lines fill from the front: one with a free slot has it at the end.
                if slot_at(slots, last_slot(line)).is_empty() {
                    return Ok(None);
                }
            }
            page += 1;
            if !page_spills(words) || page >= self.table_pages {
                return Ok(None);
            }
        }
    }

    /// Passes every slot in use to `visit`, in file order.
    pub(crate) fn for_each_slot(&self, mut visit: impl FnMut(Slot) -> Result<()>) -> Result<()> {
        for page in 0..self.table_pages {
            for word in self.page_in_pass(page)?.iter().take(PAGE_SLOTS).filter(|word| word.get() != 0) {
                visit(Slot(word.get()))?;
            }
        }
        Ok(())
    }

    /// The segment and word that a slot leads to; `None` if it leads to a chain.
    #[inline]
    pub(crate) fn frame_of(&self, slot: Slot) -> Result<Option<(&Arc<Segment>, u32)>> {
        let Some(row) = slot.ordinal().checked_sub(1) else {
            return Ok(None);
        };
        match self.parts.get(row) {
            Some(part) => Ok(Some((&part.segment, part.base_word | slot.word()))),
            None => Err(Error::corrupt(self.file.path(), 0, "a slot names a part that is not there")),
        }
    }

    /// The chain that a slot of part 0 leads to.
    pub(crate) fn chain_of(&self, slot: Slot) -> Result<Vec<FrameAddress>> {
        let offset = self.chains.start + slot.word() as usize * 8;
        self.region
            .bytes()
            .get(offset..self.chains.end)
            .and_then(decode_chain)
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| {
                Error::corrupt(self.file.path(), offset as u64, "the chain's checksum does not match")
            })
    }

    /// What a slot leads to.
    pub(crate) fn target_of(&self, slot: Slot) -> Result<Target> {
        Ok(match self.frame_of(slot)? {
            Some((segment, word)) => Target::Frame(FrameAddress::new(segment.number(), word)),
            None => Target::Chain(self.chain_of(slot)?),
        })
    }
}

/// Offsets of the areas of a run file.
struct Shape {
    parts: usize,
    chains: usize,
    file_len: usize,
}

impl Shape {
    fn new(table_pages: u64, header: &IndexHeader) -> Option<Self> {
        let pages = usize::try_from(table_pages).ok()?;
        let parts = pages.checked_add(1)?.checked_mul(PAGE_LEN)?;
        let chains = parts.checked_add(header.part_count.get() as usize * size_of::<PartRow>())?;
        let file_len = chains.checked_add(usize::try_from(header.chain_bytes.get()).ok()?)?;
        Some(Self { parts, chains, file_len })
    }
}

#[inline]
fn line_of(words: &PageWords, line: usize) -> &Line {
    let (lines, _) = words.as_chunks::<LINE_SLOTS>();
    match lines.get(line % PAGE_LINES) {
        Some(slots) => slots,
        None => unreachable!("a page has 64 lines"),
    }
}

/// The last word of the last line is the page's trailer, not a slot.
#[inline]
fn slot_mask(line: usize) -> u32 {
    if line == PAGE_LINES - 1 { 0x7F } else { 0xFF }
}

#[inline]
fn last_slot(line: usize) -> u32 {
    if line == PAGE_LINES - 1 { 6 } else { 7 }
}

/// True if keys of this page lie in a later one.
pub(crate) fn page_spills(words: &PageWords) -> bool {
    trailer(words).flags.get() & PAGE_SPILLS != 0
}

fn trailer(words: &PageWords) -> PageTrailer {
    let [.., last] = words;
    zerocopy::transmute!(*last)
}

fn page_is_intact(words: &PageWords, number: FileNumber, page: u64) -> bool {
    let trailer = trailer(words);
    let slots = words.get(..PAGE_SLOTS).unwrap_or_default();
    trailer.flags.get() & !PAGE_SPILLS == 0
        && trailer.check.get()
            == page_check(zerocopy::IntoBytes::as_bytes(slots), number, page, trailer.flags.get())
}

const _: () = assert!(TAG_BITS >= 6, "the line of a key comes from its tag");
