//! Files of a silo: whole writes, and errors that name the file.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{MappedRegion, Storage, StorageFile};
use crate::bytes::address::FileNumber;
use crate::bytes::file_header::FileKind;
use crate::error::{Error, Result};

/// The kernel takes at most this many slices a call.
const MAX_SLICES: usize = 1024;

/// An open file that knows its path.
#[derive(Debug)]
pub(crate) struct SiloFile {
    file: Box<dyn StorageFile>,
    path: PathBuf,
}

impl SiloFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn wrap<T>(&self, action: &'static str, result: io::Result<T>) -> Result<T> {
        result.map_err(|source| Error::io(action, &self.path, source))
    }

    /// Writes all bytes, however the system cuts them.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_slices_at(&mut [IoSlice::new(bytes)], offset)
    }

    /// Writes all slices, one behind the other, however the system cuts them.
    pub(crate) fn write_slices_at(&self, slices: &mut [IoSlice<'_>], mut offset: u64) -> Result<()> {
        let mut rest = slices;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let count = rest.len().min(MAX_SLICES);
            match self.file.write_at(rest.get(..count).unwrap_or_default(), offset) {
                Ok(0) => return self.wrap("write", Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.wrap("write", Err(error)),
            }
        }
        Ok(())
    }

    /// Reads up to `buffer.len()` bytes; less only at the file's end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.wrap("read", Err(error)),
            }
        }
        Ok(done)
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.wrap("sync", self.file.sync())
    }

    pub(crate) fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        loop {
            match self.file.allocate(offset, len) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return self.wrap("allocate", result),
            }
        }
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        self.wrap("cut", self.file.set_len(len))
    }

    pub(crate) fn len(&self) -> Result<u64> {
        self.wrap("look at", self.file.len())
    }

    pub(crate) fn map(&self, capacity: u64) -> Result<MappedRegion> {
        self.wrap("map", self.file.map(capacity))
    }

    pub(crate) fn try_lock(&self) -> Result<bool> {
        self.wrap("lock", self.file.try_lock())
    }
}

/// The directory of a silo.
#[derive(Debug, Clone)]
pub(crate) struct DirFiles {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

impl DirFiles {
    pub(crate) fn new(storage: Arc<dyn Storage>, dir: &Path) -> Self {
        Self { storage, dir: dir.to_path_buf() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn at(&self, dir: &Path) -> Self {
        Self { storage: Arc::clone(&self.storage), dir: dir.to_path_buf() }
    }

    /// Name of a numbered file.
    pub(crate) fn file_name(kind: FileKind, number: FileNumber) -> String {
        match kind {
            FileKind::Segment => format!("seg-{number:010}"),
            FileKind::Index => format!("idx-{number:010}"),
        }
    }

    /// Kind and number that a file's name says, if it is one of a silo's numbered files.
    pub(crate) fn parse_name(name: &str) -> Option<(FileKind, FileNumber)> {
        let (kind, digits) = match name.split_at_checked(4)? {
            ("seg-", digits) => (FileKind::Segment, digits),
            ("idx-", digits) => (FileKind::Index, digits),
            _ => return None,
        };
        let number = digits.parse().ok()?;
        (Self::file_name(kind, number) == name).then_some((kind, number))
    }

    /// The directory that this one lies in, if it is not the root.
    fn parent(&self) -> Option<Self> {
        let parent = self.dir.parent()?;
        Some(self.at(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }))
    }

    /// Creates the directory and what is missing above it, durably: each name is synced before
    /// anything is made below it, so that an interruption leaves at most one that is not.
    pub(crate) fn create_dir(&self) -> Result<()> {
        let parent = self.parent();
        if let Some(parent) = &parent {
            match parent.list() {
                Err(error) if error.is_not_found() => parent.create_dir()?,
                _ => parent.sync_name(),
            }
        }
        self.storage.create_dir(&self.dir).map_err(|e| Error::io("create", &self.dir, e))?;
        parent.map_or(Ok(()), |parent| parent.sync())
    }

    /// Makes the name of a directory durable that an interrupted creation may have left.
    pub(crate) fn sync_name(&self) {
        if let Some(Err(error)) = self.parent().map(|parent| parent.sync()) {
            // It may have been there all along, below one that cannot be opened.
            tracing::debug!(%error, "a directory's name could not be synced");
        }
    }

    pub(crate) fn create(&self, name: &str) -> Result<SiloFile> {
        let path = self.path(name);
        match self.storage.create(&path) {
            Ok(file) => Ok(SiloFile { file, path }),
            Err(error) => Err(Error::io("create", &path, error)),
        }
    }

    pub(crate) fn open(&self, name: &str, write: bool) -> Result<SiloFile> {
        let path = self.path(name);
        match self.storage.open(&path, write) {
            Ok(file) => Ok(SiloFile { file, path }),
            Err(error) => Err(Error::io("open", &path, error)),
        }
    }

    /// Opens a file for writing, creating it if it is not there.
    pub(crate) fn open_or_create(&self, name: &str) -> Result<SiloFile> {
        match self.open(name, true) {
            Err(error) if error.is_not_found() => self.create(name),
            result => result,
        }
    }

    /// Reads a file, or as much of it as `limit` allows.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let file = self.open(name, false)?;
        let len = usize::try_from(file.len()?.min(limit)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(crate) fn list(&self) -> Result<Vec<String>> {
        self.storage.list(&self.dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => Error::NotADirectory { path: self.dir.clone() },
            _ => Error::io("list", &self.dir, error),
        })
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        self.storage.rename(&from, &to).map_err(|e| Error::io("replace", &to, e))
    }

    /// Gives a file of this directory the same name in another.
    pub(crate) fn link_into(&self, name: &str, target: &Path) -> io::Result<()> {
        self.storage.link(&self.path(name), &target.join(name))
    }

    /// Gives a file a second name, which another file may have had.
    pub(crate) fn link(&self, name: &str, second: &str) -> Result<()> {
        let (from, to) = (self.path(name), self.path(second));
        let result = match self.storage.link(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(second)?;
                self.storage.link(&from, &to)
            }
            result => result,
        };
        result.map_err(|e| Error::io("link", &to, e))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        self.storage.remove(&path).map_err(|e| Error::io("remove", &path, e))
    }

    /// Removes the directory itself, which must be empty.
    pub(crate) fn remove_dir(&self) -> Result<()> {
        self.storage.remove_dir(&self.dir).map_err(|e| Error::io("remove", &self.dir, e))
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.storage.sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_numbered_files_parse_back_and_others_do_not() {
        for kind in [FileKind::Segment, FileKind::Index] {
            for number in [1, 77, u32::MAX] {
                let name = DirFiles::file_name(kind, number);
                assert_eq!(DirFiles::parse_name(&name), Some((kind, number)));
            }
        }
        for other in ["MANIFEST", "seg-1", "seg-00000000001", "seg-000000000x", "seg-9999999999", "säg-1"] {
            assert_eq!(DirFiles::parse_name(other), None, "{other}");
        }
    }
}
