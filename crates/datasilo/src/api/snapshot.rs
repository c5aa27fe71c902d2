//! Snapshots: a silo as of one moment.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::bytes::address::SeqNo;
use crate::error::Result;
use crate::files::run::key_hash;
use crate::merge::Delta;
use crate::state::read::{Candidate, Found, Lookup, PendingRef, Plain, prefetch_candidate, prefetch_index};
use crate::state::version::{FrameRef, KeyspaceVersion, Version};

use super::keyspace::Keyspace;

/// Keys whose memory accesses are overlapped by [`Snapshot::multi_get`].
const WINDOW: usize = 32;

/// A silo as of one moment. Reads take no lock and are never blocked; what they return borrows
/// from the snapshot, and stays unchanged whatever is committed, compacted or closed meanwhile.
///
/// A snapshot keeps the files of its moment in use: drop it when done.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) version: Arc<Version>,
    pub(crate) seq: SeqNo,
    pub(crate) verify: bool,
}

/// A value in place, in a mapped file.
///
/// Values of up to 4 KiB were verified when they were found. Longer ones have a checksum per 4 KiB
/// block, which is verified when the block is first touched.
#[derive(Debug, Clone, Copy)]
pub struct Value<'s> {
    pub(crate) frame: FrameRef<'s>,
    /// Id of its keyspace.
    pub(crate) keyspace: u32,
    verify: bool,
}

impl<'s> Value<'s> {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frame.frame.value_len()
    }

    /// True if it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if a block's checksum does not match.
    pub fn bytes(&self) -> Result<&'s [u8]> {
        self.range(0..self.len())
    }

    /// A part of it; only the blocks that it touches are verified. Cut at the value's end.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if a block's checksum does not match.
    pub fn range(&self, range: Range<usize>) -> Result<&'s [u8]> {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        if self.verify {
            self.frame.segment.verify_value(self.frame.word, &self.frame.frame, range.clone())?;
        }
        Ok(self.frame.frame.value().get(range).unwrap_or_default())
    }

    /// All of it, without verifying blocks.
    #[must_use]
    pub fn bytes_unverified(&self) -> &'s [u8] {
        self.frame.frame.value()
    }
}

/// An operand, or several combined, that are not yet folded into a value.
#[derive(Debug, Clone)]
pub enum Pending<'s> {
    /// A (combined) operand in a mapped file.
    Operand(Value<'s>),
    /// Operands combined in memory, shared by all who read this version of the key.
    Delta(Arc<dyn Delta>),
}

/// The parts of a key's value: a base and the operands on top of it.
#[derive(Debug, Clone)]
pub struct Parts<'s> {
    /// The value that the operands go on top of.
    pub base: Option<Value<'s>>,
    /// Oldest first; at most a few, since checkpoints and memtables combine them.
    pub pending: Vec<Pending<'s>>,
}

impl Snapshot {
    /// The sequence number of the last commit that it sees.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The generation of the silo's structure that it sees.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.version.generation
    }

    /// A snapshot of the same moment that does not look at checksums.
    #[must_use]
    pub fn unverified(&self) -> Self {
        Self { verify: false, ..self.clone() }
    }

    /// Handle of a keyspace that exists in this snapshot.
    ///
    /// # Errors
    /// [`crate::Error::UnknownKeyspace`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        match self.version.keyspace_by_name(name) {
            Some(keyspace) => Ok(Keyspace { meta: Arc::clone(&keyspace.meta) }),
            None => Err(self.version.unknown_keyspace(name)),
        }
    }

    /// The keyspaces in this snapshot, by id.
    #[must_use]
    pub fn keyspaces(&self) -> Vec<Keyspace> {
        self.version.keyspaces.iter().map(|k| Keyspace { meta: Arc::clone(&k.meta) }).collect()
    }

    #[inline]
    pub(crate) fn lookup(&self) -> Lookup<'_> {
        Lookup { version: &self.version, seq: self.seq, verify: self.verify }
    }

    /// Starts loading what a look-up will need, where that is more than one line.
    #[inline]
    fn prefetch(&self, keyspace: &KeyspaceVersion, hash: u64) {
        if keyspace.runs.len() > 1 || self.version.memtables.len() > 1 {
            prefetch_index(keyspace, hash);
        }
    }

    fn find(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Found<'_>> {
        let own = self.version.keyspace(&keyspace.meta)?;
        let hash = key_hash(key, self.version.hash_seed);
        self.prefetch(own, hash);
        self.lookup().find(own, key, hash)
    }

    fn value<'s>(&'s self, keyspace: &Keyspace, frame: FrameRef<'s>) -> Value<'s> {
        Value { frame, keyspace: keyspace.id(), verify: self.verify }
    }

    /// A key's value: borrowed from the file, or folded where operands are pending.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if what was found does not match its checksum, and those of the merge operator.
    #[inline]
    pub fn get(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Cow<'_, [u8]>>> {
        let key = key.as_ref();
        let own = self.version.keyspace(&keyspace.meta)?;
        let hash = key_hash(key, self.version.hash_seed);
        self.prefetch(own, hash);
        let plain = self.lookup().find_plain(own, key, hash)?;
        self.value_of(keyspace, own, key, hash, plain)
    }

    #[inline]
    fn value_of<'s>(
        &'s self,
        keyspace: &Keyspace,
        own: &'s KeyspaceVersion,
        key: &[u8],
        hash: u64,
        plain: Plain<'s>,
    ) -> Result<Option<Cow<'s, [u8]>>> {
        match plain {
            Plain::Value(value) => Ok(Some(Cow::Borrowed(value))),
            Plain::Absent => Ok(None),
            Plain::Unknown => self.get_slow(keyspace, own, key, hash),
        }
    }

    #[inline(never)]
    fn get_slow<'s>(
        &'s self,
        keyspace: &Keyspace,
        own: &'s KeyspaceVersion,
        key: &[u8],
        hash: u64,
    ) -> Result<Option<Cow<'s, [u8]>>> {
        let found = self.lookup().find(own, key, hash)?;
        self.fold(keyspace, key, found)
    }

    pub(crate) fn fold<'s>(
        &'s self,
        keyspace: &Keyspace,
        key: &[u8],
        found: Found<'s>,
    ) -> Result<Option<Cow<'s, [u8]>>> {
        match found {
            Found::Absent => Ok(None),
            Found::Put(frame) => Ok(Some(Cow::Borrowed(self.value(keyspace, frame).bytes()?))),
            Found::Pending { base, pending } => {
                self.fold_pending(keyspace, key, base, &pending).map(|value| Some(Cow::Owned(value)))
            }
        }
    }

    fn fold_pending(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        base: Option<FrameRef<'_>>,
        pending: &[PendingRef<'_>],
    ) -> Result<Vec<u8>> {
        let operands = pending
            .iter()
            .map(|operand| match operand {
                PendingRef::Operand(frame) => self.value(keyspace, *frame).bytes().map(Cow::Borrowed),
                PendingRef::Delta(delta) => Ok(Cow::Owned(delta.encode())),
            })
            .collect::<Result<Vec<Cow<'_, [u8]>>>>()?;
        let operands: Vec<&[u8]> = operands.iter().map(AsRef::as_ref).collect();
        let base = base.map(|frame| self.value(keyspace, frame).bytes()).transpose()?;
        let folded = keyspace.meta.operator()?.fold(key, base, &operands);
        folded.map_err(|message| keyspace.meta.merge_error(message))
    }

    /// A key's base value and pending operands, unfolded. `None` if the key has no value.
    ///
    /// Operands of a memtable are combined once and then shared between reads.
    ///
    /// # Errors
    /// As of [`Snapshot::get`].
    pub fn get_parts(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Parts<'_>>> {
        Ok(self.parts(keyspace, self.find(keyspace, key.as_ref())?))
    }

    fn parts<'s>(&'s self, keyspace: &Keyspace, found: Found<'s>) -> Option<Parts<'s>> {
        match found {
            Found::Absent => None,
            Found::Put(frame) => Some(Parts { base: Some(self.value(keyspace, frame)), pending: Vec::new() }),
            Found::Pending { base, pending } => Some(Parts {
                base: base.map(|frame| self.value(keyspace, frame)),
                pending: pending
                    .into_iter()
                    .map(|operand| match operand {
                        PendingRef::Operand(frame) => Pending::Operand(self.value(keyspace, frame)),
                        PendingRef::Delta(delta) => Pending::Delta(delta),
                    })
                    .collect(),
            }),
        }
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// As of [`Snapshot::get`].
    pub fn contains(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        let own = self.version.keyspace(&keyspace.meta)?;
        let hash = key_hash(key, self.version.hash_seed);
        self.prefetch(own, hash);
        match self.lookup().find_plain(own, key, hash)? {
            Plain::Value(_) => Ok(true),
            Plain::Absent => Ok(false),
            Plain::Unknown => Ok(!matches!(self.lookup().find(own, key, hash)?, Found::Absent)),
        }
    }

    /// The values of several keys, in their order; faster than one [`Snapshot::get`] each, since
    /// their memory accesses overlap.
    ///
    /// # Errors
    /// As of [`Snapshot::get`].
    pub fn multi_get<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        keys: &[K],
    ) -> Result<Vec<Option<Cow<'_, [u8]>>>> {
        let mut values = Vec::with_capacity(keys.len());
        self.multi_get_each(keyspace, keys, |_, value| values.push(value))?;
        Ok(values)
    }

    /// Like [`Snapshot::multi_get`], passing each key's position and value to `visit`.
    ///
    /// # Errors
    /// As of [`Snapshot::get`].
    pub fn multi_get_each<'s, K: AsRef<[u8]>>(
        &'s self,
        keyspace: &Keyspace,
        keys: &[K],
        mut visit: impl FnMut(usize, Option<Cow<'s, [u8]>>),
    ) -> Result<()> {
        let own = self.version.keyspace(&keyspace.meta)?;
        self.each_prefetched(own, keys, |at, key, hash, candidate| {
            let plain = self.lookup().plain_at(own, key, hash, || Ok(candidate))?;
            visit(at, self.value_of(keyspace, own, key, hash, plain)?);
            Ok(())
        })
    }

    /// Like [`Snapshot::get_parts`] of several keys, passing each key's position and parts to `visit`.
    ///
    /// # Errors
    /// As of [`Snapshot::get`].
    pub fn multi_get_parts<'s, K: AsRef<[u8]>>(
        &'s self,
        keyspace: &Keyspace,
        keys: &[K],
        mut visit: impl FnMut(usize, Option<Parts<'s>>),
    ) -> Result<()> {
        let own = self.version.keyspace(&keyspace.meta)?;
        self.each_prefetched(own, keys, |at, key, hash, candidate| {
            visit(at, self.parts(keyspace, self.lookup().find_at(own, key, hash, candidate)?));
            Ok(())
        })
    }

    /// Passes position, bytes, hash and candidate of each key to `visit`, while the frames of the next ones are being
    /// loaded.
    fn each_prefetched<'s, K: AsRef<[u8]>>(
        &'s self,
        own: &'s KeyspaceVersion,
        keys: &[K],
        mut visit: impl FnMut(usize, &[u8], u64, Option<Candidate<'s>>) -> Result<()>,
    ) -> Result<()> {
        let lines = own.typical_frame_lines();
        let mut known = [(0u64, None); WINDOW];
        for (window, keys) in keys.chunks(WINDOW).enumerate() {
            for ((hash, _), key) in known.iter_mut().zip(keys) {
                *hash = key_hash(key.as_ref(), self.version.hash_seed);
                prefetch_index(own, *hash);
            }
            for ((hash, found), _) in known.iter_mut().zip(keys) {
                *found = prefetch_candidate(&own.runs, *hash, lines)?;
            }
            for (at, (&(hash, found), key)) in known.iter().zip(keys).enumerate() {
                visit(window * WINDOW + at, key.as_ref(), hash, found)?;
            }
        }
        Ok(())
    }
}
