//! Reading all entries of a keyspace, in no particular order.
//!
//! Entries are read in the order of the segments, not of the index: the pages that hold them are
//! touched once, in sequence. In segments without dead frames everything counts; for others one
//! pass over the index marks what is live (see [`crate::state::live`]). Keys that the memtables
//! know are read by look-up, and left out of the segments.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::bytes::address::{FileNumber, FrameAddress, words};
use crate::bytes::frame::{FrameKind, FrameView, PlainPut};
use crate::bytes::group::{Group, GroupKind};
use crate::error::Result;
use crate::files::log_scan::{GroupView, all_frames, next_group};
use crate::files::read_ahead::ReadAhead;
use crate::files::run::key_hash;
use crate::files::segment::{FIRST_GROUP, Segment};
use crate::state::index_update::find_target;
use crate::state::live::{LiveBits, LiveMap};
use crate::state::version::{FrameRef, KeyspaceVersion};

use super::keyspace::Keyspace;
use super::snapshot::Snapshot;

/// Memory for marks, in bytes; segments are taken in stretches that keep to it.
const MARK_MEMORY: u64 = 32 << 20;

/// A key and its value.
pub type Entry<'s> = (&'s [u8], Cow<'s, [u8]>);

/// What has to be read for a keyspace.
struct Plan<'s> {
    snapshot: &'s Snapshot,
    keyspace: Keyspace,
    /// Keys of memtables and of chains, by a frame that bears them.
    looked_up: Vec<FrameRef<'s>>,
    /// Frames in segments that memtables replace.
    hidden: BTreeMap<FileNumber, BTreeSet<u32>>,
    segments: Vec<SegmentPart<'s>>,
}

/// The part of a segment that the index covers.
#[derive(Clone, Copy)]
struct SegmentPart<'s> {
    segment: &'s Segment,
    len: u64,
    /// Every frame of the keyspace in it counts.
    all_live: bool,
}

/// A part with its marks; without marks, everything in it counts.
struct MarkedPart<'s> {
    part: SegmentPart<'s>,
    bits: Option<LiveBits>,
    /// Marks that no frame was found for yet: all must be found.
    unseen: usize,
}

impl<'s> Plan<'s> {
    fn new(snapshot: &'s Snapshot, keyspace: &Keyspace) -> Result<Self> {
        let own = snapshot.version.keyspace(&keyspace.meta)?;
        let mut plan = Self {
            snapshot,
            keyspace: keyspace.clone(),
            looked_up: Vec::new(),
            hidden: BTreeMap::new(),
            segments: Vec::new(),
        };
        plan.look_into_memtables(own)?;
        for record in snapshot.version.records.values() {
            let usage = record.usage.iter().find(|u| u.keyspace == keyspace.id());
            if let (Some(usage), Some(segment)) = (usage, snapshot.version.segments.get(record.file)) {
                // Operands are only told from values by the index.
                let all_live = usage.dead_frames == 0
                    && keyspace.meta.operator.is_none()
                    && !plan.hidden.contains_key(&record.file);
                // Folded values lie behind the place where replay starts; marks tell them apart.
                let used = if record.sealed { record.file_len } else { segment.bytes().len() as u64 };
                let len = if keyspace.meta.operator.is_some() { used } else { record.replay_from };
                plan.segments.push(SegmentPart { segment, len, all_live });
            }
        }
        Ok(plan)
    }

    fn look_into_memtables(&mut self, own: &'s KeyspaceVersion) -> Result<()> {
        let id = own.meta.id;
        let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
        for memtable in &self.snapshot.version.memtables {
            for mut versions in memtable.lists() {
                let Some(first) = versions.next() else {
                    continue;
                };
                if first.keyspace() != id {
                    continue;
                }
                for entry in std::iter::once(first).chain(versions).filter(|e| e.seq() <= self.snapshot.seq) {
                    let frame = self.snapshot.version.frame(entry.address(), own.meta.align())?;
                    frame.verify(id)?;
                    let key = frame.frame.key();
                    if !seen.insert(key) {
                        continue;
                    }
                    let hash = key_hash(key, self.snapshot.version.hash_seed);
                    for old in find_target(&self.snapshot.version, own, key, hash)?.unwrap_or_default() {
                        let address = old.address();
                        self.hidden.entry(address.segment()).or_default().insert(address.word());
                    }
                    self.looked_up.push(frame);
                }
            }
        }
        Ok(())
    }

    /// Takes segments up to the memory for marks, and marks what is live in them.
    fn next_stretch(&mut self, parts: &mut VecDeque<SegmentPart<'s>>) -> Result<Vec<MarkedPart<'s>>> {
        let mut stretch = Vec::new();
        let mut live = LiveMap::default();
        let mut memory = 0;
        while let Some(&part) = parts.front() {
            if !part.all_live {
                if memory > 0 && memory + LiveBits::memory(part.len) > MARK_MEMORY {
                    break;
                }
                memory += LiveBits::memory(part.len);
                live.add_segment(part.segment.number(), part.len);
            }
            stretch.push(part);
            parts.pop_front();
        }
        if memory > 0 {
            let mut chains = Vec::new();
            let own = self.snapshot.version.keyspace(&self.keyspace.meta)?;
            live.mark_keyspace(&self.snapshot.version, own, |chain| {
                chains.extend(chain.first().copied());
                false
            })?;
            self.hide(&mut live);
            self.take_chains(&live, &chains)?;
        }
        Ok(stretch
            .into_iter()
            .map(|part| {
                let bits = live.take(part.segment.number());
                let unseen = bits.as_ref().map_or(0, LiveBits::count);
                MarkedPart { part, bits, unseen }
            })
            .collect())
    }

    fn hide(&self, live: &mut LiveMap) {
        for (number, frames) in &self.hidden {
            if let Some(bits) = live.get_mut(*number) {
                for &word in frames {
                    bits.clear(word);
                }
            }
        }
    }

    /// Keys with operands are looked up; each once, with the segment that its first frame lies in.
    fn take_chains(&mut self, live: &LiveMap, chains: &[FrameAddress]) -> Result<()> {
        for &address in chains {
            let hidden = self.hidden.get(&address.segment()).is_some_and(|h| h.contains(&address.word()));
            if live.get(address.segment()).is_some() && !hidden {
                let frame = self.snapshot.version.frame(address, self.keyspace.align())?;
                frame.verify(self.keyspace.id())?;
                self.looked_up.push(frame);
            }
        }
        Ok(())
    }

    fn look_up(&self, frame: FrameRef<'s>) -> Result<Option<Entry<'s>>> {
        let key = frame.frame.key();
        Ok(self.snapshot.get(&self.keyspace, key)?.map(|value| (key, value)))
    }
}

impl<'s> MarkedPart<'s> {
    /// The groups of the keyspace.
    fn groups(&self, keyspace: u32) -> impl Iterator<Item = Result<GroupView<'s>>> + use<'s> {
        let part = self.part;
        let window = part.segment.window();
        let mut at = FIRST_GROUP;
        let mut ahead = ReadAhead::from(at);
        std::iter::from_fn(move || {
            while at < part.len {
                let view = match next_group(&window, at) {
                    Ok(view) => view,
                    Err(what) => {
                        let offset = at;
                        at = part.len;
                        return Some(Err(part.segment.corrupt(offset, what)));
                    }
                };
                let start = at;
                at = view.group.end();
                let frames = matches!(view.group.kind, GroupKind::Frames | GroupKind::Fold);
                let wanted = frames && view.group.keyspace == keyspace;
                ahead.reach(part.segment, if wanted { start } else { at }, at);
                if wanted {
                    return Some(Ok(view));
                }
            }
            None
        })
    }

    /// An error if some marked frame was not found, once all groups were read: damage to a dead frame
    /// can hide those behind it.
    fn check_all_seen(&self) -> Result<()> {
        match self.unseen {
            0 => Ok(()),
            _ => Err(self.part.segment.corrupt(0, "the index leads to places where no frames begin")),
        }
    }

    /// True if the frame that begins at `word` counts. Each is asked for once.
    #[inline]
    fn counts(&mut self, word: u32) -> bool {
        let Some(bits) = &self.bits else { return true };
        let counts = bits.is_set(word);
        self.unseen = self.unseen.saturating_sub(usize::from(counts));
        counts
    }

    /// True if the plain put at `at` of a group counts. It is checked, then.
    #[inline]
    fn check_put(&mut self, verify: bool, group: &Group, at: usize, put: &PlainPut<'_>) -> Result<bool> {
        let offset = group.payload_offset() + at as u64;
        if !self.counts(words(offset)) {
            return Ok(false);
        }
        if verify && !put.verify(group.keyspace) {
            return Err(self.part.segment.corrupt(offset, "the frame's checksum does not match"));
        }
        Ok(true)
    }

    /// The entry of a frame, if it counts.
    fn entry(
        &mut self,
        snapshot: &'s Snapshot,
        group: &GroupView<'s>,
        at: usize,
        frame: FrameView<'s>,
    ) -> Result<Option<Entry<'s>>> {
        let word = words(group.group.payload_offset() + at as u64);
        if !self.counts(word) {
            return Ok(None);
        }
        let segment = self.part.segment;
        // Before its kind is believed: damage could turn a value into a delete.
        if snapshot.verify {
            segment.verify_frame(word, &frame, group.group.keyspace)?;
        }
        // A lone operand is marked like a value, but must be folded.
        if !matches!(frame.kind(), FrameKind::Put | FrameKind::Merge) {
            return Ok(None);
        }
        if snapshot.verify {
            segment.verify_value(word, &frame, 0..frame.value_len())?;
        }
        Ok(Some((frame.key(), Cow::Borrowed(frame.value()))))
    }
}

/// The groups of a part that are left to read.
type Groups<'s> = Box<dyn Iterator<Item = Result<GroupView<'s>>> + 's>;

/// See [`Snapshot::iter`].
pub struct Iter<'s> {
    plan: Plan<'s>,
    parts: VecDeque<SegmentPart<'s>>,
    ready: VecDeque<MarkedPart<'s>>,
    pending: VecDeque<Result<Entry<'s>>>,
    current: Option<(MarkedPart<'s>, Groups<'s>)>,
}

impl std::fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").field("keyspace", &self.plan.keyspace).finish_non_exhaustive()
    }
}

impl Iter<'_> {
    /// Reads the next group; false at the end.
    fn advance(&mut self) -> Result<bool> {
        if let Some(frame) = self.plan.looked_up.pop() {
            self.pending.extend(self.plan.look_up(frame)?.map(Ok));
            return Ok(true);
        }
        if let Some((part, groups)) = &mut self.current {
            if let Some(group) = groups.next() {
                let group = group?;
                for item in all_frames(&group) {
                    let (at, frame) = match item {
                        Ok(found) => found,
                        Err((offset, what)) => {
                            self.pending.push_back(Err(part.part.segment.corrupt(offset, what)));
                            break;
                        }
                    };
                    match part.entry(self.plan.snapshot, &group, at, frame) {
                        Ok(Some(_)) if frame.kind() == FrameKind::Merge => {
                            let key = frame.key();
                            let value = self.plan.snapshot.get(&self.plan.keyspace, key);
                            self.pending.extend(value.transpose().map(|v| v.map(|v| (key, v))));
                        }
                        Ok(entry) => self.pending.extend(entry.map(Ok)),
                        Err(error) => self.pending.push_back(Err(error)),
                    }
                }
                return Ok(true);
            }
            let done = self.current.take();
            done.map_or(Ok(()), |(part, _)| part.check_all_seen())?;
        }
        if let Some(part) = self.ready.pop_front() {
            let groups = Box::new(part.groups(self.plan.keyspace.id()));
            self.current = Some((part, groups));
            return Ok(true);
        }
        if self.parts.is_empty() {
            return Ok(false);
        }
        self.ready.extend(self.plan.next_stretch(&mut self.parts)?);
        Ok(true)
    }
}

impl<'s> Iterator for Iter<'s> {
    type Item = Result<Entry<'s>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.pending.pop_front() {
                return Some(entry);
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // After damage that hides where the next entry is, there is nothing to go on with.
                    self.parts.clear();
                    self.ready.clear();
                    self.current = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Snapshot {
    /// All entries of a keyspace, each once, in no particular order.
    ///
    /// Costs one pass over the keyspace's segments, and one over its index if any of them holds
    /// dead frames; memory for one bit per 8 bytes of those segments, 32 MiB at most, and for the
    /// mutations since the last checkpoint.
    ///
    /// # Errors
    /// As of [`Snapshot::get`], from here or from an item.
    #[expect(clippy::iter_not_returning_iterator, reason = "it can fail; inside the result is one")]
    pub fn iter(&self, keyspace: &Keyspace) -> Result<Iter<'_>> {
        let mut plan = Plan::new(self, keyspace)?;
        let parts = std::mem::take(&mut plan.segments).into();
        Ok(Iter { plan, parts, ready: VecDeque::new(), pending: VecDeque::new(), current: None })
    }

    /// Passes all entries of a keyspace to `visit`; the fastest serial way to read them.
    ///
    /// # Errors
    /// As of [`Snapshot::iter`], and whatever `visit` returns.
    pub fn for_each<'s, E: From<crate::Error>>(
        &'s self,
        keyspace: &Keyspace,
        mut visit: impl FnMut(&'s [u8], Cow<'s, [u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut plan = Plan::new(self, keyspace)?;
        let mut parts: VecDeque<_> = std::mem::take(&mut plan.segments).into();
        while !parts.is_empty() {
            for part in plan.next_stretch(&mut parts)? {
                visit_part(&plan, part, &mut visit)?;
            }
        }
        for frame in std::mem::take(&mut plan.looked_up) {
            if let Some((key, value)) = plan.look_up(frame)? {
                visit(key, value)?;
            }
        }
        Ok(())
    }

    /// Passes all entries of a keyspace to `visit`, on all threads of the current rayon pool.
    ///
    /// # Errors
    /// As of [`Snapshot::iter`], and whatever `visit` returns.
    pub fn par_for_each<'s, E: From<crate::Error> + Send>(
        &'s self,
        keyspace: &Keyspace,
        visit: impl Fn(&'s [u8], Cow<'s, [u8]>) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let mut plan = Plan::new(self, keyspace)?;
        let mut parts: VecDeque<_> = std::mem::take(&mut plan.segments).into();
        while !parts.is_empty() {
            let stretch = plan.next_stretch(&mut parts)?;
            let plan = &plan;
            stretch.into_par_iter().try_for_each(|part| visit_part(plan, part, &mut |k, v| visit(k, v)))?;
        }
        let looked_up = std::mem::take(&mut plan.looked_up);
        looked_up.into_par_iter().try_for_each(|frame| match plan.look_up(frame)? {
            Some((key, value)) => visit(key, value),
            None => Ok(()),
        })
    }
}

fn visit_part<'s, E: From<crate::Error>>(
    plan: &Plan<'s>,
    mut part: MarkedPart<'s>,
    visit: &mut impl FnMut(&'s [u8], Cow<'s, [u8]>) -> Result<(), E>,
) -> Result<(), E> {
    for group in part.groups(plan.keyspace.id()) {
        let group = group?;
        let mut frames = all_frames(&group);
        loop {
            while let Some((at, put)) = frames.next_put() {
                if part.check_put(plan.snapshot.verify, &group.group, at, &put)? {
                    visit(put.key, Cow::Borrowed(put.value))?;
                }
            }
            let Some(item) = frames.next() else { break };
            let (at, frame) = item.map_err(|(offset, what)| part.part.segment.corrupt(offset, what))?;
            let Some((key, value)) = part.entry(plan.snapshot, &group, at, frame)? else { continue };
            if frame.kind() == FrameKind::Merge {
                if let Some(value) = plan.snapshot.get(&plan.keyspace, key)? {
                    visit(key, value)?;
                }
            } else {
                visit(key, value)?;
            }
        }
    }
    Ok(part.check_all_seen()?)
}
