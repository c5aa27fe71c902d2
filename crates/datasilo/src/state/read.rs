//! Looking a key up: memtables from the newest on, then index runs from the newest on.

use std::sync::Arc;

use crate::bytes::address::SeqNo;
use crate::bytes::frame::{FrameKind, PlainPut};
use crate::bytes::index::Slot;
use crate::error::{Error, Result};
use crate::files::run::Run;
use crate::files::segment::Segment;
use crate::merge::Delta;

use super::memtable::{Entry, Memtable, SharedDelta};
use super::version::{FrameRef, KeyspaceMeta, KeyspaceVersion, Version};

/// Operands that are not folded yet.
#[derive(Debug, Clone)]
pub(crate) enum PendingRef<'v> {
    /// One merge frame, of an index run.
    Operand(FrameRef<'v>),
    /// Merge frames of a memtable, combined.
    Delta(Arc<dyn Delta>),
}

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum Found<'v> {
    /// No value.
    Absent,
    /// A value, nothing pending.
    Put(FrameRef<'v>),
    /// Operands on top of a base, or of nothing. Oldest first.
    Pending { base: Option<FrameRef<'v>>, pending: Vec<PendingRef<'v>> },
}

/// What one memtable or run says about a key.
enum Layer<'v> {
    Nothing,
    Put(FrameRef<'v>),
    Delete,
    /// Operands, oldest first, and whether they end at a base of this layer.
    Merges {
        base: Option<Base<'v>>,
        pending: Vec<PendingRef<'v>>,
    },
}

enum Base<'v> {
    Put(FrameRef<'v>),
    Delete,
}

/// What [`Lookup::find_plain`] found.
#[derive(Clone, Copy)]
pub(crate) enum Plain<'v> {
    Value(&'v [u8]),
    Absent,
    /// Something less plain: [`Lookup::find`] tells.
    Unknown,
}

/// Starts loading the cache lines where a key's entries have their homes.
#[inline]
pub(crate) fn prefetch_index(keyspace: &KeyspaceVersion, hash: u64) {
    for run in &keyspace.runs {
        run.prefetch(hash);
    }
}

/// Where the frame of a key most likely is: a segment and a word.
pub(crate) type Candidate<'v> = Option<(&'v Arc<Segment>, u32)>;

/// What the index has first for a hash: `None` if it has nothing, else its frame unless it is a chain. It is nearly
/// always the key's.
#[inline]
fn candidate(runs: &[Arc<Run>], hash: u64) -> Result<Option<Candidate<'_>>> {
    for run in runs {
        if let Some(found) = run.find(hash, |slot| Ok(Some(run.frame_of(slot)?)))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// [`candidate`], and starts loading so many lines of its frame.
#[inline]
pub(crate) fn prefetch_candidate(
    runs: &[Arc<Run>],
    hash: u64,
    lines: usize,
) -> Result<Option<Candidate<'_>>> {
    let found = candidate(runs, hash)?;
    if let Some(Some((segment, word))) = found {
        segment.prefetch(word, lines);
    }
    Ok(found)
}

/// A look-up in a version as of a sequence number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup<'v> {
    pub(crate) version: &'v Version,
    pub(crate) seq: SeqNo,
    /// Check frames' checksums.
    pub(crate) verify: bool,
}

impl<'v> Lookup<'v> {
    /// Whether the memtables say nothing about a hash, so that the index decides.
    #[inline]
    fn is_in_index_only(&self, keyspace: &KeyspaceVersion, hash: u64) -> bool {
        let id = keyspace.meta.id;
        self.version.memtables.iter().all(|m| m.is_empty() || m.versions(id, hash).next().is_none())
    }

    /// Finds the value of a key in the plainest cases: it is nowhere, or the memtables have nothing
    /// and the index leads to a short, unaligned put.
    #[inline]
    pub(crate) fn find_plain(
        &self,
        keyspace: &'v KeyspaceVersion,
        key: &[u8],
        hash: u64,
    ) -> Result<Plain<'v>> {
        self.plain_at(keyspace, key, hash, || candidate(&keyspace.runs, hash))
    }

    /// [`Lookup::find_plain`], told what the index has first for the hash.
    #[inline]
    pub(crate) fn plain_at(
        &self,
        keyspace: &'v KeyspaceVersion,
        key: &[u8],
        hash: u64,
        candidate: impl FnOnce() -> Result<Option<Candidate<'v>>>,
    ) -> Result<Plain<'v>> {
        if !self.is_in_index_only(keyspace, hash) {
            return Ok(Plain::Unknown);
        }
        let Some(candidate) = candidate()? else { return Ok(Plain::Absent) };
        let Some((segment, word)) = candidate.filter(|_| keyspace.meta.align_shift == 0) else {
            return Ok(Plain::Unknown);
        };
        // All lines will be read: they are asked for before the header says how many there are.
        let lines = if self.verify { keyspace.typical_frame_lines() } else { 0 };
        segment.prefetch(word, lines);
        let Some(put) = segment.bytes().get(word as usize * 8..).and_then(|b| PlainPut::of_key(b, key))
        else {
            return Ok(Plain::Unknown);
        };
        if self.verify && !put.verify(keyspace.meta.id) {
            return Err(segment.corrupt(u64::from(word) * 8, "the frame's checksum does not match"));
        }
        Ok(Plain::Value(put.value))
    }

    /// [`Lookup::find`], told what the index has first for the hash.
    pub(crate) fn find_at(
        &self,
        keyspace: &'v KeyspaceVersion,
        key: &[u8],
        hash: u64,
        candidate: Option<Candidate<'v>>,
    ) -> Result<Found<'v>> {
        if self.is_in_index_only(keyspace, hash) {
            match candidate {
                None => return Ok(Found::Absent),
                Some(Some((segment, word))) => {
                    let frame = segment.frame(word, keyspace.meta.align())?;
                    let frame = self.checked(FrameRef { segment, word, frame }, &keyspace.meta)?;
                    if frame.frame.key() == key && frame.frame.kind() == FrameKind::Put {
                        return Ok(Found::Put(frame));
                    }
                }
                Some(None) => {}
            }
        }
        self.find(keyspace, key, hash)
    }

    /// Finds what the key has.
    pub(crate) fn find(&self, keyspace: &'v KeyspaceVersion, key: &[u8], hash: u64) -> Result<Found<'v>> {
        let mut newer: Vec<Vec<PendingRef<'v>>> = Vec::new();
        let mut base = None;
        let memtables = self.version.memtables.iter().filter(|m| !m.is_empty());
        let mut layers = memtables.map(|m| self.in_memtable(m, &keyspace.meta, key, hash));
        let mut runs = keyspace.runs.iter();
        loop {
            let (layer, decides) = match layers.next() {
                Some(layer) => (layer?, false),
                None => match runs.next() {
                    // The first run that holds a key names all that counts of it below the memtables.
                    Some(run) => (self.in_run(run, &keyspace.meta, key, hash)?, true),
                    None => break,
                },
            };
            match layer {
                Layer::Nothing => continue,
                Layer::Put(frame) => base = Some(frame),
                Layer::Delete => {}
                Layer::Merges { base: ends_at, pending } => {
                    newer.push(pending);
                    match ends_at {
                        None if decides => {}
                        None => continue,
                        Some(Base::Put(frame)) => base = Some(frame),
                        Some(Base::Delete) => {}
                    }
                }
            }
            break;
        }
        if newer.is_empty() {
            return Ok(base.map_or(Found::Absent, Found::Put));
        }
        Ok(Found::Pending { base, pending: newer.into_iter().rev().flatten().collect() })
    }

    #[inline]
    fn checked(&self, frame: FrameRef<'v>, meta: &KeyspaceMeta) -> Result<FrameRef<'v>> {
        if self.verify {
            frame.verify(meta.id)?;
        }
        Ok(frame)
    }

    fn in_run(&self, run: &'v Arc<Run>, meta: &KeyspaceMeta, key: &[u8], hash: u64) -> Result<Layer<'v>> {
        let align = meta.align();
        let layer = run.find(hash, |slot| match run.frame_of(slot)? {
            Some((segment, word)) => {
                let frame = segment.frame(word, align)?;
                // Checked first: damage to a key must not pass for another key.
                let frame = self.checked(FrameRef { segment, word, frame }, meta)?;
                if frame.frame.key() != key {
                    return Ok(None);
                }
                Ok(Some(match frame.frame.kind() {
                    FrameKind::Put => Layer::Put(frame),
                    FrameKind::Delete => Layer::Delete,
                    FrameKind::Merge => {
                        Layer::Merges { base: None, pending: vec![PendingRef::Operand(frame)] }
                    }
                    FrameKind::Fill => return Err(unexpected(&frame)),
                }))
            }
            None => self.in_chain(run, slot, meta, key),
        })?;
        Ok(layer.unwrap_or(Layer::Nothing))
    }

    fn in_chain(
        &self,
        run: &'v Arc<Run>,
        slot: Slot,
        meta: &KeyspaceMeta,
        key: &[u8],
    ) -> Result<Option<Layer<'v>>> {
        let mut base = None;
        let mut pending = Vec::new();
        for address in run.chain_of(slot)? {
            let frame = self.checked(self.version.frame(address, meta.align())?, meta)?;
            if frame.frame.key() != key {
                return Ok(None);
            }
            match frame.frame.kind() {
                FrameKind::Put => base = Some(Base::Put(frame)),
                FrameKind::Delete => base = Some(Base::Delete),
                FrameKind::Merge => pending.push(PendingRef::Operand(frame)),
                FrameKind::Fill => return Err(unexpected(&frame)),
            }
        }
        Ok(Some(Layer::Merges { base, pending }))
    }

    #[inline]
    fn in_memtable(
        &self,
        memtable: &'v Arc<Memtable>,
        meta: &KeyspaceMeta,
        key: &[u8],
        hash: u64,
    ) -> Result<Layer<'v>> {
        let mut versions = memtable.versions(meta.id, hash).filter(|e| e.seq() <= self.seq);
        while let Some(entry) = versions.next() {
            let frame = self.checked(self.version.frame(entry.address(), meta.align())?, meta)?;
            if frame.frame.key() != key {
                continue;
            }
            return match frame.frame.kind() {
                FrameKind::Put => Ok(Layer::Put(frame)),
                FrameKind::Delete => Ok(Layer::Delete),
                FrameKind::Merge => self.combined(entry, frame, versions, meta, key),
                FrameKind::Fill => Err(unexpected(&frame)),
            };
        }
        Ok(Layer::Nothing)
    }

    /// The operands from `entry` back to the base, combined with those that an earlier read combined.
    fn combined(
        &self,
        newest: &'v Entry,
        frame: FrameRef<'v>,
        older: impl Iterator<Item = &'v Entry>,
        meta: &KeyspaceMeta,
        key: &[u8],
    ) -> Result<Layer<'v>> {
        let mut before = newest.delta().load_full().map(|shared| (newest, shared));
        let mut base = None;
        let mut operands = Vec::new();
        if before.is_none() {
            operands.push(frame);
            for entry in older {
                let frame = self.checked(self.version.frame(entry.address(), meta.align())?, meta)?;
                if frame.frame.key() != key {
                    continue;
                }
                if let Some(shared) = entry.delta().load_full() {
                    before = Some((entry, shared));
                    break;
                }
                if frame.frame.kind() != FrameKind::Merge {
                    base = Some(frame);
                    break;
                }
                operands.push(frame);
            }
        }
        if let Some((_, shared)) = &before {
            base = shared.base.map(|address| self.version.frame(address, meta.align())).transpose()?;
        }
        let delta = match &before {
            Some((_, shared)) if operands.is_empty() => Arc::clone(&shared.delta),
            _ => {
                for frame in &operands {
                    frame.segment.verify_value(frame.word, &frame.frame, 0..frame.frame.value_len())?;
                }
                let bytes: Vec<&[u8]> = operands.iter().rev().map(|f| f.frame.value()).collect();
                let delta = meta
                    .operator()?
                    .extend(before.as_ref().map(|(_, shared)| &shared.delta), &bytes)
                    .map_err(|message| meta.merge_error(message))?;
                let base = base.map(|frame| frame.address());
                newest.delta().store(Some(Arc::new(SharedDelta { delta: Arc::clone(&delta), base })));
                // What was extended is seldom asked for again; an old snapshot that does
                // combines its operands anew and keeps the result at its own version.
                if let Some((entry, _)) = before {
                    entry.delta().store(None);
                }
                delta
            }
        };
        let base = match base {
            None => None,
            Some(frame) => match frame.frame.kind() {
                FrameKind::Put => Some(Base::Put(self.checked(frame, meta)?)),
                _ => Some(Base::Delete),
            },
        };
        Ok(Layer::Merges { base, pending: vec![PendingRef::Delta(delta)] })
    }
}

#[cold]
fn unexpected(frame: &FrameRef<'_>) -> Error {
    frame.segment.corrupt(frame.address().offset(), "an index entry leads to a fill frame")
}
