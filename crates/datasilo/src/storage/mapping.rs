//! Read-only mappings of files. One of the crate's few modules with unsafe code.
#![expect(unsafe_code, reason = "mapping a file and lending its bytes cannot be expressed safely")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// A file's bytes in memory, read-only.
///
/// The mapping covers a fixed capacity; this crate is lent only its *readable*
/// prefix, which starts at nothing and is raised by the crate as bytes become final. Bytes of
/// the prefix never change: sealed files are never written, and a log is only appended to.
/// `docs/adr/0001-opening-a-mapped-silo-is-safe.md` says why that may be relied on.
#[derive(Debug)]
pub struct MappedRegion {
    map: MmapRaw,
    readable: AtomicUsize,
}

impl MappedRegion {
    /// Maps the first `capacity` bytes of a file, which may be shorter.
    ///
    /// # Errors
    /// Those of `mmap`.
    pub fn new(file: &std::fs::File, capacity: u64) -> io::Result<Self> {
        let len = usize::try_from(capacity.max(1)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let map = MmapOptions::new().len(len).map_raw_read_only(file)?;
        Ok(Self { map, readable: AtomicUsize::new(0) })
    }

    /// The bytes that are final.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.readable.load(Ordering::Acquire);
        // SAFETY: `readable` never exceeds the mapped length (`raise_readable` asserts it), and
        // its callers raise it only over bytes that lie within the file and are final, so the
        // memory is readable and does not change while borrowed. The borrow ends before `map` is
        // dropped, which unmaps.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), len) }
    }

    /// Lends the first `len` bytes from now on.
    ///
    /// The caller has made sure that they lie within the file and will never change again,
    /// nor be cut off.
    ///
    /// # Panics
    /// Panics if the mapping is shorter.
    pub(crate) fn raise_readable(&self, len: u64) {
        let len = usize::try_from(len).expect("mapped lengths fit usize");
        assert!(len <= self.map.len(), "a mapping of {} bytes cannot lend {len}", self.map.len());
        self.readable.fetch_max(len, Ordering::Release);
    }

    /// Bytes that are mapped, whether readable or not.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Gives the kernel a hint about a range inside the mapping; hints that it does not know are ignored.
    pub(crate) fn advise(&self, advice: memmap2::Advice, offset: usize, len: usize) {
        if len > 0 && self.map.advise_range(advice, offset, len).is_err() {
            tracing::trace!(?advice, offset, len, "the system ignores this page advice");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_the_readable_prefix_is_lent() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        let region = MappedRegion::new(&file, 1 << 20).unwrap();
        assert_eq!(region.bytes(), b"");
        region.raise_readable(3);
        assert_eq!(region.bytes(), b"abc");
        region.raise_readable(2);
        assert_eq!(region.bytes(), b"abc", "what was lent is not taken back");
    }
}
