//! Reading and replacing the manifest: the commit point of every structural change.

use crate::bytes::manifest::Manifest;
use crate::error::{Error, Result};
use crate::storage::DirFiles;

use super::segment::header_error;

/// Name of the manifest in a silo's directory.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// Name of a manifest that is being written.
pub(crate) const MANIFEST_NEXT: &str = "MANIFEST.tmp";
/// Far beyond what a silo of the largest size needs.
const MAX_LEN: u64 = 1 << 30;

/// Reads the manifest. [`Error::is_not_found`] if there is none.
pub(crate) fn read(files: &DirFiles) -> Result<Manifest> {
    let bytes = files.read(MANIFEST, MAX_LEN)?;
    Manifest::decode(&bytes).map_err(|flaw| header_error(&files.path(MANIFEST), &flaw))
}

/// Replaces the manifest. When this returns, the new one is durable; everything that it
/// names must have been synced before.
///
/// The first error says that the old manifest stands for certain; after a failed rename or
/// directory sync it is unknown which one will be found after a power loss.
pub(crate) fn replace(files: &DirFiles, manifest: &Manifest) -> Result<(), ReplaceError> {
    prepare(files, manifest).map_err(ReplaceError::Unchanged)?;
    files.rename(MANIFEST_NEXT, MANIFEST).map_err(ReplaceError::Unknown)?;
    files.sync().map_err(ReplaceError::Unknown)
}

fn prepare(files: &DirFiles, manifest: &Manifest) -> Result<()> {
    // A leftover of an interrupted replacement has no meaning.
    match files.remove(MANIFEST_NEXT) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let bytes = manifest.encode();
    let file = files.create(MANIFEST_NEXT)?;
    file.allocate(0, bytes.len() as u64)?;
    file.write_all_at(&bytes, 0)?;
    file.sync()
}

/// A manifest that could not be replaced.
pub(crate) enum ReplaceError {
    /// The old one stands.
    Unchanged(Error),
    /// Either may stand after a power loss.
    Unknown(Error),
}
