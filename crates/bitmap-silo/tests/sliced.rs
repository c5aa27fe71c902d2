//! Bit-sliced numbers against a sorted map.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "tests"
)]

use std::collections::BTreeMap;

use bitmap_silo::column::Direction;
use bitmap_silo::container::Scratch;
use bitmap_silo::sliced::{Comparison, SlicedBuf, SlicedBuilder, SlicedError, SlicedView, changes};
use bitmap_silo::topk::Hit;
use bitmap_silo::{BitmapBuf, BitmapView, Expr, Query};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Model = BTreeMap<u32, u64>;
/// Whether a number compares so with two others.
type Test = fn(u64, u64, u64) -> bool;

/// A number of up to `width` bits; half of them small, some of them the greatest.
fn number(rng: &mut SmallRng, width: usize) -> u64 {
    let limit = u64::MAX >> (64 - width);
    match rng.random_range(0..4) {
        0 => 0,
        1 => rng.random::<u64>() & limit & 0xff,
        2 => limit - (rng.random::<u64>() & limit & 3),
        _ => rng.random::<u64>() & limit,
    }
}

fn build(rng: &mut SmallRng, width: usize, narrow: bool) -> (SlicedBuf, Model) {
    let mut builder = SlicedBuilder::new(width).unwrap();
    let mut model = Model::new();
    for (chunk, count, share) in [(0_u16, 65_536, 1.0), (1, 65_536, 0.3), (5, 1000, 1.0), (0xffff, 130, 0.5)]
    {
        let limit = if chunk == 5 { 3 & (u64::MAX >> (64 - width)) } else { u64::MAX };
        let numbers: Vec<u64> = (0..count).map(|_| number(rng, width) & limit).collect();
        let mut present = Scratch::new();
        for (low, number) in (0..=u16::MAX).zip(&numbers) {
            if rng.random_bool(share) {
                present.insert(low);
                model.insert(u32::from(chunk) << 16 | u32::from(low), *number);
            }
        }
        let present = (share < 1.0).then_some(&present);
        if narrow {
            let numbers: Vec<u32> = numbers.iter().map(|number| *number as u32).collect();
            builder.push_u32(chunk, &numbers, present).unwrap();
        } else {
            builder.push(chunk, &numbers, present).unwrap();
        }
    }
    (builder.finish(), model)
}

fn slots(bitmap: &BitmapBuf) -> Vec<u32> {
    bitmap.view().iter().collect()
}

fn check(view: &SlicedView<'_>, model: &Model, rng: &mut SmallRng) {
    view.check().unwrap();
    for slot in model.keys().step_by(997).copied().chain([3, 70_000, 5 << 16, u32::MAX]) {
        assert_eq!(view.get(slot), model.get(&slot).copied());
    }
    let some: Vec<u32> = model.keys().copied().collect();
    let filters: Vec<BitmapBuf> = [0.3, 0.01, 0.0002]
        .iter()
        .map(|share| {
            some.iter().copied().filter(|_| rng.random_bool(*share)).chain([70_001, 9 << 16]).collect()
        })
        .collect();
    let queries: Vec<Query<'_>> =
        filters.iter().map(|filter| Query::new(Expr::bitmap(filter), 1 << 32)).collect();
    for filter in std::iter::once(None).chain(queries.iter().map(Some)) {
        let kept: Option<std::collections::BTreeSet<u32>> =
            filter.map(|query| slots(&query.to_bitmap()).into_iter().collect());
        let inside: Vec<(u64, u32)> = model
            .iter()
            .filter(|(slot, _)| kept.as_ref().is_none_or(|kept| kept.contains(slot)))
            .map(|(slot, number)| (*number, *slot))
            .collect();
        for _ in 0..4 {
            let pick = |rng: &mut SmallRng| match rng.random_range(0..5) {
                0 => rng.random(),
                1 => view.limit(),
                2 => 0,
                _ => inside.get(rng.random_range(0..inside.len().max(1))).map_or(7, |(number, _)| *number),
            };
            let (a, b) = (pick(rng), pick(rng));
            let tests: [(Comparison, Test); 7] = [
                (Comparison::Equal(a), |x, a, _| x == a),
                (Comparison::NotEqual(a), |x, a, _| x != a),
                (Comparison::Less(a), |x, a, _| x < a),
                (Comparison::AtMost(a), |x, a, _| x <= a),
                (Comparison::Greater(a), |x, a, _| x > a),
                (Comparison::AtLeast(a), |x, a, _| x >= a),
                (Comparison::Between(a, b), |x, a, b| a <= x && x <= b),
            ];
            for (comparison, test) in tests {
                let expected: Vec<u32> =
                    inside.iter().filter(|(x, _)| test(*x, a, b)).map(|(_, slot)| *slot).collect();
                assert_eq!(view.count(comparison, filter), expected.len() as u64, "{comparison:?}");
                assert_eq!(slots(&view.compare(comparison, filter)), expected, "{comparison:?}");
            }
        }
        let totals = view.totals(filter);
        assert_eq!(
            (totals.count, totals.sum),
            (inside.len() as u64, inside.iter().map(|(x, _)| u128::from(*x)).sum())
        );
        let mut sorted = inside.clone();
        sorted.sort_unstable();
        assert_eq!(totals.min, sorted.first().map(|(x, _)| *x));
        assert_eq!(totals.max, sorted.last().map(|(x, _)| *x));
        for q in [0.0, 0.2, 0.5, 0.9, 1.0] {
            let at = ((q * sorted.len() as f64).ceil() as usize).max(1) - 1;
            assert_eq!(view.quantile(filter, q), sorted.get(at).map(|(x, _)| *x));
        }
        for direction in [Direction::Ascending, Direction::Descending] {
            for limit in [0, 1, 100, 700] {
                let hits: Vec<Hit> = sorted
                    .iter()
                    .take(limit)
                    .map(|(key, slot)| Hit { slot: *slot, key: Some(*key) })
                    .collect();
                assert_eq!(view.top(filter, direction, limit), hits, "{direction:?} {limit}");
            }
            sorted.reverse();
        }
    }
}

#[test]
fn layers_equal_a_map() {
    let mut rng = SmallRng::seed_from_u64(41);
    for (width, narrow) in [(1, false), (7, true), (32, true), (32, false), (33, false), (64, false)] {
        let (buf, model) = build(&mut rng, width, narrow);
        check(&buf.view(), &model, &mut rng);
        // Changed, not folded.
        let mut model = model;
        let present: Vec<u32> = model.keys().copied().collect();
        let ops: Vec<(u32, Option<u64>)> = (0..500)
            .map(|at| {
                let slot = if at % 3 == 0 {
                    present[rng.random_range(0..present.len())]
                } else {
                    rng.random_range(0..6 << 16)
                };
                (slot, rng.random_bool(0.6).then(|| number(&mut rng, width)))
            })
            .collect();
        for (slot, number) in &ops {
            match number {
                Some(number) => model.insert(*slot, *number),
                None => model.remove(slot),
            };
        }
        let delta = changes(width, &ops).unwrap();
        let zones = buf.zones.widened(&delta.zones);
        let layers = buf
            .layers
            .iter()
            .zip(&delta.layers)
            .map(|(layer, delta)| BitmapView::from(layer).patched(delta))
            .collect();
        let existence = BitmapView::from(&buf.existence).patched(&delta.existence);
        check(&SlicedView::new(existence, layers, &zones).unwrap(), &model, &mut rng);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(SlicedBuilder::new(0).unwrap_err(), SlicedError::Width { width: 0 });
    assert!(SlicedBuilder::new(65).is_err() && changes(65, &[]).is_err());
    let mut builder = SlicedBuilder::new(3).unwrap();
    let error = builder.push(2, &[1, 8], None).unwrap_err();
    assert_eq!(error, SlicedError::Number { slot: (2 << 16) + 1, number: 8, width: 3 });
    assert!(builder.push_u32(2, &[9], None).is_err() && changes(3, &[(1, Some(8))]).is_err());
    assert!(builder.push(2, &vec![1; 65_537], None).is_err());
    builder.push(2, &[7], None).unwrap();
    assert!(builder.push(2, &[7], None).is_err());
}

#[test]
fn check_finds_strays_and_false_bounds() {
    let mut rng = SmallRng::seed_from_u64(42);
    let (buf, _) = build(&mut rng, 7, false);
    let stray = bitmap_silo::Delta::from_ops([(3 << 16, true)]);
    let mut layers: Vec<BitmapView<'_>> = buf.layers.iter().map(BitmapView::from).collect();
    layers[4] = layers[4].patched(&stray);
    let view = SlicedView::new((&buf.existence).into(), layers, &buf.zones).unwrap();
    assert_eq!(view.check(), Err(SlicedError::Stray { layer: 4, slots: 1 }));
    let tight = bitmap_silo::column::Zones::of(buf.zones.zones().iter().map(|zone| {
        let mut zone = *zone;
        if zone.chunk == 1 {
            zone.highest -= 1;
        }
        zone
    }));
    let layers = buf.layers.iter().map(BitmapView::from).collect();
    let view = SlicedView::new((&buf.existence).into(), layers, &tight).unwrap();
    assert_eq!(view.check(), Err(SlicedError::Zone { chunk: 1 }));
}

#[test]
fn a_layer_that_names_a_slot_twice_makes_no_panic() {
    let mut bytes = Vec::new();
    for word in [12_346_u32, 1, 3 << 16, 16] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for low in [5_u16, 5, 5, 6] {
        bytes.extend_from_slice(&low.to_le_bytes());
    }
    let layer = BitmapView::open(&bytes).unwrap();
    let existence: BitmapBuf = [5, 6].into_iter().collect();
    let zones = bitmap_silo::column::Zones::of_entries([(5, 1), (6, 1)]);
    let view = SlicedView::new((&existence).into(), vec![layer, layer], &zones).unwrap();
    assert!(view.check().is_err());
    for q in [0.0, 0.5, 1.0] {
        let _ = view.quantile(None, q);
    }
    let _ = (view.totals(None), view.count(Comparison::Between(0, 2), None));
    for direction in [Direction::Ascending, Direction::Descending] {
        assert!(view.top(None, direction, 1).len() <= 1);
    }
}
