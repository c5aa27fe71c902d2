//! Temporary columns: what a load has read and not yet indexed.
//!
//! Batches arrive in any order and from several threads; each becomes a *block* of packed numbers. Blocks stay in memory
//! up to the share that the load was given, and go to an unlinked file from there on, which a crash removes. They are
//! read back in the order of their rows, one at a time, and released when they were read for the last time: what is
//! written next gets their memory, which is cheaper than memory that was not in use before.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};

/// Bit of the offset that says of an extent that it is in memory; below it stand the number of the piece and the offset within.
const IN_MEMORY: u64 = 1 << 63;
const PIECE_SHIFT: u32 = 40;
/// Most pieces that are ever in memory: the list of them keeps the places of those that were released.
const MOST_PIECES: usize = if cfg!(test) { 64 } else { 1 << 20 };
const _: () = assert!(MOST_PIECES <= 1 << (63 - PIECE_SHIFT));

/// Bytes that are kept in memory, or appended to an unlinked file, by several threads.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    end: AtomicU64,
    /// By number; none once released.
    pieces: Mutex<Vec<Option<Arc<Vec<u8>>>>>,
    /// Bytes that may still stay in memory.
    memory_left: AtomicU64,
}

/// Bytes of an extent.
#[derive(Debug)]
pub(super) enum Bytes<'a> {
    /// Where they are in memory.
    Piece(Arc<Vec<u8>>, Range<usize>),
    /// In the buffer that they were read into.
    Read(&'a [u8]),
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Piece(piece, range) => piece.get(range.clone()).unwrap_or_default(),
            Self::Read(bytes) => bytes,
        }
    }
}

/// A range of bytes of a spool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    offset: u64,
    len: usize,
}

impl Extent {
    /// The extent as numbers of a block.
    pub(super) fn to_numbers(self) -> [u64; 2] {
        [self.offset, self.len as u64]
    }

    /// The extent that [`Extent::to_numbers`] wrote.
    pub(super) fn from_numbers(numbers: &[u64]) -> Self {
        let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
        Self { offset: number(0), len: usize::try_from(number(1)).unwrap_or(0) }
    }

    /// Number of the piece, and offset in it.
    fn in_memory(self) -> Option<(usize, usize)> {
        let at = self.offset.checked_sub(IN_MEMORY)?;
        let number = usize::try_from(at >> PIECE_SHIFT).ok()?;
        Some((number, usize::try_from(at & ((1 << PIECE_SHIFT) - 1)).ok()?))
    }

    /// A part of it.
    pub(super) fn part(self, bytes: std::ops::Range<usize>) -> Self {
        debug_assert!(bytes.start <= bytes.end && bytes.end <= self.len, "a part lies inside");
        Self { offset: self.offset + bytes.start as u64, len: bytes.len() }
    }
}

impl Spool {
    /// Makes an empty spool on the file system of `dir` that keeps up to so many bytes in memory.
    pub(crate) fn create_in(dir: &Path, memory_bytes: u64) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(dir)?,
            end: AtomicU64::new(0),
            pieces: Mutex::default(),
            memory_left: AtomicU64::new(memory_bytes),
        })
    }

    fn pieces(&self) -> MutexGuard<'_, Vec<Option<Arc<Vec<u8>>>>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes.
    pub(super) fn append(&self, bytes: &[u8]) -> io::Result<Extent> {
        match self.keep(bytes.len(), || bytes.to_vec()) {
            Some(extent) => Ok(extent),
            None => self.append_to_file(bytes),
        }
    }

    /// Adds bytes, without copying them where they stay in memory.
    pub(super) fn append_vec(&self, bytes: Vec<u8>) -> io::Result<Extent> {
        let len = bytes.len();
        let mut bytes = Some(bytes);
        match self.keep(len, || bytes.take().unwrap_or_default()) {
            Some(extent) => Ok(extent),
            None => self.append_to_file(&bytes.unwrap_or_default()),
        }
    }

    fn append_to_file(&self, bytes: &[u8]) -> io::Result<Extent> {
        let offset = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(bytes, offset)?;
        Ok(Extent { offset, len: bytes.len() })
    }

    /// Keeps bytes in memory, if there is room.
    fn keep(&self, len: usize, bytes: impl FnOnce() -> Vec<u8>) -> Option<Extent> {
        if len >= 1 << PIECE_SHIFT {
            return None;
        }
        let take = |left: u64| left.checked_sub(len as u64);
        self.memory_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let number = {
            let mut pieces = self.pieces();
            if pieces.len() == MOST_PIECES {
                self.memory_left.store(0, Ordering::Relaxed);
                return None;
            }
            pieces.push(None);
            pieces.len() - 1
        };
        // Copied while others may go on.
        let bytes = Arc::new(bytes());
        if let Some(place) = self.pieces().get_mut(number) {
            *place = Some(bytes);
        }
        Some(Extent { offset: IN_MEMORY | (number as u64) << PIECE_SHIFT, len })
    }

    /// The bytes of an extent: where they are, or read into `buffer`.
    pub(super) fn read<'a>(&self, extent: Extent, buffer: &'a mut Vec<u8>) -> io::Result<Bytes<'a>> {
        if let Some((number, start)) = extent.in_memory() {
            let piece = self.pieces().get(number).cloned().flatten();
            let end = start.saturating_add(extent.len);
            return piece
                .filter(|piece| end <= piece.len())
                .map(|piece| Bytes::Piece(piece, start..end))
                .ok_or_else(|| io::Error::other("an extent that no piece of the spool has"));
        }
        buffer.resize(extent.len, 0);
        self.file.read_exact_at(buffer, extent.offset)?;
        Ok(Bytes::Read(buffer))
    }

    /// Gives back the room of an extent that [`Spool::append`] returned. It is not read again.
    pub(super) fn release(&self, extent: Extent) {
        match extent.in_memory() {
            Some((number, _)) => {
                let piece = self.pieces().get_mut(number).and_then(Option::take);
                if piece.is_some() {
                    self.memory_left.fetch_add(extent.len as u64, Ordering::Relaxed);
                }
            }
            None if extent.len > 0 => {
                // Where the file system cannot do it, the room is given back with the file.
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let _ = fallocate(&self.file, hole, extent.offset, extent.len as u64);
            }
            None => {}
        }
    }

    /// Bytes in the file so far.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }
}

/// Values of one column for consecutive rows, unpacked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Bit `i % 64` of word `i / 64` says that row `i` is null; empty where none is.
    pub(crate) nulls: Vec<u64>,
    /// Ends of the rows in `numbers`; empty for a column of one number a row.
    pub(crate) ends: Vec<u32>,
    /// Numbers; a null row of a column without ends has a placeholder.
    pub(crate) numbers: Vec<u64>,
}

impl Block {
    /// Empties it, keeping the room.
    pub(crate) fn clear(&mut self) {
        self.nulls.clear();
        self.ends.clear();
        self.numbers.clear();
    }

    /// Whether row `row` is null.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Packs the block: counts, then nulls, ends and numbers, the latter two each as (width, base,
    /// differences to the base in `width` bytes). The form lives as long as the process.
    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        out.clear();
        for count in [self.nulls.len(), self.ends.len(), self.numbers.len()] {
            out.extend_from_slice(&(count as u64).to_le_bytes());
        }
        for word in &self.nulls {
            out.extend_from_slice(&word.to_le_bytes());
        }
        // Lengths, which are small, instead of ends.
        let starts = std::iter::once(&0).chain(&self.ends);
        let lengths = self.ends.iter().zip(starts).map(|(end, start)| u64::from(end - start));
        pack_numbers(self.ends.len(), lengths, out);
        pack_numbers(self.numbers.len(), self.numbers.iter().copied(), out);
    }

    /// Reads back what [`Block::pack`] wrote.
    pub(super) fn unpack(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.clear();
        self.unpack_parts(bytes).ok_or_else(|| io::Error::other("a temporary column was changed on disk"))
    }

    fn unpack_parts(&mut self, bytes: &[u8]) -> Option<()> {
        let (counts, rest) = bytes.split_at_checked(24)?;
        let count = |at: usize| {
            let bytes = counts.get(at * 8..at * 8 + 8)?;
            usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
        };
        let (nulls, rest) = rest.split_at_checked(count(0)?.checked_mul(8)?)?;
        self.nulls.extend(nulls.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
        let mut end = 0u32;
        let rest = unpack_numbers(rest, count(1)?, |len| {
            // Lengths were written from ends that fit.
            end = end.wrapping_add(len as u32);
            self.ends.push(end);
        })?;
        let numbers = &mut self.numbers;
        numbers.reserve(count(2)?.min(bytes.len().saturating_mul(8)));
        unpack_numbers(rest, count(2)?, |number| numbers.push(number))?;
        Some(())
    }
}

/// Bytes for differences up to `span`: 0, 1, 2, 4 or 8.
fn width_for(span: u64) -> usize {
    match span {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn pack_numbers(count: usize, numbers: impl Iterator<Item = u64> + Clone, out: &mut Vec<u8>) {
    let (lowest, highest) =
        numbers.clone().fold((u64::MAX, 0), |(low, high), number| (low.min(number), high.max(number)));
    let base = if count == 0 { 0 } else { lowest };
    let width = width_for(highest.saturating_sub(base));
    out.push(width as u8);
    out.extend_from_slice(&base.to_le_bytes());
    out.reserve(count * width);
    let differences = numbers.map(|number| number - base);
    match width {
        0 => {}
        1 => out.extend(differences.map(|d| d as u8)),
        2 => differences.for_each(|d| out.extend_from_slice(&(d as u16).to_le_bytes())),
        4 => differences.for_each(|d| out.extend_from_slice(&(d as u32).to_le_bytes())),
        _ => differences.for_each(|d| out.extend_from_slice(&d.to_le_bytes())),
    }
}

/// Calls `f` with each of `count` numbers; returns the bytes behind them.
fn unpack_numbers(bytes: &[u8], count: usize, mut f: impl FnMut(u64)) -> Option<&[u8]> {
    let (head, rest) = bytes.split_at_checked(9)?;
    let (width, base) = head.split_first()?;
    let base = u64::from_le_bytes(base.try_into().ok()?);
    let (body, rest) = rest.split_at_checked(count.checked_mul(usize::from(*width))?)?;
    match width {
        0 => (0..count).for_each(|_| f(base)),
        1 => body.iter().for_each(|d| f(base.wrapping_add(u64::from(*d)))),
        2 => body
            .as_chunks::<2>()
            .0
            .iter()
            .for_each(|d| f(base.wrapping_add(u64::from(u16::from_le_bytes(*d))))),
        4 => body
            .as_chunks::<4>()
            .0
            .iter()
            .for_each(|d| f(base.wrapping_add(u64::from(u32::from_le_bytes(*d))))),
        8 => body.as_chunks::<8>().0.iter().for_each(|d| f(base.wrapping_add(u64::from_le_bytes(*d)))),
        _ => return None,
    }
    Some(rest)
}

#[derive(Debug, Clone, Copy)]
struct BlockRef {
    first_row: u64,
    rows: usize,
    numbers: usize,
    extent: Extent,
}

/// One column of all rows, in blocks.
#[derive(Debug, Default)]
pub(crate) struct SpooledColumn {
    blocks: Mutex<Vec<BlockRef>>,
}

impl SpooledColumn {
    /// Adds the values of `rows` rows from `first_row` on. `packed` is room to work in.
    pub(crate) fn append(
        &self,
        spool: &Spool,
        first_row: u64,
        rows: usize,
        block: &Block,
        packed: &mut Vec<u8>,
    ) -> io::Result<()> {
        block.pack(packed);
        let extent = spool.append(packed)?;
        let mut blocks = self.blocks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        blocks.push(BlockRef { first_row, rows, numbers: block.numbers.len(), extent });
        Ok(())
    }

    /// The column for reading, its blocks in the order of rows. Rows are counted densely: the numbers that
    /// rejected rows left free vanish.
    pub(crate) fn into_reader(self) -> ColumnReader {
        let mut blocks = self.blocks.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        blocks.sort_unstable_by_key(|block| block.first_row);
        let mut rows = 0;
        let starts = blocks
            .iter()
            .map(|block| {
                let start = rows;
                rows += block.rows;
                start
            })
            .collect();
        ColumnReader { blocks, starts, rows }
    }
}

/// A finished column.
#[derive(Debug)]
pub(crate) struct ColumnReader {
    blocks: Vec<BlockRef>,
    /// Dense number of each block's first row.
    starts: Vec<usize>,
    rows: usize,
}

impl ColumnReader {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Dense numbers of the rows of a block.
    pub(crate) fn rows_of(&self, at: usize) -> std::ops::Range<usize> {
        let start = self.starts.get(at).copied().unwrap_or(self.rows);
        start..self.starts.get(at + 1).copied().unwrap_or(self.rows)
    }

    /// Numbers of all rows.
    pub(crate) fn numbers(&self) -> u64 {
        self.blocks.iter().map(|block| block.numbers as u64).sum()
    }

    /// Reads the block at a position, in the order of rows; `packed` is room to work in.
    pub(crate) fn read_block(
        &self,
        at: usize,
        spool: &Spool,
        packed: &mut Vec<u8>,
        block: &mut Block,
    ) -> io::Result<()> {
        let Some(reference) = self.blocks.get(at) else {
            block.clear();
            return Ok(());
        };
        block.unpack(&spool.read(reference.extent, packed)?)
    }

    /// Gives back the room of the block at a position, which is not read again.
    pub(crate) fn release_block(&self, at: usize, spool: &Spool) {
        if let Some(reference) = self.blocks.get(at) {
            spool.release(reference.extent);
        }
    }

    /// Gives back the room of all blocks.
    pub(crate) fn release(&self, spool: &Spool) {
        (0..self.blocks()).for_each(|at| self.release_block(at, spool));
    }

    /// Calls `f` with the dense number of its first row, the number of rows, and the block, for each block that has
    /// one of the rows `rows`.
    pub(crate) fn for_each_block<E: From<io::Error>>(
        &self,
        spool: &Spool,
        rows: std::ops::Range<usize>,
        mut f: impl FnMut(usize, usize, &Block) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = self.starts.partition_point(|start| *start <= rows.start).saturating_sub(1);
        let (mut packed, mut block) = (Vec::new(), Block::default());
        for at in first..self.blocks() {
            let of_block = self.rows_of(at);
            if of_block.start >= rows.end {
                break;
            }
            if of_block.end <= rows.start {
                continue;
            }
            self.read_block(at, spool, &mut packed, &mut block)?;
            f(of_block.start, of_block.len(), &block)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_in_the_order_of_rows() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path(), 40).unwrap();
        let single = SpooledColumn::default();
        let lists = SpooledColumn::default();
        let mut packed = Vec::new();
        let block = |at: u64| Block {
            nulls: if at == 20 { vec![0b10] } else { Vec::new() },
            ends: Vec::new(),
            numbers: vec![at * 1_000_000_007, 0, at, u64::MAX / (at + 1)],
        };
        for at in [20, 0, 10] {
            single.append(&spool, at, 4, &block(at), &mut packed).unwrap();
            let list = Block { nulls: Vec::new(), ends: vec![2, 2, 3], numbers: vec![at, 5, at] };
            lists.append(&spool, at, 3, &list, &mut packed).unwrap();
        }
        let (single, lists) = (single.into_reader(), lists.into_reader());
        assert_eq!((single.rows(), lists.rows()), (12, 9));
        let mut seen = Vec::new();
        single
            .for_each_block(&spool, 5..12, |start, rows, got| {
                assert_eq!((rows, got), (4, &block(start as u64 / 4 * 10)));
                assert_eq!(got.is_null(1), start == 8);
                seen.push(start);
                io::Result::Ok(())
            })
            .unwrap();
        assert_eq!(seen, [4, 8]);
        lists
            .for_each_block(&spool, 0..9, |start, _, got| {
                assert_eq!(got.ends, [2, 2, 3]);
                assert_eq!(got.numbers, [start as u64 / 3 * 10, 5, start as u64 / 3 * 10]);
                io::Result::Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_memory_has_no_room_for_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path(), 100).unwrap();
        let pieces: Vec<Vec<u8>> =
            [60, 50, 30, 11, 10, 0, 7].iter().map(|len| vec![*len; (*len).into()]).collect();
        let extents: Vec<Extent> = pieces.iter().map(|piece| spool.append(piece).unwrap()).collect();
        assert_eq!(spool.file_bytes(), 50 + 11 + 7, "60, 30 and 10 fill the memory");
        let mut buffer = Vec::new();
        for (piece, extent) in pieces.iter().zip(&extents) {
            let extent = Extent::from_numbers(&extent.to_numbers());
            assert_eq!(&*spool.read(extent, &mut buffer).unwrap(), piece);
            if extent.len > 5 {
                assert_eq!(&*spool.read(extent.part(2..5), &mut buffer).unwrap(), &piece[2..5]);
            }
        }
        let beyond = Extent { offset: extents[0].offset + 50, len: 20 };
        assert!(spool.read(beyond, &mut buffer).is_err());
        // More pieces than places for them; places are not taken twice.
        let spool = Spool::create_in(dir.path(), 1 << 20).unwrap();
        let mut buffer = Vec::new();
        let extents: Vec<Extent> = (0..200_u8).map(|byte| spool.append(&[byte; 3]).unwrap()).collect();
        assert!(
            extents
                .iter()
                .zip(0..)
                .all(|(extent, byte)| *spool.read(*extent, &mut buffer).unwrap() == [byte; 3])
        );
        assert_eq!(spool.file_bytes(), 3 * (200 - MOST_PIECES as u64));
        spool.release(extents[0]);
        assert!(spool.append(&[7; 3]).unwrap().in_memory().is_none());
        assert!(spool.append_vec(vec![8; 3]).unwrap().in_memory().is_none());
        assert_eq!(spool.file_bytes(), 3 * (202 - MOST_PIECES as u64));
    }

    #[test]
    fn what_is_released_makes_room_and_nothing_else_changes() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(dir.path(), 30_000).unwrap();
        let piece = |at: u8| vec![at + 1; 10_000];
        let extents: Vec<Extent> = (0..6).map(|at| spool.append(&piece(at)).unwrap()).collect();
        let mut buffer = Vec::new();
        let read = spool.read(extents[1], &mut buffer).unwrap();
        for at in [1, 4] {
            spool.release(extents[at]);
        }
        assert_eq!(*read, piece(1), "who reads keeps what is being read");
        for at in [0, 2, 3, 5] {
            assert_eq!(*spool.read(extents[at], &mut Vec::new()).unwrap(), piece(at as u8));
        }
        let in_memory = spool.read(extents[1], &mut Vec::new()).map(|bytes| bytes.len());
        assert!(in_memory.is_err(), "a piece in memory is gone");
        let blocks = |file: &File| std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
        spool.file.sync_all().unwrap();
        let before = blocks(&spool.file);
        spool.release(extents[3]);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(&spool.file, hole, 0, 1).is_ok() {
            assert!(blocks(&spool.file) < before, "the file lost blocks");
        }
        spool.release(extents[1]);
        let again = spool.append(&piece(7)).unwrap();
        assert!(again.in_memory().is_some());
        assert!(spool.append(&piece(8)).unwrap().in_memory().is_none(), "the room is given back once");
        assert_eq!(*spool.read(again, &mut Vec::new()).unwrap(), piece(7));
    }

    #[test]
    fn every_width_comes_back() {
        let mut packed = Vec::new();
        for span in [0, 1, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX - 9] {
            let block = Block { nulls: vec![7], ends: Vec::new(), numbers: vec![9, 9 + span, 9 + span / 2] };
            block.pack(&mut packed);
            let mut back = Block::default();
            back.unpack(&packed).unwrap();
            assert_eq!(back, block);
            for cut in 0..packed.len() {
                assert!(back.unpack(&packed[..cut]).is_err());
            }
        }
        Block::default().pack(&mut packed);
        let mut back = Block::default();
        back.unpack(&packed).unwrap();
        assert_eq!(back, Block::default());
    }
}
