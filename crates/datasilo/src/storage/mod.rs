//! The one seam to the operating system: files, directories, mappings, locks.
//!
//! Everything above this module reaches the disk through [`Storage`] and [`StorageFile`], so a
//! test can record, delay, tear or fail any call. Programs use [`OsStorage`], the default.

mod advice;
mod file;
mod mapping;
mod os;
mod prefetch;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;

pub(crate) use advice::{Access, READ_AHEAD, advise};
pub(crate) use file::{DirFiles, SiloFile};
pub use mapping::MappedRegion;
pub use os::OsStorage;
pub use prefetch::prefetch;

/// Operations on names in a directory.
pub trait Storage: Debug + Send + Sync {
    /// Creates a directory and its parents; an existing one is fine.
    ///
    /// # Errors
    /// As of [`std::fs::create_dir_all`].
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a file that does not exist yet, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if it does.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;

    /// Opens a file; for writing too if asked.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn StorageFile>>;

    /// Names of the entries of a directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`] if it is none.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Replaces `to` by `from`, atomically.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes `to` a second name of the file `from`.
    ///
    /// # Errors
    /// [`io::ErrorKind::CrossesDevices`] between file systems.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::DirectoryNotEmpty`] if it is not.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Those of the system; what is durable is then unknown.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// Operations on an open file.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait StorageFile: Debug + Send + Sync {
    /// Reads at an offset; returns how much, 0 at the end.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at an offset; returns how much, possibly less than given.
    ///
    /// # Errors
    /// Those of the system; how much was written is then unknown.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes the file's bytes and length durable.
    ///
    /// # Errors
    /// Those of the system; what is durable is then unknown.
    fn sync(&self) -> io::Result<()>;

    /// Reserves disk space for a range and makes the file at least that long.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is no room.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Sets the file's length.
    ///
    /// # Errors
    /// Those of the system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn len(&self) -> io::Result<u64>;

    /// Maps `capacity` bytes from the start for reading. They may go beyond the file's end,
    /// as long as nobody reads there.
    ///
    /// # Errors
    /// Those of the system.
    fn map(&self, capacity: u64) -> io::Result<MappedRegion>;

    /// Takes the exclusive advisory lock, without waiting. False if somebody else has it.
    /// It is let go when the file is dropped.
    ///
    /// # Errors
    /// Those of the system.
    fn try_lock(&self) -> io::Result<bool>;
}
