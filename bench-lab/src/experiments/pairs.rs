//! Pairs of value and slot on their way to bitmaps: where they come from, and how the parts that threads made
//! of them are joined.

use bitmap_silo::{
    BitmapError, FrozenBitmap, Rows, ValueBitmaps, build_values, concatenate_into, store_into, union,
};
use rayon::prelude::*;

/// Where pairs come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// The values of slots 0, 1, 2, …
    Values(&'a [u32]),
    /// Lines `slot,value`, as a file has them.
    Csv(&'a [u8]),
}

/// A part of them, for one thread.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// The first slot, and values from there.
    Values(u32, &'a [u32]),
    /// Whole lines.
    Csv(&'a [u8]),
}

impl<'a> Source<'a> {
    /// Cuts the pairs into `count` parts or fewer; parts of values begin with a chunk.
    pub(super) fn parts(self, count: usize) -> Vec<Part<'a>> {
        match self {
            Self::Values(values) => {
                let chunks = values.len().div_ceil(1 << 16);
                let len = chunks.div_ceil(count).max(1) << 16;
                let first_slots = (0..).step_by(len);
                first_slots.zip(values.chunks(len)).map(|(slot, values)| Part::Values(slot, values)).collect()
            }
            Self::Csv(mut text) => {
                let len = text.len().div_ceil(count).max(1);
                let mut parts = Vec::new();
                while !text.is_empty() {
                    let near = len.min(text.len());
                    let end = text[near..]
                        .iter()
                        .position(|&byte| byte == b'\n')
                        .map_or(text.len(), |at| near + at + 1);
                    let (part, rest) = text.split_at(end);
                    parts.push(Part::Csv(part));
                    text = rest;
                }
                parts
            }
        }
    }
}

impl Part<'_> {
    /// Calls `f` with value and slot of each pair.
    #[inline]
    pub(super) fn for_each(&self, mut f: impl FnMut(u32, u32)) {
        match self {
            Part::Values(first, values) => (*first..).zip(*values).for_each(|(slot, value)| f(*value, slot)),
            Part::Csv(text) => {
                let (mut slot, mut number) = (0, 0_u32);
                for &byte in *text {
                    match byte {
                        b',' => (slot, number) = (number, 0),
                        b'\n' => {
                            f(number, slot);
                            number = 0;
                        }
                        digit => {
                            number =
                                number.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')));
                        }
                    }
                }
            }
        }
    }
}

/// Slots and values side by side.
type Pairs = (Vec<u32>, Vec<u32>);

/// Deals the pairs of parts to as many receivers, by a function of value and slot.
fn deal(parts: &[Part<'_>], receiver: impl Fn(u32, u32) -> usize + Sync) -> Vec<Pairs> {
    let count = parts.len();
    let dealt: Vec<Vec<Pairs>> = parts
        .par_iter()
        .map(|part| {
            let mut to = vec![Pairs::default(); count];
            part.for_each(|value, slot| {
                let (slots, values) = &mut to[receiver(value, slot).min(count - 1)];
                slots.push(slot);
                values.push(value);
            });
            to
        })
        .collect();
    (0..count)
        .into_par_iter()
        .map(|at| {
            let mut all = Pairs::default();
            for part in &dealt {
                all.0.extend_from_slice(&part[at].0);
                all.1.extend_from_slice(&part[at].1);
            }
            all
        })
        .collect()
}

/// Each thread builds the bitmaps of its own chunks; parts are joined value by value.
pub(super) fn build_by_chunks(
    source: Source<'_>,
    value_count: u32,
    slots: u32,
    threads: usize,
) -> Vec<ValueBitmaps> {
    let parts = source.parts(threads);
    let built: Result<Vec<ValueBitmaps>, BitmapError> = match source {
        Source::Values(_) => {
            let rows = parts.par_iter().map(|part| match part {
                Part::Values(first_slot, values) => Rows::Consecutive { first_slot: *first_slot, values },
                Part::Csv(_) => unreachable!("parts are of the kind of their source"),
            });
            rows.map(|rows| build_values(rows, value_count)).collect()
        }
        Source::Csv(_) => {
            let chunks = (slots as usize).div_ceil(1 << 16);
            let dealt = deal(&parts, |_, slot| (slot >> 16) as usize * parts.len() / chunks);
            dealt
                .par_iter()
                .map(|(slots, values)| build_values(Rows::Pairs { slots, values }, value_count))
                .collect()
        }
    };
    built.unwrap()
}

/// Each thread builds the bitmaps of its own values, all of them: nothing is left to join.
pub(super) fn build_by_values(
    source: Source<'_>,
    value_count: u32,
    threads: usize,
) -> Vec<(u32, ValueBitmaps)> {
    let parts = source.parts(threads);
    let share = value_count.div_ceil(parts.len() as u32).max(1);
    let dealt = deal(&parts, |value, _| (value / share) as usize);
    let built = (0..).step_by(share as usize).zip(dealt).collect::<Vec<_>>().into_par_iter();
    built
        .map(|(first, (slots, mut values))| {
            values.iter_mut().for_each(|value| *value -= first);
            let count = share.min(value_count.saturating_sub(first));
            (first, build_values(Rows::Pairs { slots: &slots, values: &values }, count).unwrap())
        })
        .collect()
}

/// Stored bitmaps of values, end to end, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Joined {
    /// The bytes of each value.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// Joins parts that own ascending chunks, value by value: bodies of containers are copied. Answers blocks of values.
pub(super) fn join(parts: &[ValueBitmaps], value_count: u32) -> Vec<Joined> {
    const BLOCK: usize = 1 << 12;
    let blocks = (value_count as usize).div_ceil(BLOCK);
    let one = |block: usize| {
        let mut joined = Joined::default();
        for value in block * BLOCK..((block + 1) * BLOCK).min(value_count as usize) {
            join_value(parts, value, &mut joined.bytes);
            joined.ends.push(joined.bytes.len());
        }
        joined
    };
    (0..blocks).into_par_iter().map(one).collect()
}

fn join_value(parts: &[ValueBitmaps], value: usize, out: &mut Vec<u8>) {
    let stored = || parts.iter().filter_map(|part| part.stored(value)).filter(|bytes| !bytes.is_empty());
    if stored().count() < 2 {
        return stored().for_each(|bytes| out.extend_from_slice(bytes));
    }
    let views: Result<Vec<FrozenBitmap<'_>>, _> = stored().map(FrozenBitmap::open).collect();
    if let Ok(views) = views {
        concatenate_into(&views, out).unwrap();
    } else {
        // Some parts are in the small form.
        let views = parts.iter().filter_map(|part| part.view(value));
        store_into(&union(views).view(), out);
    }
}
