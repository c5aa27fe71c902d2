//! Checkpoints: the memtable becomes index runs. Values do not move.
//!
//! 1. Under the log's lock: a new memtable takes over; the log's end is the *boundary*.
//! 2. The log is synced up to the boundary.
//! 3. Every key of the old memtables is resolved: its newest put or delete, or its operands
//!    with what they go on top of. Several operands are combined into one, or folded
//!    into a value, in fold groups that are appended to the log.
//! 4. The results are sorted by hash and written as a run, which is merged with older ones
//!    as their sizes demand.
//! 5. The manifest names the runs and moves the place where replay starts to the boundary.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::bytes::address::{FileNumber, FrameAddress, SeqNo, WORD};
use crate::bytes::file_header::FileKind;
use crate::bytes::frame::{FrameInput, FrameKind, encode_fill, encode_frame, fill_len};
use crate::bytes::group::{Group, GroupKind};
use crate::bytes::manifest::Manifest;
use crate::error::Result;
use crate::files::run::{Run, Target};
use crate::files::segment::Segment;
use crate::files::segment_writer::{GroupFrames, SegmentWriter};
use crate::stats::CheckpointReport;

use super::core::{Core, FullSegment, LogState, UsageMap, lock};
use super::index_update::{IndexEntries, NewRuns, count_dead, find_target, is_live};
use super::memtable::Memtable;
use super::replacements::Replacements;
use super::version::{FrameRef, KeyspaceMeta, KeyspaceVersion, Version};

/// What maintenance carries from one attempt to the next.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    boundary: Option<Boundary>,
}

impl Maintenance {
    /// Counts what a failed checkpoint has yet to count of a dropped keyspace as dead.
    pub(crate) fn kill_usage(&mut self, keyspace: u32) {
        if let Some(boundary) = &mut self.boundary {
            kill_usage(&mut boundary.usage, keyspace);
        }
    }
}

/// The end of the log that a checkpoint covers.
#[derive(Debug)]
struct Boundary {
    usage: UsageMap,
    /// Segments that end below the boundary.
    full: Vec<FullSegment>,
    /// The segment in which the boundary lies, and where.
    active: Option<(Arc<Segment>, u64)>,
    next_seq: SeqNo,
    position: u64,
}

/// Fold frames are appended in batches of about this many bytes.
const FOLD_BATCH_BYTES: usize = 4 << 20;

impl Core {
    /// Folds the memtable into the index. See the module's page.
    pub(crate) fn checkpoint(&self) -> Result<CheckpointReport> {
        let mut maintenance = lock(&self.maintenance);
        self.checkpoint_with(&mut maintenance)
    }

    pub(crate) fn checkpoint_with(&self, maintenance: &mut Maintenance) -> Result<CheckpointReport> {
        self.check_poison()?;
        let Some(boundary) = self.begin_checkpoint(maintenance.boundary.take()) else {
            return Ok(CheckpointReport::default());
        };
        let result = self.fold_memtables(&boundary);
        if result.is_err() {
            maintenance.boundary = Some(boundary);
        }
        result
    }

    /// Switches to a new memtable. `None` if there is nothing to do.
    fn begin_checkpoint(&self, before: Option<Boundary>) -> Option<Boundary> {
        let mut log = lock(&self.log);
        let folded = self.version.load().memtables.len() == 1;
        if before.is_none()
            && folded
            && log.memtable.is_empty()
            && log.full.is_empty()
            && log.usage.is_empty()
        {
            return None;
        }
        self.quiesce(&log);
        if !log.memtable.is_empty() {
            let _structure = lock(&self.structure);
            let memtable = Arc::new(Memtable::new());
            log.memtable = Arc::clone(&memtable);
            let mut version = Version::clone(&self.version.load());
            version.memtables.insert(0, memtable);
            self.version.store(Arc::new(version));
        }
        log.bytes_since_checkpoint = 0;
        let mut boundary = Boundary {
            usage: std::mem::take(&mut log.usage),
            full: std::mem::take(&mut log.full),
            active: log.writer.as_ref().map(|w| (Arc::clone(w.segment()), w.tail())),
            next_seq: log.next_seq,
            position: log.appended,
        };
        if let Some(mut before) = before {
            merge_usage(&mut before.usage, boundary.usage);
            boundary.usage = before.usage;
            before.full.append(&mut boundary.full);
            boundary.full = before.full;
        }
        Some(boundary)
    }

    fn fold_memtables(&self, boundary: &Boundary) -> Result<CheckpointReport> {
        let started = std::time::Instant::now();
        let written_before = self.written_bytes.load(Ordering::Relaxed);
        self.sync_to(boundary.position)?;
        let version = self.version.load_full();
        let memtables = version.memtables.get(1..).unwrap_or_default();
        let mut usage = UsageMap::new();
        let mut new_runs = NewRuns::new(self);
        let mut changed: HashMap<u32, (Vec<Arc<Run>>, u64)> = HashMap::new();
        let mut ops = 0;
        for (id, mut versions) in versions_by_keyspace(memtables) {
            // Entries of a keyspace that was dropped meanwhile have nowhere to go.
            let Some(keyspace) = version.keyspace_by_id(id) else {
                continue;
            };
            ops += versions.len() as u64;
            versions.sort_unstable_by(|a, b| (a.hash, b.seq).cmp(&(b.hash, a.seq)));
            let mut resolver = Resolver::new(self, &version, keyspace, &mut usage);
            for list in versions.chunk_by(|a, b| a.hash == b.hash) {
                resolver.resolve_list(list)?;
            }
            let (mut entries, mut replacements, live_change) = resolver.finish()?;
            entries.sort();
            replacements.sort();
            // Folded frames are newer than the version that the memtables were read with.
            let current = self.version.load_full();
            let runs = new_runs.add(keyspace, &current, &entries, &replacements)?;
            let live = keyspace.live_entries.saturating_add_signed(live_change);
            changed.insert(id, (runs, live));
        }
        let ends = self.sync_log()?;
        self.sync_names()?;
        for full in boundary.full.iter().filter(|full| full.trim) {
            full.segment.file().set_len(full.len)?;
        }
        let mut replaced = Vec::new();
        let folded = memtables.len();
        self.change(
            |manifest| {
                manifest.next_seq = manifest.next_seq.max(boundary.next_seq);
                for record in &mut manifest.segments {
                    for source in [&boundary.usage, &usage] {
                        if let Some(segment) = source.get(&record.file) {
                            segment.add_to(record);
                        }
                    }
                    let full = boundary.full.iter().find(|f| f.segment.number() == record.file);
                    let active = boundary.active.iter().find(|(s, _)| s.number() == record.file);
                    if let Some(len) = full.map(|f| f.len).or(active.map(|a| a.1)) {
                        record.file_len = len;
                        record.replay_from = len;
                        record.sealed = full.is_some();
                    }
                }
                raise_synced(manifest, &ends);
                for keyspace in &mut manifest.keyspaces {
                    if let Some((runs, live)) = changed.get(&keyspace.id) {
                        keyspace.runs = runs.iter().map(|run| run.record()).collect();
                        keyspace.live_entries = *live;
                    }
                }
            },
            |version| {
                for keyspace in &mut version.keyspaces {
                    if let Some((runs, live)) = changed.get(&keyspace.meta.id) {
                        replaced.append(&mut keyspace.runs);
                        keyspace.runs.clone_from(runs);
                        keyspace.live_entries = *live;
                    }
                }
                let keep = version.memtables.len() - folded;
                version.memtables.truncate(keep);
            },
        )?;
        new_runs.keep();
        self.remove_replaced_runs(&replaced);
        let report = CheckpointReport {
            ops,
            bytes_written: self.written_bytes.load(Ordering::Relaxed) - written_before,
            elapsed: started.elapsed(),
        };
        tracing::info!(ops, bytes = report.bytes_written, elapsed = ?report.elapsed, "checkpoint");
        Ok(report)
    }

    /// Syncs the log as it is now. Returns up to where its open segments are in use, for
    /// [`raise_synced`].
    pub(crate) fn sync_log(&self) -> Result<Vec<(FileNumber, u64)>> {
        let (position, ends) = {
            let log = lock(&self.log);
            let full = log.full.iter().map(|full| (full.segment.number(), full.len));
            let active = log.writer.iter().map(|w| (w.segment().number(), w.tail()));
            (log.appended, full.chain(active).collect())
        };
        self.sync_to(position)?;
        Ok(ends)
    }

    /// Removes run files that the manifest no longer names.
    pub(crate) fn remove_replaced_runs(&self, replaced: &[Arc<Run>]) {
        let version = self.version.load();
        for run in replaced {
            let named = version.keyspaces.iter().flat_map(|k| &k.runs).any(|r| r.number() == run.number());
            if !named {
                self.remove_unfinished(FileKind::Index, run.number());
            }
        }
    }

    /// Appends fold frames of a keyspace to the log and returns their addresses.
    ///
    /// Their usage is counted with the checkpoint that makes the index lead to them: if that fails,
    /// they are bytes without meaning.
    fn append_folds(
        &self,
        meta: &KeyspaceMeta,
        folds: &[Fold],
        usage: &mut UsageMap,
    ) -> Result<Vec<FrameAddress>> {
        let groups = encode_folds(meta, folds);
        let pieces: Vec<[&[u8]; 1]> = groups.iter().map(|g| [g.frames.as_slice()]).collect();
        let frames: Vec<GroupFrames<'_>> = groups
            .iter()
            .zip(&pieces)
            .map(|(group, pieces)| GroupFrames { template: group.template, pieces })
            .collect();
        let mut guard = lock(&self.log);
        let log: &mut LogState = &mut guard;
        let len = SegmentWriter::worst_len(&frames);
        let writer = self.writer_with_room(log, len)?;
        let before = writer.tail();
        let payloads = writer.append(&frames)?;
        let segment = writer.segment().number();
        let bytes = writer.tail() - before;
        log.appended += bytes;
        log.bytes_since_checkpoint += bytes;
        self.count_written(bytes);
        let usage = usage.entry(segment).or_default();
        let mut addresses = vec![FrameAddress::from_bits(0); folds.len()];
        for (group, payload) in groups.iter().zip(payloads) {
            usage.add_frames(meta.id, group.members.len() as u64, group.frames.len() as u64, 0);
            for &(fold, offset) in &group.members {
                let word = u32::try_from((payload + offset as u64) / WORD).expect("below 2^32 words");
                if let (Some(address), Some(fold)) = (addresses.get_mut(fold), folds.get(fold)) {
                    *address = FrameAddress::new(segment, word);
                    usage.add_seqs(fold.seq, fold.seq);
                }
            }
        }
        Ok(addresses)
    }
}

/// Adds the usage of one stretch of log to that of another.
pub(crate) fn merge_usage(into: &mut UsageMap, from: UsageMap) {
    for (segment, usage) in from {
        let sum = into.entry(segment).or_default();
        if let Some((low, high)) = usage.seqs {
            sum.add_seqs(low, high);
        }
        for record in usage.keyspaces {
            sum.of(record.keyspace).add(&record);
        }
    }
}

/// Notes in the manifest up to where open log segments were synced. Runs lead to fold frames
/// there, so whatever else is lost of the log, a recovery must not cut these off.
pub(crate) fn raise_synced(manifest: &mut Manifest, ends: &[(FileNumber, u64)]) {
    for record in manifest.segments.iter_mut().filter(|record| !record.sealed) {
        if let Some((_, end)) = ends.iter().find(|(number, _)| *number == record.file) {
            record.file_len = record.file_len.max(*end);
        }
    }
}

/// Counts all frames of a dropped keyspace as dead.
pub(crate) fn kill_usage(usage: &mut UsageMap, keyspace: u32) {
    for record in usage.values_mut().flat_map(|u| &mut u.keyspaces).filter(|u| u.keyspace == keyspace) {
        record.kill();
    }
}

/// A version of a key in a memtable.
#[derive(Debug, Clone, Copy)]
struct KeyVersion {
    hash: u64,
    seq: SeqNo,
    address: FrameAddress,
}

fn versions_by_keyspace(memtables: &[Arc<Memtable>]) -> HashMap<u32, Vec<KeyVersion>> {
    let mut keyspaces: HashMap<u32, Vec<KeyVersion>> = HashMap::new();
    for entry in memtables.iter().flat_map(|memtable| memtable.lists()).flatten() {
        let version = KeyVersion { hash: entry.hash(), seq: entry.seq(), address: entry.address() };
        keyspaces.entry(entry.keyspace()).or_default().push(version);
    }
    keyspaces
}

/// A combined operand or folded value to be written.
#[derive(Debug)]
struct Fold {
    seq: SeqNo,
    kind: FrameKind,
    key: Vec<u8>,
    value: Vec<u8>,
    hash: u64,
    /// The base, if the frame is an operand that goes on top of one.
    base: Option<FrameAddress>,
}

/// Fold frames of one group, with the index of their folds and their offsets.
struct FoldGroup {
    template: Group,
    frames: Vec<u8>,
    members: Vec<(usize, usize)>,
}

/// Encodes folds in groups, so that the sequence numbers of a group are within 2¹⁶.
fn encode_folds(meta: &KeyspaceMeta, folds: &[Fold]) -> Vec<FoldGroup> {
    let mut order: Vec<(SeqNo, usize)> = folds.iter().enumerate().map(|(at, fold)| (fold.seq, at)).collect();
    order.sort_unstable();
    let mut groups: Vec<FoldGroup> = Vec::new();
    for (seq, at) in order {
        let Some(fold) = folds.get(at) else { continue };
        let fits = |group: &FoldGroup| u16::try_from(seq - group.template.base_seq).is_ok();
        if !groups.last().is_some_and(fits) {
            let template = Group {
                base_seq: seq,
                keyspace: meta.id,
                align_shift: meta.align_shift,
                ..Group::alone(GroupKind::Fold, 0, 0)
            };
            groups.push(FoldGroup { template, frames: Vec::new(), members: Vec::new() });
        }
        let Some(group) = groups.last_mut() else {
            continue;
        };
        let gap = fill_len(group.frames.len(), meta.align());
        if gap > 0 {
            encode_fill(&mut group.frames, meta.id, gap);
            group.template.frame_count += 1;
        }
        group.members.push((at, group.frames.len()));
        let ordinal = u16::try_from(seq - group.template.base_seq).unwrap_or(u16::MAX);
        let input =
            FrameInput { kind: fold.kind, ordinal, combined: true, key: &fold.key, value: &fold.value };
        encode_frame(&mut group.frames, meta.id, meta.align(), &input);
        group.template.frame_count += 1;
    }
    groups
}

/// Finds what the keys of a keyspace come to, and counts what becomes dead.
pub(crate) struct Resolver<'a, 'u> {
    core: &'a Core,
    version: &'a Version,
    keyspace: &'a KeyspaceVersion,
    usage: &'u mut UsageMap,
    entries: IndexEntries,
    replacements: Replacements,
    folds: Vec<Fold>,
    fold_bytes: usize,
    live_change: i64,
}

impl<'a, 'u> Resolver<'a, 'u> {
    pub(crate) fn new(
        core: &'a Core,
        version: &'a Version,
        keyspace: &'a KeyspaceVersion,
        usage: &'u mut UsageMap,
    ) -> Self {
        Self {
            core,
            version,
            keyspace,
            usage,
            entries: IndexEntries::default(),
            replacements: Replacements::default(),
            folds: Vec::new(),
            fold_bytes: 0,
            live_change: 0,
        }
    }

    /// Resolves the versions of one hash, newest first: of one key, or rarely of several.
    fn resolve_list(&mut self, list: &[KeyVersion]) -> Result<()> {
        let mut frames = Vec::with_capacity(list.len());
        for version in list {
            let frame = self.version.frame(version.address, self.keyspace.meta.align())?;
            frame.verify(self.keyspace.meta.id)?;
            frames.push((version.seq, frame));
        }
        let Some(hash) = list.first().map(|v| v.hash) else {
            return Ok(());
        };
        while let Some(&(_, newest)) = frames.first() {
            let key = newest.frame.key();
            let of_key: Vec<(SeqNo, FrameRef<'a>)> =
                frames.iter().filter(|(_, f)| f.frame.key() == key).copied().collect();
            frames.retain(|(_, f)| f.frame.key() != key);
            self.resolve(key, hash, &of_key)?;
        }
        Ok(())
    }

    /// Resolves one key, whose new frames are given newest first.
    pub(crate) fn resolve(&mut self, key: &[u8], hash: u64, frames: &[(SeqNo, FrameRef<'a>)]) -> Result<()> {
        let id = self.keyspace.meta.id;
        let older = find_target(self.version, self.keyspace, key, hash)?.unwrap_or_default();
        let was_live = is_live(&older);
        let operands = frames.iter().take_while(|(_, f)| f.frame.kind() == FrameKind::Merge).count();
        let (merges, rest) = frames.split_at(operands);
        let is_live = if merges.is_empty() {
            // Newest is a put or a delete; everything before it is dead.
            let Some(((_, newest), dead)) = rest.split_first() else {
                return Ok(());
            };
            self.push_latest(hash, newest.address(), &older);
            count_dead(self.usage, id, dead.iter().map(|(_, f)| *f).chain(older));
            newest.frame.kind() != FrameKind::Delete
        } else {
            let mut stack: Vec<FrameRef<'a>> = match rest.split_first() {
                Some(((_, base), dead)) => {
                    count_dead(self.usage, id, dead.iter().map(|(_, f)| *f).chain(older));
                    vec![*base]
                }
                None => older,
            };
            // A delete below operands is as good as nothing, once nothing older is reachable.
            stack.extend(merges.iter().rev().map(|(_, f)| *f));
            let seq = merges.first().map_or(0, |(seq, _)| *seq);
            self.resolve_merges(key, hash, seq, &stack)?;
            true
        };
        self.live_change += i64::from(is_live) - i64::from(was_live);
        Ok(())
    }

    /// Notes a put or delete that takes the place of what the index had.
    pub(crate) fn push_latest(&mut self, hash: u64, newest: FrameAddress, older: &[FrameRef<'_>]) {
        match older {
            [old] => self.replacements.push_found(hash, newest, old.address()),
            _ => self.entries.push(hash, Target::Frame(newest)),
        }
    }

    /// Resolves operands on top of a base: `stack` holds the base, if any, and operands in order.
    fn resolve_merges(&mut self, key: &[u8], hash: u64, seq: SeqNo, stack: &[FrameRef<'a>]) -> Result<()> {
        let meta = &self.keyspace.meta;
        let base_count = usize::from(stack.first().is_some_and(|f| f.frame.kind() != FrameKind::Merge));
        let (base, operands) = stack.split_at(base_count);
        let base = base.first().copied();
        let put = base.filter(|f| f.frame.kind() == FrameKind::Put);
        for frame in operands {
            frame.segment.verify_value(frame.word, &frame.frame, 0..frame.frame.value_len())?;
        }
        let bytes: Vec<&[u8]> = operands.iter().map(|f| f.frame.value()).collect();
        let pending_len = bytes.iter().map(|b| b.len()).sum();
        let operator = meta.operator()?;
        let base_len = put.map(|f| f.frame.value_len());
        let folds = operator.should_fold(base_len, pending_len);
        let result = if folds {
            if let Some(put) = put {
                put.segment.verify_value(put.word, &put.frame, 0..put.frame.value_len())?;
            }
            operator.fold(key, put.map(|f| f.frame.value()), &bytes)
        } else if operands.len() > 1 {
            operator.combine(&bytes)
        } else {
            self.keep_chain(hash, stack);
            return Ok(());
        };
        let value = match result {
            Ok(value) => value,
            Err(message) => {
                // Reading the key tells the caller. Failing here would stop all checkpoints for it.
                let error = meta.merge_error(message);
                tracing::warn!(%error, "operands of a key are kept as they are");
                self.keep_chain(hash, stack);
                return Ok(());
            }
        };
        if folds {
            count_dead(self.usage, meta.id, stack.iter().copied());
            return self.add_fold(Fold {
                seq,
                kind: FrameKind::Put,
                key: key.to_vec(),
                value,
                hash,
                base: None,
            });
        }
        count_dead(self.usage, meta.id, operands.iter().copied());
        let base = base.map(|f| f.address());
        self.add_fold(Fold { seq, kind: FrameKind::Merge, key: key.to_vec(), value, hash, base })
    }

    /// The key's entry leads to its base and operands as they are.
    fn keep_chain(&mut self, hash: u64, stack: &[FrameRef<'a>]) {
        self.entries.push(hash, Target::Chain(stack.iter().map(FrameRef::address).collect()));
    }

    fn add_fold(&mut self, fold: Fold) -> Result<()> {
        crate::api::batch::check_lengths(&fold.key, &fold.value)?;
        self.fold_bytes += fold.key.len() + fold.value.len();
        self.folds.push(fold);
        if self.fold_bytes >= FOLD_BATCH_BYTES { self.flush_folds() } else { Ok(()) }
    }

    fn flush_folds(&mut self) -> Result<()> {
        if self.folds.is_empty() {
            return Ok(());
        }
        let folds = std::mem::take(&mut self.folds);
        self.fold_bytes = 0;
        let addresses = self.core.append_folds(&self.keyspace.meta, &folds, self.usage)?;
        for (fold, address) in folds.iter().zip(addresses) {
            let target = match (fold.kind, fold.base) {
                (FrameKind::Put, _) => Target::Frame(address),
                (_, Some(base)) => Target::Chain(vec![base, address]),
                (_, None) => Target::Chain(vec![address]),
            };
            self.entries.push(fold.hash, target);
        }
        Ok(())
    }

    /// The entries, and by how much the number of keys with a value changed.
    /// Entries, unsorted, those of them that are replacements apart, and the change of the number of keys with values.
    pub(crate) fn finish(mut self) -> Result<(IndexEntries, Replacements, i64)> {
        self.flush_folds()?;
        Ok((self.entries, self.replacements, self.live_change))
    }
}
