//! The greatest or least numbers, by layers and zones.

use super::chunk::Layers;
use super::view::SlicedView;
use crate::Query;
use crate::column::{Direction, Zone};
use crate::container::{ContainerRef, Scratch};
use crate::expr::Expr;
use crate::frozen::{BitmapBuf, join_slot};
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
        let query = self.existing(filter);
        let mut existing = query.chunk_filter();
        let certain = self.certain(best.chunk, existing.evaluate(best.chunk), direction, limit);
        let reaches =
            |zone: &&Zone| certain.is_none_or(|certain| !direction.precedes(&certain, &bound(zone)));
        let candidates = self.within(query, self.zones.zones().iter().filter(reaches));
        let (sure, tied) = self.narrow(&candidates, direction, limit);
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
                // Bytes that are wrong may count a slot more than once.
                Direction::Ascending => (left.cardinality() as usize).saturating_sub(ones),
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

    /// The query within some chunks, which ascend.
    fn within<'z>(&self, query: Query<'a>, zones: impl Iterator<Item = &'z Zone>) -> Query<'a> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        let mut count = 0;
        for zone in zones {
            count += 1;
            match ranges.last_mut() {
                Some((_, last)) if zone.chunk.checked_sub(1) == Some(*last) => *last = zone.chunk,
                _ => ranges.push((zone.chunk, zone.chunk)),
            }
        }
        if count == self.zones.zones().len() {
            return query;
        }
        let range =
            |(first, last)| Expr::bitmap(BitmapView::range(join_slot(first, 0), join_slot(last, u16::MAX)));
        let chunks = Expr::or(ranges.into_iter().map(range));
        Query::new(Expr::and([query.expr().clone(), chunks]), query.universe())
    }

    /// Splits candidates into those sure to be among the first, at most `limit`, and those tied
    /// with the last of the first.
    fn narrow(&self, candidates: &Query<'a>, direction: Direction, limit: usize) -> (BitmapBuf, BitmapBuf) {
        let mut sure = BitmapBuf::default();
        // All candidates that are not sure, until a layer leaves fewer.
        let mut tied: Option<BitmapBuf> = None;
        let mut sure_count = 0;
        for layer in self.layers.iter().rev() {
            let part = |ones: bool| match (&tied, ones) {
                (Some(tied), true) => BitmapView::from(tied).and(layer),
                (Some(tied), false) => BitmapView::from(tied).and_not(layer),
                (None, ones) => {
                    let (all, layer) = (candidates.expr().clone(), Expr::bitmap(*layer));
                    let part = if ones { Expr::and([all, layer]) } else { all.and_not(layer) };
                    Query::new(part.and_not(Expr::bitmap(&sure)), candidates.universe()).to_bitmap()
                }
            };
            let ones_first = direction == Direction::Descending;
            let ahead = part(ones_first);
            let count = usize::try_from(ahead.len()).unwrap_or(usize::MAX);
            if sure_count + count > limit {
                tied = Some(ahead);
                continue;
            }
            if count > 0 {
                let others = tied.is_some().then(|| part(!ones_first));
                sure_count += count;
                sure = BitmapView::from(&sure).or(&BitmapView::from(&ahead));
                tied = others;
            }
            if sure_count == limit {
                return (sure, BitmapBuf::default());
            }
        }
        let tied = tied.unwrap_or_else(|| {
            let rest = candidates.expr().clone().and_not(Expr::bitmap(&sure));
            Query::new(rest, candidates.universe()).to_bitmap()
        });
        (sure, tied)
    }
}
