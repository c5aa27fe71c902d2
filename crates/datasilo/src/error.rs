//! Everything that can go wrong, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Damage found in a file: bytes that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The damaged file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl std::fmt::Display for Corruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.file.display(), self.offset, self.what)
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb ("write", "sync", …).
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no room on the device. Nothing of the failed call was kept; writing goes on
    /// as soon as there is room.
    #[error("no space left to {action} {}: free some space and try again, the silo stays open", path.display())]
    DiskFull {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file holds bytes that were never written there.
    #[error("damaged file: {0}; run `check` to see the extent and `repair` to salvage what is readable")]
    Corrupt(Corruption),
    /// The path given for a silo is not a directory.
    #[error("{} is not a directory: a silo is a directory, give another path", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds files but no silo.
    #[error("{} is not a silo (it has no MANIFEST); {hint}", path.display())]
    NotASilo {
        /// The directory.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A silo exists where a new one was to be made.
    #[error("{} already holds a silo: open it, or choose an empty directory", path.display())]
    AlreadyExists {
        /// The directory.
        path: PathBuf,
    },
    /// The file was written by a newer version of this crate.
    #[error(
        "{} has format version {found}, this program reads up to {supported}: update the program", path.display()
    )]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version that this crate reads.
        supported: u16,
    },
    /// The file uses features that this version does not know.
    #[error("{} uses unknown format features {features:#x}: update the program", path.display())]
    UnsupportedFeatures {
        /// The file.
        path: PathBuf,
        /// The unknown bits.
        features: u32,
    },
    /// Another writer has the silo open.
    #[error(
        "{} is open for writing by process {}: close it there, or open read-only",
        path.display(), pid.map_or_else(|| "(unknown)".to_owned(), |p| p.to_string())
    )]
    Locked {
        /// The silo's directory.
        path: PathBuf,
        /// The writer's process id, if its lock file says.
        pid: Option<u32>,
    },
    /// No keyspace has this name.
    #[error("no keyspace is named {name:?}; there are: {known}")]
    UnknownKeyspace {
        /// The name asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// A keyspace of this name exists with other settings.
    #[error(
        "keyspace {name:?} exists with {existing}, not with {wanted}: use the same settings or another name"
    )]
    KeyspaceMismatch {
        /// The name.
        name: String,
        /// Its settings.
        existing: String,
        /// The settings asked for.
        wanted: String,
    },
    /// A keyspace's name or settings are out of bounds.
    #[error("keyspace {name:?} cannot be made: {why}")]
    InvalidKeyspace {
        /// The name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A handle belongs to a keyspace that was dropped.
    #[error("keyspace {name:?} (id {id}) was dropped: get a handle of a keyspace that exists")]
    KeyspaceDropped {
        /// The name it had.
        name: String,
        /// Its id.
        id: u32,
    },
    /// The key is longer than the format allows.
    #[error("the key has {len} bytes, at most {max} are possible")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The value is longer than the format allows.
    #[error("the value has {len} bytes, at most {max} are possible: split it over several keys")]
    ValueTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: u64,
    },
    /// The batch is longer than a segment may be.
    #[error("the batch has {bytes} bytes, at most {max} are possible: commit in smaller batches")]
    BatchTooLarge {
        /// Its length in bytes.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The silo has as many segments as its index can address.
    #[error(
        "the silo has {parts} segment parts, at most {max} are possible: compact, or raise `segment_bytes`"
    )]
    TooManySegments {
        /// Parts in use.
        parts: usize,
        /// The limit.
        max: usize,
    },
    /// A keyspace was written with a merge operator that was not given at open.
    #[error(
        "keyspace {keyspace:?} needs the merge operator {operator:?}: register it in the options before opening"
    )]
    OperatorMissing {
        /// The keyspace.
        keyspace: String,
        /// The operator's name.
        operator: String,
    },
    /// A merge was asked of a keyspace that has no merge operator.
    #[error("keyspace {keyspace:?} has no merge operator: create it with one to merge into it")]
    NoMergeOperator {
        /// The keyspace.
        keyspace: String,
    },
    /// A merge operator refused its input.
    #[error("merge operator {operator:?} of keyspace {keyspace:?} refused: {message}")]
    Merge {
        /// The keyspace.
        keyspace: String,
        /// The operator.
        operator: String,
        /// Its words.
        message: String,
    },
    /// A bulk session has the keyspace to itself.
    #[error("keyspace {keyspace:?} is being bulk-loaded: finish or drop that session first")]
    BulkSessionOpen {
        /// The keyspace.
        keyspace: String,
    },
    /// An earlier sync or write left the state of the device unknown.
    #[error("writing stopped after an earlier failure ({why}): open the silo again to go on")]
    Poisoned {
        /// The first failure.
        why: String,
    },
    /// The silo was closed.
    #[error("the silo is closed")]
    Closed,
    /// An option has a value that cannot work.
    #[error("option {option}: {why}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// Wraps a system error, telling a full disk from everything else.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { action, path, source }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// Damage at a place in a file.
    pub(crate) fn corrupt(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        let corruption = Corruption { file: file.to_path_buf(), offset, what: what.into() };
        tracing::error!(file = %corruption.file.display(), offset, what = %corruption.what, "corruption");
        Self::Corrupt(corruption)
    }

    /// The same error for somebody else who must know. Those that no device or file causes become
    /// [`Error::Poisoned`] with their words.
    pub(crate) fn again(&self) -> Self {
        let copy = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        match self {
            Self::Io { action, path, source } => {
                Self::Io { action, path: path.clone(), source: copy(source) }
            }
            Self::DiskFull { action, path, source } => {
                Self::DiskFull { action, path: path.clone(), source: copy(source) }
            }
            Self::Corrupt(corruption) => Self::Corrupt(corruption.clone()),
            Self::Poisoned { why } => Self::Poisoned { why: why.clone() },
            other => Self::Poisoned { why: other.to_string() },
        }
    }

    /// True if a file was not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
