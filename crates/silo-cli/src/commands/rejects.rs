//! Rows that a load leaves out: all into a file, the first on standard error.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use silo_ingest::{Reject, RejectSink, RejectWriter};

use super::infer::Files;
use crate::failure::{Failure, Result};

/// So many are shown.
const SHOWN: usize = 3;

/// Takes rejected rows.
#[derive(Debug)]
pub(super) struct Rejects {
    file: Option<(PathBuf, RejectWriter<BufWriter<File>>)>,
    first: Mutex<Vec<String>>,
    /// The temporary file of standard input.
    kept: Option<PathBuf>,
}

impl Rejects {
    /// With a file for all, if one is wanted.
    pub(super) fn new(path: Option<&Path>, files: &Files) -> Result<Self> {
        let open = |path: &Path| {
            let writer = File::create(path).and_then(|file| RejectWriter::new(BufWriter::new(file)));
            writer.map(|writer| (path.to_owned(), writer)).map_err(Failure::file("write", path))
        };
        Ok(Self {
            file: path.map(open).transpose()?,
            first: Mutex::default(),
            kept: files.paths.iter().find(|path| files.name(path) != path.as_path()).cloned(),
        })
    }

    /// Writes what is buffered; shows the first on standard error if there is no file.
    pub(super) fn finish(self, count: u64) -> Result<()> {
        if let Some((path, writer)) = self.file {
            writer.finish().map_err(Failure::file("write", &path))?;
            return Ok(());
        }
        let first = self.first.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut text = first.join("");
        if count > first.len() as u64 {
            text += "…\n";
        }
        // Nothing depends on it.
        let _ = std::io::stderr().write_all(text.as_bytes());
        Ok(())
    }
}

impl RejectSink for Rejects {
    fn reject(&self, reject: &Reject<'_>) -> Result<(), silo_ingest::Cause> {
        let from_input = self.kept.as_deref() == Some(reject.file);
        let reject = Reject { file: if from_input { Path::new("-") } else { reject.file }, ..*reject };
        if let Some((_, writer)) = &self.file {
            return writer.reject(&reject);
        }
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < SHOWN {
            let column = reject.column.map_or_else(String::new, |column| format!("{column}: "));
            let Reject { file, line, reason, .. } = reject;
            first.push(format!("rejected: {}:{line}: {column}{reason}\n", file.display()));
        }
        Ok(())
    }
}
