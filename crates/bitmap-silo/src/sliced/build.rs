//! Layers by transposing the bits of whole chunks.

use super::error::SlicedError;
use super::{SlicedView, WIDTH_MAX};
use crate::column::{Zone, Zones};
use crate::container::{BITSET_BYTES, CHUNK_SLOTS, ContainerRef, Layout, Scratch};
use crate::frozen::{BitmapBuf, BitmapWriter, join_slot};
use crate::kernels::{Words, kernels};
use crate::view::BitmapView;

/// Makes the layers of numbers, chunk by chunk.
#[derive(Debug)]
pub struct SlicedBuilder {
    layers: Vec<BitmapWriter>,
    existence: BitmapWriter,
    zones: Vec<Zone>,
    slices: Vec<Words>,
    /// The numbers of the chunk under way, in halves of 32 bits.
    halves: [Vec<u32>; 2],
}

/// Layers in memory, as they are stored.
#[derive(Clone, Debug)]
pub struct SlicedBuf {
    /// Slots with a number.
    pub existence: BitmapBuf,
    /// For each bit, lowest first, the slots whose number has it.
    pub layers: Vec<BitmapBuf>,
    /// Bounds of each chunk.
    pub zones: Zones,
}

impl SlicedBuf {
    /// The layers to read.
    #[must_use]
    pub fn view(&self) -> SlicedView<'_> {
        let layers = self.layers.iter().map(BitmapView::from).collect();
        match SlicedView::new(BitmapView::from(&self.existence), layers, &self.zones) {
            Ok(view) => view,
            Err(error) => unreachable!("the builder checked the width: {error}"),
        }
    }
}

impl SlicedBuilder {
    /// A builder of so many layers.
    ///
    /// # Errors
    /// [`SlicedError::Width`] unless there are 1 to 64.
    pub fn new(width: usize) -> Result<Self, SlicedError> {
        Self::with_capacity(width, 0)
    }

    /// As [`new`](Self::new), with room for so many chunks of dense layers.
    ///
    /// # Errors
    /// As there.
    pub fn with_capacity(width: usize, chunk_count: usize) -> Result<Self, SlicedError> {
        if !(1..=WIDTH_MAX).contains(&width) {
            return Err(SlicedError::Width { width });
        }
        let writer =
            || BitmapWriter::with_capacity(Layout::Smallest, chunk_count, chunk_count * BITSET_BYTES);
        Ok(Self {
            layers: (0..width).map(|_| writer()).collect(),
            existence: BitmapWriter::new(Layout::Smallest),
            zones: Vec::new(),
            slices: vec![[0; 1024]; width],
            halves: [Vec::new(), Vec::new()],
        })
    }

    /// Adds a chunk above those before: the numbers of its first slots, in slot order. With
    /// `present`, only its slots have one.
    ///
    /// # Errors
    /// [`SlicedError`] where a number does not fit the layers, there are more than 65,536, or
    /// chunks do not ascend.
    pub fn push(
        &mut self,
        chunk: u16,
        numbers: &[u64],
        present: Option<&Scratch>,
    ) -> Result<(), SlicedError> {
        let width = self.layers.len();
        let any = numbers.iter().fold(0, |any, number| any | number);
        if width < WIDTH_MAX && any >> width != 0 {
            let found = numbers.iter().zip(0..=u16::MAX).find(|(number, _)| *number >> width != 0);
            let (number, low) = found.unwrap_or((&any, 0));
            return Err(SlicedError::Number { slot: join_slot(chunk, low), number: *number, width });
        }
        let [low, high] = &mut self.halves;
        low.clear();
        low.extend(numbers.iter().map(|number| low_half(*number)));
        high.clear();
        if width > 32 {
            high.extend(numbers.iter().map(|number| low_half(number >> 32)));
        }
        let [low, high] = std::mem::take(&mut self.halves);
        let pushed = self.push_halves(chunk, [&low, &high], present);
        self.halves = [low, high];
        pushed
    }

    /// As [`push`](Self::push), for numbers of 32 bits.
    ///
    /// # Errors
    /// As there.
    pub fn push_u32(
        &mut self,
        chunk: u16,
        numbers: &[u32],
        present: Option<&Scratch>,
    ) -> Result<(), SlicedError> {
        let width = self.layers.len();
        let any = numbers.iter().fold(0, |any, number| any | number);
        if width < 32 && any >> width != 0 {
            let found = numbers.iter().zip(0..=u16::MAX).find(|(number, _)| *number >> width != 0);
            let (number, low) = found.unwrap_or((&any, 0));
            let number = u64::from(*number);
            return Err(SlicedError::Number { slot: join_slot(chunk, low), number, width });
        }
        self.push_halves(chunk, [numbers, &[]], present)
    }

    fn push_halves(
        &mut self,
        chunk: u16,
        [low, high]: [&[u32]; 2],
        present: Option<&Scratch>,
    ) -> Result<(), SlicedError> {
        let count = low.len();
        let Some(last) = count.checked_sub(1) else { return Ok(()) };
        let last = u16::try_from(last).map_err(|_| SlicedError::ChunkLength { numbers: count })?;
        let mut exists = Scratch::new();
        exists.insert_range(0, last);
        if let Some(present) = present {
            exists.and(present.as_bitset(0).into());
        }
        let slots = exists.cardinality();
        if slots == 0 {
            return Ok(());
        }
        let whole = slots == CHUNK_SLOTS;
        let container =
            if whole { ContainerRef::FULL } else { ContainerRef::Bitset(exists.as_bitset(slots)) };
        self.existence.push(chunk, container)?;
        let low_width = self.slices.len().min(32);
        let (low_slices, high_slices) = self.slices.split_at_mut(low_width);
        // Bits past the last number stay zero.
        if count < CHUNK_SLOTS as usize {
            low_slices.iter_mut().chain(&mut *high_slices).for_each(|slice| slice.fill(0));
        }
        (kernels().slice32)(low, low_slices);
        if high.is_empty() {
            high_slices.fill([0; 1024]);
        } else {
            (kernels().slice32)(high, high_slices);
        }
        for (layer, slice) in self.layers.iter_mut().zip(&mut self.slices) {
            if slots as usize != count {
                slice.iter_mut().zip(exists.words()).for_each(|(word, exists)| *word &= exists);
            }
            let bits = crate::container::view::as_bits(slice);
            let cardinality = (kernels().popcount)(bits);
            if cardinality > 0 {
                let bits = crate::container::BitsetRef::new(bits, cardinality);
                layer.push_counted(chunk, bits.into(), cardinality)?;
            }
        }
        let number = |at: usize| {
            let half = |half: &[u32]| half.get(at).map_or(0, |half| u64::from(*half));
            half(low) | half(high) << 32
        };
        let (mut lowest, mut highest) = (u64::MAX, 0);
        let mut bound = |number: u64| (lowest, highest) = (lowest.min(number), highest.max(number));
        if slots as usize == count {
            (0..count).map(number).for_each(&mut bound);
        } else {
            exists.for_each(|low| bound(number(usize::from(low))));
        }
        self.zones.push(Zone { chunk, count: slots, lowest, highest });
        Ok(())
    }

    /// The layers of all chunks.
    #[must_use]
    pub fn finish(self) -> SlicedBuf {
        SlicedBuf {
            existence: self.existence.finish(),
            layers: self.layers.into_iter().map(BitmapWriter::finish).collect(),
            zones: Zones::of(self.zones),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the other half is taken by a shift")]
fn low_half(number: u64) -> u32 {
    number as u32
}
