//! The physical limit: values appended to one file, found through a vector of offset and length.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::Mmap;
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The record of a key: reproducible bytes, cheap to make.
pub(crate) fn value(key: u64, len: usize, buffer: &mut Vec<u8>) {
    buffer.clear();
    let mut state = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while buffer.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        buffer.extend_from_slice(&state.to_le_bytes());
    }
    buffer.truncate(len);
}

/// Reads a value as a program would: all of its bytes.
#[inline]
pub(crate) fn consume(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, &byte| sum.wrapping_add(u64::from(byte)))
}

/// Keys in random order, the same for every contender.
pub(crate) fn random_keys(records: u64, count: usize, seed: u64) -> Vec<u64> {
    let mut random = SmallRng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(0..records)).collect()
}

/// Values in a mapped file, by position.
pub(crate) struct Limit {
    pub index: Vec<(u64, u32)>,
    map: Mmap,
}

impl Limit {
    /// Writes `records` values of `len` bytes and maps them.
    #[expect(unsafe_code, reason = "mapping a file")]
    pub(crate) fn load(path: &Path, records: u64, len: usize) -> Self {
        let (file, index) = append(path, records, len);
        // SAFETY: nobody changes the file while the benchmark runs.
        let map = unsafe { Mmap::map(&file).unwrap() };
        Self { index, map }
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> &[u8] {
        let (offset, len) = self.index[key as usize];
        &self.map[offset as usize..offset as usize + len as usize]
    }
}

/// Appends values in buffers of 1 MiB; the least that storing them takes.
pub(crate) fn append(path: &Path, records: u64, len: usize) -> (File, Vec<(u64, u32)>) {
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path).unwrap();
    let mut index = Vec::with_capacity(records as usize);
    let mut buffer = Vec::with_capacity(1 << 20);
    let mut record = Vec::new();
    let mut at = 0;
    for key in 0..records {
        value(key, len, &mut record);
        index.push((at + buffer.len() as u64, len as u32));
        buffer.extend_from_slice(&record);
        if buffer.len() >= 1 << 20 {
            file.write_all_at(&buffer, at).unwrap();
            at += buffer.len() as u64;
            buffer.clear();
        }
    }
    file.write_all_at(&buffer, at).unwrap();
    (file, index)
}

/// Appends batches of encoded records to a file: the limit of logging.
pub(crate) struct AppendLog {
    file: File,
}

impl AppendLog {
    pub(crate) fn create(path: &Path) -> Self {
        Self { file: File::create(path).unwrap() }
    }

    /// Appends `count` records of `len` bytes with their checksums, in one write.
    pub(crate) fn batch(
        &mut self,
        first: u64,
        count: u64,
        len: usize,
        buffer: &mut Vec<u8>,
        record: &mut Vec<u8>,
    ) {
        buffer.clear();
        for key in first..first + count {
            value(key, len, record);
            buffer.extend_from_slice(&key.to_le_bytes());
            buffer.extend_from_slice(record);
        }
        self.file.write_all(buffer).unwrap();
    }

    pub(crate) fn sync(&self) {
        self.file.sync_data().unwrap();
    }
}
