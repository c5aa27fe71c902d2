//! Blobs whose header is consistent and whose containers lie: opened as if from a checked store,
//! every operation still terminates without a panic.

#![expect(clippy::indexing_slicing, reason = "a failed index is a failed test")]

mod oracle;

use bitmap_silo::container::Layout;
use bitmap_silo::{
    BitmapView, BitmapWriter, Delta, Expr, FrozenBitmap, Query, concatenate, intersection_of_frozen, union,
};
use oracle::{blob, random_bitmap, rng};
use rand::Rng;
use rand::rngs::SmallRng;

/// Blobs with random damage to bodies and recorded cardinalities that still open.
fn lying_blobs(count: u64, rng: &mut SmallRng) -> Vec<Vec<u8>> {
    let mut blobs = Vec::new();
    let mut seed = 0;
    while (blobs.len() as u64) < count {
        seed += 1;
        let mut bytes = blob(&random_bitmap(40_000 + seed, 6));
        for _ in 0..rng.random_range(1..40) {
            let at = rng.random_range(0..bytes.len());
            let len = rng.random_range(1..12).min(bytes.len() - at);
            let value = [0, 0xff, rng.random()][rng.random_range(0..3)];
            bytes[at..at + len].fill(value);
            if FrozenBitmap::open(&bytes).is_err() {
                break;
            }
        }
        if FrozenBitmap::open(&bytes).is_ok() {
            blobs.push(bytes);
        }
    }
    // Runs that overlap as much as runs can, and cardinalities that claim one slot and all.
    for claimed in [0_u16, 5, 4096, u16::MAX] {
        let mut bytes = vec![0x3b, 0x30, 0, 0, 1, 0, 0];
        bytes.extend_from_slice(&claimed.to_le_bytes());
        bytes.extend_from_slice(&u16::MAX.to_le_bytes());
        (0..u16::MAX).for_each(|_| bytes.extend_from_slice(&[0, 0, 0xff, 0xff]));
        blobs.push(bytes);
    }
    // A bitset that claims just more than an array holds, and has all.
    let mut bytes = vec![0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x10, 16, 0, 0, 0];
    bytes.extend_from_slice(&[0xff; 8192]);
    blobs.push(bytes);
    blobs
}

#[test]
fn lying_containers_are_safe_in_every_operation() {
    let mut rng = rng(77);
    let blobs = lying_blobs(60, &mut rng);
    let views: Vec<_> = blobs.iter().map(|bytes| FrozenBitmap::open(bytes).expect("checked above")).collect();
    for (index, frozen) in views.iter().enumerate() {
        let other = views[(index * 7 + 3) % views.len()];
        let ops = (0..3000).map(|_| (rng.random_range(0..7 << 16), rng.random_ratio(1, 3)));
        let delta = Delta::from_ops(ops.collect::<Vec<_>>());
        let (a, b) = (BitmapView::from(*frozen), BitmapView::from(other));
        for a in [a, a.patched(&delta)] {
            let made = [a.and(&b), a.or(&b), a.xor(&b), a.and_not(&b), a.to_bitmap()];
            let total: u64 = made.iter().map(|buf| buf.view().len()).sum();
            let counted = a.union_len(&b)
                + a.difference_len(&b)
                + a.symmetric_difference_len(&b)
                + a.intersection_len(&b)
                + a.len();
            let _ = (total, counted, a.intersects(&b), a.is_empty());
            let leaf = |view: BitmapView<'static>| Expr::bitmap(view);
            let expr = Expr::at_least(
                2,
                [Expr::bitmap(a), Expr::bitmap(b).negated(), leaf(BitmapView::range(9, 90_000))],
            );
            let query = Query::new(expr, 6 << 16);
            let _ = (query.count(), query.first(100), query.to_bitmap().len(), query.exists());
        }
        let _ = (frozen.rank(70_000), frozen.select(7), frozen.min(), frozen.max());
        let _ = (frozen.iter().count(), frozen.iter().rev().count(), *frozen == other);
        let _ = (frozen.to_roaring(), frozen.to_buf().len(), frozen.validate());
        let _ = (frozen.iter_range(65_000, 140_000).count(), frozen.and(&other).len());
        let _ = intersection_of_frozen(&[*frozen, other, *frozen]).len();
        let _ = (union([*frozen, other]).len(), frozen.intersection_len(&other));
        let _ = concatenate(&[*frozen]).map(|joined| joined.len());
        for layout in [Layout::Smallest, Layout::Quick] {
            let mut writer = BitmapWriter::new(layout);
            for (key, container) in frozen.chunks() {
                let _ = writer.push(key, container);
            }
            let _ = writer.finish().len();
        }
        let mut buffer = vec![0; 5000];
        let mut iter = frozen.iter();
        while iter.next_many(&mut buffer) == buffer.len() {}
    }
}
