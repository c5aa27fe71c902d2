//! Column pages, patched views, folding: against a sorted map.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bitmap_silo::column::{ColumnDelta, ColumnPage, ColumnView, Direction, PageBuilder, fold};
use bitmap_silo::container::Scratch;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

type Model = BTreeMap<u16, u64>;

fn page_of(model: &Model) -> Vec<u8> {
    let (slots, keys): (Vec<u16>, Vec<u64>) = model.iter().map(|(low, key)| (*low, *key)).unzip();
    PageBuilder::new().build(&slots, &keys).unwrap()
}

/// Columns of all shapes: forms of presence, widths, orders.
fn models() -> Vec<Model> {
    let mut rng = SmallRng::seed_from_u64(3);
    let mut models = vec![Model::new()];
    for (count, spread) in [
        (1, 1),
        (1, 100),
        (2, 2),
        (63, 64),
        (1000, 1000),
        (900, 60_000),
        (4096, 5000),
        (9000, 65_536),
        (65_536, 65_536),
    ] {
        for key_range in [1, 2, 1000, 1 << 20, 1 << 47, 1 << 53, 1 << 56, 1 << 60, u64::MAX] {
            for ascending in [false, true] {
                if count > 5000 && !(key_range == 1000 || key_range == u64::MAX || key_range == 1 << 47) {
                    continue;
                }
                let mut slots: Vec<u16> = if count == spread {
                    (0..count).map(|low| low as u16).collect()
                } else {
                    (0..count).map(|_| rng.random_range(0..spread) as u16).collect()
                };
                slots.sort_unstable();
                slots.dedup();
                let base = if key_range == u64::MAX { 0 } else { rng.random_range(0..1 << 60) };
                let mut keys: Vec<u64> =
                    slots.iter().map(|_| base + rng.random_range(0..key_range)).collect();
                if ascending {
                    keys.sort_unstable();
                }
                models.push(slots.into_iter().zip(keys).collect());
            }
        }
    }
    models
}

fn sorted(model: &Model) -> Vec<(u64, u16)> {
    let mut entries: Vec<(u64, u16)> = model.iter().map(|(low, key)| (*key, *low)).collect();
    entries.sort_unstable();
    entries
}

fn check(view: &ColumnView<'_>, model: &Model, rng: &mut SmallRng) {
    let mut entries = sorted(model);
    assert_eq!(view.len() as usize, model.len());
    assert!(view.len_bound() as usize >= model.len());
    assert_eq!(view.sum(), model.values().map(|key| u128::from(*key)).sum());
    assert_eq!(view.min(), entries.first().map(|(key, _)| *key));
    assert_eq!(view.max(), entries.last().map(|(key, _)| *key));
    for low in (0..=u16::MAX).step_by(7).chain(model.keys().copied()) {
        assert_eq!(view.get(low), model.get(&low).copied());
    }
    let (lows, mut keys): (Vec<u16>, _) = ((0..=u16::MAX).step_by(13).collect(), vec![Some(1)]);
    view.get_many(&lows, &mut keys);
    assert!(keys.into_iter().eq(lows.iter().map(|low| model.get(low).copied())));
    let mut all = Vec::new();
    view.for_each(|low, key| all.push((low, key)));
    assert!(all.into_iter().eq(model.iter().map(|(low, key)| (*low, *key))));
    assert!(!view.ascends() || model.values().is_sorted());
    let mut words = Scratch::new();
    assert_eq!(view.present_into(&mut words) as usize, model.len());
    assert!(model.keys().all(|low| words.contains(*low)));
    let some_key = |rng: &mut SmallRng| match rng.random_range(0..4) {
        0 => rng.random(),
        1 => u64::MAX,
        _ if model.is_empty() => 0,
        _ => {
            entries[rng.random_range(0..entries.len())].0.wrapping_add(rng.random_range(0..3)).wrapping_sub(1)
        }
    };
    for _ in 0..12 {
        let (lowest, highest) = (some_key(rng), some_key(rng));
        let expected: Vec<u16> = model
            .iter()
            .filter(|(_, key)| lowest <= **key && **key <= highest)
            .map(|(low, _)| *low)
            .collect();
        assert_eq!(view.range_count(lowest, highest) as usize, expected.len());
        assert_eq!(view.range_into(lowest, highest, &mut words) as usize, expected.len());
        let mut found = Vec::new();
        words.for_each(|low| found.push(low));
        assert_eq!(found, expected);
    }
    let starts: Vec<(u64, u16)> = (0..8)
        .map(|_| match entries.len() {
            0 => (rng.random(), rng.random()),
            len => {
                let (key, low) = entries[rng.random_range(0..len)];
                (key, low.wrapping_add(rng.random_range(0..2)))
            }
        })
        .collect();
    assert!(view.walk(Direction::Ascending).eq(entries.iter().copied()));
    for (key, low) in &starts {
        let from = entries.partition_point(|entry| entry < &(*key, *low));
        let after = entries.partition_point(|entry| entry <= &(*key, *low));
        assert!(view.walk_from(Direction::Ascending, *key, *low).eq(entries[from..].iter().copied()));
        assert!(view.walk_after(Direction::Ascending, *key, *low).eq(entries[after..].iter().copied()));
        assert!(view.walk_from(Direction::Descending, *key, *low).eq(entries[..after].iter().rev().copied()));
        assert!(view.walk_after(Direction::Descending, *key, *low).eq(entries[..from].iter().rev().copied()));
    }
    entries.reverse();
    assert!(view.walk(Direction::Descending).eq(entries));
}

#[test]
fn pages_equal_a_map() {
    let mut rng = SmallRng::seed_from_u64(4);
    for model in models() {
        // At an odd address.
        let mut bytes = vec![0];
        bytes.extend_from_slice(&page_of(&model));
        let page = ColumnPage::open(&bytes[1..]).unwrap();
        page.validate().unwrap();
        check(&page.into(), &model, &mut rng);
    }
}

#[test]
fn patched_pages_and_folded_ones_equal_a_map() {
    let mut rng = SmallRng::seed_from_u64(5);
    for model in models() {
        let bytes = page_of(&model);
        let page = ColumnPage::open(&bytes).unwrap();
        let (mut model, mut delta) = (model, ColumnDelta::default());
        let top = model.values().max().copied().unwrap_or(5);
        for round in 0..3 {
            let ops: Vec<(u16, Option<u64>)> = (0..rng.random_range(1..=60_usize.pow(round)))
                .map(|_| {
                    let key = rng.random_range(0..=top.saturating_add(3));
                    let shift = rng.random_range(0..9);
                    (rng.random_range(0..=u16::MAX >> shift), rng.random_bool(0.7).then_some(key))
                })
                .collect();
            for (low, key) in &ops {
                match key {
                    Some(key) => model.insert(*low, *key),
                    None => model.remove(low),
                };
            }
            delta = delta.then(&ColumnDelta::from_ops(ops));
        }
        check(&ColumnView::new(Some(page), Some(Arc::new(delta.clone()))), &model, &mut rng);
        assert_eq!(fold(&page, &delta), page_of(&model));
    }
}

#[test]
fn appended_keys_keep_a_view_ascending() {
    let bytes = page_of(&(0..100).map(|low| (low, u64::from(low))).collect());
    let page = ColumnPage::open(&bytes).unwrap();
    let ascends = |ops: &[(u16, Option<u64>)]| {
        ColumnView::new(Some(page), Some(Arc::new(ColumnDelta::from_ops(ops.to_vec())))).ascends()
    };
    assert!(ascends(&[(100, Some(99)), (200, Some(500)), (5, None)]));
    assert!(!ascends(&[(100, Some(98))]));
    assert!(!ascends(&[(50, Some(50))]));
    assert!(!ascends(&[(100, Some(500)), (101, Some(499))]));
    assert_eq!(bytes.len(), 24 + 8 * (100_usize * 7).div_ceil(64) + 8);
}

#[test]
fn malformed_rows_are_refused() {
    let mut builder = PageBuilder::new();
    assert!(builder.build(&[1, 2], &[1]).is_err());
    assert!(builder.build(&[2, 2], &[1, 1]).is_err());
    assert!(builder.build(&[2, 1], &[1, 1]).is_err());
    assert!(builder.build(&[], &[]).unwrap().is_empty());
    assert!(ColumnPage::open(&[]).unwrap().is_empty());
}

/// Reads everything that reads: none may panic or leave the bytes.
fn read_all(page: &ColumnPage<'_>) {
    let view = ColumnView::from(*page);
    let _ = (page.validate(), view.min(), view.max(), view.ascends(), view.len());
    for low in [0, 1, 77, 300, u16::MAX] {
        let _ = view.get(low);
    }
    let mut words = Scratch::new();
    for (lowest, highest) in [(0, u64::MAX), (5, 900), (900, 5)] {
        let _ = (view.range_count(lowest, highest), view.range_into(lowest, highest, &mut words));
    }
    view.present_into(&mut words);
    view.for_each(|_, _| {});
    assert!(view.walk(Direction::Ascending).count() <= 1 << 16);
    assert!(view.walk_after(Direction::Descending, 700, 3).count() <= 1 << 16);
    let delta = ColumnDelta::from_ops([(3, Some(1)), (9, None), (500, Some(u64::MAX))]);
    let _ = fold(page, &delta);
}

#[test]
fn flipped_and_cut_pages_never_panic() {
    let mut rng = SmallRng::seed_from_u64(6);
    let columns: [Model; 4] = [
        (0..90).map(|low| (low, rng.random_range(0..1000))).collect(),
        (0..60).map(|low| (low * 5 + 2, rng.random())).collect(),
        (0..40).map(|low| (low, u64::from(low / 2))).collect(),
        (0..5000).map(|low| (low * 11 + 2, rng.random_range(0..1000))).collect(),
    ];
    for model in columns {
        let bytes = page_of(&model);
        let stride = if bytes.len() > 5000 { 97 } else { 1 };
        for len in (1..bytes.len()).step_by(stride) {
            assert!(ColumnPage::open(&bytes[..len]).is_err());
        }
        let flips = (0..bytes.len() * 8).filter(|bit| *bit < 24 * 8 || bit % stride == 0);
        let mut undetected = 0;
        for bit in flips {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(page) = ColumnPage::open(&flipped) {
                if page.validate().is_ok() {
                    // Another valid page: it must be the one that its entries call for.
                    let mut other = Model::new();
                    page.for_each(|low, key| {
                        other.insert(low, key);
                    });
                    assert_eq!(page_of(&other), flipped);
                    undetected += 1;
                }
                read_all(&page);
            }
        }
        // Only keys that stay in order make another valid page.
        assert!(undetected < bytes.len() * 8 * 4 / 5);
    }
}

#[test]
fn bytes_are_those_of_the_specification() {
    // Differences 2, 0, 6 to the lowest in three bits each.
    let page = PageBuilder::new().build(&[0, 1, 2], &[5, 3, 9]).unwrap();
    let mut bytes = vec![0xc1, 3, 0, 1, 3, 0, 0, 0];
    bytes.extend([3_u64, 9, 0b110_000_010, 0].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend([1, 0, 0, 0, 2, 0]);
    bytes.extend(3_u64.to_le_bytes());
    assert_eq!(page, bytes);
    // A list of present slots, equal keys, no order.
    let page = PageBuilder::new().build(&[4, 700], &[8, 8]).unwrap();
    let mut bytes = vec![0xc1, 0, 1, 0, 2, 0, 0, 0];
    bytes.extend([8_u64, 8].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend([4, 0, 0xbc, 2]);
    assert_eq!(page, bytes);
    let operand = ColumnDelta::from_ops([(9, None), (2, Some(1))]).encode();
    assert_eq!(operand, [0xc2, 1, 0, 2, 0, 9, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    let zones = bitmap_silo::column::Zones::of_entries([(0x2_0003, 7), (0x2_0004, 5)]).encode();
    let mut bytes = vec![0xc3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
    bytes.extend([5_u64, 7].iter().flat_map(|word| word.to_le_bytes()));
    assert_eq!(zones, bytes);
}

#[test]
fn folding_a_page_whose_order_lies_makes_a_page_that_opens() {
    let model: Model = (0..600_u16).map(|n| (n * 3, u64::from(n) * 7919 % 1009)).collect();
    let bytes = page_of(&model);
    let samples = 8 * model.len().div_ceil(256);
    let order = bytes.len() - samples - 2 * model.len();
    let delta = ColumnDelta::from_ops([(3, Some(5)), (4, Some(2000)), (9, None)]);
    for (at, slot) in [(0, 0xffff_u16), (1, 1), (256, 0xffff), (512, 65_000), (599, 3), (300, 9)] {
        let mut lying = bytes.clone();
        lying[order + 2 * at..][..2].copy_from_slice(&slot.to_le_bytes());
        let page = ColumnPage::open(&lying).unwrap();
        assert!(page.validate().is_err());
        let folded = fold(&page, &delta);
        assert_eq!(ColumnPage::open(&folded).unwrap().len(), 600);
    }
}
