//! Setting and clearing numbers as operations on the layers.

use super::WIDTH_MAX;
use super::error::SlicedError;
use crate::column::Zones;
use crate::delta::Delta;

/// Operations on existence, layers and zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicedDelta {
    /// On the bitmap of existence.
    pub existence: Delta,
    /// On each layer, lowest bit first.
    pub layers: Vec<Delta>,
    /// What bounds are widened by.
    pub zones: Zones,
}

/// The operations that give each slot its new number, or none, whatever it had before; the last
/// on a slot counts.
///
/// # Errors
/// [`SlicedError`] unless there are 1 to 64 layers and every number fits them.
pub fn changes(width: usize, ops: &[(u32, Option<u64>)]) -> Result<SlicedDelta, SlicedError> {
    if !(1..=WIDTH_MAX).contains(&width) {
        return Err(SlicedError::Width { width });
    }
    let limit = u64::MAX >> (WIDTH_MAX - width);
    for (slot, number) in ops {
        if let Some(number) = number.filter(|number| *number > limit) {
            return Err(SlicedError::Number { slot: *slot, number, width });
        }
    }
    let has_bit = |number: Option<u64>, bit: usize| number.is_some_and(|number| number >> bit & 1 == 1);
    let layer = |bit| Delta::from_ops(ops.iter().map(|(slot, number)| (*slot, has_bit(*number, bit))));
    Ok(SlicedDelta {
        existence: Delta::from_ops(ops.iter().map(|(slot, number)| (*slot, number.is_some()))),
        layers: (0..width).map(layer).collect(),
        zones: Zones::of_entries(ops.iter().filter_map(|(slot, number)| Some((*slot, (*number)?)))),
    })
}
