//! Merge operators: how operands fold onto values.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// What an operator says when it cannot work with its input; shown to the user.
pub type MergeResult<T> = std::result::Result<T, String>;

/// How the operands of a keyspace's merges fold onto its values.
///
/// Operands are applied in commit order, each exactly once: an operator need not be idempotent
/// or commutative. It must be associative: `fold(b, [x, y])` equals `fold(b, [combine([x, y])])`
/// and `fold(fold(b, [x]), [y])`.
///
/// The operator's name is stored with the keyspace, which cannot be opened without it.
pub trait MergeOperator: Debug + Send + Sync {
    /// The name under which keyspaces refer to this operator. It must never change its meaning.
    fn name(&self) -> &str;

    /// Says whether an operand can be applied; asked before it is written.
    ///
    /// # Errors
    /// A message for the user, if the operand is malformed.
    fn check_operand(&self, operand: &[u8]) -> MergeResult<()> {
        let _ = operand;
        Ok(())
    }

    /// The value that results from operands on top of a base.
    ///
    /// # Errors
    /// A message for the user, if the bytes are malformed.
    fn fold(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>>;

    /// One operand that has the effect of several, in order.
    ///
    /// # Errors
    /// A message for the user, if the bytes are malformed.
    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>>;

    /// Whether a checkpoint should write the folded value instead of keeping the combined operand
    /// beside the base. Lengths in bytes; `base` is `None` for a key without one.
    fn should_fold(&self, base_len: Option<usize>, pending_len: usize) -> bool {
        base_len.is_none_or(|base| pending_len * 4 >= base)
    }

    /// The combined effect of operands, in memory: `delta` (if any) with more operands on top.
    ///
    /// Called once for each operand that is read, not for each read: the result is kept for later
    /// ones. The default keeps one combined operand in bytes; an operator with large deltas
    /// returns a type of its own that shares what does not change.
    ///
    /// # Errors
    /// A message for the user, if the bytes are malformed.
    fn extend(&self, delta: Option<&Arc<dyn Delta>>, operands: &[&[u8]]) -> MergeResult<Arc<dyn Delta>> {
        let before = delta.map(|delta| delta.encode());
        let all: Vec<&[u8]> = before.as_deref().into_iter().chain(operands.iter().copied()).collect();
        Ok(Arc::new(CombinedOperand(self.combine(&all)?)))
    }
}

/// Operands combined in memory; see [`MergeOperator::extend`].
pub trait Delta: Debug + Send + Sync {
    /// The operand that has this effect.
    fn encode(&self) -> Vec<u8>;

    /// For operators to get their own type back.
    fn as_any(&self) -> &dyn Any;
}

/// The delta of operators that combine operands as bytes.
#[derive(Debug)]
struct CombinedOperand(Vec<u8>);

impl Delta for CombinedOperand {
    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
