//! A new silo is made beside its place and moved there when it is whole, so that whoever ends a load, and however, leaves
//! either a silo or nothing.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// A directory in which a silo is being made. Dropped before [`Staging::publish`] it goes away; after a kill the next
/// load of the same silo removes it.
pub(super) struct Staging {
    target: PathBuf,
    path: PathBuf,
    /// Held for as long as somebody works in the directory.
    _lock: File,
    published: bool,
}

impl Staging {
    /// Begins a silo that will be at `target`, which must not exist or be empty.
    pub(super) fn begin(target: &Path) -> Result<Self> {
        let target = match fs::read_dir(target) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(occupied(target));
                }
                // A link must not be replaced, but what it leads to.
                fs::canonicalize(target).map_err(Failure::file("find", target))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => target.to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Failure::failed(format!(
                    "{} is not a directory: a silo is a directory, give another path",
                    target.display()
                )));
            }
            Err(error) => return Err(Failure::file("list", target)(error)),
        };
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!(
                "{} is no name for a new silo: give its directory a name",
                target.display()
            )));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".loading");
        let path = target.with_file_name(hidden);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::failed(format!(
                    "cannot create {}: the directory around it does not exist; make it first",
                    target.display()
                )));
            }
            Err(error) => return Err(Failure::file("create", &path)(error)),
        }
        let lock = File::open(&path).map_err(Failure::file("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::failed(format!(
                    "another process is loading {} at this moment: wait for it, or choose another directory",
                    target.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(Failure::file("lock", &path)(error)),
        }
        // What a load that was killed has left.
        for entry in fs::read_dir(&path).map_err(Failure::file("list", &path))? {
            let entry = entry.map_err(Failure::file("list", &path))?.path();
            fs::remove_file(&entry).map_err(Failure::file("remove", &entry))?;
        }
        Ok(Self { target, path, _lock: lock, published: false })
    }

    /// Where the silo is being made.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the silo, which nobody must have open, to its place.
    pub(super) fn publish(mut self) -> Result<()> {
        match fs::rename(&self.path, &self.target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                return Err(occupied(&self.target));
            }
            Err(error) => return Err(Failure::file("move the new silo to", &self.target)(error)),
        }
        self.published = true;
        let parent = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let synced = File::open(parent).and_then(|dir| dir.sync_all());
        synced.map_err(Failure::file("sync", parent))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // The failure that led here says more than one to clean up.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn occupied(target: &Path) -> Failure {
    Failure::failed(if target.join("MANIFEST").exists() {
        format!(
            "{} already holds a silo: add to it with --mode append or merge, or choose another directory",
            target.display()
        )
    } else {
        format!(
            "{} is not empty: a new silo needs a directory that is empty or does not exist",
            target.display()
        )
    })
}
