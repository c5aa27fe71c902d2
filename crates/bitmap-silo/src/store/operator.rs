//! The merge operator of the bitmap keyspace.

use std::sync::Arc;

use datasilo::{Delta, MergeOperator, MergeResult};

use super::operand::{BitmapDelta, Operand};
use super::value::{PageSet, StoredValue, Unchanged, store_view};
use crate::view::BitmapView;

/// Name of the operator; it never changes its meaning.
pub(crate) const BITMAP_OPERATOR: &str = "bitmap-silo.bitmap.v1";

/// Sets and clears slots of stored bitmaps, and adds pages to lists of pages.
#[derive(Debug)]
pub(crate) struct BitmapOperator;

impl MergeOperator for BitmapOperator {
    fn name(&self) -> &str {
        BITMAP_OPERATOR
    }

    fn check_operand(&self, operand: &[u8]) -> MergeResult<()> {
        Operand::open(operand).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Rewrites the chunks that operations touch and copies the others.
    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        let delta = BitmapDelta::of(None, operands)?;
        let base = base.map(StoredValue::open).transpose().map_err(|error| error.to_string())?;
        match (base, delta) {
            (Some(StoredValue::Set { view, .. }), BitmapDelta::Ops(delta)) => Ok(folded(&view, &delta)),
            (None, BitmapDelta::Ops(delta)) => Ok(folded(&BitmapView::EMPTY, &delta)),
            (Some(StoredValue::Pages(mut pages)), BitmapDelta::Pages(more)) => {
                pages.union(&more);
                Ok(pages.to_value().to_vec())
            }
            (None, BitmapDelta::Pages(pages)) => Ok(PageSet::to_value(pages).to_vec()),
            (Some(StoredValue::Set { .. }), BitmapDelta::Pages(_)) => {
                Err("pages are added to a value that is a set".to_owned())
            }
            (Some(StoredValue::Pages(_)), BitmapDelta::Ops(_)) => {
                Err("operations on slots under the key of a list of pages".to_owned())
            }
        }
    }

    fn should_fold(&self, base_len: Option<usize>, pending_len: usize) -> bool {
        should_fold(base_len, pending_len)
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(BitmapDelta::of(None, operands)?.encode())
    }

    /// Costs what is added: chunks that the operands do not touch are shared with `delta`.
    fn extend(&self, delta: Option<&Arc<dyn Delta>>, operands: &[&[u8]]) -> MergeResult<Arc<dyn Delta>> {
        let foreign = || "the delta is another operator's".to_owned();
        let before = match delta {
            Some(delta) => Some(delta.as_any().downcast_ref::<BitmapDelta>().ok_or_else(foreign)?),
            None => None,
        };
        Ok(Arc::new(BitmapDelta::of(before, operands)?))
    }
}

/// A checkpoint folds operations that take this part of their value's bytes or more. Reads pay for what is not folded,
/// checkpoints write values again for what is.
const FOLD_SHARE: usize = 16;

/// [`MergeOperator::should_fold`] of all operators of a store.
pub(super) fn should_fold(base_len: Option<usize>, pending_len: usize) -> bool {
    base_len.is_none_or(|base| pending_len.saturating_mul(FOLD_SHARE) >= base)
}

fn folded(base: &BitmapView<'_>, delta: &crate::delta::Delta) -> Vec<u8> {
    let mut value = Vec::new();
    store_view(&base.patched(delta), (0, u16::MAX), Unchanged::Keep, &mut value);
    value
}
