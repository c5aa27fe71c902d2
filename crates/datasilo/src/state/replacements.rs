//! Changes that are known to replace a certain frame.
//!
//! Finding out what a put replaces takes reading the keys of two frames that lie anywhere. It is done at most once for
//! each: with what was found, runs are merged without a look at keys. Who has just read a value and writes a new one
//! knows its frame beforehand; an index entry with the key's hash that leads to this very frame proves that it still
//! is the value.

use rayon::slice::ParallelSliceMut;

use crate::bytes::address::FrameAddress;
use crate::bytes::index::Slot;
use crate::error::Result;
use crate::files::run::Run;

use super::version::KeyspaceVersion;

/// A put or delete, and the frame that it was made to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Replacement {
    pub(crate) hash: u64,
    pub(crate) new: FrameAddress,
    pub(crate) old: FrameAddress,
}

/// Replacements of a keyspace that the index confirms. Ascending by hash.
#[derive(Debug, Default)]
pub(crate) struct Replacements {
    confirmed: Vec<Replacement>,
    /// How many of them replace an entry of the index that leads to their frame and nothing else.
    from_index: usize,
}

impl Replacements {
    /// Of replacements, keeps those that are the only change to their hash and replace what the index has.
    /// The others go to `refused`. `others` are the hashes of all other changes, ascending.
    pub(crate) fn confirm(
        keyspace: &KeyspaceVersion,
        mut replacements: Vec<Replacement>,
        others: &[(u64, u64)],
        refused: &mut Vec<Replacement>,
    ) -> Result<Self> {
        replacements.par_sort_unstable_by_key(|replacement| replacement.hash);
        let mut sorted = replacements;
        let mut others = others.iter().map(|entry| entry.0).peekable();
        let (mut kept, mut at) = (0, 0);
        while let Some(&replacement) = sorted.get(at) {
            let hash = replacement.hash;
            let of_hash = sorted.get(at..).unwrap_or_default().iter().take_while(|r| r.hash == hash).count();
            while others.next_if(|other| *other < hash).is_some() {}
            let alone = of_hash == 1 && others.peek() != Some(&hash);
            if alone && is_current(keyspace, &replacement)? {
                if let Some(place) = sorted.get_mut(kept) {
                    *place = replacement;
                    kept += 1;
                }
            } else {
                sorted.get(at..at + of_hash).unwrap_or_default().iter().for_each(|r| refused.push(*r));
            }
            at += of_hash;
        }
        sorted.truncate(kept);
        Ok(Self { confirmed: sorted, from_index: kept })
    }

    /// Notes that `new` replaces what a look-up has just found. [`Replacements::sort`] comes before any use.
    pub(crate) fn push_found(&mut self, hash: u64, new: FrameAddress, old: FrameAddress) {
        self.confirmed.push(Replacement { hash, new, old });
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.from_index += other.from_index;
        self.confirmed.append(&mut other.confirmed);
    }

    pub(crate) fn sort(&mut self) {
        self.confirmed.par_sort_unstable_by_key(|replacement| replacement.hash);
    }

    pub(crate) fn len(&self) -> usize {
        self.confirmed.len()
    }

    /// How many entries at least [`Replacements::drop_replaced`] drops from all runs of the keyspace.
    pub(crate) fn dropped(&self) -> u64 {
        self.from_index as u64
    }

    /// Hashes and addresses of the new frames.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        self.confirmed.iter().map(|replacement| (replacement.hash, replacement.new.to_bits()))
    }

    /// Removes from entries of a run those that were replaced. Of their hashes the bits in `known` count.
    pub(crate) fn drop_replaced(&self, run: &Run, known: u64, entries: &mut Vec<(u64, Slot)>) {
        if self.confirmed.is_empty() {
            return;
        }
        entries.sort_unstable_by_key(|entry| entry.0);
        let (Some(&(lowest, _)), Some(&(highest, _))) = (entries.first(), entries.last()) else { return };
        let from = self.confirmed.partition_point(|replacement| replacement.hash & known < lowest);
        let replaced = self.confirmed.get(from..).unwrap_or_default();
        let mut at = 0;
        for replacement in replaced {
            let hash = replacement.hash & known;
            if hash > highest {
                break;
            }
            while entries.get(at).is_some_and(|entry| entry.0 < hash) {
                at += 1;
            }
            let same =
                entries.get_mut(at..).unwrap_or_default().iter_mut().take_while(|entry| entry.0 == hash);
            for (_, slot) in same {
                if leads_to(run, *slot, replacement.old) {
                    *slot = Slot::EMPTY;
                    break;
                }
            }
        }
        entries.retain(|(_, slot)| !slot.is_empty());
    }
}

fn leads_to(run: &Run, slot: Slot, address: FrameAddress) -> bool {
    matches!(run.frame_of(slot), Ok(Some((segment, word)))
        if FrameAddress::new(segment.number(), word) == address)
}

/// Whether the first run that may have the key has it at the old frame.
fn is_current(keyspace: &KeyspaceVersion, replacement: &Replacement) -> Result<bool> {
    for run in &keyspace.runs {
        let mut other = false;
        let found = run.find(replacement.hash, |slot| {
            let found = leads_to(run, slot, replacement.old);
            other |= !found;
            Ok(found.then_some(()))
        })?;
        // Within a run a key has one entry, so others are of other keys; in a newer run they may be of this one.
        if found.is_some() || other {
            return Ok(found.is_some());
        }
    }
    Ok(false)
}
