//! Keys whose operations are decoded: columns, zones and postings.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use datasilo::{Keyspace, MergeOperator, MergeResult, Pending, Place, Snapshot};

use super::cache::DecodedCache;
use super::error::{StoreError, StoreResult};
use super::keys::Key;
use super::operator::should_fold;

/// Operations on a value, decoded: how they combine and fold.
pub(crate) trait Ops: Debug + Clone + Send + Sync + Sized + 'static {
    /// Name of the merge operator; it never changes its meaning.
    const OPERATOR: &'static str;

    /// Reads an operand; every rule is checked.
    fn decode(bytes: &[u8]) -> Result<Self, String>;

    /// The operand with this effect.
    fn encode(&self) -> Vec<u8>;

    /// These operations, then newer ones.
    fn then(&self, newer: &Self) -> Self;

    /// As [`Ops::then`], for one read: keeps both parts as they are, where that costs less.
    fn stacked(&self, newer: &Self) -> Self {
        self.then(newer)
    }

    /// The value that results on top of a base.
    fn fold(&self, base: Option<&[u8]>) -> Result<Vec<u8>, String>;
}

/// Operations of a memtable.
#[derive(Debug)]
struct Combined<T>(Arc<T>);

impl<T: Ops> datasilo::Delta for Combined<T> {
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The merge operator of operations of type `T`.
#[derive(Debug)]
pub(crate) struct Operator<T>(PhantomData<T>);

impl<T> Operator<T> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

fn combined<T: Ops>(operands: &[&[u8]]) -> MergeResult<T> {
    let mut operands = operands.iter().map(|operand| T::decode(operand));
    let first = operands.next().ok_or_else(|| "no operands".to_owned())??;
    operands.try_fold(first, |sum, next| Ok(sum.then(&next?)))
}

impl<T: Ops> MergeOperator for Operator<T> {
    fn name(&self) -> &str {
        T::OPERATOR
    }

    fn check_operand(&self, operand: &[u8]) -> MergeResult<()> {
        T::decode(operand).map(|_| ())
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        combined::<T>(operands)?.fold(base)
    }

    fn should_fold(&self, base_len: Option<usize>, pending_len: usize) -> bool {
        should_fold(base_len, pending_len)
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(combined::<T>(operands)?.encode())
    }

    fn extend(
        &self,
        delta: Option<&Arc<dyn datasilo::Delta>>,
        operands: &[&[u8]],
    ) -> MergeResult<Arc<dyn datasilo::Delta>> {
        let newer = combined::<T>(operands)?;
        let all = match delta {
            None => newer,
            Some(before) => before
                .as_any()
                .downcast_ref::<Combined<T>>()
                .ok_or_else(|| "the delta is another operator's".to_owned())?
                .0
                .then(&newer),
        };
        Ok(Arc::new(Combined(Arc::new(all))))
    }
}

/// A value in place and the operations on top of it.
#[derive(Debug, Clone)]
pub(crate) struct Patched<'s, T> {
    pub(crate) base: &'s [u8],
    pub(crate) ops: Option<Arc<T>>,
    /// Where the value lies, if nothing is pending.
    pub(crate) place: Option<Place>,
}

/// Reads a key; nothing where it has neither value nor operations.
pub(crate) fn read<'s, T: Ops>(
    snapshot: &'s Snapshot,
    keyspace: &Keyspace,
    cache: &DecodedCache,
    key: Key,
    place: &dyn Fn() -> String,
) -> StoreResult<Option<Patched<'s, T>>> {
    let Some(parts) = snapshot.get_parts(keyspace, key)? else {
        return Ok(None);
    };
    let base = parts.base.map_or(Ok(&[][..]), |base| base.bytes())?;
    let at = parts.base.filter(|_| parts.pending.is_empty()).map(|base| base.place(snapshot));
    let mut ops: Option<Arc<T>> = None;
    for pending in &parts.pending {
        let newer = match pending {
            Pending::Operand(value) => cache
                .get(snapshot, value.bytes()?, T::decode)
                .map_err(|what| StoreError::malformed(place(), what))?,
            Pending::Delta(delta) => match delta.as_any().downcast_ref::<Combined<T>>() {
                Some(delta) => Arc::clone(&delta.0),
                None => return Err(StoreError::malformed(place(), "operations of another operator")),
            },
        };
        ops = Some(match ops {
            None => newer,
            Some(older) => Arc::new(older.stacked(&newer)),
        });
    }
    Ok(Some(Patched { base, ops, place: at }))
}
