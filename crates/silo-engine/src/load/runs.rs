//! Many small records, sorted: gathered in memory, spilled as sorted runs, read back merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

/// A record of fixed width, ordered as a whole.
pub(super) trait Fixed: Copy + Ord + Send {
    const BYTES: usize;
    fn write(self, out: &mut Vec<u8>);
    /// Reads `BYTES` bytes.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Sorts.
    fn sort(records: &mut Vec<Self>) {
        records.sort_unstable();
    }
}

/// Fewer numbers are sorted by comparing.
const RADIX_MIN: usize = 1 << 12;

/// Sorts by digits of eleven bits, lowest first; digits that all have in common are left out.
fn radix_sort(records: &mut Vec<u64>) {
    const BITS: u32 = 11;
    let all = records.iter().fold(0, |all, record| all | record);
    let common = records.iter().fold(u64::MAX, |common, record| common & record);
    let mut room = vec![0; records.len()];
    for shift in (0..u64::BITS).step_by(BITS as usize) {
        let digit = |record: u64| (record >> shift & ((1 << BITS) - 1)) as usize;
        if digit(all) == digit(common) {
            continue;
        }
        let mut starts = vec![0_usize; 1 << BITS];
        for record in records.iter() {
            if let Some(count) = starts.get_mut(digit(*record)) {
                *count += 1;
            }
        }
        let mut start = 0;
        for count in &mut starts {
            (start, *count) = (start + *count, start);
        }
        for record in records.iter() {
            if let Some(at) = starts.get_mut(digit(*record))
                && let Some(place) = room.get_mut(*at)
            {
                *place = *record;
                *at += 1;
            }
        }
        std::mem::swap(records, &mut room);
    }
}

impl Fixed for u64 {
    const BYTES: usize = 8;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_le_bytes)
    }

    fn sort(records: &mut Vec<Self>) {
        if records.len() < RADIX_MIN { records.sort_unstable() } else { radix_sort(records) }
    }
}

/// A number and a slot, or whatever else sorts so.
impl Fixed for (u64, u32) {
    const BYTES: usize = 12;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
        out.extend_from_slice(&self.1.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (number, slot) = bytes.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*number), u32::from_le_bytes(slot.try_into().ok()?)))
    }

    fn sort(records: &mut Vec<Self>) {
        bitmap_silo::postings::sort_pairs(records, &mut Vec::new());
    }
}

/// A slot and a number.
impl Fixed for (u32, u64) {
    const BYTES: usize = 12;

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
        out.extend_from_slice(&self.1.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (slot, number) = bytes.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*slot), u64::from_le_bytes(number.try_into().ok()?)))
    }
}

/// A sorted run in a file.
#[derive(Debug, Clone)]
struct Spilled {
    file: Arc<File>,
    start: u64,
    count: usize,
}

/// Records of one index, as one thread gathers them.
#[derive(Debug)]
pub(super) struct Runs<R> {
    buffer: Vec<R>,
    spilled: Vec<Spilled>,
}

impl<R> Default for Runs<R> {
    fn default() -> Self {
        Self { buffer: Vec::new(), spilled: Vec::new() }
    }
}

/// Where a thread spills to: a file without a name, which goes away with the load.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: Arc<File>,
    len: u64,
    bytes: Vec<u8>,
}

fn io_error(path: &Path, source: std::io::Error) -> Error {
    datasilo::Error::Io { action: "spill to a temporary file in", path: path.to_owned(), source }.into()
}

impl SpillFile {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(dir).map_err(|error| io_error(dir, error))?;
        Ok(Self { file: Arc::new(file), len: 0, bytes: Vec::new() })
    }

    fn flush(&mut self) -> Result<()> {
        let result = (&*self.file).write_all(&self.bytes);
        result.map_err(|error| io_error(Path::new("the silo's directory"), error))?;
        self.len += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

/// Bytes that are written, or read back, at once.
const STEP_BYTES: usize = 256 << 10;

impl<R: Fixed> Runs<R> {
    #[inline]
    pub(super) fn push(&mut self, record: R) {
        self.buffer.push(record);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.spilled.is_empty()
    }

    /// Bytes held in memory.
    pub(super) fn bytes(&self) -> usize {
        self.buffer.len() * size_of::<R>()
    }

    /// Writes what is in memory to the file, sorted.
    pub(super) fn spill(&mut self, to: &mut SpillFile) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        R::sort(&mut self.buffer);
        let start = to.len;
        for record in &self.buffer {
            record.write(&mut to.bytes);
            if to.bytes.len() >= STEP_BYTES {
                to.flush()?;
            }
        }
        to.flush()?;
        self.spilled.push(Spilled { file: Arc::clone(&to.file), start, count: self.buffer.len() });
        self.buffer = Vec::new();
        Ok(())
    }

    /// Takes over what another thread gathered.
    pub(super) fn take(&mut self, mut other: Self) {
        self.spilled.append(&mut other.spilled);
        if self.buffer.len() < other.buffer.len() {
            std::mem::swap(&mut self.buffer, &mut other.buffer);
        }
        self.buffer.append(&mut other.buffer);
    }

    /// All records, ascending.
    pub(super) fn merged(mut self) -> Result<Merged<R>> {
        // One thread's records often come in order.
        if !self.buffer.is_sorted() {
            R::sort(&mut self.buffer);
        }
        let mut sources = vec![Source::Memory(self.buffer.into_iter())];
        for spilled in self.spilled {
            sources.push(Source::File { spilled, bytes: Vec::new(), at: 0 });
        }
        let mut heads = BinaryHeap::with_capacity(sources.len());
        let mut single = None;
        if sources.len() == 1 {
            single = match sources.first_mut() {
                Some(source) => source.next()?,
                None => None,
            };
        } else {
            for (at, source) in sources.iter_mut().enumerate() {
                if let Some(record) = source.next()? {
                    heads.push(Reverse((record, at)));
                }
            }
        }
        Ok(Merged { sources, heads, single })
    }
}

#[derive(Debug)]
enum Source<R> {
    Memory(std::vec::IntoIter<R>),
    File { spilled: Spilled, bytes: Vec<u8>, at: usize },
}

impl<R: Fixed> Source<R> {
    #[inline]
    fn next(&mut self) -> Result<Option<R>> {
        match self {
            Self::Memory(records) => Ok(records.next()),
            Self::File { spilled, bytes, at } => {
                if *at >= bytes.len() {
                    if spilled.count == 0 {
                        return Ok(None);
                    }
                    let records = spilled.count.min(STEP_BYTES / R::BYTES);
                    bytes.resize(records * R::BYTES, 0);
                    let result = spilled.file.read_exact_at(bytes, spilled.start);
                    result.map_err(|error| io_error(Path::new("the silo's directory"), error))?;
                    spilled.start += bytes.len() as u64;
                    spilled.count -= records;
                    *at = 0;
                }
                let record = bytes.get(*at..*at + R::BYTES).and_then(R::read);
                *at += R::BYTES;
                Ok(record)
            }
        }
    }
}

/// Records of several sorted runs, ascending.
#[derive(Debug)]
pub(super) struct Merged<R> {
    sources: Vec<Source<R>>,
    heads: BinaryHeap<Reverse<(R, usize)>>,
    /// The next record where there is only one source.
    single: Option<R>,
}

impl<R: Fixed> Merged<R> {
    /// The next record, which stays.
    #[inline]
    pub(super) fn peek(&self) -> Option<R> {
        self.single.or_else(|| self.heads.peek().map(|Reverse((record, _))| *record))
    }

    /// Takes the next record.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<R>> {
        if let [source] = self.sources.as_mut_slice() {
            let record = self.single;
            if record.is_some() {
                self.single = source.next()?;
            }
            return Ok(record);
        }
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((record, at)) = *head;
        let next = match self.sources.get_mut(at) {
            Some(source) => source.next()?,
            None => None,
        };
        match next {
            Some(next) => *head = Reverse((next, at)),
            None => drop(std::collections::binary_heap::PeekMut::pop(head)),
        }
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_by_digits_as_by_comparing() {
        let mut state = 9_u64;
        for mask in [u64::MAX, 0xff_0000_ffff, 0xffff_0000_0000_0000, 0] {
            let mut records: Vec<u64> = (0..20_000)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state ^ state >> 29) & mask
                })
                .collect();
            let mut sorted = records.clone();
            sorted.sort_unstable();
            u64::sort(&mut records);
            assert!(records == sorted, "{mask:x}");
        }
    }

    #[test]
    fn what_was_spilled_comes_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = 7_u64;
        for spills in [0, 1, 5] {
            let mut all = Vec::new();
            let (mut one, mut other) = (Runs::default(), Runs::default());
            let mut file = SpillFile::new(dir.path()).unwrap();
            for step in 0..=spills {
                for _ in 0..50_000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let record = (state >> 44, u32::try_from(state >> 40 & 0xff).unwrap());
                    all.push(record);
                    if state & 1 == 0 { one.push(record) } else { other.push(record) }
                }
                if step < spills {
                    one.spill(&mut file).unwrap();
                    other.spill(&mut file).unwrap();
                }
            }
            one.take(other);
            let mut merged = one.merged().unwrap();
            all.sort_unstable();
            for record in all {
                assert_eq!(merged.peek(), Some(record));
                assert_eq!(merged.next().unwrap(), Some(record));
            }
            assert_eq!(merged.next().unwrap(), None);
        }
    }
}
