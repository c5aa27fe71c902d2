//! Repair: a new index and manifest from whatever frames are readable.
//!
//! Every segment is walked from end to end; behind damage, the walk goes on at the next group header
//! that is valid. A frame counts if its checksum does. For each key, frames are ordered by sequence
//! number, and the latest back to a put or delete make up its entry. Frames of damaged
//! segments are moved to new ones; the damaged files are kept under another name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::bytes::address::{FileNumber, FrameAddress, SeqNo};
use crate::bytes::checksum;
use crate::bytes::file_header::{FileKind, SegmentRole};
use crate::bytes::frame::{FrameKind, FrameView};
use crate::bytes::group::{Group, GroupKind};
use crate::bytes::index::Geometry;
use crate::bytes::manifest::{KeyspaceRecord, Manifest, SegmentRecord, decode_catalog};
use crate::error::{Error, Result};
use crate::files::log_scan::{GroupView, frames, groups_behind, next_group};
use crate::files::manifest_file::{self, MANIFEST, ReplaceError};
use crate::files::mark_file;
use crate::files::read_ahead::ReadAhead;
use crate::files::run::{Target, key_hash};
use crate::files::run_builder::{RunBuilder, RunSpec};
use crate::files::segment::{FIRST_GROUP, Segment, SegmentSpec};
use crate::files::segment_writer::{GroupFrames, MAX_SEGMENT_LEN, SegmentWriter};
use crate::options::Options;
use crate::stats::RepairReport;
use crate::storage::DirFiles;

use super::core::{Catalog, SegmentUsage};
use super::recovery::{check_not_outdated, random_id, take_lock};

/// Rebuilds the index of a silo from its segments, and its manifest if that is lost. Nobody may
/// have the silo open for writing.
///
/// What is readable is kept, what is not is reported. Nothing is deleted: damaged segments and a
/// damaged manifest are kept under names that end in `.damaged`. Uses 40 bytes of memory per frame.
///
/// # Errors
/// [`Error::Locked`] if the silo is open for writing, [`Error::NotASilo`] if no segment of one is
/// there, and those of the system.
pub fn repair(dir: impl AsRef<Path>, options: &Options) -> Result<RepairReport> {
    options.validate()?;
    let files = DirFiles::new(Arc::clone(&options.storage), dir.as_ref());
    let names = files.list()?;
    let numbered = names.iter().filter_map(|name| DirFiles::parse_name(name));
    if !names.iter().any(|n| n == MANIFEST) && numbered.clone().next().is_none() {
        return Err(Error::NotASilo {
            path: files.dir().to_path_buf(),
            hint: "there is nothing to repair: it has neither a manifest nor segments",
        });
    }
    let _lock = take_lock(&files)?;
    let mut report = RepairReport::default();
    let on_disk: Vec<FileNumber> =
        numbered.filter(|(kind, _)| *kind == FileKind::Segment).map(|n| n.1).collect();
    let old = match read_newest(&files) {
        Ok(manifest) => Some(manifest),
        Err(error @ (Error::UnsupportedVersion { .. } | Error::UnsupportedFeatures { .. })) => {
            return Err(error);
        }
        Err(error) => {
            tracing::warn!(%error, "the manifest is made anew from the segments");
            report.manifest_rebuilt = true;
            None
        }
    };
    let sources = match &old {
        Some(manifest) => open_named(&files, manifest, &mut report)?,
        None => open_found(&files, &on_disk, &mut report),
    };
    let mut repair = Repair {
        files: &files,
        options,
        manifest: base_manifest(old.as_ref(), &sources, &names),
        found: BTreeMap::new(),
        live: BTreeMap::new(),
        report,
    };
    for source in &sources {
        repair.salvage(source)?;
    }
    repair.build_indexes()?;
    repair.finish(old.as_ref())
}

/// The manifest, unless it is older than other files.
fn read_newest(files: &DirFiles) -> Result<Manifest> {
    let manifest = manifest_file::read(files)?;
    let mark = mark_file::read(files, manifest.silo_id)?;
    check_not_outdated(files, &manifest, mark)?;
    Ok(manifest)
}

/// A segment to read.
struct Source {
    segment: Arc<Segment>,
    seq_base: Option<SeqNo>,
    /// Bytes in use, if the manifest says so.
    len: Option<u64>,
    /// What was in use for certain, as far as the manifest, the mark and later segments say.
    used: u64,
    /// The header is damaged.
    headless: bool,
}

/// The segments that a readable manifest names.
fn open_named(files: &DirFiles, manifest: &Manifest, report: &mut RepairReport) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mark = mark_file::read(files, manifest.silo_id)?;
    for record in &manifest.segments {
        let marked = mark.filter(|mark| mark.segment == record.file).map_or(0, |mark| mark.synced);
        let opened = Segment::open(files, record.file, record.origin, None);
        let headless = matches!(opened, Err(Error::Corrupt(_)));
        let opened = match opened {
            Err(error @ (Error::UnsupportedVersion { .. } | Error::UnsupportedFeatures { .. })) => {
                return Err(error);
            }
            Err(_) if headless => Segment::open_headless(files, record.file, record.origin, record.role),
            opened => opened,
        };
        match opened {
            Ok(segment) => sources.push(Source {
                segment: Arc::new(segment),
                seq_base: Some(record.seq_base),
                len: record.sealed.then_some(record.file_len),
                used: record.file_len.max(marked),
                headless,
            }),
            Err(error) => {
                tracing::warn!(%error, "a segment cannot be read at all");
                report.missing_files.push(DirFiles::file_name(FileKind::Segment, record.file));
            }
        }
    }
    // A segment of the log says how much of the one before it was in use.
    for (number, used) in sources.iter().filter_map(|s| s.segment.previous()).collect::<Vec<_>>() {
        if let Some(source) = sources.iter_mut().find(|s| s.segment.number() == number) {
            source.used = source.used.max(used);
        }
    }
    Ok(sources)
}

/// Every segment in the directory, for want of a manifest.
fn open_found(files: &DirFiles, numbers: &[FileNumber], report: &mut RepairReport) -> Vec<Source> {
    let mut sources = Vec::new();
    for &number in numbers {
        match Segment::open_unnamed(files, number) {
            Ok(segment) => {
                let bulk = segment.role() == Some(SegmentRole::Bulk);
                sources.push(Source {
                    segment: Arc::new(segment),
                    seq_base: if bulk { None } else { Some(0) },
                    len: None,
                    used: 0,
                    headless: false,
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a segment cannot be read at all");
                report.missing_files.push(DirFiles::file_name(FileKind::Segment, number));
            }
        }
    }
    sources
}

/// The manifest to start from: the old one without its files, or one from the newest catalog.
fn base_manifest(old: Option<&Manifest>, sources: &[Source], names: &[String]) -> Manifest {
    let highest =
        names.iter().filter_map(|name| DirFiles::parse_name(name)).map(|(_, n)| n).max().unwrap_or(0);
    if let Some(old) = old {
        let mut manifest = Manifest { segments: Vec::new(), closed_cleanly: true, ..old.clone() };
        manifest.next_file = manifest.next_file.max(highest + 1);
        for keyspace in &mut manifest.keyspaces {
            keyspace.runs.clear();
        }
        return manifest;
    }
    let mut manifest = Manifest {
        silo_id: random_id(),
        generation: highest_generation(sources) + 1,
        hash_seed: 0,
        next_file: highest + 1,
        next_keyspace: 1,
        next_seq: 1,
        closed_cleanly: true,
        ..Manifest::default()
    };
    let mut newest = 0;
    for source in sources {
        raise(&source.segment);
        for view in Walk::new(&source.segment, None).filter_map(std::result::Result::ok) {
            if view.group.kind == GroupKind::Catalog
                && let Some((next, seed, keyspaces)) = decode_catalog(view.payload)
                && view.group.base_seq >= newest
            {
                newest = view.group.base_seq;
                manifest.next_keyspace = next;
                manifest.hash_seed = seed;
                manifest.keyspaces = keyspaces;
            }
        }
    }
    manifest
}

/// The highest generation that any segment was begun for: catalogs are told apart by it.
fn highest_generation(sources: &[Source]) -> u64 {
    sources.iter().map(|source| source.segment.generation()).max().unwrap_or(0)
}

/// Makes all of a file readable: nobody else writes to it.
fn raise(segment: &Segment) {
    if let Ok(len) = segment.file().len() {
        segment.raise_readable(len.min(segment.capacity()));
    }
}

/// The groups of a segment; damaged stretches come as their lengths.
struct Walk<'s> {
    segment: &'s Segment,
    at: u64,
    len: u64,
    ahead: ReadAhead,
}

impl<'s> Walk<'s> {
    fn new(segment: &'s Segment, len: Option<u64>) -> Self {
        let readable = segment.bytes().len() as u64;
        let len = len.unwrap_or(readable).min(readable);
        Self { segment, at: FIRST_GROUP, len, ahead: ReadAhead::from(FIRST_GROUP) }
    }
}

impl<'s> Iterator for Walk<'s> {
    type Item = std::result::Result<GroupView<'s>, u64>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.len {
            return None;
        }
        let window = self.segment.window();
        if let Ok(view) = next_group(&window, self.at) {
            self.ahead.reach(self.segment, self.at, view.group.end());
            self.at = view.group.end();
            return Some(Ok(view));
        }
        let start = self.at;
        let next = groups_behind(&window, self.at + 8).map(|g| g.offset).find(|&at| at < self.len);
        self.at = next.unwrap_or(self.len);
        let (from, to) = (usize::try_from(start).ok()?, usize::try_from(self.at).ok()?);
        let lost = self.segment.bytes().get(from..to).unwrap_or_default();
        // Space at the end that was reserved and never written is no loss.
        let zeros = if next.is_some() { 0 } else { lost.iter().rev().take_while(|&&b| b == 0).count() };
        let lost = (lost.len() - zeros) as u64;
        if lost == 0 { self.next() } else { Some(Err(lost)) }
    }
}

/// A readable frame.
#[derive(Clone, Copy)]
struct FoundFrame {
    hash: u64,
    seq: SeqNo,
    combined: bool,
    kind: FrameKind,
    address: FrameAddress,
    len: u64,
}

struct Repair<'a> {
    files: &'a DirFiles,
    options: &'a Options,
    manifest: Manifest,
    found: BTreeMap<u32, Vec<FoundFrame>>,
    /// Segments of the repaired silo, to read keys from.
    live: BTreeMap<FileNumber, Arc<Segment>>,
    report: RepairReport,
}

impl Repair<'_> {
    fn keyspace(&self, id: u32) -> Option<&KeyspaceRecord> {
        self.manifest.keyspaces.iter().find(|k| k.id == id)
    }

    /// Takes the frames of a segment: in place if it is whole, else by moving them.
    fn salvage(&mut self, source: &Source) -> Result<()> {
        let segment = &source.segment;
        raise(segment);
        self.report.segments += 1;
        let seq_base = source.seq_base.or_else(|| sealed_base(segment));
        let Some(seq_base) = seq_base else {
            // A bulk session that was never finished.
            tracing::info!(segment = segment.number(), "leaving an unfinished bulk segment out");
            return Ok(());
        };
        let mut lost = if source.headless { FIRST_GROUP } else { 0 };
        let mut groups = Vec::new();
        let mut end = FIRST_GROUP;
        for item in Walk::new(segment, source.len) {
            match item {
                Ok(view) => {
                    end = view.group.end();
                    lost += unreadable(&view);
                    groups.push(view);
                }
                Err(bytes) => lost += bytes,
            }
        }
        if source.len.is_none() && segment.role() == Some(SegmentRole::Log) {
            // At the end of the log, a batch without its last group was being written. What was sealed
            // held whole batches only, of which everything readable is kept.
            let whole = groups.iter().rposition(|view| view.group.last).map_or(0, |last| last + 1);
            groups.truncate(whole);
            let kept = groups.last().map_or(FIRST_GROUP, |view| view.group.end());
            // Reported, as opening reports it; the segment itself is not damaged by that.
            self.report.lost_bytes += end.saturating_sub(kept);
            end = kept;
        }
        if lost == 0 {
            lost = source.used.saturating_sub(end); // cut off
        }
        self.report.lost_bytes += lost;
        if lost == 0 {
            self.take_in_place(segment, &groups, seq_base, end);
            Ok(())
        } else {
            self.report.damaged_segments.push(DirFiles::file_name(FileKind::Segment, segment.number()));
            self.move_frames(&groups, seq_base)
        }
    }

    fn take_in_place(&mut self, segment: &Arc<Segment>, groups: &[GroupView<'_>], seq_base: SeqNo, end: u64) {
        let mut usage = SegmentUsage::default();
        for view in groups {
            for (at, frame) in readable_frames(view) {
                let address = segment.address(view.group.payload_offset() + at as u64);
                self.note(&mut usage, &view.group, seq_base, &frame, address);
            }
        }
        let role = segment.role().unwrap_or(SegmentRole::Log);
        self.add_record(segment, role, seq_base, end, &usage);
    }

    fn add_record(
        &mut self,
        segment: &Arc<Segment>,
        role: SegmentRole,
        seq_base: SeqNo,
        len: u64,
        usage: &SegmentUsage,
    ) {
        let mut record = SegmentRecord {
            file: segment.number(),
            origin: segment.origin(),
            role,
            sealed: true,
            file_len: len,
            replay_from: len,
            seq_base,
            min_seq: 0,
            max_seq: 0,
            usage: Vec::new(),
        };
        usage.add_to(&mut record);
        self.live.insert(segment.number(), Arc::clone(segment));
        self.manifest.segments.push(record);
    }

    /// Notes a frame that counts.
    fn note(
        &mut self,
        usage: &mut SegmentUsage,
        group: &Group,
        seq_base: SeqNo,
        frame: &FrameView<'_>,
        address: FrameAddress,
    ) {
        let known = self.keyspace(group.keyspace).is_some();
        if !matches!(group.kind, GroupKind::Frames | GroupKind::Fold)
            || frame.kind() == FrameKind::Fill
            || !known
        {
            return;
        }
        let seq = seq_base + group.base_seq + u64::from(frame.ordinal());
        let len = frame.len() as u64;
        let delete = if frame.kind() == FrameKind::Delete { len } else { 0 };
        usage.add_frames(group.keyspace, 1, len, delete);
        usage.add_seqs(seq, seq);
        self.report.frames += 1;
        self.manifest.next_seq = self.manifest.next_seq.max(seq + 1);
        self.found.entry(group.keyspace).or_default().push(FoundFrame {
            hash: key_hash(frame.key(), self.manifest.hash_seed),
            seq,
            combined: frame.is_combined(),
            kind: frame.kind(),
            address,
            len,
        });
    }

    /// Moves the readable frames of a damaged segment to new ones.
    fn move_frames(&mut self, groups: &[GroupView<'_>], seq_base: SeqNo) -> Result<()> {
        let mut writer: Option<SegmentWriter> = None;
        let mut usage = SegmentUsage::default();
        for view in groups.iter().filter(|v| matches!(v.group.kind, GroupKind::Frames | GroupKind::Fold)) {
            // Fills stay, so that frames keep their alignment; lost frames become fills by being left
            // out only where nothing needs aligning.
            for (_, frame) in readable_frames(view).filter(|(_, f)| f.kind() != FrameKind::Fill) {
                let group = Group { base_seq: view.group.base_seq + seq_base, frame_count: 1, ..view.group };
                let frames = [GroupFrames { template: group, pieces: &[frame.as_bytes()] }];
                let len = SegmentWriter::worst_len(&frames);
                let mut room = writer.take();
                if !room.as_ref().is_some_and(|writer| writer.has_room(len)) {
                    self.finish_segment(room.as_ref(), &std::mem::take(&mut usage))?;
                    room = Some(self.begin_segment(len)?);
                }
                let Some(mut current) = room else { continue };
                if let Some(&offset) = current.append(&frames)?.first() {
                    let address = current.segment().address(offset);
                    self.note(&mut usage, &group, 0, &frame, address);
                }
                writer = Some(current);
            }
        }
        self.finish_segment(writer.as_ref(), &usage)
    }

    fn begin_segment(&mut self, len: u64) -> Result<SegmentWriter> {
        let catalog = Catalog::new(&self.manifest);
        SegmentWriter::check_len(catalog.len() + len)?;
        let number = self.manifest.next_file;
        self.manifest.next_file += 1;
        let spec = SegmentSpec {
            number,
            silo_id: self.manifest.silo_id,
            role: SegmentRole::Compaction,
            generation: self.manifest.generation + 1,
            capacity: self.options.segment_bytes.max(FIRST_GROUP + catalog.len() + len).min(MAX_SEGMENT_LEN),
            previous: None,
        };
        let segment = Arc::new(Segment::create(self.files, &spec)?);
        let mut writer = SegmentWriter::new(segment, spec.capacity, self.options.allocate_bytes);
        catalog.append_to(&mut writer)?;
        Ok(writer)
    }

    fn finish_segment(&mut self, writer: Option<&SegmentWriter>, usage: &SegmentUsage) -> Result<()> {
        let Some(writer) = writer else { return Ok(()) };
        writer.segment().file().set_len(writer.tail())?;
        writer.segment().file().sync()?;
        self.add_record(writer.segment(), SegmentRole::Compaction, 0, writer.tail(), usage);
        Ok(())
    }

    fn build_indexes(&mut self) -> Result<()> {
        for (id, mut found) in std::mem::take(&mut self.found) {
            found.sort_unstable_by_key(|f| (f.hash, std::cmp::Reverse((f.seq, f.combined))));
            let Some(align_shift) = self.keyspace(id).map(|k| k.align_shift) else {
                continue;
            };
            let mut entries: Vec<(u64, Target)> = Vec::new();
            let mut live_entries = 0;
            for list in found.chunk_by(|a, b| a.hash == b.hash) {
                for (target, live) in self.resolve(id, align_shift, list)? {
                    live_entries += u64::from(live);
                    entries.push((list.first().map_or(0, |f| f.hash), target));
                }
            }
            self.report.entries += live_entries;
            let run = if entries.is_empty() { None } else { Some(self.write_run(id, &entries)?) };
            if let Some(keyspace) = self.manifest.keyspaces.iter_mut().find(|k| k.id == id) {
                keyspace.runs = run.into_iter().collect();
                keyspace.live_entries = live_entries;
            }
        }
        Ok(())
    }

    /// The entries of the keys that share a hash, and whether they have a value.
    fn resolve(&mut self, id: u32, align_shift: u8, list: &[FoundFrame]) -> Result<Vec<(Target, bool)>> {
        let mut entries = Vec::new();
        let mut keyed = Vec::with_capacity(list.len());
        for found in list {
            let Some(segment) = self.live.get(&found.address.segment()) else {
                continue;
            };
            let frame = segment.frame(found.address.word(), 1 << align_shift)?;
            keyed.push((frame.key().to_vec(), *found));
        }
        while let Some((key, _)) = keyed.first().cloned() {
            let of_key: Vec<FoundFrame> = keyed.iter().filter(|(k, _)| *k == key).map(|(_, f)| *f).collect();
            keyed.retain(|(k, _)| *k != key);
            let mut chain = Vec::new();
            let mut covered = false;
            let mut used = 0;
            let mut base = None;
            for found in &of_key {
                if found.kind != FrameKind::Merge {
                    base = Some(*found);
                    break;
                }
                // A combined operand stands for the ones before it.
                if !covered {
                    chain.push(found.address);
                    used += 1;
                }
                covered |= found.combined;
            }
            chain.extend(base.map(|b| b.address));
            chain.reverse();
            self.count_dead(id, &of_key, &chain);
            let deleted = used == 0 && base.is_some_and(|b| b.kind == FrameKind::Delete);
            let target = match chain[..] {
                [only] if used == 0 => Target::Frame(only),
                _ => Target::Chain(chain),
            };
            entries.push((target, !deleted));
        }
        Ok(entries)
    }

    fn count_dead(&mut self, id: u32, frames: &[FoundFrame], live: &[FrameAddress]) {
        for found in frames.iter().filter(|f| !live.contains(&f.address)) {
            let record = self.manifest.segments.iter_mut().find(|r| r.file == found.address.segment());
            let usage = record.and_then(|r| r.usage.iter_mut().find(|u| u.keyspace == id));
            if let Some(usage) = usage {
                usage.dead_frames += 1;
                usage.dead_bytes += found.len;
            }
        }
    }

    fn write_run(&mut self, id: u32, entries: &[(u64, Target)]) -> Result<crate::bytes::manifest::RunRecord> {
        let number = self.manifest.next_file;
        self.manifest.next_file += 1;
        let spec = RunSpec {
            number,
            silo_id: self.manifest.silo_id,
            generation: self.manifest.generation + 1,
            keyspace: id,
            hash_seed: self.manifest.hash_seed,
            geometry: Geometry::for_entries(entries.len() as u64),
        };
        let mut builder = RunBuilder::new(self.files, spec)?;
        for (hash, target) in entries {
            builder.push(*hash, target)?;
        }
        builder.finish()
    }

    /// Puts damaged files aside and switches to the repaired state.
    ///
    /// They get their second names before the switch, since after it whoever opens the silo removes files
    /// that no manifest names, and lose their first ones after it, since before it the old manifest
    /// still needs them: a crash in between leaves one of the two states.
    fn finish(mut self, old: Option<&Manifest>) -> Result<RepairReport> {
        // Files that could not be read at all are kept too.
        let present = self.files.list()?;
        let unreadable = self.report.missing_files.iter().filter(|&name| present.contains(name));
        let damaged: Vec<&String> = self.report.damaged_segments.iter().chain(unreadable).collect();
        let rebuilt = (old.is_none() && present.iter().any(|name| name == MANIFEST)).then_some(MANIFEST);
        let mut unlinked = Vec::new();
        for name in damaged.iter().map(|name| name.as_str()).chain(rebuilt) {
            if let Err(error) = self.files.link(name, &damaged_name(name)) {
                tracing::debug!(%error, "no second name on this file system: renamed after the switch");
                unlinked.push(name);
            }
        }
        if unlinked.contains(&MANIFEST) {
            self.files.rename(MANIFEST, &damaged_name(MANIFEST))?;
        }
        self.files.sync()?;
        self.manifest.generation += 1;
        match manifest_file::replace(self.files, &self.manifest) {
            Ok(()) => {}
            Err(ReplaceError::Unchanged(error) | ReplaceError::Unknown(error)) => {
                return Err(error);
            }
        }
        for name in damaged {
            if unlinked.contains(&name.as_str()) {
                self.files.rename(name, &damaged_name(name))?;
            } else {
                self.files.remove(name)?;
            }
        }
        self.files.sync()?;
        tracing::info!(entries = self.report.entries, lost = self.report.lost_bytes, "repaired");
        Ok(self.report)
    }
}

/// The name that a damaged file is kept under.
fn damaged_name(name: &str) -> String {
    format!("{name}.damaged")
}

/// Bytes of a group that hold no valid frame.
fn unreadable(view: &GroupView<'_>) -> u64 {
    if !matches!(view.group.kind, GroupKind::Frames | GroupKind::Fold) {
        return 0;
    }
    let good: usize = readable_frames(view).map(|(_, frame)| frame.len()).sum();
    (view.payload.len() - good) as u64
}

/// The frames of a group that match their checksums.
fn readable_frames<'v>(view: &GroupView<'v>) -> impl Iterator<Item = (usize, FrameView<'v>)> + use<'v> {
    let keyspace = view.group.keyspace;
    frames(view).filter(move |(_, frame)| frame.verify_whole(keyspace))
}

/// The base of a bulk segment's sequence numbers, from its seal.
fn sealed_base(segment: &Segment) -> Option<SeqNo> {
    Walk::new(segment, None).filter_map(std::result::Result::ok).find_map(|view| {
        let (base, rest) =
            view.payload.split_first_chunk::<8>().filter(|_| view.group.kind == GroupKind::Seal)?;
        let check = rest.first_chunk::<8>().map(|b| u64::from_le_bytes(*b))?;
        (check == u64::from(checksum::crc(base))).then(|| u64::from_le_bytes(*base))
    })
}

/// Removes a silo with all its files; other files in the directory stay, and then so does the directory.
///
/// # Errors
/// [`Error::Locked`] if it is open for writing, [`Error::NotASilo`] if there is none, and those of
/// the system.
pub fn destroy(dir: impl AsRef<Path>, options: &Options) -> Result<()> {
    let files = DirFiles::new(Arc::clone(&options.storage), dir.as_ref());
    super::recovery::read_manifest(&files).map(|_| ()).or_else(|error| match error {
        Error::Corrupt(_) => Ok(()),
        other => Err(other),
    })?;
    let lock = take_lock(&files)?;
    // Without a manifest there is no silo, whatever comes next.
    files.remove(MANIFEST)?;
    files.sync()?;
    for name in files.list()? {
        let own = DirFiles::parse_name(name.strip_suffix(".damaged").unwrap_or(&name)).is_some()
            || matches!(name.as_str(), "MARK" | "LOCK" | "MANIFEST.tmp" | "MANIFEST.damaged");
        if own {
            files.remove(&name)?;
        }
    }
    drop(lock);
    files.sync()?;
    if files.list()?.is_empty() { files.remove_dir() } else { Ok(()) }
}
