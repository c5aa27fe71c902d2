//! A version: the structure of a silo between two structural changes, immutable and shared.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::bytes::address::{FileNumber, FrameAddress};
use crate::bytes::file_header::FileKind;
use crate::bytes::frame::FrameView;
use crate::bytes::manifest::{KeyspaceRecord, Manifest, SegmentRecord};
use crate::error::{Error, Result};
use crate::files::run::{Run, SegmentMap};
use crate::files::run_merge::KeyAccess;
use crate::files::segment::Segment;
use crate::merge::MergeOperator;
use crate::storage::DirFiles;

use super::memtable::Memtable;

/// More lines of a frame than this are not asked for ahead.
const MOST_LINES: usize = 8;

/// What does not change about a keyspace.
#[derive(Debug)]
pub(crate) struct KeyspaceMeta {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) align_shift: u8,
    pub(crate) operator: Option<Arc<dyn MergeOperator>>,
}

impl KeyspaceMeta {
    /// Alignment of values in bytes.
    #[inline]
    pub(crate) fn align(&self) -> usize {
        1 << self.align_shift
    }

    pub(crate) fn operator(&self) -> Result<&Arc<dyn MergeOperator>> {
        self.operator.as_ref().ok_or_else(|| Error::NoMergeOperator { keyspace: self.name.clone() })
    }

    /// The error for an operator's refusal.
    pub(crate) fn merge_error(&self, message: String) -> Error {
        let operator = self.operator.as_ref().map_or_else(String::new, |o| o.name().to_owned());
        Error::Merge { keyspace: self.name.clone(), operator, message }
    }
}

/// A keyspace in a version.
#[derive(Debug, Clone)]
pub(crate) struct KeyspaceVersion {
    pub(crate) meta: Arc<KeyspaceMeta>,
    /// Newest first.
    pub(crate) runs: Vec<Arc<Run>>,
    /// Keys with a value, as of the last checkpoint.
    pub(crate) live_entries: u64,
    /// Average length of its frames in bytes, as of the last checkpoint.
    pub(crate) typical_frame_len: u64,
}

impl KeyspaceVersion {
    /// Cache lines that a frame of average length can span, up to a limit. It starts at a multiple of 8.
    pub(crate) fn typical_frame_lines(&self) -> usize {
        let lines = (self.typical_frame_len + 56).div_ceil(64);
        usize::try_from(lines).map_or(MOST_LINES, |lines| lines.min(MOST_LINES))
    }

    pub(crate) fn record(&self) -> KeyspaceRecord {
        KeyspaceRecord {
            id: self.meta.id,
            name: self.meta.name.clone(),
            operator: self.meta.operator.as_ref().map_or_else(String::new, |o| o.name().to_owned()),
            align_shift: self.meta.align_shift,
            live_entries: self.live_entries,
            runs: self.runs.iter().map(|run| run.record()).collect(),
        }
    }
}

/// See the module's page.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) generation: u64,
    pub(crate) hash_seed: u64,
    /// Ascending by id.
    pub(crate) keyspaces: Vec<KeyspaceVersion>,
    pub(crate) segments: SegmentMap,
    /// What the manifest says about each segment, by number.
    pub(crate) records: Arc<BTreeMap<FileNumber, SegmentRecord>>,
    /// Newest first. The first one is written to.
    pub(crate) memtables: Vec<Arc<Memtable>>,
}

/// A frame in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameRef<'v> {
    pub(crate) segment: &'v Segment,
    pub(crate) word: u32,
    pub(crate) frame: FrameView<'v>,
}

impl FrameRef<'_> {
    #[inline]
    pub(crate) fn verify(&self, keyspace: u32) -> Result<()> {
        self.segment.verify_frame(self.word, &self.frame, keyspace)
    }

    pub(crate) fn address(&self) -> FrameAddress {
        FrameAddress::new(self.segment.number(), self.word)
    }
}

/// Parts name segments that were there when the run was opened; the addresses of a chain may not.
#[cold]
fn missing_segment(address: FrameAddress) -> Error {
    let file = DirFiles::file_name(FileKind::Segment, address.segment());
    Error::corrupt(
        Path::new(&file),
        address.offset(),
        "an index entry leads into this segment, which is not there",
    )
}

impl Version {
    /// Takes over from a manifest what it says about segments and the keyspaces' frames.
    pub(crate) fn note_usage(&mut self, manifest: &Manifest) {
        self.records = Arc::new(manifest.segments.iter().map(|r| (r.file, r.clone())).collect());
        for keyspace in &mut self.keyspaces {
            let usage = manifest.segments.iter().flat_map(|s| &s.usage);
            let (frames, bytes) = usage
                .filter(|u| u.keyspace == keyspace.meta.id)
                .fold((0u64, 0u64), |(f, b), u| (f.saturating_add(u.frames), b.saturating_add(u.bytes)));
            keyspace.typical_frame_len = bytes.checked_div(frames).unwrap_or(0);
        }
    }

    #[inline]
    pub(crate) fn keyspace(&self, meta: &KeyspaceMeta) -> Result<&KeyspaceVersion> {
        self.keyspace_by_id(meta.id)
            .ok_or_else(|| Error::KeyspaceDropped { name: meta.name.clone(), id: meta.id })
    }

    #[inline]
    pub(crate) fn keyspace_by_id(&self, id: u32) -> Option<&KeyspaceVersion> {
        self.keyspaces.iter().find(|k| k.meta.id == id)
    }

    pub(crate) fn keyspace_by_name(&self, name: &str) -> Option<&KeyspaceVersion> {
        self.keyspaces.iter().find(|k| k.meta.name == name)
    }

    /// The error for a name that no keyspace has.
    pub(crate) fn unknown_keyspace(&self, name: &str) -> Error {
        let names: Vec<&str> = self.keyspaces.iter().map(|k| k.meta.name.as_str()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Error::UnknownKeyspace { name: name.to_owned(), known }
    }

    /// The frame at an address that an index run or a memtable gave.
    #[inline]
    pub(crate) fn frame(&self, address: FrameAddress, align: usize) -> Result<FrameRef<'_>> {
        let Some(segment) = self.segments.get(address.segment()) else {
            return Err(missing_segment(address));
        };
        let frame = segment.frame(address.word(), align)?;
        Ok(FrameRef { segment, word: address.word(), frame })
    }

    /// What reading the keys of a keyspace's entries needs.
    pub(crate) fn key_access<'a>(&'a self, meta: &KeyspaceMeta) -> KeyAccess<'a> {
        KeyAccess {
            segments: &self.segments,
            hash_seed: self.hash_seed,
            align: meta.align(),
            keyspace: meta.id,
        }
    }
}
