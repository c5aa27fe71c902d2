//! Random bitmaps over all container kinds, and the peers that answers are compared with.

#![allow(dead_code, reason = "each test file uses its part of this module")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use croaring::Portable;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

/// The shapes that a chunk can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Empty,
    Single,
    First,
    Last,
    Sparse,
    ArrayMax,
    BitsetMin,
    Dense,
    AlmostFull,
    Full,
    FewRuns,
    ManyRuns,
    Alternating,
}

pub(crate) const SHAPES: [Shape; 13] = [
    Shape::Empty,
    Shape::Single,
    Shape::First,
    Shape::Last,
    Shape::Sparse,
    Shape::ArrayMax,
    Shape::BitsetMin,
    Shape::Dense,
    Shape::AlmostFull,
    Shape::Full,
    Shape::FewRuns,
    Shape::ManyRuns,
    Shape::Alternating,
];

pub(crate) fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// Adds a chunk of the given shape.
pub(crate) fn add_chunk(bitmap: &mut RoaringBitmap, key: u16, shape: Shape, rng: &mut SmallRng) {
    let base = u32::from(key) << 16;
    let exactly = |count: u64, bitmap: &mut RoaringBitmap, rng: &mut SmallRng| {
        let before = bitmap.len();
        while bitmap.len() < before + count {
            bitmap.insert(base | rng.random_range(0..65_536));
        }
    };
    match shape {
        Shape::Empty => {}
        Shape::Single => exactly(1, bitmap, rng),
        Shape::First => {
            bitmap.insert(base);
        }
        Shape::Last => {
            bitmap.insert(base | 0xffff);
        }
        Shape::Sparse => {
            let count = 1 << rng.random_range(1..12);
            exactly(count, bitmap, rng);
        }
        Shape::ArrayMax => exactly(4096, bitmap, rng),
        Shape::BitsetMin => exactly(4097, bitmap, rng),
        Shape::Dense => {
            for word in 0..2048 {
                let bits: u32 = rng.random();
                for bit in 0..32 {
                    if bits >> bit & 1 == 1 {
                        bitmap.insert(base | (word * 32) | bit);
                    }
                }
            }
        }
        Shape::AlmostFull => {
            bitmap.insert_range(base..=base | 0xffff);
            for _ in 0..rng.random_range(1..20) {
                bitmap.remove(base | rng.random_range(0..65_536));
            }
        }
        Shape::Full => {
            bitmap.insert_range(base..=base | 0xffff);
        }
        Shape::FewRuns | Shape::ManyRuns => {
            let runs = if shape == Shape::FewRuns { rng.random_range(1..8) } else { 700 };
            for _ in 0..runs {
                let from = rng.random_range(0..65_536_u32);
                let to = (from + rng.random_range(0..200)).min(65_535);
                bitmap.insert_range(base | from..=base | to);
            }
        }
        Shape::Alternating => {
            for slot in (0..65_536).step_by(2) {
                bitmap.insert(base | slot);
            }
        }
    }
}

/// A bitmap of random shapes over the first `chunks` chunks, some at the far end of the universe.
pub(crate) fn random_bitmap(seed: u64, chunks: u16) -> RoaringBitmap {
    let mut rng = rng(seed);
    let mut bitmap = RoaringBitmap::new();
    for key in 0..chunks {
        let shape = *SHAPES.choose(&mut rng).unwrap();
        let key = if rng.random_ratio(1, 16) { u16::MAX - key } else { key };
        add_chunk(&mut bitmap, key, shape, &mut rng);
    }
    if rng.random() {
        bitmap.optimize();
    }
    bitmap
}

/// The portable blob of a bitmap.
pub(crate) fn blob(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::new();
    bitmap.serialize_into(&mut bytes).unwrap();
    bytes
}

/// The bitmap as `roaring` reads it from untrusted bytes, if it accepts them.
pub(crate) fn roaring_accepts(bytes: &[u8]) -> Option<RoaringBitmap> {
    RoaringBitmap::deserialize_from(bytes).ok()
}

/// The bitmap as `croaring` reads it from untrusted bytes, if it accepts them.
pub(crate) fn croaring_accepts(bytes: &[u8]) -> Option<croaring::Bitmap> {
    croaring::Bitmap::try_deserialize::<Portable>(bytes)
}
