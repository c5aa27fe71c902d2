//! Publishing a bulk session: seal its segments, build its index entries, switch the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rayon::slice::ParallelSliceMut;

use crate::api::bulk::BulkReport;
use crate::bytes::address::{FileNumber, FrameAddress, SeqNo};
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
use super::version::{FrameRef, KeyspaceVersion, Version};

/// Entries of a chunk: 1 MiB.
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

/// Hashes and addresses of a keyspace's frames, 16 bytes each.
#[derive(Debug, Default)]
pub(crate) struct BulkEntries {
    /// Full chunks, so that no growing vector doubles the memory.
    chunks: Vec<Vec<(u64, u64)>>,
    kinds: u64,
}

impl BulkEntries {
    pub(crate) fn push(&mut self, hash: u64, address: FrameAddress, kind: FrameKind) {
        let kind = match kind {
            FrameKind::Put | FrameKind::Fill => 0,
            FrameKind::Delete => DELETE,
            FrameKind::Merge => MERGE,
        };
        self.kinds |= kind;
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push((hash, address.to_bits() | kind));
        }
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.chunks.append(&mut other.chunks);
        self.kinds |= other.kinds;
    }

    fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    /// All entries, sorted by hash. Chunks are freed as they are copied.
    fn into_sorted(self) -> Vec<(u64, u64)> {
        let mut all = Vec::with_capacity(self.len());
        for chunk in self.chunks {
            all.extend_from_slice(&chunk);
        }
        all.par_sort_unstable();
        all
    }
}

/// What the writers of a session leave behind.
#[derive(Debug)]
pub(crate) struct BulkOutcome {
    pub(crate) segments: Vec<SegmentWriter>,
    pub(crate) entries: BTreeMap<u32, BulkEntries>,
    pub(crate) groups: Vec<RankedGroup>,
    pub(crate) usage: UsageMap,
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
                    usage: UsageMap::new(),
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
    let check = u64::from(crc32fast::hash(&base)).to_le_bytes();
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
        let fresh = keyspace.runs.is_empty() && entries.kinds == 0;
        let mut sorted = entries.into_sorted();
        let mut index = IndexEntries::default();
        let mut live_change = 0i64;
        if fresh && sorted.windows(2).all(|w| matches!(w, [a, b] if a.0 != b.0)) {
            live_change = i64::try_from(sorted.len()).unwrap_or(i64::MAX);
            index.append_frames(sorted);
        } else {
            let mut kept = 0;
            let mut dead = UsageMap::new();
            let mut resolver = Resolver::new(self.core, self.version, keyspace, &mut dead);
            let mut at = 0;
            while let Some(&(hash, _)) = sorted.get(at) {
                let end =
                    at + sorted.get(at..).unwrap_or_default().iter().take_while(|e| e.0 == hash).count();
                let list = sorted.get(at..end).unwrap_or_default().to_vec();
                at = end;
                for entry in self.latest_of(keyspace, &list, &mut resolver, &mut live_change)? {
                    // Results are never more than what they come from, so they fit in front.
                    if let Some(place) = sorted.get_mut(kept) {
                        *place = entry;
                        kept += 1;
                    }
                }
            }
            sorted.truncate(kept);
            let (folded, change) = resolver.finish()?;
            live_change += change;
            merge_usage(&mut self.usage, dead);
            index = folded;
            index.append_frames(sorted);
            index.sort();
        }
        let current = self.with_log_segments();
        let run = new_runs.write(&keyspace.meta, &current, &index)?;
        let runs = new_runs.stack(keyspace, &current, run)?;
        Ok((runs, keyspace.live_entries.saturating_add_signed(live_change)))
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

    /// The entries that remain of those of one hash; operands go through the resolver instead.
    fn latest_of(
        &mut self,
        keyspace: &'a KeyspaceVersion,
        list: &[(u64, u64)],
        resolver: &mut Resolver<'a, '_>,
        live_change: &mut i64,
    ) -> Result<Vec<(u64, u64)>> {
        if let &[(hash, bits)] = list
            && bits & MERGE == 0
        {
            let address = FrameAddress::from_bits(bits & !(MERGE | DELETE));
            let older = self.find_older(keyspace, hash, address)?;
            *live_change += i64::from(bits & DELETE == 0) - i64::from(is_live(&older));
            count_dead(&mut self.usage, keyspace.meta.id, older);
            return Ok(vec![(hash, address.to_bits())]);
        }
        let mut frames: Vec<(SeqNo, FrameRef<'a>)> = Vec::with_capacity(list.len());
        let hash = list.first().map_or(0, |e| e.0);
        for &(_, bits) in list {
            let address = FrameAddress::from_bits(bits & !(MERGE | DELETE));
            let frame = self.version.frame(address, keyspace.meta.align())?;
            frame.verify(keyspace.meta.id)?;
            frames.push((self.rank_of(&frame) + self.seq_base, frame));
        }
        frames.sort_by_key(|(seq, frame)| std::cmp::Reverse((*seq, frame.address())));
        let mut kept = Vec::new();
        while let Some(&(_, newest)) = frames.first() {
            let key = newest.frame.key();
            let of_key: Vec<_> = frames.iter().filter(|(_, f)| f.frame.key() == key).copied().collect();
            frames.retain(|(_, f)| f.frame.key() != key);
            self.replaced += of_key.len() as u64 - 1;
            if newest.frame.kind() == FrameKind::Merge {
                resolver.resolve(key, hash, &of_key)?;
            } else {
                let older = find_target(self.version, keyspace, key, hash)?.unwrap_or_default();
                *live_change +=
                    i64::from(newest.frame.kind() != FrameKind::Delete) - i64::from(is_live(&older));
                let dead = of_key.iter().skip(1).map(|(_, f)| *f).chain(older);
                count_dead(&mut self.usage, keyspace.meta.id, dead);
                kept.push((hash, newest.address().to_bits()));
            }
        }
        Ok(kept)
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
