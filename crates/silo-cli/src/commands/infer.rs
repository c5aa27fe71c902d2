//! `silo infer`

use std::io::Write;
use std::path::{Path, PathBuf};

use silo_ingest::{InferOptions, Inference, infer, keep_standard_input};
use tempfile::NamedTempFile;

use crate::args::{InferArgs, Split};
use crate::failure::{Failure, Result};

pub(super) fn run(args: &InferArgs) -> Result<()> {
    let files = Files::repeatable(&args.files)?;
    let inference = guess(&files.paths, &args.nulls, &args.splits)?;
    let text = inference.to_toml(args.id.as_deref())?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// What files hold.
pub(super) fn guess(files: &[PathBuf], nulls: &[String], splits: &[Split]) -> Result<Inference> {
    let split: Vec<_> = splits.iter().map(|split| (split.field.clone(), split.separator.clone())).collect();
    let inference = infer(files, &InferOptions { nulls: nulls.to_vec(), split: split.clone() })?;
    for (field, _) in &split {
        if !inference.columns.iter().any(|column| column.name == *field) {
            let names: Vec<&str> = inference.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Failure::usage(format!(
                "--split: there is no column {field:?}; there are {}",
                names.join(", ")
            )));
        }
    }
    Ok(inference)
}

/// Files of a command line.
pub(super) struct Files {
    /// Where they are.
    pub(super) paths: Vec<PathBuf>,
    /// What standard input was copied to.
    kept: Option<NamedTempFile>,
}

impl Files {
    /// The files as they are named.
    pub(super) fn once(named: &[PathBuf]) -> Result<Self> {
        if named.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
            return Err(Failure::usage("standard input (-) is named twice, and can be read once"));
        }
        Ok(Self { paths: named.to_vec(), kept: None })
    }

    /// The files, to be read several times: standard input is kept in a temporary file.
    pub(super) fn repeatable(named: &[PathBuf]) -> Result<Self> {
        let mut files = Self::once(named)?;
        if let Some(input) = files.paths.iter_mut().find(|file| file.as_os_str() == "-") {
            let kept = keep_standard_input()?;
            kept.path().clone_into(input);
            files.kept = Some(kept);
        }
        Ok(files)
    }

    /// The name by which a file was given.
    pub(super) fn name<'a>(&self, file: &'a Path) -> &'a Path {
        if self.kept.as_ref().is_some_and(|kept| kept.path() == file) { Path::new("-") } else { file }
    }
}
