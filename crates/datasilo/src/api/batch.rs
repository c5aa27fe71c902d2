//! Batches: mutations that become visible, and durable, together.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::bytes::frame::{FrameKind, MAX_KEY_LEN, MAX_VALUE_LEN};
use crate::error::{Error, Result};
use crate::files::run::key_hash;
use crate::files::segment_writer::GroupFrames;
use crate::state::version::KeyspaceMeta;

use super::frame_buffer::FrameBuffer;
use super::keyspace::Keyspace;

/// Ordinals of a group's frames have 16 bits.
const MAX_GROUP_OPS: usize = 1 << 16;

/// Mutations of any keyspaces, in order, to be committed as one.
///
/// Frames are encoded and their checksums computed as they are added, so that threads prepare
/// their batches side by side. A batch that was committed is empty and can be filled again,
/// which saves its allocations.
#[derive(Debug)]
pub struct Batch {
    hash_seed: u64,
    groups: Vec<BatchGroup>,
    op_count: usize,
    user_bytes: u64,
}

/// The frames of one keyspace.
#[derive(Debug)]
pub(crate) struct BatchGroup {
    pub(crate) frames: FrameBuffer,
    frame_count: u32,
    /// Hash of the key and offset of the frame in the buffer, for each mutation in order.
    pub(crate) ops: Vec<(u64, usize)>,
}

impl BatchGroup {
    fn new(meta: &Arc<KeyspaceMeta>) -> Self {
        Self { frames: FrameBuffer::new(Arc::clone(meta)), frame_count: 0, ops: Vec::new() }
    }

    fn push(&mut self, kind: FrameKind, key: &[u8], value: &[u8], hash: u64) {
        let ordinal = u16::try_from(self.ops.len()).expect("groups have at most 2^16 mutations");
        let appended = self.frames.push(0, ordinal, kind, key, value);
        self.frame_count += appended.frame_count;
        self.ops.push((hash, appended.offset));
    }
}

/// Refuses keys and values that no frame can hold.
pub(crate) fn check_lengths(key: &[u8], value: &[u8]) -> Result<()> {
    if key.len() > MAX_KEY_LEN {
        return Err(Error::KeyTooLong { len: key.len(), max: MAX_KEY_LEN });
    }
    if value.len() as u64 > MAX_VALUE_LEN {
        return Err(Error::ValueTooLarge { len: value.len(), max: MAX_VALUE_LEN });
    }
    Ok(())
}

/// Refuses operands that the keyspace's operator cannot apply.
pub(crate) fn check_operand(meta: &KeyspaceMeta, operand: &[u8]) -> Result<()> {
    meta.operator()?.check_operand(operand).map_err(|message| meta.merge_error(message))
}

impl Batch {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self { hash_seed, groups: Vec::new(), op_count: 0, user_bytes: 0 }
    }

    /// Sets a key's value.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`], [`Error::ValueTooLarge`]; the batch is as before.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.push(keyspace, FrameKind::Put, key.as_ref(), value.as_ref())
    }

    /// Removes a key. A key that is not there is no error.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`]; the batch is as before.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<()> {
        self.push(keyspace, FrameKind::Delete, key.as_ref(), &[])
    }

    /// Applies an operand to a key with the keyspace's merge operator.
    ///
    /// # Errors
    /// [`Error::NoMergeOperator`], [`Error::Merge`] if the operator refuses the operand, and
    /// those of [`Batch::put`]; the batch is as before.
    pub fn merge(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
    ) -> Result<()> {
        check_operand(&keyspace.meta, operand.as_ref())?;
        self.push(keyspace, FrameKind::Merge, key.as_ref(), operand.as_ref())
    }

    fn push(&mut self, keyspace: &Keyspace, kind: FrameKind, key: &[u8], value: &[u8]) -> Result<()> {
        check_lengths(key, value)?;
        let hash = key_hash(key, self.hash_seed);
        let group = self.group(&keyspace.meta);
        group.push(kind, key, value, hash);
        self.op_count += 1;
        self.user_bytes += (key.len() + value.len()) as u64;
        Ok(())
    }

    /// The newest group of a keyspace, or a new one where that is full.
    fn group(&mut self, meta: &Arc<KeyspaceMeta>) -> &mut BatchGroup {
        let newest = self.groups.iter().rposition(|group| group.frames.meta.id == meta.id);
        let open =
            newest.filter(|&at| self.groups.get(at).is_some_and(|group| group.ops.len() < MAX_GROUP_OPS));
        let at = open.unwrap_or_else(|| {
            self.groups.push(BatchGroup::new(meta));
            self.groups.len() - 1
        });
        match self.groups.get_mut(at) {
            Some(group) => group,
            None => unreachable!("the position was just found or made"),
        }
    }

    /// Bytes that the batch's buffers hold on to.
    pub(crate) fn capacity(&self) -> usize {
        self.groups.iter().map(|group| group.frames.bytes.capacity()).sum()
    }

    /// Mutations in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.op_count
    }

    /// True if the batch holds no mutation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.op_count == 0
    }

    /// Removes all mutations.
    pub fn clear(&mut self) {
        // Buffers are kept for the keyspaces that the batch is filled with again and again.
        self.groups.retain(|group| !group.ops.is_empty() && group.ops.len() < MAX_GROUP_OPS);
        for group in &mut self.groups {
            group.frames.clear();
            group.ops.clear();
            group.frame_count = 0;
        }
        self.op_count = 0;
        self.user_bytes = 0;
    }

    pub(crate) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    pub(crate) fn user_bytes(&self) -> u64 {
        self.user_bytes
    }

    /// The groups that hold something.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &BatchGroup> {
        self.groups.iter().filter(|group| !group.ops.is_empty())
    }

    /// The groups as a segment writer takes them, numbered from `first_seq` on.
    pub(crate) fn with_frames<T>(&self, first_seq: u64, write: impl FnOnce(&[GroupFrames<'_>]) -> T) -> T {
        let pieces: SmallVec<[[&[u8]; 1]; 4]> =
            self.groups().map(|group| [group.frames.bytes.as_slice()]).collect();
        let mut seq = first_seq;
        let frames: SmallVec<[GroupFrames<'_>; 4]> = self
            .groups()
            .zip(&pieces)
            .map(|(group, pieces)| {
                let template = group.frames.template(seq, group.frame_count);
                seq += group.ops.len() as u64;
                GroupFrames { template, pieces }
            })
            .collect();
        write(&frames)
    }
}
