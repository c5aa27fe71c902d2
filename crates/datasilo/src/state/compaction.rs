//! Compaction: live frames move out of segments that have many dead ones.
//!
//! Frames move verbatim, straight from the mapping of the old segment to the file of the new one,
//! each verified on the way; group headers are written anew around them. Then every
//! index run that leads into the old segments is rewritten with the new addresses, and the manifest
//! switches. Commits go on all the while: what they change is in the memtable, which counts
//! before the index.
//!
//! A delete moves too, unless no segment that stays could hold an older frame of its key:
//! an index rebuilt from the segments must not bring the key back.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::bytes::address::{FileNumber, FrameAddress, SeqNo, words};
use crate::bytes::file_header::{FileKind, SegmentRole};
use crate::bytes::frame::{FrameKind, encode_fill, fill_len};
use crate::bytes::group::{GROUP_HEADER_LEN, Group, GroupKind};
use crate::bytes::manifest::SegmentRecord;
use crate::error::{Error, Result};
use crate::files::log_scan::{GroupView, all_frames, next_group};
use crate::files::read_ahead::ReadAhead;
use crate::files::run::Run;
use crate::files::segment::{FIRST_GROUP, Segment, SegmentSpec};
use crate::files::segment_writer::{
    GroupFrames, HUGE_WRITE, HUGE_WRITE_SLACK, MAX_SEGMENT_LEN, Payloads, SegmentWriter,
};
use crate::stats::CompactionReport;

use super::checkpoint::Maintenance;
use super::core::{Core, FullSegment, SegmentUsage, lock};
use super::index_update::{Inputs, NewRuns};
use super::live::{LiveBits, LiveMap};
use super::moved::{Moved, MovedSegment};
use super::version::Version;

/// Frames are written in batches of at most this many bytes, about what makes a huge page …
const BATCH_BYTES: usize = HUGE_WRITE;
/// … and at most this many pieces, which the system takes in one call.
const BATCH_PIECES: usize = 1000;
/// Bytes of segments taken at a time, so that a checkpoint need not wait long.
const STEP_BYTES: u64 = 4 << 30;
/// Segments below this share of the full size are put together once there are this many.
const SMALL_SHARE: u64 = 8;
const MANY_SMALL: usize = 16;

impl Core {
    /// Compacts what is over the threshold.
    pub(crate) fn compact_due(&self) -> Result<()> {
        loop {
            let mut maintenance = lock(&self.maintenance);
            if self.wakeup.is_stopping() {
                return Ok(());
            }
            let due = self.due_segments();
            if due.is_empty() {
                self.alarm_pinned();
                return Ok(());
            }
            match self.compact(&mut maintenance, &due, true) {
                Err(Error::Closed) => return Ok(()),
                result => result?,
            };
        }
    }

    /// Compacts every segment that would shrink.
    pub(crate) fn compact_all(&self) -> Result<CompactionReport> {
        let mut maintenance = lock(&self.maintenance);
        self.seal_active()?;
        self.checkpoint_with(&mut maintenance)?;
        let manifest = lock(&self.structure).clone();
        let shrinks = |r: &&SegmentRecord| r.is_settled() && (r.dead_bytes() > 0 || r.delete_bytes() > 0);
        let mut selected: Vec<FileNumber> =
            manifest.segments.iter().filter(shrinks).map(|r| r.file).collect();
        let small = small_segments(&manifest.segments, self.options.segment_bytes);
        if small.len() > 1 {
            selected.extend(small.into_iter().filter(|n| !selected.contains(n)).collect::<Vec<_>>());
        }
        if selected.is_empty() {
            return Ok(CompactionReport::default());
        }
        self.compact(&mut maintenance, &selected, false)
    }

    /// Ends the active segment, for the next checkpoint to seal; the next commit begins a new one.
    pub(crate) fn seal_active(&self) -> Result<()> {
        let mut log = lock(&self.log);
        if log.closed {
            return Ok(());
        }
        if let Some(writer) = log.writer.as_mut() {
            writer.cover_damage()?;
        }
        if let Some(writer) = log.writer.take() {
            let (segment, len) = (Arc::clone(writer.segment()), writer.tail());
            log.ended = Some((segment.number(), len));
            log.unsynced.push(Arc::clone(&segment));
            log.full.push(FullSegment { segment, len, trim: true });
        }
        Ok(())
    }

    fn due_segments(&self) -> Vec<FileNumber> {
        let manifest = lock(&self.structure);
        let settled: Vec<&SegmentRecord> = manifest.segments.iter().filter(|r| r.is_settled()).collect();
        let mut due: Vec<FileNumber> = Vec::new();
        let mut bytes = 0;
        for record in &settled {
            let mut dead = record.dead_bytes();
            let older = |other: &&SegmentRecord| other.file != record.file && other.min_seq <= record.max_seq;
            if !manifest.segments.iter().any(|other| older(&other) && !due.contains(&other.file)) {
                dead += record.delete_bytes();
            }
            #[expect(clippy::cast_precision_loss, reason = "a ratio of byte counts")]
            let ratio = dead as f64 / record.file_len as f64;
            if ratio >= self.options.dead_ratio && bytes < STEP_BYTES {
                due.push(record.file);
                bytes += record.file_len;
            }
        }
        if due.is_empty() {
            let small = small_segments(&manifest.segments, self.options.segment_bytes);
            if small.len() >= MANY_SMALL {
                return small;
            }
        }
        due
    }

    fn alarm_pinned(&self) {
        let pinned = self.pinned_bytes();
        if self.options.pinned_alarm_bytes.is_some_and(|limit| pinned > limit) {
            tracing::warn!(bytes = pinned, "snapshots hold segments that were compacted away");
        }
    }

    fn compact(
        &self,
        _held: &mut Maintenance,
        selected: &[FileNumber],
        may_stop: bool,
    ) -> Result<CompactionReport> {
        let started = Instant::now();
        self.check_poison()?;
        let version = self.version.load_full();
        let records = selected.iter().filter_map(|number| version.records.get(number));
        let staying = version.records.values().filter(|r| !selected.contains(&r.file));
        let oldest_staying = staying.map(|r| if r.usage.is_empty() { SeqNo::MAX } else { r.min_seq }).min();
        let mut live = LiveMap::default();
        let mut touched: Vec<u32> = Vec::new();
        for record in records.clone() {
            live.add_segment(record.file, record.file_len);
            touched.extend(record.usage.iter().map(|u| u.keyspace));
        }
        touched.sort_unstable();
        touched.dedup();
        for keyspace in version.keyspaces.iter().filter(|k| touched.contains(&k.meta.id)) {
            live.mark_keyspace(&version, keyspace, |_| true)?;
        }
        let mut mover = Mover::new(self, &version, oldest_staying.unwrap_or(SeqNo::MAX), may_stop);
        let mut jobs = Vec::new();
        for record in records.clone() {
            if let (Some(segment), Some(bits)) = (version.segments.get(record.file), live.take(record.file)) {
                jobs.push(Job { segment: Arc::clone(segment), record: record.clone(), bits });
            }
        }
        let freed: u64 = records.map(|r| r.file_len).sum();
        let mut new_runs = NewRuns::new(self);
        // Segments are synced while the next ones are written and while the index is.
        let synced = Mutex::new(Ok(()));
        let sync = |segment: &Segment| {
            if let Err(error) = segment.file().sync() {
                *lock(&synced) = Err(error);
            }
        };
        let written = rayon::scope(|scope| {
            let (places, outputs) = mover.run(jobs, &|segment| scope.spawn(move |_| sync(&segment)))?;
            self.sync_names()?;
            let runs = rewrite_runs(&version, &touched, &places, &outputs, &mut new_runs)?;
            Ok::<_, Error>((outputs, runs))
        });
        let (outputs, runs) = written?;
        synced.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        self.sync_names()?;
        let mut replaced = Vec::new();
        let mut retired = Vec::new();
        self.change(
            |manifest| {
                manifest.segments.retain(|r| !selected.contains(&r.file));
                manifest.segments.extend(outputs.iter().map(|o| o.record.clone()));
                for keyspace in &mut manifest.keyspaces {
                    if let Some(run) = runs.get(&keyspace.id) {
                        keyspace.runs = vec![run.record()];
                    }
                }
            },
            |version| {
                for output in &outputs {
                    version.segments.insert(Arc::clone(&output.segment));
                }
                for number in selected {
                    retired.extend(version.segments.get(*number).cloned());
                    version.segments.remove(*number);
                }
                for keyspace in &mut version.keyspaces {
                    if let Some(run) = runs.get(&keyspace.meta.id) {
                        replaced.append(&mut keyspace.runs);
                        keyspace.runs = vec![Arc::clone(run)];
                    }
                }
            },
        )?;
        new_runs.keep();
        mover.keep();
        let moved_bytes = outputs.iter().map(|o| o.record.file_len).sum();
        self.remove_replaced_runs(&replaced);
        self.retire(&retired);
        for number in selected {
            self.remove_unfinished(FileKind::Segment, *number);
        }
        let report = CompactionReport {
            segments: selected.len() as u64,
            moved_bytes,
            freed_bytes: freed.saturating_sub(moved_bytes),
            elapsed: started.elapsed(),
        };
        tracing::info!(
            segments = report.segments, moved = moved_bytes, freed = report.freed_bytes,
            elapsed = ?report.elapsed, "compaction"
        );
        Ok(report)
    }
}

/// Rewrites the runs of the touched keyspaces with the frames' new addresses.
fn rewrite_runs(
    version: &Version,
    touched: &[u32],
    places: &Moved,
    outputs: &[Output],
    new_runs: &mut NewRuns<'_>,
) -> Result<BTreeMap<u32, Arc<Run>>> {
    let mut extended = Version::clone(version);
    for output in outputs {
        extended.segments.insert(Arc::clone(&output.segment));
    }
    let mut runs = BTreeMap::new();
    for keyspace in version.keyspaces.iter().filter(|k| touched.contains(&k.meta.id) && !k.runs.is_empty()) {
        let inputs = Inputs {
            newest: std::iter::empty(),
            runs: &keyspace.runs,
            most: keyspace.runs.iter().map(|run| run.entry_count()).sum(),
        };
        let run = new_runs.write(
            &keyspace.meta,
            &extended,
            inputs,
            |run, _, entries| places.drop_dead(run, entries),
            |entries| places.map_all(entries),
        )?;
        runs.insert(keyspace.meta.id, run);
    }
    Ok(runs)
}

/// Settled segments far below full size, if there are several.
fn small_segments(segments: &[SegmentRecord], full: u64) -> Vec<FileNumber> {
    let small = |r: &&SegmentRecord| r.is_settled() && r.file_len < full / SMALL_SHARE;
    segments.iter().filter(small).map(|r| r.file).collect()
}

/// A segment to move frames out of.
struct Job {
    segment: Arc<Segment>,
    record: SegmentRecord,
    bits: LiveBits,
}

/// A segment that frames were moved into.
#[derive(Debug)]
struct Output {
    segment: Arc<Segment>,
    record: SegmentRecord,
}

struct Mover<'a> {
    core: &'a Core,
    generation: u64,
    /// Deletes older than every frame of the segments that stay are not needed any more.
    oldest_staying: SeqNo,
    may_stop: bool,
    started: Instant,
    written: std::sync::atomic::AtomicU64,
    created: Mutex<Vec<FileNumber>>,
}

impl<'a> Mover<'a> {
    fn new(core: &'a Core, version: &Version, oldest_staying: SeqNo, may_stop: bool) -> Self {
        Self {
            core,
            generation: version.generation + 1,
            oldest_staying,
            may_stop,
            started: Instant::now(),
            written: std::sync::atomic::AtomicU64::new(0),
            created: Mutex::new(Vec::new()),
        }
    }

    /// The manifest names the new segments now.
    fn keep(&mut self) {
        lock(&self.created).clear();
    }

    /// Moves all jobs' live frames, some segments at a time. The new segments are passed to `sync`.
    fn run(&mut self, jobs: Vec<Job>, sync: &(dyn Fn(Arc<Segment>) + Sync)) -> Result<(Moved, Vec<Output>)> {
        let bytes: u64 = jobs.iter().map(|job| job.record.file_len).sum();
        let most = usize::try_from(bytes / self.core.options.segment_bytes).unwrap_or(usize::MAX);
        let threads = rayon::current_num_threads().min(most.max(1)).min(jobs.len().max(1));
        let mut shares: Vec<Vec<Job>> = (0..threads).map(|_| Vec::new()).collect();
        for (at, job) in jobs.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(at % threads) {
                share.push(job);
            }
        }
        let mover = &*self;
        let results: Vec<Result<(Vec<MovedSource>, Vec<Output>)>> = shares
            .into_par_iter()
            .map(|share| {
                let mut worker = Worker {
                    mover,
                    sync,
                    writer: None,
                    usage: SegmentUsage::default(),
                    outputs: Vec::new(),
                    pending_bytes: 0,
                    pending_pieces: 0,
                };
                let mut sources = Vec::with_capacity(share.len());
                for job in share {
                    sources.push(worker.move_segment(job)?);
                }
                worker.finish_segment()?;
                Ok((sources, worker.outputs))
            })
            .collect();
        let mut places = Moved::default();
        let mut outputs = Vec::new();
        for result in results {
            let (sources, mut done) = result?;
            places.extend(sources);
            outputs.append(&mut done);
        }
        Ok((places, outputs))
    }

    /// Keeps to the byte rate, and ends early if the silo is being closed.
    fn pace(&self, bytes: u64) -> Result<()> {
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.core.count_written(bytes);
        loop {
            if self.may_stop && self.core.wakeup.is_stopping() {
                return Err(Error::Closed);
            }
            let Some(rate) = self.core.options.compaction_bytes_per_second else {
                return Ok(());
            };
            #[expect(clippy::cast_precision_loss, reason = "a duration from byte counts")]
            let due = Duration::from_secs_f64(written as f64 / rate as f64);
            match due.checked_sub(self.started.elapsed()) {
                Some(early) if !early.is_zero() => std::thread::sleep(early.min(Duration::from_millis(50))),
                _ => return Ok(()),
            }
        }
    }
}

impl Drop for Mover<'_> {
    fn drop(&mut self) {
        for &number in lock(&self.created).iter() {
            self.core.remove_unfinished(FileKind::Segment, number);
        }
    }
}

type MovedSource = (FileNumber, MovedSegment);

/// One thread's part of a compaction.
struct Worker<'m, 'a> {
    mover: &'m Mover<'a>,
    sync: &'m (dyn Fn(Arc<Segment>) + Sync),
    writer: Option<SegmentWriter>,
    usage: SegmentUsage,
    outputs: Vec<Output>,
    /// Of the bundles not yet written.
    pending_bytes: usize,
    pending_pieces: usize,
}

/// Frames that go into one group of the new segment.
struct Bundle<'s> {
    template: Group,
    /// Stretches of the old segment, and fills between them.
    pieces: Vec<std::borrow::Cow<'s, [u8]>>,
    len: usize,
    /// Old words of the frames, and their offsets in the new payload unless they are left behind.
    frames: Vec<(u32, Option<usize>)>,
    delete_bytes: u64,
    last_seq: SeqNo,
}

impl Worker<'_, '_> {
    fn move_segment(&mut self, job: Job) -> Result<MovedSource> {
        let Job { segment, record, bits } = job;
        let mut moved = MovedSegment::new(bits);
        let window = segment.window();
        let mut at = FIRST_GROUP;
        let mut ahead = ReadAhead::from(at);
        let mut bundles: Vec<Bundle<'_>> = Vec::new();
        while at < record.file_len {
            let view = next_group(&window, at).map_err(|what| segment.corrupt(at, what))?;
            ahead.reach(&segment, at, view.group.end());
            at = view.group.end();
            if matches!(view.group.kind, GroupKind::Frames | GroupKind::Fold) {
                self.bundle_group(&segment, &record, &view, &mut bundles, &mut moved)?;
            }
        }
        self.write(&mut bundles, &mut moved)?;
        if !moved.is_complete() {
            return Err(segment.corrupt(0, "the index leads to places where no frames begin"));
        }
        Ok((segment.number(), moved))
    }

    /// Collects a group's live frames, writing full bundles out.
    fn bundle_group<'s>(
        &mut self,
        segment: &'s Segment,
        record: &SegmentRecord,
        view: &GroupView<'s>,
        bundles: &mut Vec<Bundle<'s>>,
        moved: &mut MovedSegment,
    ) -> Result<()> {
        let group = view.group;
        let mut bundle = Bundle::new(&group, record.seq_base);
        let mut end_of_last = None;
        for item in all_frames(view) {
            let (at, frame) = item.map_err(|(offset, what)| segment.corrupt(offset, what))?;
            let offset = group.payload_offset() + at as u64;
            let word = words(offset);
            if !moved.is_live(word) {
                continue;
            }
            if !frame.verify_whole(group.keyspace) {
                return Err(segment.corrupt(offset, "the frame's checksum does not match"));
            }
            let seq = bundle.template.base_seq + u64::from(frame.ordinal());
            let delete = frame.kind() == FrameKind::Delete;
            if delete && seq < self.mover.oldest_staying {
                // Noted in the order of the frames, so behind what is pending.
                bundle.frames.push((word, None));
                continue;
            }
            let pieces = self.pending_pieces + bundle.pieces.len();
            let full = self.pending_bytes + bundle.len + frame.len() > self.batch_room();
            if full || pieces >= BATCH_PIECES {
                bundles.push(std::mem::replace(&mut bundle, Bundle::new(&group, record.seq_base)));
                end_of_last = None;
                self.write(bundles, moved)?;
            }
            let gap = fill_len(bundle.len, group.align());
            let contiguous = gap == 0 && end_of_last == Some(at);
            bundle.push(word, view.payload, at, frame.len(), gap, contiguous);
            end_of_last = Some(at + frame.len());
            bundle.last_seq = bundle.last_seq.max(seq);
            if delete {
                bundle.delete_bytes += frame.len() as u64;
            }
        }
        if !bundle.frames.is_empty() {
            self.pending_bytes += bundle.len + GROUP_HEADER_LEN;
            self.pending_pieces += bundle.pieces.len() + 1;
            bundles.push(bundle);
        }
        Ok(())
    }

    /// Bytes of frames for the next write, so that it ends at a multiple of a huge page.
    fn batch_room(&self) -> usize {
        let room = self
            .writer
            .as_ref()
            .map_or(BATCH_BYTES, |w| usize::try_from(w.huge_room()).unwrap_or(BATCH_BYTES));
        // Close to the end of a huge page the next one is begun as well.
        let room = if room < BATCH_BYTES / 4 { room + BATCH_BYTES } else { room };
        room - HUGE_WRITE_SLACK
    }

    /// Writes bundles and notes their frames' addresses.
    fn write(&mut self, bundles: &mut Vec<Bundle<'_>>, moved: &mut MovedSegment) -> Result<()> {
        (self.pending_bytes, self.pending_pieces) = (0, 0);
        let filled: Vec<&Bundle<'_>> = bundles.iter().filter(|b| !b.pieces.is_empty()).collect();
        let mut payloads = Payloads::new();
        let mut number = 0;
        if !filled.is_empty() {
            let pieces: Vec<Vec<&[u8]>> =
                filled.iter().map(|b| b.pieces.iter().map(AsRef::as_ref).collect()).collect();
            let groups: Vec<GroupFrames<'_>> = filled
                .iter()
                .zip(&pieces)
                .map(|(bundle, pieces)| GroupFrames { template: bundle.template, pieces })
                .collect();
            let len = SegmentWriter::worst_len(&groups);
            if !self.writer.as_ref().is_some_and(|writer| writer.has_room(len)) {
                self.finish_segment()?;
                self.begin_segment(len)?;
            }
            let Some(writer) = self.writer.as_mut() else {
                return Ok(());
            };
            payloads = writer.append_huge(&groups)?;
            number = writer.segment().number();
            for bundle in &filled {
                let frames = bundle.frames.iter().filter(|(_, offset)| offset.is_some()).count() as u64;
                let keyspace = bundle.template.keyspace;
                self.usage.add_frames(keyspace, frames, bundle.len as u64, bundle.delete_bytes);
                self.usage.add_seqs(bundle.template.base_seq, bundle.last_seq);
            }
            self.mover.pace(len)?;
        }
        let mut payloads = payloads.into_iter();
        for bundle in bundles.drain(..) {
            let payload = if bundle.pieces.is_empty() { 0 } else { payloads.next().unwrap_or(0) };
            for (old, offset) in bundle.frames {
                moved.note(old, offset.map(|at| FrameAddress::new(number, words(payload + at as u64))));
            }
        }
        Ok(())
    }

    fn begin_segment(&mut self, len: u64) -> Result<()> {
        let core = self.mover.core;
        let catalog = core.catalog();
        SegmentWriter::check_len(catalog.len() + len)?;
        let number = core.next_file();
        lock(&self.mover.created).push(number);
        let capacity = core.options.segment_bytes.max(FIRST_GROUP + catalog.len() + len).min(MAX_SEGMENT_LEN);
        let spec = SegmentSpec {
            number,
            silo_id: core.silo_id,
            role: SegmentRole::Compaction,
            generation: self.mover.generation,
            capacity,
            previous: None,
        };
        let segment = Arc::new(Segment::create(&core.files, &spec)?);
        let mut writer = SegmentWriter::new(segment, capacity, core.options.allocate_bytes);
        catalog.append_to(&mut writer)?;
        core.count_written(catalog.len());
        self.writer = Some(writer);
        Ok(())
    }

    /// Ends the segment being written.
    fn finish_segment(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let segment = Arc::clone(writer.segment());
        segment.file().set_len(writer.tail())?;
        (self.sync)(Arc::clone(&segment));
        let usage = std::mem::take(&mut self.usage);
        let mut record = SegmentRecord {
            file: segment.number(),
            origin: segment.origin(),
            role: SegmentRole::Compaction,
            sealed: true,
            file_len: writer.tail(),
            replay_from: writer.tail(),
            seq_base: 0,
            min_seq: 0,
            max_seq: 0,
            usage: Vec::new(),
        };
        usage.add_to(&mut record);
        self.outputs.push(Output { segment, record });
        Ok(())
    }
}

impl<'s> Bundle<'s> {
    fn new(group: &Group, seq_base: SeqNo) -> Self {
        let base_seq = group.base_seq + seq_base;
        Self {
            template: Group { base_seq, frame_count: 0, ..*group },
            pieces: Vec::new(),
            len: 0,
            frames: Vec::new(),
            delete_bytes: 0,
            last_seq: base_seq,
        }
    }

    /// Adds the frame at `at` of the old payload, which is `word` of its segment, behind a fill of `gap` bytes.
    fn push(&mut self, word: u32, payload: &'s [u8], at: usize, len: usize, gap: usize, contiguous: bool) {
        if gap > 0 {
            let mut fill = Vec::new();
            encode_fill(&mut fill, self.template.keyspace, gap);
            self.pieces.push(fill.into());
            self.template.frame_count += 1;
            self.len += gap;
        }
        self.frames.push((word, Some(self.len)));
        self.template.frame_count += 1;
        self.len += len;
        if contiguous && let Some(std::borrow::Cow::Borrowed(last)) = self.pieces.last_mut() {
            let start = at - last.len();
            *last = payload.get(start..at + len).unwrap_or_default();
        } else {
            self.pieces.push(payload.get(at..at + len).unwrap_or_default().into());
        }
    }
}
