//! How a command ends that does not end well.

use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked cannot be asked: exit code 2.
    Usage(String),
    /// The work failed, or damage was found: exit code 1.
    Failed(String),
    /// Who reads the output has gone, as `head` does: nothing is wrong.
    Closed,
}

/// Results of commands.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A fault of the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Work that failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// A file that could not be read or written.
    pub(crate) fn file<'a>(action: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::Failed(format!("cannot {action} {}: {error}", path.display()))
    }

    /// Says it on standard error.
    pub(crate) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Usage(message) => (message, 2),
            Self::Failed(message) => (message, 1),
            Self::Closed => return ExitCode::SUCCESS,
        };
        // `eprintln!` would panic where standard error is closed.
        let _ = io::Write::write_all(&mut io::stderr(), format!("silo: {message}\n").as_bytes());
        ExitCode::from(code)
    }
}

/// Failures of standard output; those of files are made with [`Failure::file`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::Failed(format!("cannot write the output: {error}"))
    }
}

impl From<silo_engine::Error> for Failure {
    fn from(error: silo_engine::Error) -> Self {
        use silo_engine::Error;
        match error {
            Error::Filter(_) | Error::Query(_) => Self::Usage(error.to_string()),
            Error::Store(datasilo::Error::NotASilo { path, .. }) => Self::Failed(format!(
                "{} holds no silo: make one with `silo load {} FILE`",
                path.display(),
                path.display()
            )),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<silo_engine::FilterError> for Failure {
    fn from(error: silo_engine::FilterError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<silo_ingest::Error> for Failure {
    fn from(error: silo_ingest::Error) -> Self {
        match error {
            silo_ingest::Error::Options(message) => Self::Usage(message),
            other => Self::Failed(other.to_string()),
        }
    }
}
