//! The greatest or least numbers, by layers and zones.

use super::chunk::Layers;
use super::view::SlicedView;
use crate::Query;
use crate::column::{Direction, Zone};
use crate::container::{ContainerRef, Layout, Scratch};
use crate::frozen::{BitmapBuf, BitmapWriter};
use crate::topk::Hit;
use crate::view::BitmapView;

impl<'a> SlicedView<'a> {
    /// The first `limit` slots of the filter, or of all, by (number, slot) in a direction.
    ///
    /// The chunk with the best bound says what number is certain to be reached; chunks that cannot
    /// reach it are left out. The others are narrowed down layer by layer, all chunks at a time, as
    /// the first layers leave little of them.
    #[must_use]
    pub fn top(&self, filter: Option<&Query<'a>>, direction: Direction, limit: usize) -> Vec<Hit> {
        if limit == 0 {
            return Vec::new();
        }
        let bound = |zone: &Zone| match direction {
            Direction::Ascending => zone.lowest,
            Direction::Descending => zone.highest,
        };
        let zones = self.zones.zones().iter();
        let Some(best) = zones.min_by(|a, b| direction.compare(&bound(a), &bound(b))) else {
            return Vec::new();
        };
        let existing = self.existing(filter);
        let mut existing = existing.chunk_filter();
        let certain = self.certain(best.chunk, existing.evaluate(best.chunk), direction, limit);
        let mut writer = BitmapWriter::new(Layout::Quick);
        for zone in self.zones.zones() {
            let worse = certain.is_some_and(|certain| direction.precedes(&certain, &bound(zone)));
            if !worse && existing.bound(zone.chunk) > 0 {
                let container = existing.evaluate(zone.chunk);
                let pushed = writer.push_counted(zone.chunk, container, container.cardinality());
                debug_assert!(pushed.is_ok(), "zones ascend");
            }
        }
        let (sure, tied) = self.narrow(writer.finish(), direction, limit);
        let mut slots: Vec<u32> = sure.view().iter().collect();
        let more = limit - slots.len().min(limit);
        match direction {
            Direction::Ascending => slots.extend(tied.view().iter().take(more)),
            Direction::Descending => slots.extend(tied.view().iter().rev().take(more)),
        }
        let mut hits: Vec<(Option<u64>, u32)> =
            slots.into_iter().map(|slot| (self.get(slot), slot)).collect();
        hits.sort_unstable_by(|a, b| direction.compare(a, b));
        hits.into_iter().map(|(key, slot)| Hit { slot, key }).collect()
    }

    /// A number that `limit` candidates of a chunk reach, if it has so many.
    fn certain(
        &self,
        chunk: u16,
        candidates: ContainerRef<'_>,
        direction: Direction,
        limit: usize,
    ) -> Option<u64> {
        if (candidates.cardinality() as usize) < limit {
            return None;
        }
        let mut layers = Layers::new(self);
        layers.load(chunk);
        // The number at a rank from the end that is sought, bit by bit.
        let (mut left, mut number, mut rank) = (Scratch::new(), 0, limit);
        left.load(candidates);
        for (bit, layer) in layers.containers().enumerate().rev() {
            let ones = left.count_and(layer) as usize;
            let better = match direction {
                Direction::Ascending => left.cardinality() as usize - ones,
                Direction::Descending => ones,
            };
            let among_better = rank <= better;
            if !among_better {
                rank -= better;
            }
            if among_better == (direction == Direction::Descending) {
                left.and(layer);
                number |= 1 << bit;
            } else {
                left.and_not(layer);
            }
        }
        Some(number)
    }

    /// Splits candidates into those sure to be among the first, fewer than `limit` or just so
    /// many, and those tied with the last of the first.
    fn narrow(&self, candidates: BitmapBuf, direction: Direction, limit: usize) -> (BitmapBuf, BitmapBuf) {
        let (mut tied, mut sure) = (candidates, BitmapBuf::default());
        let mut sure_count = 0;
        for layer in self.layers.iter().rev() {
            let all = BitmapView::from(&tied);
            let (with, without) = (|| all.and(layer), || all.and_not(layer));
            let ahead = match direction {
                Direction::Ascending => without(),
                Direction::Descending => with(),
            };
            let count = usize::try_from(ahead.len()).unwrap_or(usize::MAX);
            if sure_count + count > limit {
                tied = ahead;
                continue;
            }
            if count > 0 {
                sure_count += count;
                sure = BitmapView::from(&sure).or(&BitmapView::from(&ahead));
                tied = match direction {
                    Direction::Ascending => with(),
                    Direction::Descending => without(),
                };
            }
            if sure_count == limit {
                return (sure, BitmapBuf::default());
            }
        }
        (sure, tied)
    }
}
