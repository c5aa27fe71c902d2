//! A disk that may lose power: records what a silo asks of the file system, and builds
//! every state that the file system may be found in afterwards.
//!
//! The model is that of the format page's media assumptions. A synced file keeps its synced bytes.
//! Of a file's later bytes, each sector (512 bytes or 4 KiB) is found as it was at any moment since
//! the sync, and so is the file's length. Names of a directory are durable once that is
//! synced; of later changes to names, any may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use datasilo::{MappedRegion, OsStorage, Storage, StorageFile};

/// A file's identity, whatever its names.
pub type FileId = usize;

/// A call that changed something, or a note of the test.
#[derive(Debug, Clone)]
pub enum Call {
    CreateDir(PathBuf),
    Create(PathBuf, FileId),
    Write(FileId, u64, Arc<[u8]>),
    Allocate(FileId, u64, u64),
    SetLen(FileId, u64),
    Sync(FileId),
    Rename(PathBuf, PathBuf, FileId),
    Link(PathBuf, FileId),
    Remove(PathBuf),
    RemoveDir(PathBuf),
    SyncDir(PathBuf),
    /// The test begins event number `.0`.
    Begin(usize),
    /// Event number `.0` was acknowledged.
    Done(usize),
}

#[derive(Default)]
struct Recording {
    calls: Vec<Call>,
    names: BTreeMap<PathBuf, FileId>,
    next_id: FileId,
    /// Runs once, before the next sync of a file.
    before_sync: Option<Box<dyn FnOnce() + Send>>,
}

impl Recording {
    /// Follows the names through calls made earlier.
    fn of(calls: Vec<Call>) -> Self {
        let mut recording = Self::default();
        for call in &calls {
            match call {
                Call::Create(path, id) | Call::Link(path, id) => {
                    recording.names.insert(path.clone(), *id);
                    recording.next_id = recording.next_id.max(id + 1);
                }
                Call::Rename(from, to, id) => {
                    recording.names.remove(from);
                    recording.names.insert(to.clone(), *id);
                }
                Call::Remove(path) => {
                    recording.names.remove(path);
                }
                _ => {}
            }
        }
        recording.calls = calls;
        recording
    }
}

/// The real file system under a root directory, with a record of every change.
#[derive(Clone)]
pub struct RecordingStorage {
    root: PathBuf,
    recording: Arc<Mutex<Recording>>,
}

impl std::fmt::Debug for RecordingStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingStorage").field("root", &self.root).finish_non_exhaustive()
    }
}

impl RecordingStorage {
    /// Records from nothing on; `root` is an empty directory.
    pub fn new(root: &Path) -> Self {
        Self::resume(root, Vec::new())
    }

    /// Goes on after earlier calls, whose result lies in `root`.
    pub fn resume(root: &Path, calls: Vec<Call>) -> Self {
        let recording = Arc::new(Mutex::new(Recording::of(calls)));
        Self { root: root.to_path_buf(), recording }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something of the test's own.
    pub fn note(&self, call: Call) {
        self.locked().calls.push(call);
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.locked().calls.clone()
    }

    /// Runs a closure before the next sync of a file is passed on.
    pub fn before_next_sync(&self, action: impl FnOnce() + Send + 'static) {
        self.locked().before_sync = Some(Box::new(action));
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).expect("paths of the silo lie under the root").to_path_buf()
    }

    fn file(&self, inner: Box<dyn StorageFile>, id: FileId) -> Box<dyn StorageFile> {
        Box::new(RecordedFile { inner, id, storage: self.clone() })
    }
}

impl Storage for RecordingStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut recording = self.locked();
        let relative = self.relative(path);
        let missing: Vec<PathBuf> =
            relative.ancestors().filter(|dir| !self.root.join(dir).is_dir()).map(Path::to_path_buf).collect();
        OsStorage.create_dir(path)?;
        recording.calls.extend(missing.into_iter().rev().map(Call::CreateDir));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut recording = self.locked();
        let inner = OsStorage.create(path)?;
        let id = recording.next_id;
        recording.next_id += 1;
        recording.names.insert(self.relative(path), id);
        recording.calls.push(Call::Create(self.relative(path), id));
        Ok(self.file(inner, id))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Box<dyn StorageFile>> {
        let recording = self.locked();
        let inner = OsStorage.open(path, write)?;
        let id = recording.names.get(&self.relative(path)).copied();
        Ok(self.file(inner, id.expect("files come into being through this storage")))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        OsStorage.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut recording = self.locked();
        OsStorage.rename(from, to)?;
        let (from, to) = (self.relative(from), self.relative(to));
        let id = recording.names.remove(&from).expect("a renamed file has a name");
        recording.names.insert(to.clone(), id);
        recording.calls.push(Call::Rename(from, to, id));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut recording = self.locked();
        OsStorage.link(from, to)?;
        let id = recording.names.get(&self.relative(from)).copied();
        let id = id.expect("a linked file has a name");
        recording.names.insert(self.relative(to), id);
        recording.calls.push(Call::Link(self.relative(to), id));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut recording = self.locked();
        OsStorage.remove(path)?;
        recording.names.remove(&self.relative(path));
        recording.calls.push(Call::Remove(self.relative(path)));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut recording = self.locked();
        OsStorage.remove_dir(path)?;
        recording.calls.push(Call::RemoveDir(self.relative(path)));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Directories above the root were there before, and durable.
        if let Ok(relative) = path.strip_prefix(&self.root) {
            self.note(Call::SyncDir(relative.to_path_buf()));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RecordedFile {
    inner: Box<dyn StorageFile>,
    id: FileId,
    storage: RecordingStorage,
}

impl StorageFile for RecordedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut recording = self.storage.locked();
        let written = self.inner.write_at(slices, offset)?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        bytes.truncate(written);
        recording.calls.push(Call::Write(self.id, offset, bytes.into()));
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        let action = self.storage.locked().before_sync.take();
        if let Some(action) = action {
            action();
        }
        let mut recording = self.storage.locked();
        // What is synced is what was written before; the device is left in peace.
        recording.calls.push(Call::Sync(self.id));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut recording = self.storage.locked();
        self.inner.allocate(offset, len)?;
        recording.calls.push(Call::Allocate(self.id, offset, len));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut recording = self.storage.locked();
        self.inner.set_len(len)?;
        recording.calls.push(Call::SetLen(self.id, len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn map(&self, capacity: u64) -> io::Result<MappedRegion> {
        self.inner.map(capacity)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
}

/// What happens to bytes that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLoss {
    /// All are there: the process was killed, or the system was quick.
    Kept,
    /// None is there, and files have their old lengths.
    Dropped,
    /// None is there, but files have their new lengths: they read as zero.
    Zeros,
    /// Each piece of this many bytes is as it was at some moment since the last sync.
    Torn(u64),
}

/// What happens to names that were changed in a directory that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameLoss {
    /// All changes are there.
    Kept,
    /// None is.
    Dropped,
    /// Those up to some moment are, in each directory.
    Prefix,
    /// Any of them are.
    Subset,
}

/// One way to lose power.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    pub data: DataLoss,
    pub names: NameLoss,
    pub seed: u64,
}

impl Loss {
    /// No power is lost: the process was killed.
    pub const KILLED: Self = Self { data: DataLoss::Kept, names: NameLoss::Kept, seed: 0 };
}

/// Files and their contents.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub dirs: BTreeSet<PathBuf>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    /// Writes the files into an empty directory.
    pub fn materialise(&self, root: &Path) {
        for dir in &self.dirs {
            std::fs::create_dir(root.join(dir)).expect("the directory is empty");
        }
        for (path, bytes) in &self.files {
            std::fs::write(root.join(path), bytes).expect("there is room for the state");
        }
    }

    /// Calls after which exactly this is durable.
    pub fn as_calls(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.dirs.iter().cloned().map(Call::CreateDir).collect();
        for (id, (path, bytes)) in self.files.iter().enumerate() {
            calls.push(Call::Create(path.clone(), id));
            calls.push(Call::Write(id, 0, bytes.as_slice().into()));
            calls.push(Call::Sync(id));
        }
        calls.push(Call::SyncDir(PathBuf::new()));
        calls.extend(self.dirs.iter().cloned().map(Call::SyncDir));
        calls
    }
}

/// A number that depends on all of these and looks random.
fn mix(parts: [u64; 4]) -> u64 {
    parts.into_iter().fold(0x9E37_79B9_7F4A_7C15, |sum, part| {
        let mut x = (sum ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 29;
        x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 32
    })
}

/// A moment between `synced` and `end`, the two ends being likely.
fn moment(synced: usize, end: usize, random: u64) -> usize {
    match random % 4 {
        0 => synced,
        1 => end,
        _ => synced + (random / 4) as usize % (end - synced + 1),
    }
}

/// The state after these calls and a loss.
pub fn crash(calls: &[Call], loss: Loss) -> Image {
    let fate = Fate::new(calls, loss);
    let contents = fate.contents(calls);
    let mut image = Image::default();
    for (path, id) in fate.names(calls) {
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent != Path::new("") && !image.dirs.contains(parent) {
            continue; // its directory was lost
        }
        match id {
            None => _ = image.dirs.insert(path.to_path_buf()),
            Some(id) => {
                let content = contents.get(&id).cloned().unwrap_or_default();
                image.files.insert(path.to_path_buf(), content);
            }
        }
    }
    image
}

/// What is found of each call after a loss.
struct Fate<'c> {
    loss: Loss,
    /// Number of calls.
    end: usize,
    /// The last sync of each file and directory.
    synced_files: BTreeMap<FileId, usize>,
    synced_dirs: BTreeMap<&'c Path, usize>,
}

impl<'c> Fate<'c> {
    fn new(calls: &'c [Call], loss: Loss) -> Self {
        let (mut synced_files, mut synced_dirs) = (BTreeMap::new(), BTreeMap::new());
        for (at, call) in calls.iter().enumerate() {
            match call {
                Call::Sync(id) => _ = synced_files.insert(*id, at),
                Call::SyncDir(dir) => _ = synced_dirs.insert(dir.as_path(), at),
                _ => {}
            }
        }
        Self { loss, end: calls.len(), synced_files, synced_dirs }
    }

    /// Whether a change of a name, made by call number `at`, is found.
    fn keeps_name(&self, path: &Path, at: usize) -> bool {
        let dir = path.parent().unwrap_or(Path::new(""));
        let synced = self.synced_dirs.get(dir).copied().unwrap_or(0);
        let seed = self.loss.seed;
        at < synced
            || match self.loss.names {
                NameLoss::Kept => true,
                NameLoss::Dropped => false,
                NameLoss::Prefix => {
                    let random = mix([seed, 1, dir.as_os_str().len() as u64, 0]);
                    at < moment(synced, self.end, random)
                }
                NameLoss::Subset => mix([seed, 2, at as u64, 0]).is_multiple_of(2),
            }
    }

    /// Up to which call a file's length (part 0) or a sector of it (part 1 and up) is found.
    fn moment_of(&self, id: FileId, part: u64) -> usize {
        let synced = self.synced_files.get(&id).copied().unwrap_or(0);
        match (self.loss.data, part) {
            (DataLoss::Kept, _) | (DataLoss::Zeros, 0) => self.end,
            (DataLoss::Dropped | DataLoss::Zeros, _) => synced,
            (DataLoss::Torn(_), _) => moment(synced, self.end, mix([self.loss.seed, 3, id as u64, part])),
        }
    }

    /// Names of files, and of directories (without a file).
    fn names(&self, calls: &'c [Call]) -> BTreeMap<&'c Path, Option<FileId>> {
        let mut names: BTreeMap<&Path, Option<FileId>> = BTreeMap::new();
        for (at, call) in calls.iter().enumerate() {
            match call {
                Call::CreateDir(path) if self.keeps_name(path, at) => {
                    names.insert(path, None);
                }
                Call::Create(path, id) | Call::Link(path, id) if self.keeps_name(path, at) => {
                    names.insert(path, Some(*id));
                }
                Call::Rename(from, to, id) if self.keeps_name(to, at) => {
                    if names.get(from.as_path()) == Some(&Some(*id)) {
                        names.remove(from.as_path());
                    }
                    names.insert(to, Some(*id));
                }
                Call::Remove(path) | Call::RemoveDir(path) if self.keeps_name(path, at) => {
                    names.remove(path.as_path());
                }
                _ => {}
            }
        }
        names
    }

    fn contents(&self, calls: &[Call]) -> BTreeMap<FileId, Vec<u8>> {
        let piece = match self.loss.data {
            DataLoss::Torn(bytes) => bytes,
            _ => 4096,
        };
        // Bytes, and the length that counts.
        let mut files: BTreeMap<FileId, (Vec<u8>, u64)> = BTreeMap::new();
        for (at, call) in calls.iter().enumerate() {
            let (Call::Write(id, ..) | Call::Allocate(id, ..) | Call::SetLen(id, _)) = call else {
                continue;
            };
            let (content, len) = files.entry(*id).or_default();
            let len_is_found = at < self.moment_of(*id, 0);
            match call {
                Call::Write(_, offset, bytes) => {
                    let (start, stop) = (*offset, offset + bytes.len() as u64);
                    if len_is_found {
                        *len = (*len).max(stop);
                    }
                    if content.len() < stop as usize {
                        content.resize(stop as usize, 0);
                    }
                    for sector in start / piece..stop.div_ceil(piece) {
                        if at < self.moment_of(*id, sector + 1) {
                            let from = (sector * piece).max(start);
                            let to = ((sector + 1) * piece).min(stop);
                            content[from as usize..to as usize]
                                .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
                        }
                    }
                }
                Call::Allocate(_, offset, bytes) if len_is_found => {
                    *len = (*len).max(offset + bytes);
                }
                Call::SetLen(_, to) if len_is_found => {
                    *len = *to;
                    content.truncate(*to as usize);
                }
                _ => {}
            }
        }
        files
            .into_iter()
            .map(|(id, (mut content, len))| {
                content.resize(len as usize, 0);
                (id, content)
            })
            .collect()
    }
}
