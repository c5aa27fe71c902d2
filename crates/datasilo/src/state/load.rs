//! From a manifest to a version: opening the files that it names.

use std::sync::Arc;

use crate::bytes::address::FileNumber;
use crate::bytes::file_header::FileKind;
use crate::bytes::manifest::Manifest;
use crate::error::{Corruption, Error, Result};
use crate::files::run::{Run, SegmentMap};
use crate::files::segment::Segment;
use crate::options::Options;
use crate::storage::DirFiles;

use super::memtable::Memtable;
use super::version::{KeyspaceMeta, KeyspaceVersion, Version};

/// Opens every file that the manifest names. Files that `before` has open are taken from there.
///
/// Costs the number of files, not of entries.
pub(crate) fn open_version(
    files: &DirFiles,
    manifest: &Manifest,
    options: &Options,
    before: Option<&Version>,
) -> Result<Version> {
    let mut segments = SegmentMap::default();
    for record in &manifest.segments {
        let known = before.and_then(|version| version.segments.get(record.file));
        let segment = if let Some(segment) = known {
            Arc::clone(segment)
        } else {
            let sealed = record.sealed.then_some(record.file_len);
            let opened = Segment::open(files, record.file, record.origin, sealed);
            Arc::new(named(files, FileKind::Segment, record.file, opened)?)
        };
        if segment.role() != Some(record.role) {
            return Err(segment.corrupt(0, "the segment's role is not what the manifest says"));
        }
        segment.raise_readable(record.file_len.min(segment.file().len()?));
        if (segment.bytes().len() as u64) < record.file_len {
            return Err(segment
                .corrupt(segment.bytes().len() as u64, "the segment is shorter than the manifest says"));
        }
        segments.insert(segment);
    }
    let mut keyspaces = Vec::with_capacity(manifest.keyspaces.len());
    for record in &manifest.keyspaces {
        let known = before.and_then(|version| version.keyspace_by_id(record.id));
        let meta = match known {
            Some(keyspace) => Arc::clone(&keyspace.meta),
            None => Arc::new(KeyspaceMeta {
                id: record.id,
                name: record.name.clone(),
                align_shift: record.align_shift,
                operator: operator(options, &record.name, &record.operator)?,
            }),
        };
        let mut runs = Vec::with_capacity(record.runs.len());
        for run in &record.runs {
            let open = known.and_then(|k| k.runs.iter().find(|r| r.number() == run.file));
            runs.push(if let Some(open) = open {
                Arc::clone(open)
            } else {
                let opened = Run::open(files, run, record.id, manifest.hash_seed, &segments);
                Arc::new(named(files, FileKind::Index, run.file, opened)?)
            });
        }
        keyspaces.push(KeyspaceVersion {
            meta,
            runs,
            live_entries: record.live_entries,
            typical_frame_len: 0,
        });
    }
    keyspaces.sort_by_key(|keyspace| keyspace.meta.id);
    let mut version = Version {
        generation: manifest.generation,
        hash_seed: manifest.hash_seed,
        keyspaces,
        segments,
        records: Arc::default(),
        memtables: vec![Arc::new(Memtable::new())],
    };
    version.note_usage(manifest);
    Ok(version)
}

/// A file that the manifest names has to be there.
fn named<T>(files: &DirFiles, kind: FileKind, number: FileNumber, opened: Result<T>) -> Result<T> {
    match opened {
        Err(error) if error.is_not_found() => {
            let path = files.path(&DirFiles::file_name(kind, number));
            // Not logged as corruption: a reader beside a writer may just be late.
            let what = "the manifest names this file, but it is not there".to_owned();
            Err(Error::Corrupt(Corruption { file: path, offset: 0, what }))
        }
        opened => opened,
    }
}

/// The operator that a keyspace needs.
pub(crate) fn operator(
    options: &Options,
    keyspace: &str,
    name: &str,
) -> Result<Option<Arc<dyn crate::merge::MergeOperator>>> {
    if name.is_empty() {
        return Ok(None);
    }
    match options.operator(name) {
        Some(operator) => Ok(Some(operator)),
        None => Err(Error::OperatorMissing { keyspace: keyspace.to_owned(), operator: name.to_owned() }),
    }
}
