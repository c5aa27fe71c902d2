//! Iteration in every direction and granularity, conversion and equality.

#![expect(clippy::cast_possible_truncation, reason = "test inputs are small")]

mod oracle;

use bitmap_silo::{BitmapBuf, FrozenBitmap};
use oracle::{blob, random_bitmap, rng};
use rand::Rng;
use roaring::RoaringBitmap;

#[test]
fn both_directions_visit_every_slot_once() {
    for seed in 0..25 {
        let bitmap = random_bitmap(seed, 10);
        let bytes = blob(&bitmap);
        let view = FrozenBitmap::open(&bytes).unwrap();
        assert!(view.iter().eq(bitmap.iter()), "seed {seed}");
        assert!(view.iter().rev().eq(bitmap.iter().rev()), "seed {seed}");
        // Both ends at once meet without losing or repeating a slot.
        let mut rng = rng(seed);
        let (mut iter, mut front, mut back) = (view.iter(), Vec::new(), Vec::new());
        loop {
            let step = rng.random_range(1..5000);
            let before = front.len() + back.len();
            if rng.random() {
                front.extend(iter.by_ref().take(step));
            } else {
                back.extend(iter.by_ref().rev().take(step));
            }
            if front.len() + back.len() == before {
                break;
            }
        }
        front.extend(back.iter().rev());
        assert!(front.into_iter().eq(bitmap.iter()), "seed {seed}");
    }
}

#[test]
fn ranges_start_and_end_where_they_should() {
    for seed in 0..25 {
        let bitmap = random_bitmap(50 + seed, 6);
        let bytes = blob(&bitmap);
        let view = FrozenBitmap::open(&bytes).unwrap();
        let mut rng = rng(seed);
        let mut bound = || match rng.random_range(0..4) {
            0 => rng.random(),
            1 => bitmap.select(rng.random_range(0..bitmap.len().max(1)) as u32).unwrap_or(0),
            _ => rng.random_range(0..7 << 16),
        };
        for _ in 0..20 {
            let (first, last) = (bound(), bound());
            let (first, last) = (first.min(last), first.max(last));
            let expected: Vec<u32> = bitmap.range(first..=last).collect();
            assert!(view.iter_range(first, last).eq(expected.iter().copied()));
            assert!(view.iter_range(first, last).rev().eq(expected.iter().rev().copied()));
            assert_eq!(view.iter_from(first).next(), bitmap.range(first..).next());
        }
    }
}

#[test]
fn batches_of_any_size_equal_single_steps() {
    for seed in 0..25 {
        let bitmap = random_bitmap(90 + seed, 8);
        let bytes = blob(&bitmap);
        let view = FrozenBitmap::open(&bytes).unwrap();
        let mut rng = rng(seed);
        let start = if rng.random() { 0 } else { rng.random_range(0..3 << 16) };
        let mut iter = view.iter_from(start);
        let mut slots = Vec::new();
        loop {
            let mut buffer = vec![0; rng.random_range(1..6000)];
            let count = iter.next_many(&mut buffer);
            slots.extend_from_slice(&buffer[..count]);
            if count < buffer.len() {
                break;
            }
            slots.extend(iter.next());
        }
        assert!(slots.into_iter().eq(bitmap.range(start..)), "seed {seed}");
    }
}

#[test]
fn batches_stop_where_the_range_or_the_other_end_does() {
    for seed in 0..25 {
        let bitmap = random_bitmap(120 + seed, 5);
        let bytes = blob(&bitmap);
        let view = FrozenBitmap::open(&bytes).unwrap();
        let mut rng = rng(seed);
        let (x, y) = (rng.random_range(0..6 << 16), rng.random_range(0..6 << 16));
        let (first, last) = (u32::min(x, y), u32::max(x, y));
        let expected: Vec<u32> = bitmap.range(first..=last).collect();
        let mut iter = view.iter_range(first, last);
        let (mut front, mut back) = (Vec::new(), Vec::new());
        loop {
            let mut buffer = vec![0; rng.random_range(1..3000)];
            let count = iter.next_many(&mut buffer);
            front.extend_from_slice(&buffer[..count]);
            back.extend(iter.by_ref().rev().take(rng.random_range(0..2000)));
            assert!(iter.size_hint().1 >= Some(expected.len() - front.len() - back.len()));
            if count < buffer.len() {
                break;
            }
        }
        front.extend(back.iter().rev());
        assert_eq!(front, expected, "seed {seed}");
    }
}

#[test]
fn conversion_keeps_the_set_and_makes_one_canonical_blob() {
    for seed in 0..20 {
        let mut bitmap = random_bitmap(200 + seed, 9);
        let plain = blob(&bitmap);
        bitmap.optimize();
        let with_runs = blob(&bitmap);
        let (a, b) = (FrozenBitmap::open(&plain).unwrap(), FrozenBitmap::open(&with_runs).unwrap());
        assert_eq!(a, b);
        assert_eq!(a.to_roaring(), bitmap);
        let buf = BitmapBuf::from(&bitmap);
        assert_eq!(buf.as_bytes(), a.to_buf().as_bytes());
        assert_eq!(buf.as_bytes(), b.to_buf().as_bytes());
        assert_eq!(buf.view().to_roaring(), bitmap);
        if let Some(slot) = bitmap.max() {
            bitmap.remove(slot);
            let smaller = blob(&bitmap);
            assert_ne!(a, FrozenBitmap::open(&smaller).unwrap());
            bitmap.insert(slot ^ 1);
            bitmap.insert(slot);
        }
    }
    assert_eq!(BitmapBuf::default().view().to_roaring(), RoaringBitmap::new());
    assert_eq!(BitmapBuf::default(), BitmapBuf::from(&RoaringBitmap::new()));
}
