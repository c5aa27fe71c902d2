//! What ends a load.

use std::path::{Path, PathBuf};

/// What a sink or a receiver of rejected rows may fail with.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A fault that ends the whole load; faults of single rows are [`crate::Reject`]s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read, or its compression is damaged.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system or the decompressor said.
        source: std::io::Error,
    },
    /// A file is not what it must be, such as a CSV file without a header.
    #[error("{}: {what}", file.display())]
    Input {
        /// The file.
        file: PathBuf,
        /// What is wrong and what to do about it.
        what: String,
    },
    /// Options contradict each other or cannot be met.
    #[error("{0}")]
    Options(String),
    /// The receiver of the batches failed.
    #[error("storing the rows failed: {0}")]
    Sink(#[source] Cause),
    /// The receiver of the rejected rows failed.
    #[error("writing the rejected rows failed: {0}")]
    Rejects(#[source] Cause),
}

impl Error {
    /// An I/O error with its file.
    pub(crate) fn io(file: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let file = file.to_owned();
        move |source| Error::Io { file, source }
    }

    /// A fault of a file.
    pub(crate) fn input(file: &Path, what: impl Into<String>) -> Error {
        Error::Input { file: file.to_owned(), what: what.into() }
    }
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
