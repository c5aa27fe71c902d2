//! Synthetic inputs in the shapes of the workload.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the peer opens views without checking the bytes, and inputs are made by chance"
)]

use croaring::{Bitmap, BitmapView, Portable};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

/// A bitmap in the forms that the contenders take.
pub(crate) struct Input {
    pub(crate) bytes: Vec<u8>,
    pub(crate) roaring: RoaringBitmap,
    pub(crate) croaring: Bitmap,
}

impl Input {
    pub(crate) fn new(mut roaring: RoaringBitmap) -> Self {
        roaring.optimize();
        let mut bytes = Vec::new();
        roaring.serialize_into(&mut bytes).unwrap();
        let croaring = Bitmap::deserialize::<Portable>(&bytes);
        Self { bytes, roaring, croaring }
    }

    pub(crate) fn croaring_view(&self) -> BitmapView<'_> {
        // SAFETY: the bytes were written by a Roaring library.
        unsafe { BitmapView::deserialize::<Portable>(&self.bytes) }
    }
}

/// Rows of the small test size.
pub(crate) const SMALL: u32 = 14_650_000;

/// Independent slots, each in with the given probability.
pub(crate) fn independent(universe: u32, share: f64, seed: u64) -> RoaringBitmap {
    let mut rng = SmallRng::seed_from_u64(seed);
    if share >= 0.05 {
        // A word at a time: and and or random words by the binary digits of the share.
        let digits = (share * 256.0).round() as u32;
        let mut bytes = Vec::with_capacity(universe as usize / 8 + 8);
        for _ in 0..universe / 64 {
            let mut word = 0_u64;
            for digit in 0..8 {
                let random: u64 = rng.random();
                word = if digits >> digit & 1 == 1 { word | random } else { word & random };
            }
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        return RoaringBitmap::from_lsb0_bytes(0, &bytes);
    }
    let mut slots = Vec::new();
    let mut slot = 0.0;
    loop {
        let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
        slot += 1.0 + (uniform.ln() / (1.0 - share).ln()).floor();
        if slot > f64::from(universe) {
            return RoaringBitmap::from_sorted_iter(slots).unwrap();
        }
        slots.push(slot as u32 - 1);
    }
}

/// Runs with geometric lengths and gaps of the given means.
pub(crate) fn runs(universe: u32, run: f64, gap: f64, seed: u64) -> RoaringBitmap {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut bitmap = RoaringBitmap::new();
    let mut length = |mean: f64| {
        let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
        1.0 - uniform.ln() * (mean - 1.0)
    };
    let mut slot = length(gap);
    while slot < f64::from(universe) {
        let end = slot + length(run);
        bitmap.insert_range(slot as u32..(end as u32).min(universe));
        slot = end + length(gap);
    }
    bitmap
}

/// Five operands for A ∧ (B ∨ C ∨ D) ∧ ¬E.
pub(crate) fn operands(kind: &str, universe: u32) -> Vec<Input> {
    let make = |index: usize, share: f64| independent(universe, share, 100 + index as u64);
    let bitmaps: Vec<RoaringBitmap> = match kind {
        "dense" => [0.5, 0.3, 0.25, 0.2, 0.1].iter().enumerate().map(|(i, s)| make(i, *s)).collect(),
        "mixed" => [0.3, 0.1, 0.02, 0.005, 0.04].iter().enumerate().map(|(i, s)| make(i, *s)).collect(),
        "sparse" => [0.02, 0.015, 0.01, 0.02, 0.01].iter().enumerate().map(|(i, s)| make(i, *s)).collect(),
        "rare" => [0.00005, 0.3, 0.25, 0.2, 0.1].iter().enumerate().map(|(i, s)| make(i, *s)).collect(),
        "runs" => [(400.0, 400.0), (100.0, 700.0), (150.0, 900.0), (80.0, 500.0), (60.0, 800.0)]
            .iter()
            .enumerate()
            .map(|(i, (run, gap))| runs(universe, *run, *gap, 200 + i as u64))
            .collect(),
        _ => unreachable!("no such kind"),
    };
    bitmaps.into_iter().map(Input::new).collect()
}
