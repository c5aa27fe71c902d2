//! Numbers that compare with given ones.

use std::ops::ControlFlow;

use super::chunk::Layers;
use super::view::SlicedView;
use crate::Query;
use crate::container::{ContainerRef, Layout, Scratch};
use crate::frozen::{BitmapBuf, BitmapWriter};
use crate::kernels::kernels;

/// What numbers are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal to the number.
    Equal(u64),
    /// Other than the number.
    NotEqual(u64),
    /// Below the number.
    Less(u64),
    /// At most the number.
    AtMost(u64),
    /// Above the number.
    Greater(u64),
    /// At least the number.
    AtLeast(u64),
    /// From the first to the second number, both inclusive.
    Between(u64, u64),
}

impl Comparison {
    /// The range of numbers meant, both ends inclusive, and whether it is those outside that are
    /// meant; none where no number can be.
    fn range(self) -> Option<(u64, u64, bool)> {
        let within = |low, high| (low <= high).then_some((low, high, false));
        match self {
            Self::Equal(number) => within(number, number),
            Self::NotEqual(number) => Some((number, number, true)),
            Self::Less(number) => within(0, number.checked_sub(1)?),
            Self::AtMost(number) => within(0, number),
            Self::Greater(number) => within(number.checked_add(1)?, u64::MAX),
            Self::AtLeast(number) => within(number, u64::MAX),
            Self::Between(low, high) => within(low, high),
        }
    }
}

impl<'a> SlicedView<'a> {
    /// The slots of the filter, or of all, whose number compares so.
    #[must_use]
    pub fn compare(&self, comparison: Comparison, filter: Option<&Query<'a>>) -> BitmapBuf {
        let mut writer = BitmapWriter::new(Layout::Quick);
        self.compare_chunks(comparison, filter, |chunk, container| {
            let pushed = writer.push(chunk, container);
            debug_assert!(pushed.is_ok(), "chunks ascend");
        });
        writer.finish()
    }

    /// How many slots of the filter, or of all, have a number that compares so.
    #[must_use]
    pub fn count(&self, comparison: Comparison, filter: Option<&Query<'a>>) -> u64 {
        let mut total = 0;
        self.compare_chunks(comparison, filter, |_, container| total += u64::from(container.cardinality()));
        total
    }

    /// Hands the matching slots of each chunk to `f`.
    fn compare_chunks(
        &self,
        comparison: Comparison,
        filter: Option<&Query<'a>>,
        mut f: impl FnMut(u16, ContainerRef<'_>),
    ) {
        let Some((low, high, outside)) = comparison.range() else { return };
        let (mut layers, limit) = (Layers::new(self), self.limit());
        let (mut words, mut spare) = (Scratch::new(), Scratch::new());
        let _ = self.for_each_chunk::<()>(filter, |chunk, existing| {
            let zone = self.zones.get(chunk);
            let all_in = zone.is_some_and(|zone| low <= zone.lowest && zone.highest <= high);
            let all_out = low > limit || zone.is_some_and(|zone| zone.highest < low || high < zone.lowest);
            if all_in || all_out {
                if all_in != outside {
                    f(chunk, existing);
                }
                return ControlFlow::Continue(());
            }
            layers.load(chunk);
            (kernels().between)(&layers.words(), low, high.min(limit), words.words_mut());
            if outside {
                spare.load(existing);
                spare.and_not(words.as_bitset(0).into());
                std::mem::swap(&mut words, &mut spare);
            } else {
                words.and(existing);
            }
            let cardinality = words.cardinality();
            if cardinality > 0 {
                f(chunk, words.as_bitset(cardinality).into());
            }
            ControlFlow::Continue(())
        });
    }
}
