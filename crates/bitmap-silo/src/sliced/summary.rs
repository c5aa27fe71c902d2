//! Sums, bounds and quantiles over layers.

use std::ops::ControlFlow;

use super::chunk::Layers;
use super::view::SlicedView;
use crate::Query;
use crate::container::{ContainerRef, Scratch};
use crate::topk::{Totals, rank_of};
use crate::view::BitmapView;

impl<'a> SlicedView<'a> {
    /// Number and sum of the numbers of the filter's slots, or of all: a count for each layer.
    #[must_use]
    pub fn count_and_sum(&self, filter: Option<&Query<'a>>) -> (u64, u128) {
        let weigh = |(count, bit): (u64, u32)| u128::from(count) << bit;
        if filter.is_none() {
            let counts = self.layers.iter().map(BitmapView::len);
            return (self.existence.len(), counts.zip(0..).map(weigh).sum());
        }
        // Layer by layer: memory is read in long stretches.
        let existing = self.existing(filter).to_bitmap();
        let view = BitmapView::from(&existing);
        let counts = self.layers.iter().map(|layer| layer.intersection_len(&view));
        (existing.len(), counts.zip(0..).map(weigh).sum())
    }

    /// The highest or lowest number of the filter's slots, or of all; chunks whose bounds cannot
    /// better it are not read.
    #[must_use]
    pub fn extreme(&self, filter: Option<&Query<'a>>, highest: bool) -> Option<u64> {
        let (mut layers, mut candidates) = (Layers::new(self), Scratch::new());
        let mut best: Option<u64> = None;
        let _ = self.for_each_chunk::<()>(filter, |chunk, existing| {
            let betters =
                |number: u64| best.is_none_or(|best| if highest { number > best } else { number < best });
            let bound = |zone: &crate::column::Zone| if highest { zone.highest } else { zone.lowest };
            if self.zones.get(chunk).is_none_or(|zone| betters(bound(zone))) {
                layers.load(chunk);
                candidates.load(existing);
                let found = layers.extreme(&mut candidates, highest);
                if betters(found) {
                    best = Some(found);
                }
            }
            ControlFlow::Continue(())
        });
        best
    }

    /// Number, sum and bounds of the numbers of the filter's slots, or of all.
    #[must_use]
    pub fn totals(&self, filter: Option<&Query<'a>>) -> Totals {
        let (count, sum) = self.count_and_sum(filter);
        Totals { count, sum, min: self.extreme(filter, false), max: self.extreme(filter, true) }
    }

    /// The `q`-quantile, exactly, as [`topk::quantile`](crate::topk::quantile) defines it. A pass
    /// over each layer; holds a bit for each slot of the chunks in question.
    #[must_use]
    pub fn quantile(&self, filter: Option<&Query<'a>>, q: f64) -> Option<u64> {
        let mut chunks: Vec<(u16, Box<Scratch>)> = Vec::new();
        let mut count = 0;
        let _ = self.for_each_chunk::<()>(filter, |chunk, existing| {
            let mut words = Box::new(Scratch::new());
            words.load(existing);
            count += u64::from(existing.cardinality());
            chunks.push((chunk, words));
            ControlFlow::Continue(())
        });
        if count == 0 {
            return None;
        }
        let (mut rank, mut number) = (rank_of(q, count), 0);
        for (bit, layer) in self.layers.iter().enumerate().rev() {
            let mut source = crate::source::Source::new(layer);
            let mut with = Vec::with_capacity(chunks.len());
            let mut without = 0;
            for (chunk, words) in &chunks {
                let here = source.seek(*chunk) == Some(*chunk) && source.load(*chunk) > 0;
                let ones = if here { words.count_and(source.container()) } else { 0 };
                // Bytes that are wrong may count a slot more than once.
                without += u64::from(words.cardinality().saturating_sub(ones));
                with.push(ones);
            }
            let one = rank >= without;
            if one {
                rank -= without;
                number |= 1 << bit;
            }
            let mut source = crate::source::Source::new(layer);
            let mut with = with.into_iter();
            chunks.retain_mut(|(chunk, words)| {
                let ones = with.next().unwrap_or(0);
                if ones == 0 {
                    return !one;
                }
                let layer = if source.seek(*chunk) == Some(*chunk) && source.load(*chunk) > 0 {
                    source.container()
                } else {
                    ContainerRef::EMPTY
                };
                if one {
                    words.and(layer);
                } else {
                    words.and_not(layer);
                }
                !words.is_empty()
            });
        }
        Some(number)
    }
}
