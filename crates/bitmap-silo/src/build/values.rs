//! The bitmaps of one field, one per value, in one allocation.

use crate::container::{ContainerRef, Layout};
use crate::error::BitmapError;
use crate::frozen::{BitmapWriter, FrozenBitmap};
use crate::small::store_slots_into;
use crate::view::BitmapView;

/// Stored bitmaps for values 0, 1, 2, …: millions of tiny sets without an allocation each.
#[derive(Clone, Debug, Default)]
pub struct ValueBitmaps {
    bytes: Vec<u8>,
    /// Where each value's bytes end.
    ends: Vec<u64>,
}

impl ValueBitmaps {
    /// Number of values, those without rows included.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all bitmaps.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The stored form of a value's bitmap; none past the last value, empty for no rows.
    #[must_use]
    pub fn stored(&self, value: usize) -> Option<&[u8]> {
        let end = usize::try_from(*self.ends.get(value)?).ok()?;
        let start = match value.checked_sub(1) {
            Some(before) => usize::try_from(*self.ends.get(before)?).ok()?,
            None => 0,
        };
        self.bytes.get(start..end)
    }

    /// A value's bitmap; none past the last value.
    ///
    /// # Panics
    /// Never: the bytes were written by this crate.
    #[must_use]
    pub fn view(&self, value: usize) -> Option<BitmapView<'_>> {
        match BitmapView::open(self.stored(value)?) {
            Ok(view) => Some(view),
            Err(error) => unreachable!("stored bitmaps are valid: {error}"),
        }
    }
}

/// Collects the bitmaps of values in ascending order.
#[derive(Debug, Default)]
pub(super) struct ValuesWriter {
    values: ValueBitmaps,
    writer: BitmapWriter,
}

impl ValuesWriter {
    pub(super) fn with_capacity(value_count: usize, bytes: usize) -> Self {
        Self {
            values: ValueBitmaps { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(value_count) },
            writer: BitmapWriter::new(Layout::Smallest),
        }
    }

    /// Appends the next value's bitmap from its chunks, keys ascending.
    pub(super) fn push_chunks<'a>(
        &mut self,
        chunks: impl Iterator<Item = (u16, ContainerRef<'a>)>,
    ) -> Result<(), BitmapError> {
        self.writer.clear();
        for (key, container) in chunks {
            self.writer.push_counted(key, container, container.cardinality())?;
        }
        let writer = std::mem::take(&mut self.writer);
        let pushed = self.push_writer(&writer);
        self.writer = writer;
        pushed
    }

    /// Appends the next value's bitmap from a finished writer.
    pub(super) fn push_writer(&mut self, writer: &BitmapWriter) -> Result<(), BitmapError> {
        let slot_count = writer.len();
        if slot_count * 4 < writer.blob_bytes() as u64 && slot_count != 0 {
            let mut blob = Vec::new();
            writer.finish_into(&mut blob);
            let count = usize::try_from(slot_count).unwrap_or(usize::MAX);
            let slots = FrozenBitmap::open(&blob)?.iter();
            store_slots_into(slots, count, &mut self.values.bytes);
        } else if slot_count != 0 {
            writer.finish_into(&mut self.values.bytes);
        }
        self.end_value();
        Ok(())
    }

    /// Appends the next value's bitmap in the small form; its slots ascend.
    pub(super) fn push_small(&mut self, slots: impl Iterator<Item = u32>, slot_count: usize) {
        store_slots_into(slots, slot_count, &mut self.values.bytes);
        self.end_value();
    }

    /// Appends an empty bitmap for the next value.
    pub(super) fn push_empty(&mut self) {
        self.end_value();
    }

    fn end_value(&mut self) {
        self.values.ends.push(self.values.bytes.len() as u64);
    }

    pub(super) fn finish(self) -> ValueBitmaps {
        self.values
    }
}
