//! Layers to read.

use super::WIDTH_MAX;
use super::chunk::Layers;
use super::error::SlicedError;
use crate::column::Zones;
use crate::container::{ContainerRef, Scratch};
use crate::view::BitmapView;

/// Bit-sliced numbers, borrowed: layers in any form that bitmaps have, pending operations
/// included.
#[derive(Clone, Debug)]
pub struct SlicedView<'a> {
    pub(super) existence: BitmapView<'a>,
    pub(super) layers: Vec<BitmapView<'a>>,
    pub(super) zones: &'a Zones,
}

impl<'a> SlicedView<'a> {
    /// Numbers of existing slots from layers, lowest bit first. Zones must be true: they may be
    /// wide, but name every chunk with a number. Layers must lie within existence.
    ///
    /// # Errors
    /// [`SlicedError::Width`] unless there are 1 to 64 layers.
    pub fn new(
        existence: BitmapView<'a>,
        layers: Vec<BitmapView<'a>>,
        zones: &'a Zones,
    ) -> Result<Self, SlicedError> {
        let width = layers.len();
        if !(1..=WIDTH_MAX).contains(&width) {
            return Err(SlicedError::Width { width });
        }
        Ok(Self { existence, layers, zones })
    }

    /// Number of layers.
    #[must_use]
    pub fn width(&self) -> usize {
        self.layers.len()
    }

    /// The greatest number that the layers hold.
    #[must_use]
    pub fn limit(&self) -> u64 {
        u64::MAX >> (WIDTH_MAX - self.layers.len())
    }

    /// The number of a slot; a look-up in each layer.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<u64> {
        let bits = self.layers.iter().zip(0..);
        self.existence
            .contains(slot)
            .then(|| bits.fold(0, |number, (layer, bit)| number | u64::from(layer.contains(slot)) << bit))
    }

    /// Checks that layers lie within existence and zones are true bounds. O(layers).
    ///
    /// # Errors
    /// [`SlicedError::Stray`] or [`SlicedError::Zone`], the first found.
    pub fn check(&self) -> Result<(), SlicedError> {
        for (layer, view) in self.layers.iter().enumerate() {
            let slots = view.difference_len(&self.existence);
            if slots > 0 {
                return Err(SlicedError::Stray { layer, slots });
            }
        }
        let mut layers = Layers::new(self);
        let mut candidates = Scratch::new();
        let query = crate::Query::new(self.existence, 1 << 32);
        let mut wrong = None;
        let _ = query.for_each_chunk(|chunk, container| {
            layers.load(chunk);
            let mut end = |highest| {
                candidates.load(container);
                layers.extreme(&mut candidates, highest)
            };
            let bounds = [end(false), end(true)];
            let holds = self.zones.get(chunk).is_some_and(|zone| {
                zone.lowest <= bounds[0] && bounds[1] <= zone.highest && zone.count >= container.cardinality()
            });
            if holds {
                std::ops::ControlFlow::Continue(())
            } else {
                wrong = Some(chunk);
                std::ops::ControlFlow::Break(())
            }
        });
        wrong.map_or(Ok(()), |chunk| Err(SlicedError::Zone { chunk }))
    }

    /// Calls `f` with every chunk that has numbers of the filter, in ascending order.
    pub(super) fn for_each_chunk<B>(
        &self,
        filter: Option<&crate::Query<'a>>,
        f: impl FnMut(u16, ContainerRef<'_>) -> std::ops::ControlFlow<B>,
    ) -> std::ops::ControlFlow<B> {
        self.existing(filter).for_each_chunk(f)
    }

    /// The slots of the filter that have a number.
    pub(super) fn existing(&self, filter: Option<&crate::Query<'a>>) -> crate::Query<'a> {
        let existence = crate::Expr::bitmap(self.existence);
        match filter {
            Some(filter) => {
                crate::Query::new(crate::Expr::and([filter.expr().clone(), existence]), filter.universe())
            }
            None => crate::Query::new(existence, 1 << 32),
        }
    }
}
