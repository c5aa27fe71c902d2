//! Conversion from and to `roaring`, and equality.

use roaring::RoaringBitmap;

use super::buf::BitmapBuf;
use super::view::FrozenBitmap;
use super::writer::BitmapWriter;
use crate::container::{ContainerRef, Layout, Scratch};
use crate::kernels::{WordOp, kernels};

impl FrozenBitmap<'_> {
    /// A copy as a `roaring` bitmap.
    #[must_use]
    pub fn to_roaring(&self) -> RoaringBitmap {
        match RoaringBitmap::deserialize_from(self.bytes) {
            Ok(bitmap) => bitmap,
            // Bytes that were opened without looking inside containers may be no valid bitmap;
            // whatever slots the view answers are copied.
            Err(_) => self.chunks().fold(RoaringBitmap::new(), |mut all, (key, container)| {
                let base = u32::from(key) << 16;
                let mut chunk = Scratch::new();
                chunk.or(container);
                chunk.for_each(|low| {
                    all.insert(base | u32::from(low));
                });
                all
            }),
        }
    }

    /// A copy in this crate's canonical form: smallest encodings, true header.
    #[must_use]
    pub fn to_buf(&self) -> BitmapBuf {
        let mut writer = BitmapWriter::new(Layout::Smallest);
        for (key, container) in self.chunks() {
            // Keys of an open view ascend.
            let pushed = writer.push(key, container);
            debug_assert!(pushed.is_ok(), "keys of an open view ascend");
        }
        writer.finish()
    }
}

impl From<&RoaringBitmap> for BitmapBuf {
    /// The canonical blob of the bitmap: smallest encodings whatever those of `bitmap` are.
    fn from(bitmap: &RoaringBitmap) -> Self {
        let mut bytes = Vec::with_capacity(bitmap.serialized_size());
        match bitmap.serialize_into(&mut bytes) {
            Ok(()) => BitmapBuf::from_valid(bytes).view().to_buf(),
            Err(error) => unreachable!("writing to memory cannot fail: {error}"),
        }
    }
}

impl FromIterator<u32> for BitmapBuf {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        Self::from(&RoaringBitmap::from_iter(slots))
    }
}

impl PartialEq for FrozenBitmap<'_> {
    /// Whether both hold the same slots, however they are encoded; O(bytes).
    fn eq(&self, other: &Self) -> bool {
        self.container_count() == other.container_count()
            && self.chunks().zip(other.chunks()).all(|((x, a), (y, b))| x == y && equal(a, b))
    }
}

impl Eq for FrozenBitmap<'_> {}

impl PartialEq for BitmapBuf {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl Eq for BitmapBuf {}

/// Whether two containers hold the same slots.
fn equal(a: ContainerRef<'_>, b: ContainerRef<'_>) -> bool {
    if a.cardinality() != b.cardinality() {
        return false;
    }
    match (a, b) {
        (ContainerRef::Array(a), ContainerRef::Array(b)) => a.values() == b.values(),
        (ContainerRef::Runs(a), ContainerRef::Runs(b)) => a.pairs() == b.pairs(),
        (ContainerRef::Bitset(a), ContainerRef::Bitset(b)) => {
            (kernels().count)(WordOp::Xor, a.bits(), b.bits()) == 0
        }
        (ContainerRef::Bitset(x), other) | (other, ContainerRef::Bitset(x)) => {
            let mut scratch = Scratch::new();
            scratch.or(other);
            scratch.bits() == x.bits()
        }
        (ContainerRef::Array(list), ContainerRef::Runs(runs))
        | (ContainerRef::Runs(runs), ContainerRef::Array(list)) => {
            let mut values = list.iter();
            runs.iter().all(|(first, last)| (first..=last).all(|v| values.next() == Some(v)))
        }
    }
}
