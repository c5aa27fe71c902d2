//! A file system whose calls fail when told to.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use datasilo::{MappedRegion, OsStorage, Storage, StorageFile};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    CreateDir,
    Create,
    Open,
    List,
    Rename,
    Link,
    Remove,
    RemoveDir,
    SyncDir,
    Read,
    Write,
    Sync,
    Allocate,
    SetLen,
    Len,
    Map,
    Lock,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// With an I/O error, having done nothing.
    Io,
    /// The device is full; nothing was done.
    Full,
    /// A signal came in between; the next try works.
    Interrupted,
    /// Half of the bytes are written, which is a success that says so.
    Short,
    /// Half of the bytes are written, and an error is reported.
    Torn,
    /// Everything is done, and still an error is reported.
    Done,
    /// This call and all later ones of its kind fail with an I/O error, until healed.
    Lasting,
    /// As [`Fault::Lasting`], for calls that need space, which is full.
    LastingFull,
}

impl Fault {
    /// Whether it makes sense for a call.
    pub fn applies_to(self, kind: Kind) -> bool {
        let takes_space = matches!(
            kind,
            Kind::CreateDir | Kind::Create | Kind::Rename | Kind::Link | Kind::Write | Kind::Allocate
        );
        match self {
            Self::Io => true,
            Self::Full | Self::LastingFull => takes_space,
            Self::Interrupted => matches!(kind, Kind::Read | Kind::Write | Kind::Allocate),
            Self::Short | Self::Torn => kind == Kind::Write,
            Self::Done => matches!(
                kind,
                Kind::Write | Kind::Rename | Kind::Remove | Kind::SetLen | Kind::Create | Kind::Link
            ),
            Self::Lasting => matches!(kind, Kind::Write | Kind::Allocate | Kind::Create | Kind::Remove),
        }
    }

    fn is_seen_by_callers(self) -> bool {
        !matches!(self, Self::Interrupted | Self::Short)
    }
}

/// The call that failed.
#[derive(Debug, Clone)]
pub struct Hit {
    pub kind: Kind,
    pub path: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    plan: Option<(u64, Fault)>,
    lasting: Option<(Kind, Fault)>,
    hit: Option<Hit>,
    /// Kinds of all calls, if asked for.
    log: Option<Vec<Kind>>,
}

/// The real file system, with faults.
#[derive(Debug, Clone, Default)]
pub struct FaultyStorage {
    state: Arc<Mutex<State>>,
}

enum Verdict {
    Pass,
    Fail(io::Error),
    Short,
    Torn,
    DoneButFailed,
}

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn full_error() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl FaultyStorage {
    /// Fails call number `at`, counted from 0.
    pub fn failing(at: u64, fault: Fault) -> Self {
        let storage = Self::default();
        storage.locked().plan = Some((at, fault));
        storage
    }

    /// Fails nothing and notes the kind of every call.
    pub fn counting() -> Self {
        let storage = Self::default();
        storage.locked().log = Some(Vec::new());
        storage
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kinds of the calls so far.
    pub fn log(&self) -> Vec<Kind> {
        self.locked().log.clone().unwrap_or_default()
    }

    /// Plans a fault for the call after `calls` more.
    pub fn fail_in(&self, calls: u64, fault: Fault) {
        let mut state = self.locked();
        state.plan = Some((state.count + calls, fault));
    }

    /// Ends a lasting fault.
    pub fn heal(&self) {
        self.locked().lasting = None;
    }

    /// The failed call, if it came to that and its caller could see it. Asked once.
    pub fn take_hit(&self) -> Option<Hit> {
        self.locked().hit.take()
    }

    fn judge(&self, kind: Kind, path: &Path) -> Verdict {
        let mut state = self.locked();
        let now = state.count;
        state.count += 1;
        if let Some(log) = &mut state.log {
            log.push(kind);
        }
        if let Some((lasting, fault)) = state.lasting {
            let failing = match fault {
                Fault::LastingFull => Fault::Full.applies_to(kind),
                _ => lasting == kind,
            };
            if failing {
                let full = fault == Fault::LastingFull;
                return Verdict::Fail(if full { full_error() } else { io_error() });
            }
        }
        let Some((_, fault)) = state.plan.filter(|(at, fault)| now >= *at && fault.applies_to(kind)) else {
            return Verdict::Pass;
        };
        state.plan = None;
        if fault.is_seen_by_callers() {
            state.hit = Some(Hit { kind, path: path.to_path_buf() });
        }
        match fault {
            Fault::Io => Verdict::Fail(io_error()),
            Fault::Full => Verdict::Fail(full_error()),
            Fault::Interrupted => Verdict::Fail(io::ErrorKind::Interrupted.into()),
            Fault::Short => Verdict::Short,
            Fault::Torn => Verdict::Torn,
            Fault::Done => Verdict::DoneButFailed,
            Fault::Lasting => {
                state.lasting = Some((kind, fault));
                Verdict::Fail(io_error())
            }
            Fault::LastingFull => {
                state.lasting = Some((kind, fault));
                Verdict::Fail(full_error())
            }
        }
    }

    fn call<T>(&self, kind: Kind, path: &Path, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.judge(kind, path) {
            Verdict::Pass => action(),
            Verdict::Fail(error) => Err(error),
            Verdict::DoneButFailed => action().and_then(|_| Err(io_error())),
            Verdict::Short | Verdict::Torn => unreachable!("only writes are cut short"),
        }
    }

    fn file(&self, path: &Path, inner: io::Result<Box<dyn StorageFile>>) -> io::Result<Box<dyn StorageFile>> {
        let storage = self.clone();
        Ok(Box::new(FaultyFile { inner: inner?, path: path.to_path_buf(), storage }))
    }
}

impl Storage for FaultyStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Kind::CreateDir, path, || OsStorage.create_dir(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.file(path, self.call(Kind::Create, path, || OsStorage.create(path)))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn StorageFile>> {
        self.file(path, self.call(Kind::Open, path, || OsStorage.open(path, write)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.call(Kind::List, path, || OsStorage.list(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Kind::Rename, to, || OsStorage.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Kind::Link, to, || OsStorage.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Kind::Remove, path, || OsStorage.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Kind::RemoveDir, path, || OsStorage.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Kind::SyncDir, path, || Ok(()))
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn StorageFile>,
    path: PathBuf,
    storage: FaultyStorage,
}

impl FaultyFile {
    fn call<T>(&self, kind: Kind, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.storage.call(kind, &self.path, action)
    }

    /// Writes the first half of some slices.
    fn write_half(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.inner.write_at(&[IoSlice::new(&bytes[..bytes.len().div_ceil(2)])], offset)
    }
}

impl StorageFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(Kind::Read, || self.inner.read_at(buffer, offset))
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match self.storage.judge(Kind::Write, &self.path) {
            Verdict::Pass => self.inner.write_at(slices, offset),
            Verdict::Fail(error) => Err(error),
            Verdict::Short => self.write_half(slices, offset),
            Verdict::Torn => self.write_half(slices, offset).and_then(|_| Err(io_error())),
            Verdict::DoneButFailed => self.inner.write_at(slices, offset).and_then(|_| Err(io_error())),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.call(Kind::Sync, || Ok(()))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.call(Kind::Allocate, || self.inner.allocate(offset, len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(Kind::SetLen, || self.inner.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.call(Kind::Len, || self.inner.len())
    }

    fn map(&self, capacity: u64) -> io::Result<MappedRegion> {
        self.call(Kind::Map, || self.inner.map(capacity))
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.call(Kind::Lock, || self.inner.try_lock())
    }
}
