//! Inputs and digests that several experiments share.

use bitmap_silo::{FrozenBitmap, ValueBitmaps};
use roaring::RoaringBitmap;

use crate::lab::Digest;
use crate::random::Random;

/// A map with a quick hash function.
pub(super) type Map<K, V> = std::collections::HashMap<K, V, ahash::RandomState>;

/// Sorted distinct numbers, uniform below `bound`: about `count`, less what is drawn twice.
pub(super) fn uniform_set(count: usize, bound: u32, seed: u64, stream: u64) -> Vec<u32> {
    let mut random = Random::new(seed, stream);
    let mut list: Vec<u32> = (0..count).map(|_| random.below(bound)).collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// A bitmap of sorted distinct numbers.
pub(super) fn bitmap_of(sorted: &[u32]) -> RoaringBitmap {
    RoaringBitmap::from_sorted_iter(sorted.iter().copied()).unwrap()
}

/// The blob of a bitmap.
pub(super) fn blob_of(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut bytes).unwrap();
    bytes
}

/// Digest of a set of slots.
pub(super) fn digest_slots(slots: impl IntoIterator<Item = u32>) -> u64 {
    Digest::of(slots.into_iter().map(u64::from))
}

/// Digest of a bitmap.
pub(super) fn digest_bitmap(bitmap: &RoaringBitmap) -> u64 {
    digest_slots(bitmap)
}

/// Digest of a frozen bitmap.
pub(super) fn digest_frozen(bitmap: &FrozenBitmap<'_>) -> u64 {
    digest_slots(bitmap.iter())
}

/// Digest of the bitmaps of values, whatever the order of the values; empty ones do not count.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct ValuesDigest(Digest);

impl ValuesDigest {
    /// Adds a value of a field and the digest of its slots.
    pub(super) fn add(&mut self, field: u64, value: u64, slots: u64) {
        self.0.add(crate::random::mix(field << 40 ^ value) ^ slots);
    }

    /// Adds all values of a field.
    pub(super) fn add_all(&mut self, field: u64, values: &ValueBitmaps) {
        for value in 0..values.value_count() {
            if values.stored(value).is_some_and(|bytes| !bytes.is_empty()) {
                let view = values.view(value).unwrap();
                let slots = bitmap_silo::Query::new(view, 1 << 32).first(usize::MAX);
                self.add(field, value as u64, digest_slots(slots));
            }
        }
    }

    pub(super) fn value(self) -> u64 {
        self.0.value()
    }
}
