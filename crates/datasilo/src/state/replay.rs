//! Reading the log since the last checkpoint, and telling a torn tail from corruption.

use std::sync::Arc;

use crate::bytes::address::{FileNumber, FrameAddress, SeqNo, WORD};
use crate::bytes::frame::FrameKind;
use crate::bytes::group::{Group, GroupKind};
use crate::bytes::manifest::{Manifest, SegmentRecord};
use crate::bytes::mark::SyncMark;
use crate::error::Result;
use crate::files::log_scan::{GroupView, Step, Window, frames, groups_behind, next_batch};
use crate::files::read_ahead::ReadAhead;
use crate::files::run::key_hash;
use crate::files::segment::{FIRST_GROUP, Segment};

use super::core::UsageMap;
use super::memtable::NewEntry;
use super::version::Version;

/// The log is read in pieces of this many bytes, beside a writer in more if a batch is longer.
const PIECE_LEN: u64 = 4 << 20;

/// How often a reader looks again at what seems damaged below the synced position.
const REREADS: u32 = 5;

/// What replay found in one log segment.
#[derive(Debug)]
pub(crate) struct ScannedSegment {
    pub(crate) segment: Arc<Segment>,
    /// Where the scan began.
    pub(crate) from: u64,
    /// Behind the last whole batch.
    pub(crate) end: u64,
    /// Bytes behind `end` that are not zero.
    pub(crate) torn_bytes: u64,
    /// Up to where the segment is known to have been synced.
    pub(crate) synced: u64,
    /// Groups in order, each with the position of its first entry.
    pub(crate) groups: Vec<ScannedGroup>,
    /// Mutations, of keyspaces that exist.
    pub(crate) entries: Vec<NewEntry>,
    pub(crate) batch_count: u64,
    /// The highest sequence number seen.
    pub(crate) last_seq: SeqNo,
    damage: Option<(u64, &'static str)>,
}

/// A group of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScannedGroup {
    pub(crate) group: Group,
    /// Position of its first entry.
    first_entry: usize,
    delete_bytes: u64,
}

/// What may be going on with the log while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogAccess {
    /// This process holds the lock: the log does not change.
    Exclusive,
    /// A writer in another process may be appending.
    Shared,
}

/// The log since the last checkpoint, up to the first gap.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) segments: Vec<ScannedSegment>,
    /// Log segments behind the gap, which do not count.
    pub(crate) dropped: Vec<FileNumber>,
    /// Bytes behind the last batch that counts.
    pub(crate) dropped_bytes: u64,
}

/// Reads the log of a version that was just opened from this manifest.
///
/// # Errors
/// Damage below the synced position of a segment is corruption.
pub(crate) fn replay(
    version: &Version,
    manifest: &Manifest,
    mark: Option<SyncMark>,
    access: LogAccess,
) -> Result<Replay> {
    let mut scanned = Vec::new();
    for record in manifest.segments.iter().filter(|r| !r.sealed || r.replay_from < r.file_len) {
        let Some(segment) = version.segments.get(record.file) else {
            continue; // the version has every segment of its manifest
        };
        let mut scan = ScannedSegment::new(Arc::clone(segment), record);
        scan.expect_synced(mark);
        scan.run(version, record, access)?;
        scanned.push(scan);
    }
    apply_later_marks(&mut scanned, manifest, mark);
    cut_at_gap(scanned)
}

/// A segment is synced as a whole before anything in a later one is.
fn apply_later_marks(scanned: &mut [ScannedSegment], manifest: &Manifest, mark: Option<SyncMark>) {
    let mut later: Option<(FileNumber, u64)> = None;
    let mut later_synced = false;
    for scan in scanned.iter_mut().rev() {
        let number = scan.segment.number();
        if later_synced && let Some((_, len)) = later.filter(|(previous, _)| *previous == number) {
            scan.synced = scan.synced.max(len);
        }
        let record = manifest.segments.iter().find(|r| r.file == number);
        // A new segment is synced with nothing but its catalog in it.
        let initial = record.map_or(FIRST_GROUP, |r| r.replay_from);
        later_synced |= scan.synced > initial || mark.is_some_and(|mark| mark.segment == number);
        later = scan.segment.previous();
    }
}

fn cut_at_gap(scanned: Vec<ScannedSegment>) -> Result<Replay> {
    let mut replay = Replay { segments: Vec::new(), dropped: Vec::new(), dropped_bytes: 0 };
    let mut gap = false;
    let followers: Vec<Option<(FileNumber, u64)>> =
        scanned.iter().skip(1).map(|s| s.segment.previous()).chain([None]).collect();
    for (scan, follower) in scanned.into_iter().zip(followers) {
        let number = scan.segment.number();
        let expected = follower.filter(|(previous, _)| *previous == number).map(|(_, len)| len);
        scan.check_end()?;
        if gap {
            replay.dropped.push(number);
            replay.dropped_bytes += scan.end - FIRST_GROUP + scan.torn_bytes;
            continue;
        }
        gap = expected.is_some_and(|len| scan.end < len);
        replay.dropped_bytes += scan.torn_bytes;
        replay.segments.push(scan);
    }
    Ok(replay)
}

impl ScannedSegment {
    fn new(segment: Arc<Segment>, record: &SegmentRecord) -> Self {
        Self { synced: record.file_len, ..Self::resume(segment, record.replay_from) }
    }

    /// Notes what the mark says, which was read before the log: also beside a writer, the log
    /// reaches up to there.
    pub(crate) fn expect_synced(&mut self, mark: Option<SyncMark>) {
        if let Some(mark) = mark.filter(|mark| mark.segment == self.segment.number()) {
            self.synced = self.synced.max(mark.synced);
        }
    }

    /// Corruption if the scan ended below the synced position.
    pub(crate) fn check_end(&self) -> Result<()> {
        if self.end >= self.synced {
            return Ok(());
        }
        let (offset, what) = self.damage.unwrap_or((self.end, "the log ends before its synced end"));
        Err(self.segment.corrupt(offset, what))
    }

    fn run(&mut self, version: &Version, record: &SegmentRecord, access: LogAccess) -> Result<()> {
        let segment = Arc::clone(&self.segment);
        if record.sealed {
            let bytes = segment.bytes();
            let len = usize::try_from(record.file_len).unwrap_or(bytes.len()).min(bytes.len());
            let window = Window { bytes: bytes.get(..len).unwrap_or(bytes), ..segment.window() };
            self.scan_mapped(version, &window);
        } else if access == LogAccess::Exclusive {
            // Nobody writes to this file any more: all of it is final.
            segment.raise_readable(segment.file().len()?.min(segment.capacity()));
            self.scan_mapped(version, &segment.window());
            self.look_behind_damage(&segment.window());
        } else {
            self.follow(version)?;
        }
        Ok(())
    }

    /// A scan of a log segment that goes on from a known place.
    pub(crate) fn resume(segment: Arc<Segment>, from: u64) -> Self {
        Self {
            segment,
            from,
            end: from,
            torn_bytes: 0,
            synced: from,
            groups: Vec::new(),
            entries: Vec::new(),
            batch_count: 0,
            last_seq: 0,
            damage: None,
        }
    }

    /// Reads on from `end` in a log that another process appends to. Only bytes of whole, valid
    /// batches, which never change, are made readable in the mapping.
    pub(crate) fn follow(&mut self, version: &Version) -> Result<()> {
        let segment = Arc::clone(&self.segment);
        let mut piece_len = PIECE_LEN;
        let mut rereads = 0;
        loop {
            let file_len = segment.file().len()?.min(segment.capacity());
            let available = file_len.saturating_sub(self.end).min(piece_len);
            let mut buffer = vec![0; usize::try_from(available).unwrap_or(0)];
            let read = segment.file().read_at(&mut buffer, self.end)?;
            buffer.truncate(read);
            let window = Window { bytes: &buffer, base: self.end, seed: segment.seed() };
            let before = self.end;
            self.damage = None;
            self.torn_bytes = 0;
            self.scan(version, &window, |_| ());
            segment.raise_readable(self.end);
            let reached_end = before + read as u64 >= file_len;
            if self.end == before {
                if reached_end || self.damage.is_none() {
                    self.look_behind_damage(&window);
                    // A batch that was being written while it was read looks damaged once.
                    if self.synced <= self.end || rereads == REREADS {
                        return Ok(());
                    }
                    rereads += 1;
                    std::thread::yield_now();
                    continue;
                }
                piece_len *= 2; // the batch may be longer than the piece
            } else if reached_end && self.damage.is_none() {
                return Ok(());
            }
        }
    }

    /// Walks whole batches of the mapped segment from `end` on.
    fn scan_mapped(&mut self, version: &Version, window: &Window<'_>) {
        let segment = Arc::clone(&self.segment);
        let mut ahead = ReadAhead::from(self.end);
        self.scan(version, window, |at| ahead.reach(&segment, at, at + PIECE_LEN));
    }

    /// Walks whole batches from `end` on; `before` gets the offset of each before it is read.
    fn scan(&mut self, version: &Version, window: &Window<'_>, mut before: impl FnMut(u64)) {
        loop {
            before(self.end);
            match next_batch(window, self.end) {
                Step::Batch(groups) => {
                    self.batch_count += 1;
                    for group in &groups {
                        self.take_group(version, group);
                    }
                }
                Step::End => {
                    self.note_torn(window);
                    if self.torn_bytes > 0 {
                        self.damage = Some((self.end, "there are zeros where a batch should begin"));
                    }
                    return;
                }
                Step::Damage { offset, what } => {
                    self.damage = Some((offset, what));
                    self.note_torn(window);
                    return;
                }
            }
        }
    }

    fn note_torn(&mut self, window: &Window<'_>) {
        let rest = window.bytes.len() as u64 + window.base - self.end;
        let zeros = window.bytes.iter().rev().take_while(|&&b| b == 0).count() as u64;
        self.torn_bytes = rest.saturating_sub(zeros);
    }

    fn take_group(&mut self, version: &Version, view: &GroupView<'_>) {
        let group = view.group;
        let mut scanned = ScannedGroup { group, first_entry: self.entries.len(), delete_bytes: 0 };
        self.end = group.end();
        self.synced = self.synced.max(group.synced);
        if group.kind != GroupKind::Frames || version.keyspace_by_id(group.keyspace).is_none() {
            self.groups.push(scanned);
            return;
        }
        for (at, frame) in frames(view).filter(|(_, frame)| frame.kind() != FrameKind::Fill) {
            let seq = group.base_seq + u64::from(frame.ordinal());
            self.last_seq = self.last_seq.max(seq);
            self.entries.push(NewEntry {
                hash: key_hash(frame.key(), version.hash_seed),
                seq,
                address: self.segment.address(group.payload_offset() + at as u64),
                keyspace: group.keyspace,
            });
            if frame.kind() == FrameKind::Delete {
                scanned.delete_bytes += frame.len() as u64;
            }
        }
        self.groups.push(scanned);
    }

    /// Group headers behind damage tell whether it lies below a synced position.
    fn look_behind_damage(&mut self, window: &Window<'_>) {
        if let Some((offset, _)) = self.damage {
            let highest = groups_behind(window, offset).map(|group| group.synced).max();
            self.synced = self.synced.max(highest.unwrap_or(0));
        }
    }

    /// Entries of the group at a position of `groups`.
    pub(crate) fn entries_of(&self, position: usize) -> &[NewEntry] {
        let start = self.groups.get(position).map_or(self.entries.len(), |g| g.first_entry);
        let end = self.groups.get(position + 1).map_or(self.entries.len(), |g| g.first_entry);
        self.entries.get(start..end).unwrap_or_default()
    }

    /// Counts the frames of the groups below `limit`.
    pub(crate) fn count_usage(&self, usage: &mut UsageMap, limit: u64) {
        let below = self.groups.iter().enumerate().filter(|(_, g)| g.group.end() <= limit);
        for (position, scanned) in below {
            count_group(usage, self.segment.number(), scanned, self.entries_of(position));
        }
    }
}

/// Counts the mutations of a group that lies in a segment. Folds are counted by the checkpoint
/// that wrote them, or not at all if it did not come to its end.
pub(crate) fn count_group(
    usage: &mut UsageMap,
    segment: FileNumber,
    scanned: &ScannedGroup,
    entries: &[NewEntry],
) {
    let group = &scanned.group;
    if group.kind != GroupKind::Frames || entries.is_empty() {
        return;
    }
    let sum = usage.entry(segment).or_default();
    sum.add_frames(group.keyspace, entries.len() as u64, group.payload_len, scanned.delete_bytes);
    let last = entries.iter().map(|e| e.seq).max().unwrap_or(group.base_seq);
    sum.add_seqs(group.base_seq, last);
}

/// Entries moved from one place of their group's payload to another.
pub(crate) fn moved_entries(
    entries: &[NewEntry],
    group: &Group,
    segment: FileNumber,
    payload_offset: u64,
) -> impl Iterator<Item = NewEntry> {
    let old = group.payload_offset();
    entries.iter().map(move |entry| {
        let offset = entry.address.offset() - old + payload_offset;
        let word = u32::try_from(offset / WORD).expect("segments have at most 2^32 words");
        NewEntry { address: FrameAddress::new(segment, word), ..*entry }
    })
}
