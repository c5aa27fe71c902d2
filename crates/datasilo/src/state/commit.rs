//! Commits: append to the log, insert into the memtable, publish in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::api::batch::Batch;
use crate::bytes::address::{FileNumber, FrameAddress, SeqNo, WORD};
use crate::error::{Error, Result};
use crate::files::segment_writer::{Payloads, SegmentWriter};
use crate::options::Durability;

use super::core::{Core, LogState, lock};
use super::memtable::{Memtable, NewEntry};

/// A batch in the log that readers do not see yet.
struct Appended {
    segment: FileNumber,
    /// Offsets of the groups' frames in the segment.
    payloads: Payloads,
    first_seq: SeqNo,
    memtable: Arc<Memtable>,
    /// Position of the log behind the batch.
    position: u64,
    checkpoint_due: bool,
}

impl Core {
    /// Commits a batch and empties it; after an error it is unchanged and can be committed again,
    /// except that after [`Error::Poisoned`] or a failed sync its fate is unknown until reopening.
    pub(crate) fn commit(&self, batch: &mut Batch, durability: Durability) -> Result<SeqNo> {
        self.check_poison()?;
        if batch.is_empty() {
            if durability == Durability::Power {
                let position = lock(&self.log).appended;
                self.sync_to(position)?;
            }
            return Ok(self.published.load(Ordering::Acquire));
        }
        self.await_checkpoint()?;
        let appended = self.append(batch)?;
        let last_seq = appended.first_seq + batch.len() as u64 - 1;
        appended.memtable.insert(&new_entries(batch, &appended));
        self.publish(appended.first_seq, last_seq);
        self.user_bytes.fetch_add(batch.user_bytes(), Ordering::Relaxed);
        batch.clear();
        if appended.checkpoint_due {
            self.wakeup.request_checkpoint();
        }
        if durability == Durability::Power {
            self.sync_to(appended.position)?;
        }
        Ok(last_seq)
    }

    fn append(&self, batch: &Batch) -> Result<Appended> {
        let mut guard = lock(&self.log);
        let log = &mut *guard;
        if log.closed {
            return Err(Error::Closed);
        }
        self.check_poison()?;
        let version = self.version.load();
        for group in batch.groups() {
            version.keyspace(&group.frames.meta)?;
            if log.bulk.contains(&group.frames.meta.id) {
                return Err(Error::BulkSessionOpen { keyspace: group.frames.meta.name.clone() });
            }
        }
        let first_seq = log.next_seq;
        let (before, payloads) = batch.with_frames(first_seq, |frames| {
            let len = SegmentWriter::worst_len(frames);
            let writer = self.writer_with_room(log, len)?;
            let before = writer.tail();
            writer.append(frames).map(|payloads| (before, payloads))
        })?;
        let Some(writer) = log.writer.as_ref() else {
            unreachable!("the batch was just written to it");
        };
        let segment = writer.segment().number();
        let bytes = writer.tail() - before;
        log.next_seq += batch.len() as u64;
        log.appended += bytes;
        log.bytes_since_checkpoint += bytes;
        let usage = log.usage.entry(segment).or_default();
        usage.add_seqs(first_seq, log.next_seq - 1);
        for group in batch.groups() {
            let frames = &group.frames;
            let bytes = frames.bytes.len() as u64;
            usage.add_frames(frames.meta.id, group.ops.len() as u64, bytes, frames.delete_bytes);
        }
        self.count_written(bytes);
        Ok(Appended {
            segment,
            payloads,
            first_seq,
            memtable: Arc::clone(&log.memtable),
            position: log.appended,
            checkpoint_due: self.checkpoint_due(log, batch.len()),
        })
    }

    fn checkpoint_due(&self, log: &LogState, additional: usize) -> bool {
        log.memtable.len() + additional >= self.options.checkpoint_ops
            || log.bytes_since_checkpoint >= self.options.checkpoint_bytes
    }

    /// Makes a commit visible when all before it are.
    fn publish(&self, first_seq: SeqNo, last_seq: SeqNo) {
        let mut spins = 0;
        while self
            .published
            .compare_exchange(first_seq - 1, last_seq, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            // The commit before this one is being inserted by another thread right now.
            spins += 1;
            if spins < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    /// Holds commits back while the memtable is far beyond its size, so that memory stays bounded.
    fn await_checkpoint(&self) -> Result<()> {
        if !self.options.background {
            return Ok(());
        }
        let limit = self.options.checkpoint_ops.saturating_mul(4);
        let crowded = || {
            let version = self.version.load();
            version.memtables.iter().map(|m| m.len()).sum::<usize>() > limit
        };
        if crowded() {
            tracing::debug!("commits wait for a checkpoint");
            self.wakeup.request_checkpoint();
            self.wakeup.wait_while(|| self.check_poison().is_ok() && crowded());
        }
        self.check_poison()
    }
}

fn new_entries(batch: &Batch, appended: &Appended) -> SmallVec<[NewEntry; 8]> {
    let mut entries = SmallVec::with_capacity(batch.len());
    let mut seq = appended.first_seq;
    for (group, payload) in batch.groups().zip(&appended.payloads) {
        for &(hash, offset) in &group.ops {
            let word =
                u32::try_from((payload + offset as u64) / WORD).expect("segments have at most 2^32 words");
            let address = FrameAddress::new(appended.segment, word);
            entries.push(NewEntry { hash, seq, address, keyspace: group.frames.meta.id });
            seq += 1;
        }
    }
    entries
}
