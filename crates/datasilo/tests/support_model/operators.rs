//! Merge operators that notice a lost, doubled or swapped operand.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datasilo::{Delta, MergeOperator, MergeResult};

/// Appends operands to the value: neither commutative nor idempotent.
#[derive(Debug)]
pub(crate) struct Append {
    name: &'static str,
    lazy: bool,
    /// Operands passed to `fold`, `combine` and `extend` so far.
    pub(crate) steps: AtomicU64,
}

impl Append {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, lazy: false, steps: AtomicU64::new(0) }
    }

    /// Checkpoints keep its operands beside the base.
    pub(crate) fn lazy(name: &'static str) -> Self {
        Self { lazy: true, ..Self::new(name) }
    }

    fn count(&self, operands: &[&[u8]]) {
        self.steps.fetch_add(operands.len() as u64, Ordering::Relaxed);
    }
}

impl MergeOperator for Append {
    fn name(&self) -> &str {
        self.name
    }

    fn check_operand(&self, operand: &[u8]) -> MergeResult<()> {
        if operand.starts_with(b"refuse") {
            return Err("the operand asks to be refused".to_owned());
        }
        Ok(())
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        self.count(operands);
        let mut value = base.unwrap_or_default().to_vec();
        operands.iter().for_each(|operand| value.extend_from_slice(operand));
        Ok(value)
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        self.count(operands);
        Ok(operands.concat())
    }

    fn should_fold(&self, base_len: Option<usize>, pending_len: usize) -> bool {
        !self.lazy && base_len.is_none_or(|base| pending_len * 4 >= base)
    }
}

/// What happens to one number: `x` becomes `x * factor + addend`, wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    factor: u32,
    addend: u32,
}

impl Step {
    fn apply(self, x: u32) -> u32 {
        x.wrapping_mul(self.factor).wrapping_add(self.addend)
    }

    fn then(self, next: Self) -> Self {
        Self { factor: self.factor.wrapping_mul(next.factor), addend: next.apply(self.addend) }
    }
}

/// Values are numbers in up to 256 registers, operands are affine maps of some of them:
/// associative, but neither commutative nor idempotent. Its delta is a map in memory.
#[derive(Debug)]
pub(crate) struct Affine;

/// Operands of [`Affine`] combined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AffineDelta(BTreeMap<u8, Step>);

impl AffineDelta {
    fn add(&mut self, operand: &[u8]) -> MergeResult<()> {
        if !operand.len().is_multiple_of(9) {
            return Err("an affine operand has 9 bytes a step".to_owned());
        }
        for bytes in operand.chunks(9) {
            let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let step = Step { factor: number(1), addend: number(5) };
            self.0.entry(bytes[0]).and_modify(|before| *before = before.then(step)).or_insert(step);
        }
        Ok(())
    }
}

impl Delta for AffineDelta {
    fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(&register, step)| affine_step(register, step.factor, step.addend)).collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// One step of an operand of [`Affine`].
pub(crate) fn affine_step(register: u8, factor: u32, addend: u32) -> [u8; 9] {
    let mut step = [register; 9];
    step[1..5].copy_from_slice(&factor.to_le_bytes());
    step[5..].copy_from_slice(&addend.to_le_bytes());
    step
}

impl MergeOperator for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn check_operand(&self, operand: &[u8]) -> MergeResult<()> {
        AffineDelta::default().add(operand)
    }

    fn fold(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        let base = base.unwrap_or_default();
        if !base.len().is_multiple_of(5) {
            return Err("an affine value has 5 bytes a register".to_owned());
        }
        let mut registers: BTreeMap<u8, u32> =
            base.chunks(5).map(|c| (c[0], u32::from_le_bytes(c[1..].try_into().unwrap()))).collect();
        let mut delta = AffineDelta::default();
        operands.iter().try_for_each(|operand| delta.add(operand))?;
        for (register, step) in delta.0 {
            let x = registers.entry(register).or_default();
            *x = step.apply(*x);
        }
        let encode = |(register, x): (u8, u32)| std::iter::once(register).chain(x.to_le_bytes());
        Ok(registers.into_iter().flat_map(encode).collect())
    }

    fn combine(&self, operands: &[&[u8]]) -> MergeResult<Vec<u8>> {
        let mut delta = AffineDelta::default();
        operands.iter().try_for_each(|operand| delta.add(operand))?;
        Ok(delta.encode())
    }

    fn should_fold(&self, base_len: Option<usize>, pending_len: usize) -> bool {
        base_len.is_some_and(|base| pending_len > base)
    }

    fn extend(&self, delta: Option<&Arc<dyn Delta>>, operands: &[&[u8]]) -> MergeResult<Arc<dyn Delta>> {
        let mut next = match delta {
            None => AffineDelta::default(),
            Some(before) => {
                before.as_any().downcast_ref::<AffineDelta>().ok_or("a delta of another kind")?.clone()
            }
        };
        operands.iter().try_for_each(|operand| next.add(operand))?;
        Ok(Arc::new(next))
    }
}
