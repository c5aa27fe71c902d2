//! Turning new entries of a keyspace into its next list of runs.

use std::sync::Arc;

use crate::bytes::address::FrameAddress;
use crate::bytes::file_header::FileKind;
use crate::bytes::frame::FrameKind;
use crate::bytes::index::Geometry;
use crate::bytes::manifest::RunRecord;
use crate::error::Result;
use crate::files::run::{Run, Target};
use crate::files::run_builder::{RunBuilder, RunSpec};
use crate::files::run_merge::{DropReplaced, RunMerge, merged_geometry};

use super::core::{Core, UsageMap};
use super::replacements::Replacements;
use super::version::{FrameRef, KeyspaceMeta, KeyspaceVersion, Version};

/// A read looks into at most this many runs.
const MAX_RUNS: usize = 3;
/// Entries whose cache misses overlap when a run is rewritten.
const WINDOW: usize = 64;
/// A run is merged into an older one once it has this share of its entries.
const MERGE_RATIO: u64 = 4;

/// New entries of a keyspace, 16 bytes each: a hash and an address.
#[derive(Debug, Default)]
pub(crate) struct IndexEntries {
    entries: Vec<(u64, u64)>,
    /// Chains; an entry refers to one by an address in segment 0, which does not exist.
    chains: Vec<Vec<FrameAddress>>,
}

impl IndexEntries {
    pub(crate) fn push(&mut self, hash: u64, target: Target) {
        let bits = match target {
            Target::Frame(address) => address.to_bits(),
            Target::Chain(addresses) => {
                self.chains.push(addresses);
                self.chains.len() as u64 - 1
            }
        };
        self.entries.push((hash, bits));
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes over entries of single frames.
    pub(crate) fn append_frames(&mut self, entries: Vec<(u64, u64)>) {
        if self.entries.is_empty() {
            self.entries = entries;
        } else {
            self.entries.extend(entries);
        }
    }

    pub(crate) fn sort(&mut self) {
        use rayon::slice::ParallelSliceMut;
        self.entries.par_sort_unstable();
    }

    fn target(&self, bits: u64) -> Target {
        let address = FrameAddress::from_bits(bits);
        if address.segment() != 0 {
            return Target::Frame(address);
        }
        let chain = usize::try_from(bits).ok().and_then(|at| self.chains.get(at));
        Target::Chain(chain.cloned().unwrap_or_default())
    }
}

/// The entry of a key in the index runs of a keyspace, the newest first.
pub(crate) fn find_target<'v>(
    version: &'v Version,
    keyspace: &'v KeyspaceVersion,
    key: &[u8],
    hash: u64,
) -> Result<Option<Vec<FrameRef<'v>>>> {
    let meta = &keyspace.meta;
    for run in &keyspace.runs {
        let found = run.find(hash, |slot| {
            let mut frames = Vec::new();
            for &address in run.target_of(slot)?.frames() {
                let frame = version.frame(address, meta.align())?;
                // Verified first: damage to a key must not pass for another key.
                frame.verify(meta.id)?;
                if frame.frame.key() != key {
                    return Ok(None);
                }
                frames.push(frame);
            }
            Ok(Some(frames))
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Whether frames of an entry amount to a value.
pub(crate) fn is_live(frames: &[FrameRef<'_>]) -> bool {
    match frames {
        [only] => only.frame.kind() != FrameKind::Delete,
        _ => !frames.is_empty(),
    }
}

/// Counts frames that nothing leads to any more.
pub(crate) fn count_dead<'v>(
    usage: &mut UsageMap,
    keyspace: u32,
    frames: impl IntoIterator<Item = FrameRef<'v>>,
) {
    for frame in frames {
        let segment = usage.entry(frame.segment.number()).or_default();
        segment.add_dead(keyspace, frame.frame.len() as u64);
    }
}

/// Run files written but not yet in the manifest; removed again unless kept.
#[derive(Debug)]
pub(crate) struct NewRuns<'a> {
    core: &'a Core,
    files: Vec<u32>,
}

impl<'a> NewRuns<'a> {
    pub(crate) fn new(core: &'a Core) -> Self {
        Self { core, files: Vec::new() }
    }

    /// The manifest names the files now.
    pub(crate) fn keep(mut self) {
        self.files.clear();
    }

    fn builder(&mut self, meta: &KeyspaceMeta, version: &Version, geometry: Geometry) -> Result<RunBuilder> {
        let number = self.core.next_file();
        self.files.push(number);
        let spec = RunSpec {
            number,
            silo_id: self.core.silo_id,
            generation: version.generation + 1,
            keyspace: meta.id,
            hash_seed: self.core.hash_seed,
            geometry,
        };
        RunBuilder::new(&self.core.files, spec)
    }

    fn open(&self, record: &RunRecord, meta: &KeyspaceMeta, version: &Version) -> Result<Arc<Run>> {
        self.core.count_written(record.file_len);
        let run = Run::open(&self.core.files, record, meta.id, self.core.hash_seed, &version.segments)?;
        Ok(Arc::new(run))
    }

    fn discard(&mut self, run: &Run) {
        self.files.retain(|&number| number != run.number());
        self.core.remove_unfinished(FileKind::Index, run.number());
    }

    /// Writes a run of sorted entries, and of replacements.
    pub(crate) fn write(
        &mut self,
        meta: &KeyspaceMeta,
        version: &Version,
        entries: &IndexEntries,
        replacements: &Replacements,
    ) -> Result<Arc<Run>> {
        let count = entries.len() + replacements.len();
        let mut builder = self.builder(meta, version, Geometry::for_entries(count as u64))?;
        let mut replacements = replacements.entries().peekable();
        for &(hash, bits) in &entries.entries {
            while let Some((hash, bits)) = replacements.next_if(|replacement| replacement.0 < hash) {
                builder.push(hash, &Target::Frame(FrameAddress::from_bits(bits)))?;
            }
            builder.push(hash, &entries.target(bits))?;
        }
        for (hash, bits) in replacements {
            builder.push(hash, &Target::Frame(FrameAddress::from_bits(bits)))?;
        }
        self.open(&builder.finish()?, meta, version)
    }

    /// Writes one run of at most so many entries out of several, newest first, with the targets of every [`WINDOW`] entries passed
    /// through `map`; `None` drops the entry. For `drop_replaced` see [`RunMerge::for_each`].
    pub(crate) fn rewrite(
        &mut self,
        meta: &KeyspaceMeta,
        version: &Version,
        runs: &[Arc<Run>],
        most: u64,
        drop_replaced: impl DropReplaced,
        map: impl Fn(&mut [(u64, Option<Target>)]),
    ) -> Result<Arc<Run>> {
        let geometry = merged_geometry(runs, Geometry::for_entries(most));
        let mut builder = self.builder(meta, version, geometry)?;
        let merge = RunMerge::new(runs, version.key_access(meta), geometry)?;
        let mut window = Vec::with_capacity(WINDOW);
        let mut push = |window: &mut Vec<(u64, Option<Target>)>| {
            map(window);
            window
                .drain(..)
                .try_for_each(|(hash, target)| target.map_or(Ok(()), |target| builder.push(hash, &target)))
        };
        merge.for_each(drop_replaced, |hash, target| {
            window.push((hash, Some(target)));
            if window.len() == WINDOW { push(&mut window) } else { Ok(()) }
        })?;
        push(&mut window)?;
        self.open(&builder.finish()?, meta, version)
    }

    /// The keyspace's list of runs with a new one on top, merged where that has grown large enough. What is known of
    /// the entries that the new run replaces saves reading keys.
    pub(crate) fn stack(
        &mut self,
        keyspace: &KeyspaceVersion,
        version: &Version,
        newest: Arc<Run>,
        replacements: &Replacements,
    ) -> Result<Vec<Arc<Run>>> {
        let mut runs = vec![newest];
        runs.extend(keyspace.runs.iter().cloned());
        let mut merged = 1;
        let mut entries = runs.first().map_or(0, |run| run.entry_count());
        for (at, run) in runs.iter().enumerate().skip(1) {
            let too_many = runs.len() - merged + 1 > MAX_RUNS && at == merged;
            if at == merged && (entries.saturating_mul(MERGE_RATIO) >= run.entry_count() || too_many) {
                entries += run.entry_count();
                merged += 1;
            }
        }
        if merged > 1 {
            let top: Vec<Arc<Run>> = runs.drain(..merged).collect();
            // What is replaced may lie in runs that are not merged.
            let dropped = if runs.is_empty() { replacements.dropped() } else { 0 };
            let most = entries.saturating_sub(dropped);
            let drop_replaced = |run: &Run, known: u64, entries: &mut Vec<_>| {
                replacements.drop_replaced(run, known, entries);
            };
            let whole = self.rewrite(&keyspace.meta, version, &top, most, drop_replaced, |_| ())?;
            if let Some(newest) = top.first() {
                self.discard(newest);
            }
            runs.insert(0, whole);
        }
        Ok(runs)
    }
}

impl Drop for NewRuns<'_> {
    fn drop(&mut self) {
        for &number in &self.files {
            self.core.remove_unfinished(FileKind::Index, number);
        }
    }
}
