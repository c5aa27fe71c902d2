//! The order of text ids as numbers.
//!
//! A record with a text id has a *label*, a 64-bit number in the column of ids; labels ascend as the ids do, with gaps between
//! them. A new id gets a label between those of its neighbours, which are found by bisection over the column. Where
//! a gap is used up, the labels around it are spread anew (order maintenance: Itai, Konheim, Rodeh 1981).

use std::collections::BTreeMap;

use bitmap_silo::column::Direction;
use bitmap_silo::topk::TopK;

use super::view::{Column, View};
use crate::error::{Error, Result};
use crate::value::Id;

/// Distance of labels that are given out at either end, or anew.
pub(crate) const STEP: u64 = 1 << 32;
/// Least distance after labels around a full gap were spread.
const SPREAD: u64 = 1 << 12;
/// Labels that are looked at first around a full gap, to each side.
const WINDOW: usize = 32;

/// The label of the record at a place, of so many, after a load. Needs fewer than 2³² records.
pub(crate) fn label_of_rank(rank: u64, count: u64) -> u64 {
    let first = (1 << 63) - count / 2 * STEP;
    first + rank * STEP
}

impl View<'_> {
    /// The lowest label whose id passes `is_past`, which is false for the lower ids and true for the higher ones.
    pub(crate) fn first_label(
        &self,
        labels: &Column<'_>,
        is_past: impl Fn(&str) -> bool,
    ) -> Result<Option<u64>> {
        // Labels below `low` do not pass; `found` passes, and nothing between `high` and it exists.
        let (mut low, mut high) = (0_u64, u64::MAX);
        let mut found = None;
        loop {
            let middle = low + (high - low) / 2;
            let hit = TopK::new(labels).between(middle..=u64::MAX).first(1)?;
            let hit = hit.first().and_then(|hit| Some((hit.slot, hit.key?)));
            let past = match hit {
                Some((_, label)) if found.is_some_and(|found| label >= found) => true,
                Some((slot, label)) => {
                    let Id::Text(text) = self.id_of(slot)? else {
                        return Err(Error::damaged("ids", "a text id is expected"));
                    };
                    if is_past(&text) {
                        found = Some(label);
                        true
                    } else {
                        if label == u64::MAX {
                            return Ok(found);
                        }
                        low = label + 1;
                        false
                    }
                }
                None => true,
            };
            if past {
                // Between `middle` and the hit there is nothing.
                if middle == low {
                    return Ok(found);
                }
                high = middle;
            } else if low >= high {
                return Ok(found);
            }
        }
    }
}

/// Labels that a batch gives out or changes.
#[derive(Debug, Default)]
pub(super) struct NewLabels {
    /// By id, those given out in this batch.
    by_id: BTreeMap<String, u64>,
    /// By slot, every label that is written.
    by_slot: BTreeMap<u32, u64>,
    slots: BTreeMap<String, u32>,
}

impl NewLabels {
    /// Labels that are written, with their slots.
    pub(super) fn written(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.by_slot.iter().map(|(slot, label)| (*slot, *label))
    }

    /// Gives a label to a new id.
    pub(super) fn assign(&mut self, view: &View<'_>, labels: &Column<'_>, slot: u32, id: &str) -> Result<()> {
        let mut all = Neighbours { view, labels, new: self }.around(id, 1)?;
        let mut at = all.partition_point(|neighbour| neighbour.id.as_str() < id);
        if between(&all, at).is_none() {
            let mut window = WINDOW;
            loop {
                all = Neighbours { view, labels, new: self }.around(id, window)?;
                at = all.partition_point(|neighbour| neighbour.id.as_str() < id);
                if self.spread(&mut all, window) {
                    break;
                }
                window *= 4;
            }
        }
        let label = between(&all, at).ok_or_else(|| {
            Error::Document("no label is left for a text id: load into a new silo".to_owned())
        })?;
        self.by_id.insert(id.to_owned(), label);
        self.by_slot.insert(slot, label);
        self.slots.insert(id.to_owned(), slot);
        Ok(())
    }

    /// Spreads labels evenly between the outermost ones, which stay unless they are the first or last of
    /// all; answers whether that leaves room.
    fn spread(&mut self, all: &mut [Neighbour], window: usize) -> bool {
        let below = all.iter().filter(|n| n.is_below).count();
        let above = all.len() - below;
        // Where fewer were found than asked for, the end of all labels was reached.
        let low = if below < window { STEP } else { all.first().map_or(STEP, |n| n.label) };
        let high = if above < window { u64::MAX - STEP } else { all.last().map_or(u64::MAX, |n| n.label) };
        let step = (high - low) / (all.len() as u64 + 1);
        if step < SPREAD {
            return false;
        }
        for (neighbour, rank) in all.iter_mut().zip(1..) {
            neighbour.label = low + step * rank;
            self.by_slot.insert(neighbour.slot, neighbour.label);
            if let Some(label) = self.by_id.get_mut(&neighbour.id) {
                *label = neighbour.label;
            }
        }
        true
    }
}

/// A label between two that are next to each other.
fn between(all: &[Neighbour], at: usize) -> Option<u64> {
    let low = at.checked_sub(1).and_then(|at| all.get(at)).map(|n| n.label);
    let high = all.get(at).map(|n| n.label);
    match (low, high) {
        (None, None) => Some(1 << 63),
        (Some(low), None) => low.checked_add(STEP).filter(|label| *label < u64::MAX - STEP),
        (None, Some(high)) => high.checked_sub(STEP).filter(|label| *label > STEP),
        (Some(low), Some(high)) => {
            let label = low + (high - low) / 2;
            (label > low && label < high).then_some(label)
        }
    }
}

/// An id with its label, as it is in the midst of a batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Neighbour {
    label: u64,
    id: String,
    slot: u32,
    is_below: bool,
}

struct Neighbours<'n, 'v, 'e> {
    view: &'n View<'e>,
    labels: &'n Column<'v>,
    new: &'n NewLabels,
}

impl Neighbours<'_, '_, '_> {
    /// Up to `window` ids to each side of a new one, ascending. Ids whose records are removed by
    /// the same batch may be among them, which does no harm.
    fn around(&self, id: &str, window: usize) -> Result<Vec<Neighbour>> {
        let first = self.view.first_label(self.labels, |other| other >= id)?;
        let above = match first {
            Some(first) => self.stored(Direction::Ascending, first, window)?,
            None => Vec::new(),
        };
        let below = match first.map_or(Some(u64::MAX), |first| first.checked_sub(1)) {
            Some(last) => self.stored(Direction::Descending, last, window)?,
            None => Vec::new(),
        };
        let new = |(id, label): (&String, &u64), is_below| Neighbour {
            label: *label,
            id: id.clone(),
            slot: self.new.slots.get(id).copied().unwrap_or(0),
            is_below,
        };
        let new_above = self.new.by_id.range(id.to_owned()..).take(window).map(|one| new(one, false));
        let new_below = self.new.by_id.range(..id.to_owned()).rev().take(window).map(|one| new(one, true));
        let mut above: Vec<Neighbour> = above.into_iter().chain(new_above).collect();
        let mut below: Vec<Neighbour> = below.into_iter().chain(new_below).collect();
        above.sort();
        below.sort();
        above.truncate(window);
        let excess = below.len().saturating_sub(window);
        below.drain(..excess);
        below.extend(above);
        Ok(below)
    }

    fn stored(&self, direction: Direction, first: u64, window: usize) -> Result<Vec<Neighbour>> {
        let range = match direction {
            Direction::Ascending => first..=u64::MAX,
            Direction::Descending => 0..=first,
        };
        let hits = TopK::new(self.labels).direction(direction).between(range).first(window)?;
        let mut found = Vec::with_capacity(hits.len());
        for hit in hits {
            let (Id::Text(id), Some(label)) = (self.view.id_of(hit.slot)?, hit.key) else {
                return Err(Error::damaged("ids", "a text id with a label is expected"));
            };
            // A label that this batch changes counts as changed.
            let label = self.new.by_slot.get(&hit.slot).copied().unwrap_or(label);
            found.push(Neighbour { label, id, slot: hit.slot, is_below: direction == Direction::Descending });
        }
        Ok(found)
    }
}
