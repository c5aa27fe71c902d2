//! The mapping of an input file.

use std::fs::File;
use std::io;

/// A file's bytes.
#[derive(Debug)]
pub(crate) struct Mapping(memmap2::Mmap);

impl Mapping {
    /// Maps a file, to be read from front to back.
    pub(crate) fn new(file: &File) -> io::Result<Mapping> {
        #[expect(unsafe_code, reason = "files are parsed where they are mapped")]
        // SAFETY: the mapping is private and only read. That nobody truncates or rewrites an input file
        // while it is loaded is the caller's part, as the crate's page says.
        let mapping = unsafe { memmap2::MmapOptions::new().map_copy_read_only(file)? };
        #[cfg(unix)]
        // Advice: to read on without it is only slower.
        let _ = mapping.advise(memmap2::Advice::Sequential);
        Ok(Mapping(mapping))
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
