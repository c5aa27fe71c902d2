//! A copy of a silo while it is written to.

use std::path::Path;

use crate::bytes::address::FileNumber;
use crate::bytes::file_header::FileKind;
use crate::bytes::manifest::Manifest;
use crate::error::{Error, Result};
use crate::files::manifest_file::{self, ReplaceError};
use crate::stats::BackupReport;
use crate::storage::DirFiles;

use super::core::{Core, lock};
use super::recovery::random_id;

/// Bytes copied at a time.
const COPY_LEN: usize = 1 << 20;

/// See [`crate::Silo::backup`].
pub(crate) fn backup(core: &Core, target: &Path) -> Result<BackupReport> {
    // Nothing is removed while maintenance waits, so every file of the manifest stays.
    let mut maintenance = lock(&core.maintenance);
    core.checkpoint_with(&mut maintenance)?;
    core.seal_log_so_far()?;
    let mut manifest = lock(&core.structure).clone();
    // Segments begun since then hold only later commits.
    manifest.segments.retain(|record| record.sealed);
    manifest.silo_id = random_id();
    manifest.closed_cleanly = true;
    let into = core.files.at(target);
    into.create_dir()?;
    if !into.list()?.is_empty() {
        return Err(Error::AlreadyExists { path: target.to_path_buf() });
    }
    let mut report = BackupReport::default();
    let result = copy_files(&core.files, &into, &manifest, &mut report);
    if result.is_err() {
        remove_files(&into);
    }
    result.map(|()| report)
}

impl Core {
    /// Seals the log up to now. What was committed since the last checkpoint stays to be replayed: runs
    /// lead to fold frames among it, so these segments are needed whether or not it is.
    fn seal_log_so_far(&self) -> Result<()> {
        self.seal_active()?;
        let ends = self.sync_log()?;
        self.change(
            |manifest| {
                for record in &mut manifest.segments {
                    if let Some((_, end)) = ends.iter().find(|(number, _)| *number == record.file) {
                        record.sealed = true;
                        record.file_len = *end;
                    }
                }
            },
            |_| {},
        )
    }
}

/// Number, kind and length of every file that a manifest names.
fn named_files(manifest: &Manifest) -> impl Iterator<Item = (FileKind, FileNumber, u64)> {
    let segments = manifest.segments.iter().map(|s| (FileKind::Segment, s.file, s.file_len));
    let runs = manifest.keyspaces.iter().flat_map(|k| &k.runs).map(|r| (FileKind::Index, r.file, r.file_len));
    segments.chain(runs)
}

fn copy_files(
    from: &DirFiles,
    into: &DirFiles,
    manifest: &Manifest,
    report: &mut BackupReport,
) -> Result<()> {
    for (kind, number, len) in named_files(manifest) {
        let name = DirFiles::file_name(kind, number);
        report.bytes += len;
        // Any failure to link is no more than a reason to copy.
        if from.link_into(&name, into.dir()).is_ok() {
            report.linked_files += 1;
        } else {
            copy_file(from, into, &name, len)?;
            report.copied_files += 1;
        }
    }
    into.sync()?;
    match manifest_file::replace(into, manifest) {
        Ok(()) => {}
        Err(ReplaceError::Unchanged(error) | ReplaceError::Unknown(error)) => return Err(error),
    }
    match into.dir().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => into.at(parent).sync(),
        _ => Ok(()),
    }
}

fn copy_file(from: &DirFiles, into: &DirFiles, name: &str, len: u64) -> Result<()> {
    let source = from.open(name, false)?;
    let target = into.create(name)?;
    target.allocate(0, len)?;
    let mut buffer = vec![0; COPY_LEN];
    let mut at = 0;
    while at < len {
        let step = usize::try_from(len - at).map_or(COPY_LEN, |left| left.min(COPY_LEN));
        let piece = buffer.get_mut(..step).unwrap_or_default();
        let read = source.read_at(piece, at)?;
        if read < step {
            return Err(Error::corrupt(source.path(), at + read as u64, "the file ends before its length"));
        }
        target.write_all_at(piece, at)?;
        at += step as u64;
    }
    target.set_len(len)?;
    target.sync()
}

/// Removes what a failed backup has made so far.
fn remove_files(into: &DirFiles) {
    for name in into.list().unwrap_or_default() {
        if (DirFiles::parse_name(&name).is_some() || name.starts_with("MANIFEST"))
            && let Err(error) = into.remove(&name)
        {
            tracing::warn!(%error, "a file of a failed backup stays");
        }
    }
}
