//! Operands of the bitmap keyspace: slots to set and to clear, or pages that come into being.
//!
//! The parts of an operand are stored bitmaps, so that a large one, combined by a checkpoint, is read in
//! place like any bitmap.

use std::sync::Arc;

use datasilo::MergeResult;

use crate::delta::Delta;
use crate::error::BitmapError;
use crate::pages::StoredOps;
use crate::small::{read_varint, varint};
use crate::view::{Base, BitmapView};

use super::value::{Header, PageSet, store_slots};

/// First byte of operations on slots.
const TAG_OPS: u8 = 1;
/// First byte of pages that are added.
const TAG_PAGES: u8 = 2;

const MIXED: &str = "operations on slots and added pages under one key";

/// An operand, parsed.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "added pages are the rare case")]
pub(crate) enum Operand<'a> {
    Ops(StoredOps<'a>),
    Pages(PageSet),
}

impl<'a> Operand<'a> {
    /// Opens an operand; O(containers) or O(slots of small forms).
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, BitmapError> {
        let cut = || BitmapError::malformed("an operand cut short", 0);
        match bytes.split_first() {
            Some((&TAG_OPS, rest)) => {
                let (sets_len, used) = read_varint(rest).ok_or_else(cut)?;
                let (sets, clears) = rest
                    .get(used..)
                    .and_then(|rest| rest.split_at_checked(sets_len as usize))
                    .ok_or_else(cut)?;
                Ok(Self::Ops(StoredOps { sets: BitmapView::open(sets)?, clears: BitmapView::open(clears)? }))
            }
            Some((&TAG_PAGES, rest)) => Ok(Self::Pages(PageSet(rest.try_into().map_err(|_| cut())?))),
            _ => Err(BitmapError::malformed("no tag of an operand", 0)),
        }
    }
}

/// Appends the operand of slots to set and slots to clear, both ascending and disjoint. `part` is
/// room for one of the two.
pub(crate) fn encode_ops(sets: &[u32], clears: &[u32], part: &mut Vec<u8>, out: &mut Vec<u8>) {
    out.push(TAG_OPS);
    part.clear();
    store_slots(sets, Header::Absent, part);
    let (bytes, len) = varint(u32::try_from(part.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes.to_le_bytes().get(..len).unwrap_or(&[]));
    out.extend_from_slice(part);
    store_slots(clears, Header::Absent, out);
}

/// The operand that adds pages.
pub(crate) fn encode_pages(pages: &PageSet) -> Vec<u8> {
    let mut out = vec![TAG_PAGES];
    out.extend_from_slice(&pages.0);
    out
}

/// Calls `f` with the slots of a stored form, ascending.
fn for_each_slot(view: &BitmapView<'_>, mut f: impl FnMut(u32)) {
    match &view.base {
        Base::Small(view) => view.iter().for_each(f),
        Base::Frozen(view) => {
            for (key, container) in view.chunks() {
                let base = u32::from(key) << 16;
                container.for_each(|low| f(base | u32::from(low)));
            }
        }
        _ => {}
    }
}

/// Operands of one key, combined in memory.
#[derive(Clone, Debug)]
pub(crate) enum BitmapDelta {
    Ops(Arc<Delta>),
    Pages(PageSet),
}

impl BitmapDelta {
    /// These operations, then newer ones.
    pub(crate) fn then(&self, newer: &BitmapDelta) -> MergeResult<Self> {
        match (self, newer) {
            (Self::Ops(older), Self::Ops(newer)) => Ok(Self::Ops(Arc::new(older.then(newer)))),
            (Self::Pages(older), Self::Pages(newer)) => {
                let mut pages = *older;
                pages.union(newer);
                Ok(Self::Pages(pages))
            }
            _ => Err(MIXED.to_owned()),
        }
    }

    /// What operands come to, in order, on top of `before`.
    pub(crate) fn of(before: Option<&BitmapDelta>, operands: &[&[u8]]) -> MergeResult<Self> {
        let mut ops: Vec<(u32, bool)> = Vec::new();
        let mut pages = PageSet::default();
        let (mut has_ops, mut has_pages) = (false, false);
        for bytes in operands {
            match Operand::open(bytes).map_err(|error| error.to_string())? {
                Operand::Ops(stored) => {
                    has_ops = true;
                    for_each_slot(&stored.sets, |slot| ops.push((slot, true)));
                    for_each_slot(&stored.clears, |slot| ops.push((slot, false)));
                }
                Operand::Pages(more) => {
                    has_pages = true;
                    pages.union(&more);
                }
            }
        }
        let added = match (has_ops, has_pages) {
            (true, true) => return Err(MIXED.to_owned()),
            (false, true) => Self::Pages(pages),
            (_, false) => Self::Ops(Arc::new(Delta::from_ops(ops))),
        };
        match before {
            None => Ok(added),
            Some(before) => before.then(&added),
        }
    }
}

impl datasilo::Delta for BitmapDelta {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Pages(pages) => encode_pages(pages),
            Self::Ops(delta) => {
                let (mut sets, mut clears) = (Vec::new(), Vec::new());
                for (slot, set) in delta.ops() {
                    if set { &mut sets } else { &mut clears }.push(slot);
                }
                let mut out = Vec::new();
                encode_ops(&sets, &clears, &mut Vec::new(), &mut out);
                out
            }
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
