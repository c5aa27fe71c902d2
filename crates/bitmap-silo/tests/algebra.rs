//! Set algebra and expressions over bitmaps of every form, against `roaring`.

#![expect(
    clippy::many_single_char_names,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap is a failed test"
)]

mod oracle;

use std::ops::ControlFlow;

use bitmap_silo::{
    BitmapBuf, BitmapView, Delta, Expr, FrozenBitmap, Query, intersection, intersection_len,
    intersection_of_frozen, store_into, union, union_len,
};
use oracle::{SHAPES, add_chunk, blob, random_bitmap, rng};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use roaring::RoaringBitmap;

/// Slots of the universe of most tests: one chunk cut in the middle at its end.
const UNIVERSE: u64 = (9 << 16) + 30_000;

/// A bitmap in one of the forms that a view can have, and what it should hold.
struct Operand {
    stored: Vec<u8>,
    memory: Option<RoaringBitmap>,
    delta: Option<Delta>,
    expected: RoaringBitmap,
}

impl Operand {
    fn random(seed: u64) -> Self {
        let mut rng = rng(seed);
        let mut bitmap = match rng.random_range(0..6) {
            0 => (0..rng.random_range(0..200)).map(|_| rng.random_range(0..10 << 16)).collect(),
            1 => (0..5).map(|_| rng.random::<u32>()).collect(),
            _ => random_bitmap(seed, 10),
        };
        if rng.random() {
            bitmap.optimize();
        }
        let mut stored = Vec::new();
        if rng.random() {
            let buf = BitmapBuf::from(&bitmap);
            store_into(&buf.view(), &mut stored);
        } else {
            stored = blob(&bitmap);
        }
        let memory = rng.random_ratio(1, 5).then(|| bitmap.clone());
        let delta = rng.random_ratio(1, 3).then(|| {
            let ops: Vec<(u32, bool)> = (0..rng.random_range(0..2000))
                .map(|_| {
                    let slot = match rng.random_range(0..3) {
                        0 => bitmap.select(rng.random_range(0..1000)).unwrap_or(3),
                        1 => rng.random_range(0..3000),
                        _ => rng.random_range(0..11 << 16),
                    };
                    (slot, rng.random())
                })
                .collect();
            for (slot, set) in &ops {
                if *set {
                    bitmap.insert(*slot)
                } else {
                    bitmap.remove(*slot)
                };
            }
            let (older, newer) = ops.split_at(ops.len() / 2);
            Delta::from_ops(older.iter().copied()).then(&Delta::from_ops(newer.iter().copied()))
        });
        Self { stored, memory, delta, expected: bitmap }
    }

    fn view(&self) -> BitmapView<'_> {
        let view = match &self.memory {
            Some(bitmap) => BitmapView::from(bitmap),
            None => BitmapView::open(&self.stored).unwrap(),
        };
        match &self.delta {
            Some(delta) => view.patched(delta),
            None => view,
        }
    }
}

fn within(universe: u64) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    if let Some(last) = universe.checked_sub(1) {
        all.insert_range(0..=u32::try_from(last).unwrap());
    }
    all
}

/// A random expression over the operands and the set it denotes.
fn random_expr<'a>(
    operands: &'a [Operand],
    universe: u64,
    depth: u32,
    rng: &mut SmallRng,
) -> (Expr<'a>, RoaringBitmap) {
    if depth == 0 || rng.random_ratio(1, 4) {
        let operand = operands.choose(rng).unwrap();
        return (Expr::bitmap(operand.view()), operand.expected.clone());
    }
    let some = |rng: &mut SmallRng| {
        let count = rng.random_range(0..5);
        let (exprs, sets): (Vec<_>, Vec<_>) =
            (0..count).map(|_| random_expr(operands, universe, depth - 1, rng)).unzip();
        (exprs, sets)
    };
    match rng.random_range(0..7) {
        0 | 1 => {
            let (exprs, sets) = some(rng);
            let set = sets.into_iter().reduce(|a, b| a & b).unwrap_or_else(|| within(universe));
            (Expr::and(exprs), set)
        }
        2 => {
            let (exprs, sets) = some(rng);
            (Expr::or(exprs), sets.into_iter().fold(RoaringBitmap::new(), |a, b| a | b))
        }
        3 => {
            let (exprs, sets) = some(rng);
            (Expr::xor(exprs), sets.into_iter().fold(RoaringBitmap::new(), |a, b| a ^ b))
        }
        4 => {
            let (expr, set) = random_expr(operands, universe, depth - 1, rng);
            (expr.negated(), within(universe) - set)
        }
        5 => {
            let (a, x) = random_expr(operands, universe, depth - 1, rng);
            let (b, y) = random_expr(operands, universe, depth - 1, rng);
            (a.and_not(b), x - y)
        }
        _ => {
            let (exprs, sets) = some(rng);
            let count = rng.random_range(0..4);
            // Slots in at least n of the sets seen so far, for each n.
            let mut held = vec![RoaringBitmap::new(); count + 1];
            held[0] = within(universe);
            for set in &sets {
                for n in (1..=count).rev() {
                    let more = if n == 1 { set.clone() } else { &held[n - 1] & set };
                    held[n] |= more;
                }
            }
            (Expr::at_least(count, exprs), held[count].clone())
        }
    }
}

fn assert_evaluates_to(query: &Query<'_>, expected: &RoaringBitmap, context: &str) {
    let result = query.to_bitmap();
    result.view().validate().unwrap();
    assert_eq!(result.view().to_roaring(), *expected, "{context}");
    assert_eq!(query.count(), expected.len(), "{context}");
    assert_eq!(query.exists(), !expected.is_empty(), "{context}");
    for limit in [0, 1, 10, 5000] {
        let first: Vec<u32> = expected.iter().take(limit).collect();
        assert_eq!(query.first(limit), first, "{context}");
    }
}

#[test]
fn random_expressions_equal_set_operations() {
    for seed in 0..150 {
        let operands: Vec<_> = (0..6).map(|i| Operand::random(seed * 100 + i)).collect();
        let mut rng = rng(seed);
        for round in 0..6 {
            let universe = if round == 5 { 0 } else { UNIVERSE };
            let (expr, expected) = random_expr(&operands, universe, 3, &mut rng);
            let context = format!("seed {seed} round {round}");
            let query = Query::new(expr, universe);
            assert_evaluates_to(&query, &expected, &context);
            if round == 0 {
                assert_eq!(query.par_count(), expected.len(), "{context}");
                assert_eq!(query.par_to_bitmap().view().to_roaring(), expected, "{context}");
                let total = query.par_fold_chunks(
                    || 0,
                    |total, _, container| total + u64::from(container.counted()),
                    |a, b| a + b,
                );
                assert_eq!(total, expected.len(), "{context}");
                assert_eq!(query.explain().actual, expected.len(), "{context}");
            }
        }
    }
}

/// A bitmap with one chunk of the given shape, and one of another to leave the first chunk's.
fn shaped(shape: usize, optimise: bool, rng: &mut SmallRng) -> RoaringBitmap {
    let mut bitmap = RoaringBitmap::new();
    add_chunk(&mut bitmap, 2, SHAPES[shape], rng);
    if optimise {
        bitmap.optimize();
    }
    bitmap
}

#[test]
fn pairs_of_all_container_shapes_equal_set_operations() {
    let mut rng = rng(3);
    let all: Vec<_> = (0..SHAPES.len())
        .flat_map(|shape| [(shape, false), (shape, true)])
        .map(|(shape, optimise)| shaped(shape, optimise, &mut rng))
        .collect();
    let blobs: Vec<_> = all.iter().map(blob).collect();
    for (a, a_blob) in all.iter().zip(&blobs) {
        let x = BitmapView::open(a_blob).unwrap();
        for (b, b_blob) in all.iter().zip(&blobs) {
            let y = BitmapView::open(b_blob).unwrap();
            assert_eq!(x.and(&y).view().to_roaring(), a & b);
            assert_eq!(x.or(&y).view().to_roaring(), a | b);
            assert_eq!(x.xor(&y).view().to_roaring(), a ^ b);
            assert_eq!(x.and_not(&y).view().to_roaring(), a - b);
            assert_eq!(x.intersection_len(&y), a.intersection_len(b));
            assert_eq!(x.union_len(&y), a.union_len(b));
            assert_eq!(x.difference_len(&y), a.difference_len(b));
            assert_eq!(x.symmetric_difference_len(&y), a.symmetric_difference_len(b));
            assert_eq!(x.intersects(&y), !a.is_disjoint(b));
            let [f, g] = [a_blob, b_blob].map(|bytes| FrozenBitmap::open(bytes).unwrap());
            assert_eq!(f.and(&g).view().to_roaring(), a & b);
            assert_eq!(f.intersection_len(&g), a.intersection_len(b));
            assert_eq!(intersection_of_frozen(&[f]).view().to_roaring(), *a);
            let count = |expr: Expr<'_>| Query::new(expr, UNIVERSE).count();
            let [e, h] = [f, g].map(Expr::bitmap);
            assert_eq!(count(Expr::and([e.clone(), h.clone()])), a.intersection_len(b));
            assert_eq!(count(Expr::or([e.clone(), h.clone()])), a.union_len(b));
            assert_eq!(count(e.and_not(h)), a.difference_len(b));
        }
    }
}

#[test]
fn frozen_bitmaps_of_many_chunks_meet_on_every_common_one() {
    for seed in 0..60 {
        let sets = [0, 1, 2].map(|i| random_bitmap(5000 + 10 * seed + i, 14));
        let blobs = sets.each_ref().map(blob);
        let [a, b, c] = blobs.each_ref().map(|bytes| FrozenBitmap::open(bytes).unwrap());
        let [x, y, z] = &sets;
        assert_eq!(a.and(&b).view().to_roaring(), x & y, "seed {seed}");
        assert_eq!(a.intersection_len(&b), x.intersection_len(y), "seed {seed}");
        assert_eq!(b.intersection_len(&a), x.intersection_len(y), "seed {seed}");
        let found = intersection_of_frozen(&[a, b, c]).view().to_roaring();
        assert_eq!(found, &(x & y) & z, "seed {seed}");
        let (a, b) = (BitmapView::from(a), BitmapView::from(b));
        assert_eq!(a.intersects(&b), !x.is_disjoint(y), "seed {seed}");
    }
    assert!(intersection_of_frozen(&[]).is_empty());
}

#[test]
fn triples_of_all_container_shapes_equal_set_operations() {
    let mut rng = rng(4);
    let all: Vec<_> = (1..SHAPES.len()).map(|shape| shaped(shape, true, &mut rng)).collect();
    let blobs: Vec<_> = all.iter().map(blob).collect();
    let view = |index: usize| Expr::bitmap(BitmapView::open(&blobs[index]).unwrap());
    for a in 0..all.len() {
        for b in 0..all.len() {
            for c in 0..all.len() {
                let frozen = [a, b, c].map(|index| FrozenBitmap::open(&blobs[index]).unwrap());
                let found = intersection_of_frozen(&frozen).view().to_roaring();
                assert_eq!(found, &(&all[a] & &all[b]) & &all[c], "{a} {b} {c}");
                let cases = [
                    (Expr::and([view(a), Expr::or([view(b), view(c)])]), &all[a] & (&all[b] | &all[c])),
                    (Expr::or([view(a), view(b)]).and_not(view(c)), (&all[a] | &all[b]) - &all[c]),
                    (view(a).and_not(Expr::or([view(b), view(c)])), &all[a] - (&all[b] | &all[c])),
                ];
                for (index, (expr, expected)) in cases.into_iter().enumerate() {
                    let query = Query::new(expr, UNIVERSE);
                    assert_eq!(query.count(), expected.len(), "{a} {b} {c} case {index}");
                    let result = query.to_bitmap().view().to_roaring();
                    assert_eq!(result, expected, "{a} {b} {c} case {index}");
                }
            }
        }
    }
}

#[test]
fn views_of_every_form_answer_alike() {
    for seed in 0..60 {
        let operand = Operand::random(7000 + seed);
        let (view, expected) = (operand.view(), &operand.expected);
        assert_eq!(view.len(), expected.len(), "seed {seed}");
        assert_eq!(view.is_empty(), expected.is_empty(), "seed {seed}");
        assert_eq!(view.to_bitmap().view().to_roaring(), *expected, "seed {seed}");
        let mut rng = rng(seed);
        for slot in (0..300).map(|_| rng.random_range(0..10 << 16)).chain(expected.iter().take(50)) {
            assert_eq!(view.contains(slot), expected.contains(slot), "seed {seed} slot {slot}");
        }
    }
}

#[test]
fn many_operands_unite_and_intersect() {
    let operands: Vec<_> = (0..20).map(|i| Operand::random(9000 + i)).collect();
    let views = || operands.iter().map(Operand::view);
    let all = operands.iter().fold(RoaringBitmap::new(), |all, o| all | &o.expected);
    assert_eq!(union(views()).view().to_roaring(), all);
    assert_eq!(union_len(views()), all.len());
    let three = || views().take(3);
    let common = operands.iter().take(3).map(|o| o.expected.clone()).reduce(|a, b| a & b).unwrap();
    assert_eq!(intersection(three()).view().to_roaring(), common);
    assert_eq!(intersection_len(three()), common.len());
    assert_eq!(intersection_len(std::iter::empty::<BitmapView<'_>>()), 0);
    assert!(intersection(std::iter::empty::<BitmapView<'_>>()).is_empty());
}

#[test]
fn the_last_operation_on_a_slot_counts() {
    let delta = Delta::from_ops([(7, true), (7, false), (7, true), (8, true), (8, false)]);
    assert_eq!(delta.get(7), Some(true));
    assert_eq!(delta.get(8), Some(false));
    assert_eq!(delta.get(9), None);
    let newer = Delta::from_ops([(8, true), (7, false), (1 << 20, true)]);
    let both = delta.then(&newer);
    assert_eq!(both.ops().collect::<Vec<_>>(), [(7, false), (8, true), (1 << 20, true)]);
    assert_eq!(both.op_count(), 3);
    assert_eq!(both.keys().collect::<Vec<_>>(), [0, 16]);
}

#[test]
fn chunks_that_cannot_match_are_not_read() {
    let rare = blob(&RoaringBitmap::from_iter([5, 80 << 16]));
    let mut dense = RoaringBitmap::new();
    (0..100).for_each(|key| add_chunk(&mut dense, key, oracle::Shape::Dense, &mut rng(1)));
    let dense = blob(&dense);
    let [a, b] = [&rare, &dense].map(|bytes| FrozenBitmap::open(bytes).unwrap());
    let query = Query::new(Expr::and([Expr::bitmap(b), Expr::bitmap(a)]), 1 << 32);
    let explanation = query.explain();
    assert_eq!(explanation.operands[0].visited, 2, "{explanation}");
    assert_eq!(explanation.operands[0].skipped, 98, "{explanation}");
    assert_eq!(explanation.visited, 4, "{explanation}");
    assert!(explanation.to_string().starts_with("and: estimated"), "{explanation}");
}

#[test]
fn a_consumer_sees_chunks_in_order_and_can_stop() {
    let bytes = blob(&RoaringBitmap::from_iter([5, 6, 3 << 16, 80 << 16]));
    let query = Query::new(FrozenBitmap::open(&bytes).unwrap(), 0);
    let mut seen = Vec::new();
    let stopped = query.for_each_chunk(|key, container| {
        seen.push((key, container.cardinality()));
        if key == 3 { ControlFlow::Break(key) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped, ControlFlow::Break(3));
    assert_eq!(seen, [(0, 2), (3, 1)]);
}
