//! Making pages.

#![expect(
    clippy::indexing_slicing,
    reason = "digits are masked to the length of the tables, and targets are prefix sums of counts"
)]

use super::error::ColumnError;
use super::page::{HEADER_BYTES, SAMPLE_EVERY, TAG_PAGE, VALUES_SLACK, values_bytes, width_of};
use super::presence;

/// Bits that one pass of the sort orders by.
const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;
/// Values up to this width are sorted packed with their slot into one word.
const PACKED_MAX: u32 = 48;

/// Makes column pages; keep one per thread, its buffers are used again.
#[derive(Debug, Default)]
pub struct PageBuilder {
    packed: [Vec<u64>; 2],
    wide: [Vec<(u64, u16)>; 2],
    order: Vec<u16>,
}

impl PageBuilder {
    /// A builder without buffers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the page of ascending slots and their keys to `out`; nothing for no slots. Sorts by
    /// radix: O(n).
    ///
    /// # Errors
    /// [`ColumnError`] where there are not as many keys as slots, or slots do not ascend.
    pub fn build_into(&mut self, slots: &[u16], keys: &[u64], out: &mut Vec<u8>) -> Result<(), ColumnError> {
        if slots.len() != keys.len() {
            return Err(ColumnError::RowLengths { slots: slots.len(), keys: keys.len() });
        }
        if let Some([previous, got]) = slots.array_windows().find(|[a, b]| a >= b) {
            return Err(ColumnError::SlotOrder { previous: *previous, got: *got });
        }
        let (Some(min), Some(max)) = (keys.iter().min(), keys.iter().max()) else {
            return Ok(());
        };
        if keys.is_sorted() {
            encode_into(slots, keys, (*min, *max), None, out);
        } else {
            self.sort(slots, keys, *min, width_of(max - min));
            encode_into(slots, keys, (*min, *max), Some(&self.order), out);
        }
        Ok(())
    }

    /// As [`build_into`](Self::build_into), a page of its own.
    ///
    /// # Errors
    /// As there.
    pub fn build(&mut self, slots: &[u16], keys: &[u64]) -> Result<Vec<u8>, ColumnError> {
        let mut out = Vec::new();
        self.build_into(slots, keys, &mut out)?;
        Ok(out)
    }

    /// Leaves the slots by (key, slot) in `order`. The slots ascend, and the sort is stable.
    fn sort(&mut self, slots: &[u16], keys: &[u64], min: u64, width: u32) {
        self.order.clear();
        if width <= PACKED_MAX {
            let [from, to] = &mut self.packed;
            from.clear();
            from.extend(slots.iter().zip(keys).map(|(slot, key)| (key - min) << 16 | u64::from(*slot)));
            radix_sort(from, to, width, |packed| packed >> 16);
            self.order.extend(from.iter().map(|packed| low_half(*packed)));
        } else {
            let [from, to] = &mut self.wide;
            from.clear();
            from.extend(slots.iter().zip(keys).map(|(slot, key)| (key - min, *slot)));
            radix_sort(from, to, width, |(value, _)| value);
            self.order.extend(from.iter().map(|(_, slot)| *slot));
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the slot is the lowest half-word")]
fn low_half(packed: u64) -> u16 {
    packed as u16
}

#[expect(clippy::cast_possible_truncation, reason = "masked to the digits of a pass")]
fn digit(value: u64, pass: u32) -> usize {
    (value >> (pass * DIGIT_BITS)) as usize & (DIGITS - 1)
}

/// Sorts by the lowest `width` bits of `value`, stable, lowest digit first; passes in which all
/// have the same digit are left out.
fn radix_sort<T: Copy + Default>(from: &mut Vec<T>, to: &mut Vec<T>, width: u32, value: impl Fn(T) -> u64) {
    let passes = width.div_ceil(DIGIT_BITS);
    let mut counts = vec![[0_u32; DIGITS]; passes as usize];
    for item in from.iter() {
        let value = value(*item);
        for (counts, pass) in counts.iter_mut().zip(0..) {
            counts[digit(value, pass)] += 1;
        }
    }
    to.resize(from.len(), T::default());
    for (counts, pass) in counts.iter_mut().zip(0..) {
        if counts.iter().any(|count| *count as usize == from.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            (start, *count) = (start + *count, start);
        }
        for item in from.iter() {
            let target = &mut counts[digit(value(*item), pass)];
            to[*target as usize] = *item;
            *target += 1;
        }
        std::mem::swap(from, to);
    }
}

/// Appends the page of ascending slots, their keys and their order; none where that is slot order.
pub(super) fn encode_into(
    slots: &[u16],
    keys: &[u64],
    (min, max): (u64, u64),
    order: Option<&[u16]>,
    out: &mut Vec<u8>,
) {
    let (Some(last), Ok(count)) = (slots.last(), u32::try_from(slots.len())) else {
        return;
    };
    let form = presence::form(slots.len(), *last);
    let width = width_of(max - min);
    out.reserve(HEADER_BYTES + 4 * slots.len() + values_bytes(slots.len(), width));
    out.extend_from_slice(&[TAG_PAGE, u8::try_from(width).unwrap_or(64), form, u8::from(order.is_some())]);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&min.to_le_bytes());
    out.extend_from_slice(&max.to_le_bytes());
    presence::encode_into(form, slots, out);
    if width > 0 {
        pack(keys, min, width, out);
        out.extend_from_slice(&[0; VALUES_SLACK]);
    }
    if let Some(order) = order {
        out.extend_from_slice(zerocopy::IntoBytes::as_bytes(order));
        for low in order.iter().step_by(SAMPLE_EVERY as usize) {
            // A prefix has its slots as ranks; otherwise they ascend.
            let rank = if form == presence::PREFIX {
                usize::from(*low)
            } else {
                slots.partition_point(|slot| slot < low)
            };
            // An order that nobody validated may name slots without keys.
            let key = keys.get(rank).copied().unwrap_or(max);
            out.extend_from_slice(&key.to_le_bytes());
        }
    }
}

/// Appends `key − min` of each key in `width` bits, in whole words.
fn pack(keys: &[u64], min: u64, width: u32, out: &mut Vec<u8>) {
    let (mut word, mut used) = (0_u64, 0);
    for key in keys {
        let value = key - min;
        word |= value << used;
        used += width;
        if used >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            used -= u64::BITS;
            // What did not fit; nothing where the value ended with the word.
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    if used > 0 {
        out.extend_from_slice(&word.to_le_bytes());
    }
}
