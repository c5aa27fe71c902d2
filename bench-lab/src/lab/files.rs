//! Scratch files: mappings of them, and the page cache.
#![expect(unsafe_code, reason = "mapping files")]

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use memmap2::{Advice, Mmap, MmapMut, MmapOptions};

/// Page advice of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageAdvice {
    /// None given.
    None,
    /// Read from the start to the end: the kernel reads far ahead.
    Sequential,
    /// Read anywhere: the kernel reads nothing ahead.
    Random,
    /// All of it soon: the kernel reads it at once.
    WillNeed,
}

/// Maps a file of the lab for reading.
pub fn map(file: &File, advice: PageAdvice) -> Result<Mmap> {
    // SAFETY: scratch files lie in directories of the lab's own and are not changed while they are mapped.
    let map = unsafe { Mmap::map(file) }.context("mapping a scratch file")?;
    match advice {
        PageAdvice::None => {}
        PageAdvice::Sequential => map.advise(Advice::Sequential)?,
        PageAdvice::Random => map.advise(Advice::Random)?,
        PageAdvice::WillNeed => map.advise(Advice::WillNeed)?,
    }
    Ok(map)
}

/// Maps a path for reading.
pub fn map_path(path: &Path, advice: PageAdvice) -> Result<Mmap> {
    map(&File::open(path).with_context(|| format!("opening {}", path.display()))?, advice)
}

/// Maps a file of the lab for writing, its pages made at once if asked.
pub fn map_for_writing(file: &File, populate: bool) -> Result<MmapMut> {
    let mut options = MmapOptions::new();
    if populate {
        options.populate();
    }
    // SAFETY: as above; nobody else maps the file.
    unsafe { options.map_mut(file) }.context("mapping a scratch file for writing")
}

/// Puts a file out of the page cache: what reads it next reads the device.
pub fn evict(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
        .context("putting a file out of the page cache")
}
