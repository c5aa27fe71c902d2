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

    /// These entries and replacements as one list, ascending by hash. Both are sorted.
    fn merged_with<'a>(
        &'a self,
        replacements: &'a Replacements,
    ) -> impl Iterator<Item = (u64, Target)> + use<'a> {
        let mut entries = self.entries.iter().peekable();
        let mut replacements = replacements.entries().peekable();
        std::iter::from_fn(move || {
            let next = entries.peek().map_or(u64::MAX, |entry| entry.0);
            if let Some((hash, bits)) = replacements.next_if(|replacement| replacement.0 <= next) {
                return Some((hash, Target::Frame(FrameAddress::from_bits(bits))));
            }
            entries.next().map(|&(hash, bits)| (hash, self.target(bits)))
        })
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

/// What a run is written from.
pub(crate) struct Inputs<'a, N> {
    /// Entries newer than those of all runs, ascending by hash, one a key.
    pub(crate) newest: N,
    /// Newest first.
    pub(crate) runs: &'a [Arc<Run>],
    /// The most entries that this can come to.
    pub(crate) most: u64,
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

    /// Writes one run, with the targets of every [`WINDOW`] entries passed through `map`; `None` drops the entry.
    /// For `drop_replaced` see [`RunMerge::for_each`].
    pub(crate) fn write(
        &mut self,
        meta: &KeyspaceMeta,
        version: &Version,
        inputs: Inputs<'_, impl Iterator<Item = (u64, Target)>>,
        drop_replaced: impl DropReplaced,
        map: impl Fn(&mut [(u64, Option<Target>)]),
    ) -> Result<Arc<Run>> {
        let Inputs { newest, runs, most } = inputs;
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
        merge.for_each(newest, drop_replaced, |hash, target| {
            window.push((hash, Some(target)));
            if window.len() == WINDOW { push(&mut window) } else { Ok(()) }
        })?;
        push(&mut window)?;
        self.open(&builder.finish()?, meta, version)
    }

    /// The keyspace's list of runs with sorted entries and replacements on top, merged with what is below where they
    /// are many against it. What is known of replacements saves reading keys.
    pub(crate) fn add(
        &mut self,
        keyspace: &KeyspaceVersion,
        version: &Version,
        entries: &IndexEntries,
        replacements: &Replacements,
    ) -> Result<Vec<Arc<Run>>> {
        let new = (entries.len() + replacements.len()) as u64;
        let (merged, kept) = keyspace.runs.split_at(runs_to_merge(&keyspace.runs, new));
        // What is replaced may lie in runs that are not merged.
        let dropped = if kept.is_empty() { replacements.dropped() } else { 0 };
        let most = merged.iter().map(|run| run.entry_count()).fold(new, u64::saturating_add);
        let inputs = Inputs {
            newest: entries.merged_with(replacements),
            runs: merged,
            most: most.saturating_sub(dropped),
        };
        let drop_replaced = |run: &Run, known: u64, entries: &mut Vec<_>| {
            replacements.drop_replaced(run, known, entries);
        };
        let written = self.write(&keyspace.meta, version, inputs, drop_replaced, |_| ())?;
        Ok(std::iter::once(written).chain(kept.iter().cloned()).collect())
    }
}

/// How many runs, from the newest on, so many new entries are merged with.
fn runs_to_merge(runs: &[Arc<Run>], mut entries: u64) -> usize {
    let mut merged = 0;
    for run in runs {
        let too_many = runs.len() - merged + 1 > MAX_RUNS;
        if entries.saturating_mul(MERGE_RATIO) < run.entry_count() && !too_many {
            break;
        }
        entries = entries.saturating_add(run.entry_count());
        merged += 1;
    }
    merged
}

impl Drop for NewRuns<'_> {
    fn drop(&mut self) {
        for &number in &self.files {
            self.core.remove_unfinished(FileKind::Index, number);
        }
    }
}
