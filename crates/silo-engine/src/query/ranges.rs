//! Conditions on columns: slots whose sort key lies in a range.

use std::ops::{ControlFlow, RangeInclusive};

use bitmap_silo::container::{Layout, Scratch};
use bitmap_silo::topk::SortSource;
use bitmap_silo::{BitmapBuf, BitmapWriter, Query};

use crate::engine::Column;
use crate::error::{Error, Result};

/// A column, a range of keys, and whether slots with a key outside of it are wanted instead.
pub(super) type Condition<'v> = (Column<'v>, RangeInclusive<u64>, bool);

/// Slots of a chunk up to which keys are looked up one by one.
const LOOK_UP_MAX: u32 = 2_048;

fn accepts(range: &RangeInclusive<u64>, negated: bool, key: Option<u64>) -> bool {
    key.is_some_and(|key| range.contains(&key) != negated)
}

/// Makes `words` the slots of a chunk that meet a condition.
fn load(condition: &Condition<'_>, chunk: u16, words: &mut Scratch) -> Result<u32> {
    let (column, range, negated) = condition;
    let view = column.column(chunk)?;
    if !*negated {
        return Ok(view.range_into(*range.start(), *range.end(), words));
    }
    let mut inside = Scratch::new();
    view.range_into(*range.start(), *range.end(), &mut inside);
    view.present_into(words);
    words.and_not(inside.as_bitset(0).into());
    Ok(words.cardinality())
}

/// Slots that meet all conditions.
pub(super) fn alone(conditions: &[Condition<'_>]) -> Result<BitmapBuf> {
    let mut writer = BitmapWriter::new(Layout::Quick);
    let Some((first, rest)) = conditions.split_first() else { return Ok(writer.finish()) };
    let (column, range, negated) = first;
    let (mut words, mut more) = (Scratch::new(), Scratch::new());
    for zone in column.zones() {
        let outside = zone.lowest > *range.end() || zone.highest < *range.start();
        if outside && !negated {
            continue;
        }
        let mut count = load(first, zone.chunk, &mut words)?;
        for condition in rest {
            if count > 0 {
                load(condition, zone.chunk, &mut more)?;
                words.and(more.as_bitset(0).into());
                count = words.cardinality();
            }
        }
        if count > 0 {
            push(&mut writer, zone.chunk, words.as_bitset(count).into())?;
        }
    }
    Ok(writer.finish())
}

/// Slots of a query's answer that meet all conditions.
pub(super) fn within(query: &Query<'_>, conditions: &[Condition<'_>]) -> Result<BitmapBuf> {
    let mut writer = BitmapWriter::new(Layout::Quick);
    let (mut words, mut more) = (Scratch::new(), Scratch::new());
    let mut lows: Vec<u16> = Vec::new();
    let walked = query.for_each_chunk(|chunk, container| {
        let mut step = || -> Result<()> {
            for (column, range, negated) in conditions {
                let zones = column.zones();
                let zone = zones.binary_search_by_key(&chunk, |zone| zone.chunk);
                let Some(zone) = zone.ok().and_then(|at| zones.get(at)) else { return Ok(()) };
                if !negated && (zone.lowest > *range.end() || zone.highest < *range.start()) {
                    return Ok(());
                }
            }
            if container.cardinality() <= LOOK_UP_MAX {
                lows.clear();
                container.for_each(|low| lows.push(low));
                for (column, range, negated) in conditions {
                    let view = column.column(chunk)?;
                    lows.retain(|low| accepts(range, *negated, view.get(*low)));
                }
                if !lows.is_empty() {
                    let found = bitmap_silo::container::ArrayRef::from_values(&lows);
                    push(&mut writer, chunk, found.into())?;
                }
                return Ok(());
            }
            words.load(container);
            for condition in conditions {
                load(condition, chunk, &mut more)?;
                words.and(more.as_bitset(0).into());
            }
            let count = words.cardinality();
            if count > 0 {
                push(&mut writer, chunk, words.as_bitset(count).into())?;
            }
            Ok(())
        };
        step().map_or_else(ControlFlow::Break, ControlFlow::Continue)
    });
    match walked {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(writer.finish()),
    }
}

fn push(
    writer: &mut BitmapWriter,
    chunk: u16,
    container: bitmap_silo::container::ContainerRef<'_>,
) -> Result<()> {
    writer.push(chunk, container).map_err(|why| Error::damaged("column", why))
}
