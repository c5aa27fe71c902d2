//! Publishing a bulk session: seal its segments, build its index entries, switch the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rayon::slice::ParallelSliceMut;

use crate::api::bulk::BulkReport;
use crate::bytes::address::{FileNumber, FrameAddress, SeqNo};
use crate::bytes::checksum;
use crate::bytes::file_header::SegmentRole;
use crate::bytes::frame::FrameKind;
use crate::bytes::group::{Group, GroupKind};
use crate::bytes::manifest::SegmentRecord;
use crate::error::Result;
use crate::files::run::Run;
use crate::files::segment_writer::{GroupFrames, SegmentWriter};

use super::checkpoint::{Resolver, merge_usage, raise_synced};
use super::core::{Core, UsageMap, lock};
use super::index_update::{IndexEntries, NewRuns, count_dead, find_target, is_live};
use super::replacements::{Replacement, Replacements};
use super::version::{FrameRef, KeyspaceVersion, Version};

/// Items of a chunk: about 1 MiB.
const CHUNK: usize = 1 << 16;
/// What a frame does is kept in the upper bits of its address: segment numbers are far below 2³⁰.
const MERGE: u64 = 1 << 63;
const DELETE: u64 = 1 << 62;

/// Where a group of frames lies, and the rank that its ordinals count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RankedGroup {
    pub(crate) start: FrameAddress,
    pub(crate) base_rank: u64,
}

/// Hashes and addresses of a keyspace's frames, 16 bytes each, and replacements of 24.
#[derive(Debug, Default)]
pub(crate) struct BulkEntries {
    frames: Chunks<(u64, u64)>,
    replacements: Chunks<Replacement>,
    kinds: u64,
}

/// A list in chunks that are filled one after the other: no growing vector doubles the memory.
#[derive(Debug)]
struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Chunks<T> {
    fn push(&mut self, item: T) {
        if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.0.last_mut() {
            chunk.push(item);
        }
    }

    fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// All items in one place. Chunks are freed as they are copied.
    fn into_vec(self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.len());
        for chunk in self.0 {
            all.extend_from_slice(&chunk);
        }
        all
    }
}

impl BulkEntries {
    pub(crate) fn push(&mut self, hash: u64, address: FrameAddress, kind: FrameKind) {
        let kind = match kind {
            FrameKind::Put | FrameKind::Fill => 0,
            FrameKind::Delete => DELETE,
            FrameKind::Merge => MERGE,
        };
        self.kinds |= kind;
        self.frames.push((hash, address.to_bits() | kind));
    }

    pub(crate) fn push_replacement(&mut self, replacement: Replacement) {
        self.replacements.push(replacement);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.frames.0.append(&mut other.frames.0);
        self.replacements.0.append(&mut other.replacements.0);
        self.kinds |= other.kinds;
    }

    fn len(&self) -> usize {
        self.frames.len() + self.replacements.len()
    }
}

/// What the writers of a session leave behind.
#[derive(Debug)]
pub(crate) struct BulkOutcome {
    pub(crate) segments: Vec<SegmentWriter>,
    pub(crate) entries: BTreeMap<u32, BulkEntries>,
    pub(crate) groups: Vec<RankedGroup>,
    pub(crate) usage: UsageMap,
    /// What dies if all replacements are confirmed.
    pub(crate) dead: UsageMap,
    /// Ranks are below this.
    pub(crate) ranks: u64,
}

impl Core {
    /// Makes a session part of the silo.
    pub(crate) fn publish_bulk(&self, mut outcome: BulkOutcome) -> Result<BulkReport> {
        let _maintenance = lock(&self.maintenance);
        self.check_poison()?;
        let ops = outcome.entries.values().map(|e| e.len() as u64).sum();
        if ops == 0 {
            return Ok(BulkReport { ops: 0, replaced: 0, bytes: 0 });
        }
        let seq_base = self.reserve_seqs(outcome.ranks);
        for writer in &mut outcome.segments {
            seal(writer, seq_base)?;
        }
        let mut version = Version::clone(&self.version.load());
        for writer in &outcome.segments {
            version.segments.insert(Arc::clone(writer.segment()));
        }
        outcome.groups.sort_unstable();
        let mut new_runs = NewRuns::new(self);
        // The device takes the segments while the index is built.
        let (synced, built) = rayon::join(
            || sync_segments(&outcome.segments),
            || {
                let mut build = Build {
                    core: self,
                    version: &version,
                    groups: &outcome.groups,
                    seq_base,
                    usage: std::mem::take(&mut outcome.dead),
                    replaced: 0,
                };
                let mut runs = BTreeMap::new();
                for (&id, entries) in &mut outcome.entries {
                    let Some(keyspace) = version.keyspace_by_id(id) else {
                        continue;
                    };
                    runs.insert(id, build.keyspace(&mut new_runs, keyspace, std::mem::take(entries))?);
                }
                Ok::<_, crate::Error>((runs, build.usage, build.replaced))
            },
        );
        synced?;
        let (runs, dead, replaced) = built?;
        // The session is durable, so everything before it must be.
        let ends = self.sync_log()?;
        self.sync_names()?;
        let bytes = outcome.segments.iter().map(SegmentWriter::tail).sum();
        self.switch_to_bulk(&outcome, &runs, &dead, seq_base, &ends)?;
        new_runs.keep();
        tracing::info!(ops, bytes, replaced, "bulk session published");
        Ok(BulkReport { ops, replaced, bytes })
    }

    /// Takes a stretch of sequence numbers, after everything acknowledged so far.
    fn reserve_seqs(&self, count: u64) -> SeqNo {
        let mut log = lock(&self.log);
        self.quiesce(&log);
        let first = log.next_seq;
        log.next_seq += count;
        self.published.store(log.next_seq - 1, Ordering::Release);
        first
    }

    fn switch_to_bulk(
        &self,
        outcome: &BulkOutcome,
        runs: &BTreeMap<u32, (Vec<Arc<Run>>, u64)>,
        dead: &UsageMap,
        seq_base: SeqNo,
        ends: &[(FileNumber, u64)],
    ) -> Result<()> {
        let mut replaced = Vec::new();
        self.change(
            |manifest| {
                manifest.next_seq = manifest.next_seq.max(seq_base + outcome.ranks);
                for writer in &outcome.segments {
                    manifest.segments.push(bulk_record(writer, outcome, seq_base));
                }
                raise_synced(manifest, ends);
                for record in &mut manifest.segments {
                    if let Some(usage) = dead.get(&record.file) {
                        usage.add_to(record);
                    }
                }
                for keyspace in &mut manifest.keyspaces {
                    if let Some((runs, live)) = runs.get(&keyspace.id) {
                        keyspace.runs = runs.iter().map(|run| run.record()).collect();
                        keyspace.live_entries = *live;
                    }
                }
            },
            |version| {
                for writer in &outcome.segments {
                    version.segments.insert(Arc::clone(writer.segment()));
                }
                for keyspace in &mut version.keyspaces {
                    if let Some((runs, live)) = runs.get(&keyspace.meta.id) {
                        replaced.append(&mut keyspace.runs);
                        keyspace.runs.clone_from(runs);
                        keyspace.live_entries = *live;
                    }
                }
            },
        )?;
        self.remove_replaced_runs(&replaced);
        Ok(())
    }
}

/// Writes the seal group, cuts the file to its length and makes its bytes readable.
fn seal(writer: &mut SegmentWriter, seq_base: SeqNo) -> Result<()> {
    let base = seq_base.to_le_bytes();
    let check = u64::from(checksum::crc(&base)).to_le_bytes();
    writer
        .append(&[GroupFrames { template: Group::alone(GroupKind::Seal, 0, 0), pieces: &[&base, &check] }])?;
    writer.segment().file().set_len(writer.tail())?;
    writer.segment().raise_readable(writer.tail());
    Ok(())
}

fn sync_segments(segments: &[SegmentWriter]) -> Result<()> {
    segments.iter().try_for_each(|writer| writer.segment().file().sync())
}

fn bulk_record(writer: &SegmentWriter, outcome: &BulkOutcome, seq_base: SeqNo) -> SegmentRecord {
    let mut record = SegmentRecord {
        file: writer.segment().number(),
        origin: writer.segment().origin(),
        role: SegmentRole::Bulk,
        sealed: true,
        file_len: writer.tail(),
        replay_from: writer.tail(),
        seq_base,
        min_seq: seq_base,
        max_seq: seq_base + outcome.ranks,
        usage: Vec::new(),
    };
    if let Some(usage) = outcome.usage.get(&record.file) {
        usage.add_to(&mut record);
    }
    record
}

/// Builds the index entries of a session.
struct Build<'a> {
    core: &'a Core,
    version: &'a Version,
    groups: &'a [RankedGroup],
    seq_base: SeqNo,
    /// What becomes dead.
    usage: UsageMap,
    replaced: u64,
}

impl<'a> Build<'a> {
    fn keyspace(
        &mut self,
        new_runs: &mut NewRuns<'_>,
        keyspace: &'a KeyspaceVersion,
        entries: BulkEntries,
    ) -> Result<(Vec<Arc<Run>>, u64)> {
        // Fresh puts into an empty keyspace need no look at any frame but those of equal hashes.
        let fresh = keyspace.runs.is_empty() && entries.len() == entries.frames.len() && entries.kinds == 0;
        let mut sorted = entries.frames.into_vec();
        sorted.par_sort_unstable();
        let mut index = IndexEntries::default();
        let mut replacements = Replacements::default();
        let mut live_change = 0i64;
        if fresh && sorted.windows(2).all(|w| matches!(w, [a, b] if a.0 != b.0)) {
            live_change = i64::try_from(sorted.len()).unwrap_or(i64::MAX);
            index.append_frames(sorted);
        } else {
            replacements = self.confirm(keyspace, entries.replacements.into_vec(), &mut sorted)?;
            let mut dead = UsageMap::new();
            let mut resolver = Resolver::new(self.core, self.version, keyspace, &mut dead);
            for list in sorted.chunk_by(|a, b| a.0 == b.0) {
                self.latest_of(keyspace, list, &mut resolver, &mut live_change)?;
            }
            let (found, replaced, change) = resolver.finish()?;
            live_change += change;
            merge_usage(&mut self.usage, dead);
            index = found;
            index.sort();
            replacements.append(replaced);
            replacements.sort();
        }
        let current = self.with_log_segments();
        let runs = new_runs.add(keyspace, &current, &index, &replacements)?;
        Ok((runs, keyspace.live_entries.saturating_add_signed(live_change)))
    }

    /// The replacements that the index confirms; the others join the frames of which nothing is known.
    fn confirm(
        &mut self,
        keyspace: &KeyspaceVersion,
        replacements: Vec<Replacement>,
        frames: &mut Vec<(u64, u64)>,
    ) -> Result<Replacements> {
        let mut refused = Vec::new();
        let confirmed = Replacements::confirm(keyspace, replacements, frames, &mut refused)?;
        if refused.is_empty() {
            return Ok(confirmed);
        }
        for Replacement { hash, new, old } in refused {
            frames.push((hash, new.to_bits()));
            // Whether it dies shows when keys are compared. A segment that is gone has no record to count it in.
            if let Ok(old) = self.version.frame(old, keyspace.meta.align()) {
                let usage = self.usage.entry(old.segment.number()).or_default();
                usage.remove_dead(keyspace.meta.id, old.frame.len() as u64);
            }
        }
        frames.par_sort_unstable();
        Ok(confirmed)
    }

    /// The session's version with log segments that folds may have begun.
    fn with_log_segments(&self) -> Version {
        let mut current = Version::clone(&self.core.version.load());
        for segment in self.version.segments.iter() {
            if current.segments.get(segment.number()).is_none() {
                current.segments.insert(Arc::clone(segment));
            }
        }
        current
    }

    /// Gives what remains of the frames of one hash to the resolver.
    fn latest_of(
        &mut self,
        keyspace: &'a KeyspaceVersion,
        list: &[(u64, u64)],
        resolver: &mut Resolver<'a, '_>,
        live_change: &mut i64,
    ) -> Result<()> {
        let hash = list.first().map_or(0, |e| e.0);
        if let &[(_, bits)] = list
            && bits & MERGE == 0
        {
            let address = FrameAddress::from_bits(bits & !(MERGE | DELETE));
            let older = self.find_older(keyspace, hash, address)?;
            *live_change += i64::from(bits & DELETE == 0) - i64::from(is_live(&older));
            resolver.push_latest(hash, address, &older);
            count_dead(&mut self.usage, keyspace.meta.id, older);
            return Ok(());
        }
        let mut frames: Vec<(SeqNo, FrameRef<'a>)> = Vec::with_capacity(list.len());
        for &(_, bits) in list {
            let address = FrameAddress::from_bits(bits & !(MERGE | DELETE));
            let frame = self.version.frame(address, keyspace.meta.align())?;
            frame.verify(keyspace.meta.id)?;
            frames.push((self.rank_of(&frame) + self.seq_base, frame));
        }
        frames.sort_by_key(|(seq, frame)| std::cmp::Reverse((*seq, frame.address())));
        while let Some(&(_, newest)) = frames.first() {
            let key = newest.frame.key();
            let of_key: Vec<_> = frames.iter().filter(|(_, f)| f.frame.key() == key).copied().collect();
            frames.retain(|(_, f)| f.frame.key() != key);
            self.replaced += of_key.len() as u64 - 1;
            resolver.resolve(key, hash, &of_key)?;
        }
        Ok(())
    }

    /// What the index had for the key of a frame. The key is only read if something may match.
    fn find_older(
        &self,
        keyspace: &'a KeyspaceVersion,
        hash: u64,
        address: FrameAddress,
    ) -> Result<Vec<FrameRef<'a>>> {
        let mut possible = false;
        for run in &keyspace.runs {
            possible |= run.find(hash, |_| Ok(Some(())))?.is_some();
        }
        if !possible {
            return Ok(Vec::new());
        }
        let frame = self.version.frame(address, keyspace.meta.align())?;
        frame.verify(keyspace.meta.id)?;
        Ok(find_target(self.version, keyspace, frame.frame.key(), hash)?.unwrap_or_default())
    }

    fn rank_of(&self, frame: &FrameRef<'_>) -> u64 {
        let at = self.groups.partition_point(|group| group.start <= frame.address());
        let base = at.checked_sub(1).and_then(|at| self.groups.get(at)).map_or(0, |g| g.base_rank);
        base + u64::from(frame.frame.ordinal())
    }
}
