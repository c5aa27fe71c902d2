//! Top-k, its pages and aggregates against a sorted vector.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "tests"
)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bitmap_silo::column::{
    ColumnDelta, ColumnPage, ColumnView, Direction, PageBuilder, Zone, Zones, sort_key,
};
use bitmap_silo::topk::{Cursor, Hit, Nulls, SortSource, TopK, quantile, sum_f64, totals};
use bitmap_silo::{BitmapBuf, Delta, Expr, Query};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// A column in memory: pages, pending changes, zones.
#[derive(Default)]
struct Column {
    pages: BTreeMap<u16, Vec<u8>>,
    deltas: BTreeMap<u16, Arc<ColumnDelta>>,
    zones: Zones,
    model: BTreeMap<u32, u64>,
    opened: Cell<usize>,
}

impl Column {
    fn new(model: BTreeMap<u32, u64>) -> Self {
        let mut chunks: BTreeMap<u16, (Vec<u16>, Vec<u64>)> = BTreeMap::new();
        for (slot, key) in &model {
            let (slots, keys) = chunks.entry((slot >> 16) as u16).or_default();
            slots.push(*slot as u16);
            keys.push(*key);
        }
        let mut builder = PageBuilder::new();
        let pages = chunks.iter().map(|(chunk, (s, k))| (*chunk, builder.build(s, k).unwrap())).collect();
        let zones = Zones::of_entries(model.iter().map(|(slot, key)| (*slot, *key)));
        Self { pages, zones, model, ..Self::default() }
    }

    fn change(&mut self, slot: u32, key: Option<u64>) {
        match key {
            Some(key) => {
                self.model.insert(slot, key);
                self.zones = self.zones.widened(&Zones::of_entries([(slot, key)]));
            }
            None => drop(self.model.remove(&slot)),
        }
        let newer = ColumnDelta::from_ops([(slot as u16, key)]);
        let delta = self.deltas.entry((slot >> 16) as u16).or_default();
        *delta = Arc::new(delta.then(&newer));
    }
}

impl SortSource for Column {
    type Error = Infallible;

    fn zones(&self) -> &[Zone] {
        self.zones.zones()
    }

    fn column(&self, chunk: u16) -> Result<ColumnView<'_>, Infallible> {
        self.opened.set(self.opened.get() + 1);
        let page = self.pages.get(&chunk).map(|bytes| ColumnPage::open(bytes).unwrap());
        Ok(ColumnView::new(page, self.deltas.get(&chunk).cloned()))
    }
}

/// All records of an order, sorted.
fn expected(order: &Order<'_>) -> Vec<(Hit, Option<u64>)> {
    let mut records: Vec<(Option<u64>, Option<u64>, u32)> = order
        .slots
        .iter()
        .filter(|slot| order.filter.is_none_or(|(_, set)| set.contains(slot)))
        .map(|slot| {
            (
                order.sort.model.get(slot).copied(),
                order.tie.and_then(|tie| tie.model.get(slot).copied()),
                *slot,
            )
        })
        .filter(|(key, ..)| match key {
            Some(key) => order.keys.0 <= *key && *key <= order.keys.1,
            None => order.nulls != Nulls::Omit,
        })
        .collect();
    records.sort_unstable();
    if order.direction == Direction::Descending {
        records.reverse();
    }
    let (nulls, keys): (Vec<_>, Vec<_>) = records.into_iter().partition(|(key, ..)| key.is_none());
    let both = if order.nulls == Nulls::First { [nulls, keys] } else { [keys, nulls] };
    both.into_iter().flatten().map(|(key, tie, slot)| (Hit { slot, key }, tie)).collect()
}

#[derive(Clone, Copy)]
struct Order<'a> {
    slots: &'a [u32],
    sort: &'a Column,
    tie: Option<&'a Column>,
    filter: Option<(&'a Query<'a>, &'a std::collections::BTreeSet<u32>)>,
    direction: Direction,
    nulls: Nulls,
    keys: (u64, u64),
}

impl<'a> Order<'a> {
    fn topk(&self) -> TopK<'a, Infallible> {
        let mut topk = TopK::new(self.sort).direction(self.direction).nulls(self.nulls);
        if self.keys != (0, u64::MAX) {
            topk = topk.between(self.keys.0..=self.keys.1);
        }
        if let Some(tie) = self.tie {
            topk = topk.ties(tie);
        }
        if let Some((query, _)) = self.filter {
            topk = topk.filter(query);
        }
        topk
    }

    /// Pages by cursor and by offset equal the sorted vector.
    fn check(&self, rng: &mut SmallRng, what: &str) {
        let all = expected(self);
        let topk = self.topk();
        let hits: Vec<Hit> = all.iter().map(|(hit, _)| *hit).collect();
        assert_eq!(topk.first(hits.len() + 5).unwrap(), hits, "{what}: everything");
        assert!(topk.first(0).unwrap().is_empty());
        for _ in 0..6 {
            let (offset, limit) = (rng.random_range(0..=hits.len()), rng.random_range(1..60));
            let end = (offset + limit).min(hits.len());
            assert_eq!(topk.page(offset, limit).unwrap(), hits[offset..end], "{what}: offset");
            // From anywhere, also after records that are gone.
            let after = offset.checked_sub(1).map(|at| {
                let (hit, tie) = all[at];
                let cursor = Cursor { key: hit.key, tie, slot: hit.slot };
                assert_eq!(topk.cursor(&hit).unwrap(), cursor);
                cursor
            });
            assert_eq!(topk.after(after).first(limit).unwrap(), hits[offset..end], "{what}: cursor");
        }
        for size in [1 + rng.random_range(0..7), 100, 1500] {
            if hits.len() / size > 400 {
                continue;
            }
            let (mut walked, mut after) = (Vec::new(), None);
            loop {
                let page = topk.after(after).first(size).unwrap();
                let Some(last) = page.last() else { break };
                after = Some(topk.cursor(last).unwrap());
                walked.extend(page);
            }
            assert_eq!(walked, hits, "{what}: pages of {size}");
        }
    }
}

/// Slots in a few chunks, dense and sparse.
fn slots(rng: &mut SmallRng, count: u32) -> Vec<u32> {
    let mut slots: Vec<u32> = (0..count).collect();
    slots.extend((0..count).map(|_| (1 << 16) + rng.random_range(0..1 << 16)));
    slots.extend((0..50).map(|_| (7 << 16) + rng.random_range(0..500)));
    slots.extend((0..count).map(|_| (0xffff << 16) + rng.random_range(0..1 << 16)));
    slots.push(u32::MAX);
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// A column over the slots; changed afterwards where wanted.
fn column(rng: &mut SmallRng, slots: &[u32], range: u64, absent: f64, changes: usize) -> Column {
    let key = |rng: &mut SmallRng| match range {
        // Half of them zero, the others skewed.
        0 => rng.random_range(0..2) * (1 << rng.random_range(0..20)),
        range => rng.random_range(0..=range),
    };
    let mut model = BTreeMap::new();
    for slot in slots {
        if !rng.random_bool(absent) {
            model.insert(*slot, key(rng));
        }
    }
    let mut column = Column::new(model);
    for _ in 0..changes {
        let slot = slots[rng.random_range(0..slots.len())];
        let key = (!rng.random_bool(absent)).then(|| key(rng));
        column.change(slot, key);
    }
    column
}

fn ties(rng: &mut SmallRng, slots: &[u32], kind: &str) -> Option<Column> {
    let mut ids: Vec<u64> = (0..slots.len() as u64).map(|id| 1000 + 3 * id).collect();
    match kind {
        "slot" => return None,
        "shuffled" => ids.shuffle(rng),
        "shuffled in a chunk" => {
            let in_chunk = slots.iter().filter(|slot| *slot >> 16 == 1).count();
            let before = slots.partition_point(|slot| slot >> 16 == 0);
            ids[before..before + in_chunk].shuffle(rng);
        }
        _ => {}
    }
    let mut column = Column::new(slots.iter().copied().zip(ids.iter().copied()).collect());
    if kind == "pending" {
        // Records that got an id beyond all others in a slot used before.
        for (at, id) in [(5, 1 << 40), (700, (1 << 40) + 1)] {
            column.change(slots[at % slots.len()], Some(id));
        }
    }
    Some(column)
}

#[test]
fn pages_equal_a_sorted_vector() {
    let mut rng = SmallRng::seed_from_u64(11);
    for round in 0..60 {
        let count = [60, 700, 3000][round % 3];
        let slots = slots(&mut rng, count);
        let range = [0, 1, 40, 5000, u64::MAX][rng.random_range(0..5)];
        let (absent, changes) = ([0.0, 0.3][rng.random_range(0..2)], [0, 1, 300][rng.random_range(0..3)]);
        let sort = column(&mut rng, &slots, range, absent, changes);
        let tie_kind = ["slot", "ascending", "shuffled", "shuffled in a chunk", "pending"][round % 5];
        let tie = ties(&mut rng, &slots, tie_kind);
        // Filters of every density; patched, negated and combined.
        let bitmaps: Vec<BitmapBuf> = [0.5, 0.5, 0.04, 0.004]
            .iter()
            .map(|share| slots.iter().copied().filter(|_| rng.random_bool(*share)).collect())
            .collect();
        let pending = Delta::from_ops(slots.iter().map(|slot| (*slot, rng.random())).take(40));
        let leaf = |index: usize| Expr::bitmap(&bitmaps[index]);
        let exprs = [
            leaf(0).and_not(leaf(2)),
            Expr::and([leaf(0), Expr::or([leaf(1), leaf(2)]), leaf(3).negated()]),
            leaf(2),
            Expr::or([leaf(3), Expr::bitmap(bitmaps[3].view())]),
            Expr::at_least(2, [leaf(0), leaf(1), leaf(2)]),
            Expr::bitmap(bitmap_silo::BitmapView::from(&bitmaps[2]).patched(&pending)),
            Expr::Xor(vec![leaf(0), leaf(1)]),
        ];
        let query = Query::new(exprs[round % 7].clone(), 1 << 32);
        let set = query.to_bitmap().view().iter().collect();
        let keys = if round % 4 == 3 {
            let values: Vec<u64> = sort.model.values().copied().collect();
            let mut ends = [0; 2].map(|_| values[rng.random_range(0..values.len())]);
            ends.sort_unstable();
            (ends[0], ends[1])
        } else {
            (0, u64::MAX)
        };
        for filter in [None, Some((&query, &set))] {
            for direction in [Direction::Ascending, Direction::Descending] {
                let mut nulls = [Nulls::Omit, Nulls::First, Nulls::Last][rng.random_range(0..3)];
                // Without filter and ties no record is known to lack a key.
                if (filter.is_none() && tie.is_none()) || keys != (0, u64::MAX) {
                    nulls = Nulls::Omit;
                }
                let order =
                    Order { slots: &slots, sort: &sort, tie: tie.as_ref(), filter, direction, nulls, keys };
                let what = format!(
                    "round {round}, range {range}, ties {tie_kind}, {direction:?}, {nulls:?}, filtered {}",
                    filter.is_some()
                );
                order.check(&mut rng, &what);
            }
        }
    }
}

#[test]
fn pages_far_down_equal_a_sorted_vector() {
    let mut rng = SmallRng::seed_from_u64(17);
    for round in 0..60 {
        let slots = slots(&mut rng, [2500, 9000][round % 2]);
        let range = [0, 1, 40, 5000, u64::MAX][round % 5];
        let (absent, changes) = ([0.0, 0.4][rng.random_range(0..2)], [0, 1, 3000][round % 3]);
        let sort = column(&mut rng, &slots, range, absent, changes);
        let tie_kind = ["slot", "ascending", "shuffled", "shuffled in a chunk", "pending"][round / 2 % 5];
        let tie = ties(&mut rng, &slots, tie_kind);
        // The share that passes changes along the order, and from chunk to chunk.
        let share = |slot: &u32| {
            let high = sort.model.get(slot).is_some_and(|key| *key > range / 2);
            [0.9, 0.02, 0.4][(*slot as usize >> 16) % 3] * if high { 1.0 } else { 0.3 }
        };
        let made: BitmapBuf = slots.iter().copied().filter(|slot| rng.random_bool(share(slot))).collect();
        let runs: BitmapBuf = slots.iter().copied().filter(|slot| slot / 400 % 3 != 1).collect();
        let pending = Delta::from_ops(slots.iter().map(|slot| (*slot, rng.random())).take(40));
        let exprs = [
            Expr::bitmap(&made),
            Expr::bitmap(&runs),
            Expr::and([Expr::bitmap(&made), Expr::bitmap(&runs)]),
            Expr::bitmap(&runs).and_not(Expr::bitmap(&made)),
            Expr::bitmap(bitmap_silo::BitmapView::from(&runs).patched(&pending)),
        ];
        let query = Query::new(exprs[rng.random_range(0..exprs.len())].clone(), 1 << 32);
        let set = query.to_bitmap().view().iter().collect();
        for filter in [None, Some((&query, &set))] {
            for direction in [Direction::Ascending, Direction::Descending] {
                let mut nulls = [Nulls::Omit, Nulls::First, Nulls::Last][rng.random_range(0..3)];
                if filter.is_none() && tie.is_none() {
                    nulls = Nulls::Omit;
                }
                let mut keys = (0, u64::MAX);
                if round % 4 == 3 {
                    let values: Vec<u64> = sort.model.values().copied().collect();
                    keys = (values[values.len() / 3], values[values.len() / 2]);
                    keys = (keys.0.min(keys.1), keys.0.max(keys.1));
                    nulls = Nulls::Omit;
                }
                let order =
                    Order { slots: &slots, sort: &sort, tie: tie.as_ref(), filter, direction, nulls, keys };
                let hits: Vec<Hit> = expected(&order).into_iter().map(|(hit, _)| hit).collect();
                for _ in 0..12 {
                    let (offset, limit) = (rng.random_range(0..=hits.len() + 700), rng.random_range(1..90));
                    let page = hits.get(offset..(offset + limit).min(hits.len())).unwrap_or(&[]);
                    assert_eq!(
                        order.topk().page(offset, limit).unwrap(),
                        page,
                        "round {round}, range {range}, ties {tie_kind}, {direction:?}, {nulls:?}, filtered {}, keys {keys:?}, {offset} of {}",
                        filter.is_some(),
                        hits.len()
                    );
                }
            }
        }
    }
}

#[test]
fn only_chunks_with_the_answer_are_opened() {
    // A hundred chunks; key = slot.
    let pages = 100_u32;
    let model: BTreeMap<u32, u64> = (0..pages)
        .flat_map(|chunk| (0..50).map(move |low| (chunk << 16 | low, u64::from(chunk << 16 | low))))
        .collect();
    let column = Column::new(model);
    let hits = TopK::new(&column).direction(Direction::Descending).ties(&column).first(60).unwrap();
    assert_eq!(hits[0].slot, (99 << 16) + 49);
    assert!(column.opened.get() <= 4, "{} pages opened", column.opened.get());
    column.opened.set(0);
    let few: BitmapBuf = (0..pages).map(|chunk| chunk << 16 | 7).collect();
    let query = Query::new(&few, 1 << 32);
    let hits = TopK::new(&column).filter(&query).first(3).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.slot).collect::<Vec<_>>(), [7, 1 << 16 | 7, 2 << 16 | 7]);
    assert!(column.opened.get() <= 3, "{} pages opened", column.opened.get());
}

#[test]
fn aggregates_equal_those_of_a_vector() {
    let mut rng = SmallRng::seed_from_u64(12);
    for (range, count) in [(0, 3000), (1, 60), (5000, 3000), (u64::MAX, 3000)] {
        let slots = slots(&mut rng, count);
        let sort = column(&mut rng, &slots, range, 0.1, 100);
        for share in [1.0, 0.5, 0.01, 0.0] {
            let bitmap: BitmapBuf = slots.iter().copied().filter(|_| rng.random_bool(share)).collect();
            let query = Query::new(&bitmap, 1 << 32);
            let mut keys: Vec<u64> =
                bitmap.view().iter().filter_map(|slot| sort.model.get(&slot).copied()).collect();
            keys.sort_unstable();
            let found = totals(&sort, Some(&query)).unwrap();
            assert_eq!(
                (found.count, found.min, found.max),
                (keys.len() as u64, keys.first().copied(), keys.last().copied())
            );
            assert_eq!(found.sum, keys.iter().map(|key| u128::from(*key)).sum());
            assert_eq!(found.sum_i64(), keys.iter().map(|key| i128::from(sort_key::to_i64(*key))).sum());
            let (sum, number) = sum_f64(&sort, Some(&query), |key| (key >> 20) as f64).unwrap();
            let exact = keys.iter().map(|key| u128::from(key >> 20)).sum::<u128>() as f64;
            assert!((sum - exact).abs() <= exact * 1e-15, "{sum} {exact}");
            assert_eq!(number, keys.len() as u64);
            for q in [0.0, 0.01, 0.5, 0.999, 1.0] {
                let at = ((q * keys.len() as f64).ceil() as usize).max(1) - 1;
                assert_eq!(quantile(&sort, Some(&query), q).unwrap(), keys.get(at).copied());
            }
        }
        let (all, values) = (totals(&sort, None).unwrap(), sort.model.values());
        assert_eq!(
            (all.count, all.sum),
            (values.len() as u64, values.clone().map(|key| u128::from(*key)).sum())
        );
        assert_eq!((all.min, all.max), (values.clone().min().copied(), values.max().copied()));
    }
}

#[test]
fn quantiles_of_many_keys_narrow_down() {
    // More keys than are selected from in memory.
    let mut rng = SmallRng::seed_from_u64(13);
    let mut column = Column::default();
    let (mut builder, mut all) = (PageBuilder::new(), Vec::new());
    let slots: Vec<u16> = (0..=u16::MAX).collect();
    for chunk in 0..20 {
        let keys: Vec<u64> =
            slots.iter().map(|_| if rng.random_bool(0.5) { 7 } else { rng.random() }).collect();
        column.pages.insert(chunk, builder.build(&slots, &keys).unwrap());
        let zone = Zone { chunk, count: 1 << 16, lowest: 0, highest: u64::MAX };
        column.zones = column.zones.widened(&Zones::of([zone]));
        all.extend(keys);
    }
    all.sort_unstable();
    for q in [0.0, 0.3, 0.5, 0.77, 1.0] {
        let at = ((q * all.len() as f64).ceil() as usize).max(1) - 1;
        assert_eq!(quantile(&column, None, q).unwrap(), Some(all[at]));
    }
}
