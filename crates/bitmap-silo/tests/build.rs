//! Building in bulk, the small form, and joining parts.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a failed unwrap or index is a failed test"
)]

mod oracle;

use bitmap_silo::{
    BitmapBuf, BitmapError, BitmapView, FrozenBitmap, NO_VALUE, Rows, SmallBitmap, VARINTS_MAX, build_values,
    concatenate, store_into,
};
use oracle::{blob, random_bitmap, rng};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use roaring::RoaringBitmap;

/// The stored form that the specification asks for.
fn stored(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::new();
    store_into(&BitmapBuf::from(bitmap).view(), &mut bytes);
    bytes
}

fn assert_builds(rows: Rows<'_>, pairs: &[(u32, u32)], value_count: u32) {
    let mut expected = vec![RoaringBitmap::new(); value_count as usize];
    for (slot, value) in pairs.iter().filter(|(_, value)| *value != NO_VALUE) {
        expected[*value as usize].insert(*slot);
    }
    let built = build_values(rows, value_count).unwrap();
    assert_eq!(built.value_count(), value_count as usize);
    for (value, expected) in expected.iter().enumerate() {
        let found = built.view(value).unwrap().to_bitmap().view().to_roaring();
        assert_eq!(found, *expected, "value {value} of {value_count}");
        assert_eq!(built.stored(value).unwrap(), stored(expected), "value {value}");
    }
    assert!(built.stored(value_count as usize).is_none());
}

/// A value below `value_count`, low ones more often, or none.
fn skewed(value_count: u32, rng: &mut SmallRng) -> u32 {
    if rng.random_ratio(1, 20) {
        return NO_VALUE;
    }
    let share: f64 = rng.random();
    (share * share * f64::from(value_count)) as u32
}

#[test]
fn rows_become_the_bitmaps_of_their_values_at_every_cardinality() {
    let mut rng = rng(1);
    for value_count in [1, 3, 16, 17, 64, 65, 700, 5000, 40_000] {
        for first_slot in [0, 64, 65_530, 3 << 16] {
            let values: Vec<u32> = (0..150_000).map(|_| skewed(value_count, &mut rng)).collect();
            let pairs: Vec<_> = (first_slot..).zip(values.iter().copied()).collect();
            let rows = Rows::Consecutive { first_slot, values: &values };
            assert_builds(rows, &pairs, value_count);
        }
    }
}

#[test]
fn pairs_may_come_in_any_order_and_twice() {
    let mut rng = rng(2);
    for value_count in [2, 40, 300, 30_000] {
        for shuffled in [false, true] {
            let mut pairs: Vec<(u32, u32)> =
                (0..60_000).map(|_| (rng.random_range(0..5 << 16), skewed(value_count, &mut rng))).collect();
            pairs.extend_from_within(..1000);
            if shuffled {
                pairs.shuffle(&mut rng);
            } else {
                pairs.sort_by_key(|(slot, _)| *slot);
            }
            let (slots, values): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
            let rows = Rows::Pairs { slots: &slots, values: &values };
            assert_builds(rows, &pairs, value_count);
        }
    }
}

#[test]
fn runs_and_dense_values_become_runs_and_bitsets() {
    // Long runs of one value, then a value that alternates with the others.
    let values: Vec<u32> = (0..300_000)
        .map(|i| {
            if i < 100_000 {
                9
            } else if i % 2 == 0 {
                3
            } else {
                i / 1000
            }
        })
        .collect();
    let pairs: Vec<_> = (0..).zip(values.iter().copied()).collect();
    for value_count in [301, 4000] {
        let rows = Rows::Consecutive { first_slot: 0, values: &values };
        assert_builds(rows, &pairs, value_count);
    }
}

#[test]
fn bad_rows_are_refused() {
    let values = [0, 1, 5];
    let refused = |rows, count| build_values(rows, count).unwrap_err();
    let error = refused(Rows::Consecutive { first_slot: 0, values: &values }, 5);
    assert_eq!(error, BitmapError::ValueRange { value: 5, value_count: 5 });
    let error = refused(Rows::Consecutive { first_slot: u32::MAX - 1, values: &values }, 6);
    assert_eq!(error, BitmapError::SlotRange { slots: (1 << 32) + 1 });
    let error = refused(Rows::Pairs { slots: &[1], values: &values }, 6);
    assert_eq!(error, BitmapError::RowLengths { slots: 1, values: 3 });
    let last = Rows::Consecutive { first_slot: u32::MAX - 2, values: &values };
    assert_eq!(build_values(last, 6).unwrap().view(5).unwrap().len(), 1);
    assert_eq!(build_values(Rows::Pairs { slots: &[], values: &[] }, 0).unwrap().value_count(), 0);
}

#[test]
fn parts_join_to_the_bitmap_they_were_cut_from() {
    for seed in 0..40 {
        let bitmap = random_bitmap(300 + seed, 12);
        let mut rng = rng(seed);
        let mut cuts: Vec<u32> = (0..rng.random_range(0..4)).map(|_| rng.random_range(0..13)).collect();
        cuts.extend([0, 1 << 16]);
        cuts.sort_unstable();
        let blobs: Vec<Vec<u8>> = cuts
            .windows(2)
            .map(|cut| {
                let range = u64::from(cut[0]) << 16..u64::from(cut[1]) << 16;
                let mut part: RoaringBitmap =
                    bitmap.iter().filter(|slot| range.contains(&u64::from(*slot))).collect();
                if rng.random() {
                    part.optimize();
                }
                blob(&part)
            })
            .collect();
        let parts: Vec<_> = blobs.iter().map(|bytes| FrozenBitmap::open(bytes).unwrap()).collect();
        let joined = concatenate(&parts).unwrap();
        joined.view().validate().unwrap();
        assert_eq!(joined.view().to_roaring(), bitmap, "seed {seed}");
        let error = concatenate(&[joined.view(), joined.view()]);
        assert_eq!(error.is_err(), !bitmap.is_empty());
    }
}

#[test]
fn small_sets_are_stored_small_and_read_back() {
    let mut rng = rng(4);
    for count in [1, 2, 3, 10, VARINTS_MAX, VARINTS_MAX + 1, 300] {
        for spread in [1000, 1 << 20, u32::MAX] {
            let bitmap: RoaringBitmap = (0..count).map(|_| rng.random_range(0..=spread)).collect();
            let bytes = stored(&bitmap);
            let blob_bytes = BitmapBuf::from(&bitmap).as_bytes().len();
            assert!(bytes.len() <= blob_bytes);
            assert_eq!(bytes[0] < 3, 4 * bitmap.len() < blob_bytes as u64);
            let view = BitmapView::open(&bytes).unwrap();
            assert_eq!(view.to_bitmap().view().to_roaring(), bitmap);
            if let Ok(small) = SmallBitmap::open(&bytes) {
                assert!(small.iter().eq(bitmap.iter()));
                assert_eq!(small.len(), bitmap.len());
                for rank in 0..=bitmap.len() as u32 {
                    assert_eq!(small.select(u64::from(rank)), bitmap.select(rank));
                }
                for slot in (0..100).map(|_| rng.random()).chain(bitmap.iter()) {
                    assert_eq!(small.contains(slot), bitmap.contains(slot));
                    assert_eq!(small.rank(slot), bitmap.rank(slot));
                }
            }
        }
    }
    assert!(stored(&RoaringBitmap::new()).is_empty());
    assert!(BitmapView::open(&[]).unwrap().is_empty());
}

#[test]
fn damaged_small_forms_are_refused_or_read_as_what_they_say() {
    let mut rng = rng(6);
    for count in [1, 5, 64, 70] {
        let bitmap: RoaringBitmap = (0..count).map(|_| rng.random::<u32>()).collect();
        let bytes = stored(&bitmap);
        let check = |bytes: &[u8]| {
            if let Ok(small) = SmallBitmap::open(bytes) {
                assert!(!small.is_empty());
                assert!(small.iter().is_sorted_by(|x, y| x < y));
                // One form per set and tag: what is accepted is what would be written.
                let again: RoaringBitmap = small.iter().collect();
                assert_eq!(again.len(), small.len());
            }
        };
        for len in 0..bytes.len() {
            check(&bytes[..len]);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&flipped);
        }
    }
    let refused: [&[u8]; 9] = [
        &[1],
        &[1, 0, 0, 0],
        &[1, 2, 0, 0, 0, 2, 0, 0, 0],
        &[2],
        &[2, 0x80],
        &[2, 0x80, 0],
        &[2, 0xff, 0xff, 0xff, 0xff, 0x1f],
        &[2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0],
        &[3, 0],
    ];
    for bytes in refused {
        assert!(SmallBitmap::open(bytes).is_err(), "{bytes:?}");
    }
    let mut many = vec![2];
    many.extend([0; VARINTS_MAX + 1]);
    assert!(SmallBitmap::open(&many).is_err());
    assert!(SmallBitmap::open(&many[..=VARINTS_MAX]).is_ok());
    assert!(BitmapView::open(&[9, 9]).is_err());
}
