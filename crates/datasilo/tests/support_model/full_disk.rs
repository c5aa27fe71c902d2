//! A file system on which no new segment finds room while a switch is on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datasilo::{OsStorage, Storage, StorageFile};

/// See the module's page.
#[derive(Debug, Default, Clone)]
pub(crate) struct FullDisk {
    pub(crate) full: Arc<AtomicBool>,
}

impl Storage for FullDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsStorage.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let segment = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seg-"));
        if segment && self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        OsStorage.create(path)
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn StorageFile>> {
        OsStorage.open(path, write)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        OsStorage.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsStorage.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsStorage.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsStorage.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsStorage.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        OsStorage.sync_dir(path)
    }
}
