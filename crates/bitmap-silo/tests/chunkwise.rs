//! Queries asked about chunks in any order and about slots, against their bitmaps.

#![expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]

use std::collections::BTreeSet;

use bitmap_silo::{BitmapBuf, BitmapView, Delta, Expr, Query, store_into};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

fn expr<'a>(rng: &mut SmallRng, leaves: &[BitmapView<'a>], depth: usize) -> Expr<'a> {
    if depth == 0 || rng.random_bool(0.2) {
        return leaves[rng.random_range(0..leaves.len())].into();
    }
    let operands: Vec<Expr<'a>> = (0..rng.random_range(0..4)).map(|_| expr(rng, leaves, depth - 1)).collect();
    match rng.random_range(0..6) {
        0 => Expr::And(operands),
        1 => Expr::Or(operands),
        2 => Expr::Xor(operands),
        3 => expr(rng, leaves, depth - 1).negated(),
        4 => expr(rng, leaves, depth - 1).and_not(expr(rng, leaves, depth - 1)),
        _ => Expr::AtLeast(rng.random_range(0..4), operands),
    }
}

#[test]
fn chunks_and_slots_in_any_order_equal_the_bitmap() {
    let mut rng = SmallRng::seed_from_u64(21);
    let chunks = [0, 1, 2, 9, 0xffff_u32];
    let mut some = |share: f64| -> Vec<u32> {
        let slots = chunks.iter().flat_map(|chunk| (0..3000).map(move |low| chunk << 16 | (low * 21 + 10)));
        slots.chain([u32::MAX]).filter(|_| rng.random_bool(share)).collect()
    };
    let bufs: Vec<BitmapBuf> =
        [0.9, 0.4, 0.05].iter().map(|share| some(*share).into_iter().collect()).collect();
    let memory: RoaringBitmap = some(0.3).into_iter().collect();
    let few: BitmapBuf = [3, 1 << 16 | 31, (9 << 16) + 10, u32::MAX].into_iter().collect();
    let mut small = Vec::new();
    store_into(&few.view(), &mut small);
    let delta = Delta::from_ops(some(0.1).into_iter().enumerate().map(|(at, slot)| (slot, at % 2 == 0)));
    let small = BitmapView::open(&small).expect("just stored");
    let leaves = [
        BitmapView::from(&bufs[0]),
        BitmapView::from(&bufs[1]),
        BitmapView::from(&bufs[2]),
        BitmapView::from(&memory),
        BitmapView::from(&bufs[1]).patched(&delta),
        small,
        small.patched(&delta),
        BitmapView::range(40_000, 140_000),
        BitmapView::range(0xffff_0005, u32::MAX),
        BitmapView::range(7, u32::MAX).patched(&delta),
        BitmapView::EMPTY,
    ];
    for _ in 0..400 {
        let universe = [1 << 32, 150_000, 0][rng.random_range(0..3)];
        let query = Query::new(expr(&mut rng, &leaves, 3), universe);
        let all: BTreeSet<u32> = chunks
            .iter()
            .flat_map(|chunk| {
                let mut slots = Vec::new();
                let _ = query.for_each_chunk_in::<()>(*chunk as u16, *chunk as u16, &mut |key, container| {
                    container.for_each(|low| slots.push(u32::from(key) << 16 | u32::from(low)));
                    std::ops::ControlFlow::Continue(())
                });
                slots
            })
            .collect();
        let mut filter = query.chunk_filter();
        for _ in 0..12 {
            let chunk = chunks[rng.random_range(0..chunks.len())];
            let expected: Vec<u16> =
                all.range(chunk << 16..=chunk << 16 | 0xffff).map(|slot| *slot as u16).collect();
            assert!(filter.bound(chunk as u16) as usize >= expected.len(), "{:?}", query.expr());
            assert!(expected.is_empty() || u32::from(filter.highest_chunk()) >= chunk);
            let container = filter.evaluate(chunk as u16);
            assert_eq!(container.cardinality() as usize, expected.len());
            let mut found = Vec::new();
            container.for_each(|low| found.push(low));
            assert_eq!(found, expected);
            for low in (0..40).map(|_| rng.random_range(0..3000) * 21 + 10) {
                let slot = chunk << 16 | low;
                assert_eq!(filter.contains(slot), all.contains(&slot), "{slot} {:?}", query.expr());
            }
        }
    }
}
