//! Checking everything: frames, index entries, counts.

use std::collections::BTreeMap;

use crate::bytes::address::FileNumber;
use crate::bytes::frame::FrameKind;
use crate::bytes::group::GroupKind;
use crate::bytes::index::{PAGE_SLOTS, Slot};
use crate::error::{Corruption, Error, Result};
use crate::files::log_scan::{groups_behind, next_group, verify_group};
use crate::files::read_ahead::ReadAhead;
use crate::files::run::{Run, key_hash};
use crate::files::segment::{FIRST_GROUP, Segment};

use super::live::for_each_target;
use super::version::{FrameRef, KeyspaceVersion, Version};

/// What a check looked at and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Segments read.
    pub segments: u64,
    /// Frames whose checksums were computed.
    pub frames: u64,
    /// Index entries followed to their frames.
    pub index_entries: u64,
    /// Bytes of segments and index runs read.
    pub bytes: u64,
    /// What is wrong. Empty: nothing.
    pub problems: Vec<Corruption>,
}

impl CheckReport {
    /// True if nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks a version. If `strict`, the first problem is an error.
pub(crate) fn check_version(version: &Version, strict: bool) -> Result<CheckReport> {
    let mut checker = Checker { version, strict, report: CheckReport::default() };
    for segment in version.segments.iter() {
        checker.segment(segment)?;
    }
    let mut counted = BTreeMap::new();
    for keyspace in &version.keyspaces {
        for run in &keyspace.runs {
            checker.run(keyspace, run)?;
        }
        if checker.report.is_clean() {
            checker.keyspace_counts(keyspace, &mut counted)?;
        }
    }
    if checker.report.is_clean() {
        checker.usage(&counted)?;
    }
    Ok(checker.report)
}

struct Checker<'v> {
    version: &'v Version,
    strict: bool,
    report: CheckReport,
}

/// Live frames and their bytes.
type LiveCounts = BTreeMap<(FileNumber, u32), (u64, u64)>;

impl Checker<'_> {
    /// Notes a problem, or returns it.
    fn problem(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corrupt(problem) if !self.strict => {
                self.report.problems.push(problem);
                Ok(())
            }
            error => Err(error),
        }
    }

    fn segment(&mut self, segment: &Segment) -> Result<()> {
        self.report.segments += 1;
        let window = segment.window();
        let len = self.end_of(segment);
        self.report.bytes += len;
        let mut at = FIRST_GROUP;
        let mut ahead = ReadAhead::from(at);
        while at < len {
            match next_group(&window, at) {
                Ok(view) => {
                    ahead.reach(segment, at, view.group.end());
                    if let Err((offset, what)) = verify_group(&view) {
                        self.problem(segment.corrupt(offset, what))?;
                    }
                    if matches!(view.group.kind, GroupKind::Frames | GroupKind::Fold) {
                        self.report.frames += u64::from(view.group.frame_count);
                    }
                    at = view.group.end();
                }
                Err(what) => {
                    self.problem(segment.corrupt(at, what))?;
                    // Go on at the next header that is one.
                    match groups_behind(&window, at + 8).find(|g| g.end() <= len) {
                        Some(group) => at = group.offset,
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }

    /// Up to where a segment is in use: all that is readable of the log, else what the manifest says.
    fn end_of(&self, segment: &Segment) -> u64 {
        let readable = segment.bytes().len() as u64;
        match self.version.records.get(&segment.number()) {
            Some(record) if record.sealed => record.file_len.min(readable),
            _ => {
                // An unsealed segment of a silo that ended uncleanly may have a torn end.
                let window = segment.window();
                let mut at = FIRST_GROUP;
                while let Ok(view) = next_group(&window, at) {
                    at = view.group.end();
                }
                let known = self.version.records.get(&segment.number()).map_or(0, |r| r.file_len);
                at.max(known).min(readable)
            }
        }
    }

    fn run(&mut self, keyspace: &KeyspaceVersion, run: &Run) -> Result<()> {
        self.report.bytes += run.file_len();
        let mut entries = 0;
        for page in 0..run.table_pages() {
            let words = match run.page_in_pass(page) {
                Ok(words) => words,
                Err(error) => {
                    self.problem(error)?;
                    continue;
                }
            };
            for word in words.iter().take(PAGE_SLOTS).filter(|word| word.get() != 0) {
                entries += 1;
                if let Err(error) = self.slot(keyspace, run, page, Slot(word.get())) {
                    self.problem(error)?;
                }
            }
        }
        self.report.index_entries += entries;
        if entries != run.entry_count() && self.report.is_clean() {
            let what = format!("the table has {entries} entries, its header says {}", run.entry_count());
            self.problem(run.corrupt(0, &what))?;
        }
        Ok(())
    }

    /// An entry leads to intact frames of one key, and that key leads to the entry.
    fn slot(&self, keyspace: &KeyspaceVersion, run: &Run, page: u64, slot: Slot) -> Result<()> {
        let meta = &keyspace.meta;
        let mut key: Option<&[u8]> = None;
        for &address in run.target_of(slot)?.frames() {
            let Some(segment) = self.version.segments.get(address.segment()) else {
                return Err(run.corrupt(page, "an entry leads to a segment that is not there"));
            };
            let frame = segment.frame(address.word(), meta.align())?;
            FrameRef { segment, word: address.word(), frame }.verify(meta.id)?;
            if key.is_some_and(|key| key != frame.key()) {
                return Err(run.corrupt(page, "a chain mixes keys"));
            }
            key = Some(frame.key());
        }
        let hash = key_hash(key.unwrap_or_default(), self.version.hash_seed);
        let (home, tag) = run.geometry().place(hash);
        if tag != slot.tag() || (home != page && !run.is_spilled()) {
            return Err(run.corrupt(page, "an entry is not where its key's hash leads"));
        }
        if run.find(hash, |found| Ok((found == slot).then_some(())))?.is_none() {
            return Err(run.corrupt(page, "an entry cannot be reached from its key's hash"));
        }
        Ok(())
    }

    /// Counts a keyspace's keys and live frames, and compares the keys.
    fn keyspace_counts(&mut self, keyspace: &KeyspaceVersion, counted: &mut LiveCounts) -> Result<()> {
        let mut keys = 0;
        let mut problem = None;
        let align = keyspace.meta.align();
        for_each_target(self.version, keyspace, |target| {
            let mut has_value = target.frames().len() > 1;
            for &address in target.frames() {
                let frame = self.version.frame(address, align)?;
                has_value |= frame.frame.kind() != FrameKind::Delete;
                let counts = counted.entry((address.segment(), keyspace.meta.id)).or_default();
                counts.0 += 1;
                counts.1 += frame.frame.len() as u64;
            }
            keys += u64::from(has_value);
            Ok(())
        })?;
        if keys != keyspace.live_entries {
            let what = format!(
                "keyspace {:?} has {keys} keys in its index, the manifest says {}",
                keyspace.meta.name, keyspace.live_entries
            );
            problem = keyspace.runs.first().map(|run| run.corrupt(0, &what));
        }
        match problem {
            Some(problem) => self.problem(problem),
            None => Ok(()),
        }
    }

    /// Compares what is live with what the manifest says is not dead.
    fn usage(&mut self, counted: &LiveCounts) -> Result<()> {
        for record in self.version.records.values() {
            for usage in &record.usage {
                if self.version.keyspace_by_id(usage.keyspace).is_none() {
                    continue;
                }
                let (frames, _) = counted.get(&(record.file, usage.keyspace)).copied().unwrap_or_default();
                let expected = usage.frames.saturating_sub(usage.dead_frames);
                if frames != expected
                    && let Some(segment) = self.version.segments.get(record.file)
                {
                    let what = format!(
                        "the index leads to {frames} frames of keyspace {} in this segment, the manifest counts {expected}",
                        usage.keyspace
                    );
                    self.problem(segment.corrupt(0, &what))?;
                }
            }
        }
        Ok(())
    }
}
