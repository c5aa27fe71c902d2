//! Walking the groups and frames of a segment.

use crate::bytes::frame::{FrameView, PlainPut};
use crate::bytes::group::{GROUP_HEADER_LEN, Group, GroupKind};

/// A group and its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupView<'a> {
    pub(crate) group: Group,
    pub(crate) payload: &'a [u8],
}

/// What lies at a place where a batch may start.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A whole, valid batch.
    Batch(Vec<GroupView<'a>>),
    /// Nothing was written here.
    End,
    /// Bytes that are no valid batch.
    Damage { offset: u64, what: &'static str },
}

/// A stretch of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) bytes: &'a [u8],
    /// Offset of the first byte in the segment.
    pub(crate) base: u64,
    /// Start value for checksums of the segment's group headers.
    pub(crate) seed: u32,
}

impl<'a> Window<'a> {
    fn from(&self, offset: u64) -> &'a [u8] {
        let at = offset.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }
}

/// Looks at the batch that starts at `offset` of a segment.
///
/// Everything is checked: group headers, frames and their checksums, and that the batch is
/// complete. Bytes beyond the window count as not written.
pub(crate) fn next_batch<'a>(window: &Window<'a>, offset: u64) -> Step<'a> {
    let mut groups = Vec::new();
    let mut at = offset;
    loop {
        let rest = window.from(at);
        if groups.is_empty() && rest.iter().take(GROUP_HEADER_LEN).all(|&b| b == 0) {
            return Step::End;
        }
        let group = match next_group(window, at) {
            Ok(group) => group,
            Err(what) => return Step::Damage { offset: at, what },
        };
        if group.group.first != groups.is_empty() {
            let what = "a batch does not start and end where its groups say";
            return Step::Damage { offset: at, what };
        }
        if let Err((offset, what)) = verify_group(&group) {
            return Step::Damage { offset, what };
        }
        let last = group.group.last;
        at = group.group.end();
        groups.push(group);
        if last {
            return Step::Batch(groups);
        }
    }
}

/// The group at `offset`: header checked, payload in bounds.
pub(crate) fn next_group<'a>(window: &Window<'a>, offset: u64) -> Result<GroupView<'a>, &'static str> {
    let rest = window.from(offset);
    let group = Group::decode(rest, window.seed, offset)?;
    let payload = usize::try_from(group.payload_len)
        .ok()
        .and_then(|len| rest.get(GROUP_HEADER_LEN..)?.get(..len))
        .ok_or("the segment ends within a group")?;
    Ok(GroupView { group, payload })
}

/// Checks all frames of a group. The error names the offset in the segment.
pub(crate) fn verify_group(view: &GroupView<'_>) -> Result<(), (u64, &'static str)> {
    if !matches!(view.group.kind, GroupKind::Frames | GroupKind::Fold) {
        return Ok(());
    }
    let mut frames = all_frames(view);
    let checked = |at: usize, good: bool| {
        let offset = view.group.payload_offset() + at as u64;
        if good { Ok(()) } else { Err((offset, "the frame's checksum does not match")) }
    };
    loop {
        while let Some((at, put)) = frames.next_put() {
            checked(at, put.verify(view.group.keyspace))?;
        }
        let Some(item) = frames.next() else { return Ok(()) };
        let (at, frame) = item?;
        checked(at, frame.verify_whole(view.group.keyspace))?;
    }
}

/// The frames of a group with their offsets in the payload. Ends early at what is no frame.
pub(crate) fn frames<'a>(view: &GroupView<'a>) -> impl Iterator<Item = (usize, FrameView<'a>)> + use<'a> {
    let payload = view.payload;
    let align = view.group.align();
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = payload.get(at..).filter(|rest| !rest.is_empty())?;
        let frame = FrameView::parse(rest, align)?;
        let start = at;
        at += frame.len();
        Some((start, frame))
    })
}

/// The frames of a group with their offsets in the payload, and an error with its offset in the segment
/// if they do not fill it: then damage to the length of one hides those behind it.
pub(crate) fn all_frames<'a>(view: &GroupView<'a>) -> AllFrames<'a> {
    AllFrames { view: *view, at: 0, count: 0, failed: false }
}

/// See [`all_frames`].
#[derive(Debug)]
pub(crate) struct AllFrames<'a> {
    view: GroupView<'a>,
    at: usize,
    count: u32,
    failed: bool,
}

impl<'a> AllFrames<'a> {
    fn rest(&self) -> &'a [u8] {
        self.view.payload.get(self.at..).unwrap_or_default()
    }

    /// The next frame, if it is a plain put; otherwise it is still to come.
    #[inline]
    pub(crate) fn next_put(&mut self) -> Option<(usize, PlainPut<'a>)> {
        if self.view.group.align_shift != 0 {
            return None;
        }
        let put = PlainPut::first(self.rest())?;
        Some((self.step(put.len()), put))
    }

    /// Goes on by a frame; gives its offset.
    fn step(&mut self, len: usize) -> usize {
        let start = self.at;
        self.at += len;
        self.count = self.count.saturating_add(1);
        start
    }
}

impl<'a> Iterator for AllFrames<'a> {
    type Item = Result<(usize, FrameView<'a>), (u64, &'static str)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(frame) = FrameView::parse(self.rest(), self.view.group.align()) {
            return Some(Ok((self.step(frame.len()), frame)));
        }
        let filled = self.count == self.view.group.frame_count && self.rest().is_empty();
        let failed = std::mem::replace(&mut self.failed, !filled);
        let offset = self.view.group.payload_offset() + self.at as u64;
        (!filled && !failed).then_some(Err((offset, "the group's frames do not fill it")))
    }
}

/// All valid group headers at or behind `from`, found by trying every word.
pub(crate) fn groups_behind<'a>(window: &Window<'a>, from: u64) -> impl Iterator<Item = Group> + use<'a> {
    let window = *window;
    let mut at = from.next_multiple_of(8);
    std::iter::from_fn(move || {
        loop {
            let rest = window.from(at);
            if rest.len() < GROUP_HEADER_LEN {
                return None;
            }
            let offset = at;
            at += 8;
            if let Ok(group) = Group::decode(rest, window.seed, offset) {
                return Some(group);
            }
        }
    })
}
