//! Bulk sessions: many mutations from many threads, published at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::bytes::address::FrameAddress;
use crate::bytes::file_header::{FileKind, SegmentRole};
use crate::bytes::frame::{FrameKind, frame_len};
use crate::bytes::group::GROUP_HEADER_LEN;
use crate::error::{Error, Result};
use crate::files::run::key_hash;
use crate::files::segment::{FIRST_GROUP, Segment, SegmentSpec};
use crate::files::segment_writer::{GroupFrames, HUGE_WRITE_SLACK, MAX_SEGMENT_LEN, SegmentWriter};
use crate::state::bulk::{BulkEntries, BulkOutcome, RankedGroup};
use crate::state::checkpoint::merge_usage;
use crate::state::core::{Core, SegmentUsage, UsageMap, lock};
use crate::state::replacements::Replacement;
use crate::state::version::{FrameRef, KeyspaceMeta};

use super::batch::{check_lengths, check_operand};
use super::frame_buffer::FrameBuffer;
use super::keyspace::Keyspace;
use super::silo::Silo;
use super::snapshot::Value;

/// Mutations of one writer before its ranks would run into the next writer's.
const WRITER_RANKS: u64 = 1 << 36;
/// Ranks stay below this, so that sequence numbers last for ever.
const MAX_RANK: u64 = 1 << 48;
/// Space kept at the end of a bulk segment for its seal.
const SEAL_LEN: u64 = GROUP_HEADER_LEN as u64 + 16;

/// A bulk session: threads write with [`BulkWriter`]s of their own, and [`BulkSession::finish`]
/// publishes everything at once, durably. Dropped without it, or cut off by a crash, the session
/// leaves no trace.
///
/// The session is one commit, ordered where `finish` falls: after everything acknowledged
/// before it, before everything after. Within it, the mutations of a key are ordered by
/// *rank*: the number given to [`BulkWriter::set_rank`], or else first by writer, in the order in
/// which the writers were made, then by position. While it is open, other commits to its keyspaces
/// are refused with [`Error::BulkSessionOpen`].
#[derive(Debug)]
pub struct BulkSession<'s> {
    silo: &'s Silo,
    shared: Arc<Shared>,
    keyspaces: Vec<u32>,
}

/// What the writers of a session share.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Arc<Core>,
    keyspaces: Vec<Arc<KeyspaceMeta>>,
    state: Mutex<SessionState>,
    writers: AtomicU64,
}

#[derive(Debug, Default)]
struct SessionState {
    /// Segments with room that nobody writes to at the moment.
    idle: Vec<SegmentWriter>,
    full: Vec<SegmentWriter>,
    created: Vec<u32>,
    /// The first failure of any writer; the session cannot be finished after it.
    failure: Option<Error>,
    entries: BTreeMap<u32, BulkEntries>,
    groups: Vec<RankedGroup>,
    usage: UsageMap,
    dead: UsageMap,
    next_rank: u64,
    user_bytes: u64,
    open_writers: usize,
}

/// What a finished bulk session amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkReport {
    /// Mutations written.
    pub ops: u64,
    /// Mutations that a later one of the same key in the session replaced.
    pub replaced: u64,
    /// Bytes of segments written.
    pub bytes: u64,
}

impl Silo {
    /// Begins a bulk session on some keyspaces, which it has to itself until it ends.
    ///
    /// # Errors
    /// [`Error::BulkSessionOpen`] if another session has one of them, [`Error::KeyspaceDropped`], and
    /// those of [`Silo::checkpoint`], since earlier commits to the keyspaces are folded first.
    pub fn bulk(&self, keyspaces: &[&Keyspace]) -> Result<BulkSession<'_>> {
        let ids: Vec<u32> = keyspaces.iter().map(|k| k.id()).collect();
        {
            let mut log = lock(&self.core.log);
            if log.closed {
                return Err(Error::Closed);
            }
            let version = self.core.version.load();
            for keyspace in keyspaces {
                version.keyspace(&keyspace.meta)?;
                if log.bulk.contains(&keyspace.id()) {
                    return Err(Error::BulkSessionOpen { keyspace: keyspace.name().to_owned() });
                }
            }
            log.bulk.extend(&ids);
        }
        let session = BulkSession {
            silo: self,
            shared: Arc::new(Shared {
                core: Arc::clone(&self.core),
                keyspaces: keyspaces.iter().map(|k| Arc::clone(&k.meta)).collect(),
                state: Mutex::default(),
                writers: AtomicU64::new(0),
            }),
            keyspaces: ids,
        };
        self.core.checkpoint()?;
        Ok(session)
    }
}

impl BulkSession<'_> {
    /// A writer for one thread.
    #[must_use]
    pub fn writer(&self) -> BulkWriter {
        let index = self.shared.writers.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.state).open_writers += 1;
        BulkWriter {
            shared: Arc::clone(&self.shared),
            next_rank: index * WRITER_RANKS,
            buffers: self.shared.keyspaces.iter().map(|meta| Buffer::new(Arc::clone(meta))).collect(),
            own_segment: None,
            closed: false,
        }
    }

    /// Publishes everything that the writers wrote, durably.
    ///
    /// # Errors
    /// The first failure of any writer; [`Error::InvalidOption`] if a writer is still open; and
    /// failures to write. After an error, nothing of the session remains.
    pub fn finish(self) -> Result<BulkReport> {
        let core = &self.silo.core;
        let state = {
            let mut state = lock(&self.shared.state);
            if state.open_writers > 0 {
                return Err(Error::InvalidOption {
                    option: "bulk writers",
                    why: format!("{} are still open: close or drop them before `finish`", state.open_writers),
                });
            }
            if let Some(failure) = state.failure.take() {
                return Err(failure);
            }
            std::mem::take(&mut *state)
        };
        let SessionState {
            idle, mut full, created, entries, groups, usage, dead, next_rank, user_bytes, ..
        } = state;
        // From here on, a failure must still remove the files.
        lock(&self.shared.state).created = created;
        full.extend(idle);
        let outcome = BulkOutcome { segments: full, entries, groups, usage, dead, ranks: next_rank };
        let report = core.publish_bulk(outcome)?;
        core.user_bytes.fetch_add(user_bytes, Ordering::Relaxed);
        lock(&self.shared.state).created.clear();
        Ok(report)
    }
}

impl Drop for BulkSession<'_> {
    fn drop(&mut self) {
        let core = &self.silo.core;
        let created = {
            let mut state = lock(&self.shared.state);
            // Writers that outlive the session must not write into files that are gone.
            state.failure.get_or_insert(Error::Closed);
            state.idle.clear();
            state.full.clear();
            std::mem::take(&mut state.created)
        };
        for number in created {
            core.remove_unfinished(FileKind::Segment, number);
        }
        lock(&core.log).bulk.retain(|id| !self.keyspaces.contains(id));
    }
}

/// One thread's part of a bulk session.
///
/// Gathers a region of frames per keyspace and writes it to a segment of the session that no other writer is
/// writing to. Close it to learn of failures; when dropped, they surface in [`BulkSession::finish`].
#[derive(Debug)]
pub struct BulkWriter {
    shared: Arc<Shared>,
    next_rank: u64,
    buffers: Vec<Buffer>,
    /// The segment of this silo that a replaced value was found in last.
    own_segment: Option<Arc<Segment>>,
    closed: bool,
}

/// Frames of one keyspace, gathered.
#[derive(Debug)]
struct Buffer {
    frames: FrameBuffer,
    groups: Vec<BufferedGroup>,
    ops: Vec<BufferedOp>,
    entries: BulkEntries,
    /// What dies if all replacements are confirmed.
    dead: UsageMap,
    user_bytes: u64,
    ranks_end: u64,
}

#[derive(Debug, Clone, Copy)]
struct BufferedOp {
    hash: u64,
    /// Offset of its frame in the buffer.
    offset: usize,
    kind: FrameKind,
    /// The frame that a put replaces, where that is known.
    old: Option<FrameAddress>,
}

#[derive(Debug)]
struct BufferedGroup {
    base_rank: u64,
    start: usize,
    first_op: usize,
    frame_count: u32,
}

impl Buffer {
    fn new(meta: Arc<KeyspaceMeta>) -> Self {
        Self {
            frames: FrameBuffer::new(meta),
            groups: Vec::new(),
            ops: Vec::new(),
            entries: BulkEntries::default(),
            dead: UsageMap::new(),
            user_bytes: 0,
            ranks_end: 0,
        }
    }

    fn push(
        &mut self,
        rank: u64,
        kind: FrameKind,
        key: &[u8],
        value: &[u8],
        hash: u64,
        old: Option<FrameRef<'_>>,
    ) {
        let reaches = |group: &&mut BufferedGroup| {
            rank.checked_sub(group.base_rank).is_some_and(|ordinal| u16::try_from(ordinal).is_ok())
        };
        if self.groups.last_mut().as_ref().is_none_or(|x| !reaches(x)) {
            let (start, first_op) = (self.frames.bytes.len(), self.ops.len());
            self.groups.push(BufferedGroup { base_rank: rank, start, first_op, frame_count: 0 });
        }
        let Some(group) = self.groups.last_mut() else {
            return;
        };
        let ordinal = u16::try_from(rank - group.base_rank).unwrap_or(u16::MAX);
        let appended = self.frames.push(group.start, ordinal, kind, key, value);
        group.frame_count += appended.frame_count;
        if let Some(old) = &old {
            let usage = self.dead.entry(old.segment.number()).or_default();
            usage.add_dead(self.frames.meta.id, old.frame.len() as u64);
        }
        let old = old.map(|old| old.address());
        self.ops.push(BufferedOp { hash, offset: appended.offset, kind, old });
        self.user_bytes += (key.len() + value.len()) as u64;
        self.ranks_end = self.ranks_end.max(rank + 1);
    }

    /// The frames of each group.
    fn pieces(&self) -> Vec<[&[u8]; 1]> {
        let ends = self.groups.iter().skip(1).map(|g| g.start).chain([self.frames.bytes.len()]);
        let bytes = &self.frames.bytes;
        let slice = |(group, end): (&BufferedGroup, usize)| [bytes.get(group.start..end).unwrap_or_default()];
        self.groups.iter().zip(ends).map(slice).collect()
    }

    /// Notes where the gathered frames came to lie, and forgets them.
    fn settle(
        &mut self,
        segment: u32,
        payloads: &[u64],
        groups: &mut Vec<RankedGroup>,
        usage: &mut SegmentUsage,
    ) {
        let FrameBuffer { meta, bytes, delete_bytes } = &self.frames;
        usage.add_frames(meta.id, self.ops.len() as u64, bytes.len() as u64, *delete_bytes);
        let ends = self.groups.iter().skip(1).map(|g| g.first_op).chain([self.ops.len()]);
        let ends: Vec<usize> = ends.collect();
        for ((group, end), payload) in self.groups.iter().zip(ends).zip(payloads) {
            let address = |offset: usize| {
                FrameAddress::new(
                    segment,
                    crate::bytes::address::words(payload + (offset - group.start) as u64),
                )
            };
            groups.push(RankedGroup { start: address(group.start), base_rank: group.base_rank });
            for op in self.ops.get(group.first_op..end).unwrap_or_default() {
                let (hash, new) = (op.hash, address(op.offset));
                match op.old {
                    None => self.entries.push(hash, new, op.kind),
                    Some(old) => self.entries.push_replacement(Replacement { hash, new, old }),
                }
            }
        }
        self.frames.clear();
        self.groups.clear();
        self.ops.clear();
    }
}

impl BulkWriter {
    /// Sets the rank of the next mutation; later ones count on from there. Of the mutations of one
    /// key, that with the highest rank is the last; ranks of a key's mutations should differ.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for ranks of 2⁴⁸ and above.
    pub fn set_rank(&mut self, rank: u64) -> Result<()> {
        if rank >= MAX_RANK {
            return Err(Error::InvalidOption { option: "rank", why: format!("{rank} is not below 2^48") });
        }
        self.next_rank = rank;
        Ok(())
    }

    /// Sets a key's value.
    ///
    /// # Errors
    /// Those of [`super::batch::Batch::put`], [`Error::InvalidKeyspace`] for a keyspace that is not in the session, and
    /// failures to write, after which the session cannot be finished.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.push(keyspace, FrameKind::Put, key.as_ref(), value.as_ref(), None)
    }

    /// Sets the value of the key that `old` is the value of, as [`BulkWriter::put`] does. If `old` still is the
    /// key's value when the session is published, that need not look for what the put replaces: this is the
    /// fast way to rewrite many values that were just read. If it is not, the effect is the same.
    ///
    /// # Errors
    /// As of [`BulkWriter::put`].
    pub fn replace(&mut self, keyspace: &Keyspace, old: &Value<'_>, value: impl AsRef<[u8]>) -> Result<()> {
        let Value { frame, keyspace: of, .. } = *old;
        let known = of == keyspace.id() && frame.frame.kind() == FrameKind::Put && self.is_own(frame.segment);
        self.push(keyspace, FrameKind::Put, frame.frame.key(), value.as_ref(), known.then_some(frame))
    }

    /// Whether a segment is one of this silo, not of another or of another process's view of it.
    fn is_own(&mut self, segment: &Segment) -> bool {
        let is = |own: &Arc<Segment>| std::ptr::eq(Arc::as_ptr(own), segment);
        if !self.own_segment.as_ref().is_some_and(is) {
            self.own_segment = self.shared.core.version.load().segments.get(segment.number()).cloned();
        }
        self.own_segment.as_ref().is_some_and(is)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// As of [`BulkWriter::put`].
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<()> {
        self.push(keyspace, FrameKind::Delete, key.as_ref(), &[], None)
    }

    /// Applies an operand to a key with the keyspace's merge operator.
    ///
    /// # Errors
    /// As of [`BulkWriter::put`], and [`Error::NoMergeOperator`], [`Error::Merge`].
    pub fn merge(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
    ) -> Result<()> {
        check_operand(&keyspace.meta, operand.as_ref())?;
        self.push(keyspace, FrameKind::Merge, key.as_ref(), operand.as_ref(), None)
    }

    fn push(
        &mut self,
        keyspace: &Keyspace,
        kind: FrameKind,
        key: &[u8],
        value: &[u8],
        old: Option<FrameRef<'_>>,
    ) -> Result<()> {
        check_lengths(key, value)?;
        let Some(at) = self.buffers.iter().position(|b| b.frames.meta.id == keyspace.id()) else {
            return Err(Error::InvalidKeyspace {
                name: keyspace.name().to_owned(),
                why: "it is not in the bulk session: name it when the session is begun",
            });
        };
        let region = self.shared.core.options.region_bytes;
        let Some(buffer) = self.buffers.get_mut(at) else {
            return Ok(());
        };
        let len = frame_len(key.len(), value.len(), keyspace.align());
        if !buffer.frames.bytes.is_empty() && buffer.frames.bytes.len() + len + HUGE_WRITE_SLACK > region {
            self.shared.flush(buffer)?;
        }
        let hash = key_hash(key, self.shared.core.hash_seed);
        buffer.push(self.next_rank, kind, key, value, hash, old);
        self.next_rank += 1;
        Ok(())
    }

    /// Writes out what was gathered and hands the writer's part to the session.
    ///
    /// # Errors
    /// Failures to write, after which the session cannot be finished.
    pub fn close(mut self) -> Result<()> {
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<()> {
        self.closed = true;
        let mut result = Ok(());
        for buffer in &mut self.buffers {
            if result.is_ok() && !buffer.frames.bytes.is_empty() {
                result = self.shared.flush(buffer);
            }
        }
        let mut state = lock(&self.shared.state);
        state.open_writers -= 1;
        for buffer in self.buffers.drain(..) {
            state.next_rank = state.next_rank.max(buffer.ranks_end);
            state.user_bytes += buffer.user_bytes;
            merge_usage(&mut state.dead, buffer.dead);
            state.entries.entry(buffer.frames.meta.id).or_default().append(buffer.entries);
        }
        result
    }
}

impl Drop for BulkWriter {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        if std::thread::panicking() {
            // Half of what this thread meant to write is worse than nothing.
            let mut state = lock(&self.shared.state);
            state.open_writers -= 1;
            state
                .failure
                .get_or_insert(Error::Poisoned { why: "a thread of the bulk session panicked".to_owned() });
        } else if let Err(error) = self.hand_over() {
            tracing::warn!(%error, "a bulk writer could not write its last region");
        }
    }
}

impl Shared {
    /// Writes a buffer to a place of its own in a segment of the session.
    fn flush(&self, buffer: &mut Buffer) -> Result<()> {
        let result = self.try_flush(buffer);
        if let Err(error) = &result {
            // The error itself goes to the caller; `finish` tells it again.
            lock(&self.state).failure.get_or_insert_with(|| error.again());
        }
        result
    }

    fn try_flush(&self, buffer: &mut Buffer) -> Result<()> {
        let pieces = buffer.pieces();
        let frames: Vec<GroupFrames<'_>> = buffer
            .groups
            .iter()
            .zip(&pieces)
            .map(|(group, pieces)| {
                let template = buffer.frames.template(group.base_rank, group.frame_count);
                GroupFrames { template, pieces }
            })
            .collect();
        let len = SegmentWriter::worst_len(&frames);
        let mut writer = self.take_segment(len)?;
        let start = writer.tail();
        let lease = writer.lease_huge(&frames, SEAL_LEN)?;
        let payloads = lease.write(&frames)?;
        self.core.count_written(writer.tail() - start);
        let number = lease.segment.number();
        let mut groups = Vec::new();
        let mut usage = SegmentUsage::default();
        buffer.settle(number, &payloads, &mut groups, &mut usage);
        let mut state = lock(&self.state);
        state.idle.push(writer);
        state.groups.append(&mut groups);
        let total = state.usage.entry(number).or_default();
        for record in &usage.keyspaces {
            total.of(record.keyspace).add(record);
        }
        Ok(())
    }

    /// A segment with room for `len` bytes that nobody writes to: systems let one thread write to a file at a time.
    /// There are as many as threads that write at once.
    fn take_segment(&self, len: u64) -> Result<SegmentWriter> {
        let mut state = lock(&self.state);
        if let Some(failure) = &state.failure {
            return Err(Error::Poisoned { why: failure.to_string() });
        }
        while let Some(writer) = state.idle.pop() {
            if writer.has_room(len + SEAL_LEN) {
                return Ok(writer);
            }
            state.full.push(writer);
        }
        self.begin_segment(&mut state, len)
    }

    fn begin_segment(&self, state: &mut SessionState, len: u64) -> Result<SegmentWriter> {
        let core = &self.core;
        let catalog = core.catalog();
        let overhead = catalog.len() + SEAL_LEN;
        SegmentWriter::check_len(len + overhead)?;
        let number = core.next_file();
        state.created.push(number);
        let capacity = core.options.segment_bytes.max(FIRST_GROUP + len + overhead).min(MAX_SEGMENT_LEN);
        let spec = SegmentSpec {
            number,
            silo_id: core.silo_id,
            role: SegmentRole::Bulk,
            generation: catalog.generation + 1,
            capacity,
            previous: None,
        };
        let segment = Arc::new(Segment::create(&core.files, &spec)?);
        let mut writer = SegmentWriter::new(segment, capacity, core.options.allocate_bytes);
        catalog.append_to(&mut writer)?;
        core.count_written(catalog.len());
        Ok(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyspaceOptions, Options};

    #[test]
    fn no_segment_has_two_writers_at_a_time_and_none_is_left_unused() {
        let dir = tempfile::tempdir().unwrap();
        let silo = Silo::open(dir.path().join("silo"), Options::new()).unwrap();
        let records = silo.create_keyspace("records", &KeyspaceOptions::new()).unwrap();
        let session = silo.bulk(&[&records]).unwrap();
        let number = |writer: &SegmentWriter| writer.segment().number();
        let first = session.shared.take_segment(1000).unwrap();
        let second = session.shared.take_segment(1000).unwrap();
        assert_ne!(number(&first), number(&second));
        let (one, other) = (number(&first), number(&second));
        lock(&session.shared.state).idle.extend([first, second]);

        let mut writers = [session.writer(), session.writer(), session.writer()];
        for (key, writer) in (0u64..).zip(&mut writers) {
            writer.put(&records, key.to_be_bytes(), b"value").unwrap();
        }
        for writer in writers {
            writer.close().unwrap();
        }
        let state = lock(&session.shared.state);
        assert_eq!(state.created, [one, other], "writers that take turns need no further segment");
        assert_eq!(state.idle.len(), 2, "all were handed back");
        drop(state);
        assert_eq!(session.finish().unwrap().ops, 3);
    }
}
