//! Mutations of one keyspace, encoded one behind the other.

use std::sync::Arc;

use crate::bytes::frame::{FrameInput, FrameKind, encode_fill, encode_frame, fill_len};
use crate::bytes::group::{Group, GroupKind};
use crate::state::version::KeyspaceMeta;

/// Frames with their checksums, as they will lie in the payloads of one or more groups.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    pub(crate) meta: Arc<KeyspaceMeta>,
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the frames that are deletes.
    pub(crate) delete_bytes: u64,
}

/// A frame that was appended.
pub(crate) struct Appended {
    /// Offset in the buffer.
    pub(crate) offset: usize,
    /// Frames that came to be: one, and the fill before it if its value needed aligning.
    pub(crate) frame_count: u32,
}

impl FrameBuffer {
    pub(crate) fn new(meta: Arc<KeyspaceMeta>) -> Self {
        Self { meta, bytes: Vec::new(), delete_bytes: 0 }
    }

    /// Appends a frame to the group whose payload starts at `group_start` of the buffer.
    #[inline]
    pub(crate) fn push(
        &mut self,
        group_start: usize,
        ordinal: u16,
        kind: FrameKind,
        key: &[u8],
        value: &[u8],
    ) -> Appended {
        let align = self.meta.align();
        let gap = fill_len(self.bytes.len() - group_start, align);
        if gap > 0 {
            encode_fill(&mut self.bytes, self.meta.id, gap);
        }
        let offset = self.bytes.len();
        let input = FrameInput { kind, ordinal, combined: false, key, value };
        encode_frame(&mut self.bytes, self.meta.id, align, &input);
        if kind == FrameKind::Delete {
            self.delete_bytes += (self.bytes.len() - offset) as u64;
        }
        Appended { offset, frame_count: 1 + u32::from(gap > 0) }
    }

    /// What the header of a group of so many of the frames says, but for its place.
    pub(crate) fn template(&self, base_seq: u64, frame_count: u32) -> Group {
        Group {
            base_seq,
            keyspace: self.meta.id,
            align_shift: self.meta.align_shift,
            frame_count,
            ..Group::alone(GroupKind::Frames, 0, 0)
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.delete_bytes = 0;
    }
}
