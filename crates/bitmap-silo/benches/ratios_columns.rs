//! How columns compare with `roaring`, `croaring` and plain vectors, as ratios of medians in one
//! run. `cargo bench -p bitmap-silo --bench ratios_columns` measures everything; words as for
//! `ratios`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::pedantic,
    reason = "a benchmark: a failed unwrap is a failed run"
)]

#[expect(dead_code, reason = "shared with benchmarks that use other parts")]
mod lab;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::time::Duration;

use bitmap_silo::column::{ColumnPage, ColumnView, Direction, PageBuilder, Zone, Zones};
use bitmap_silo::sliced::{Comparison, SlicedBuilder};
use bitmap_silo::topk::{SortSource, TopK, totals};
use bitmap_silo::{FrozenBitmap, Query};
use croaring::Bitmap;
use lab::inputs::{Input, SMALL, independent};
use lab::paired::{Effort, Way, way};
use lab::report::{Goal, Report};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

const LARGE: u32 = 107_000_000;
const K: usize = 100;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let quick = words.iter().any(|word| word == "quick");
    let effort = if quick {
        Effort { sample: Duration::ZERO, samples: 1 }
    } else {
        Effort { sample: Duration::from_millis(4), samples: 9 }
    };
    let report = Report { effort, quick, filter: words.into_iter().find(|word| word != "quick") };
    println!("kernels: {}", bitmap_silo::instruction_set());
    let small = report.size(SMALL);
    for (name, values) in
        [("counters", counters as fn(u32) -> Vec<u32>), ("times", times), ("uniform 14.6 M", uniform)]
    {
        if report.concerns(name) {
            column_rows(&report, name, &values(small));
        }
    }
    for (name, values, must) in [("dense", uniform as fn(u32) -> Vec<u32>, 50.0), ("counters", counters, 6.0)]
    {
        let name = format!("layers of {name}");
        if report.concerns(&name) {
            layer_rows(&report, &name, &values(small), must);
        }
    }
    if report.concerns("uniform 107 M") {
        column_rows(&report, "uniform 107 M", &uniform(report.size(LARGE)));
    }
}

/// Measures a row if it is wanted.
fn row(report: &Report, name: &str, ways: Vec<Way<'_>>, goals: &[Goal]) {
    if report.wants(name) {
        report.row(name, ways, goals);
    }
}

/// Half zero, the others log-normal.
fn counters(len: u32) -> Vec<u32> {
    let mut rng = SmallRng::seed_from_u64(31);
    let mut normal = move || {
        let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
        (-2.0 * uniform.ln()).sqrt() * (std::f64::consts::TAU * rng.random::<f64>()).cos()
    };
    (0..len).map(|_| if normal() < 0.0 { 0 } else { (2.0 + 1.8 * normal()).exp() as u32 }).collect()
}

/// Seconds that ascend with the slots, with jitter; one in fourteen lags far behind.
fn times(len: u32) -> Vec<u32> {
    let mut rng = SmallRng::seed_from_u64(32);
    (0..len)
        .map(|slot| {
            let lag = if rng.random_range(0..14) == 0 { rng.random_range(0..30_000_000) } else { 0 };
            1_600_000_000 + 7 * (slot % (1 << 27)) + rng.random_range(0..600) - lag
        })
        .collect()
}

fn uniform(len: u32) -> Vec<u32> {
    let mut rng = SmallRng::seed_from_u64(33);
    (0..len).map(|_| rng.random()).collect()
}

/// Pages in one allocation, as a mapped file would lend them.
struct Column {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    zones: Zones,
}

impl Column {
    fn new(values: &[u32]) -> Self {
        let mut builder = PageBuilder::new();
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let slots: Vec<u16> = (0..=u16::MAX).collect();
        let mut zones = Vec::new();
        for (chunk, values) in (0_u16..).zip(values.chunks(1 << 16)) {
            let keys: Vec<u64> = values.iter().map(|value| u64::from(*value)).collect();
            builder.build_into(&slots[..keys.len()], &keys, &mut bytes).unwrap();
            ends.push(bytes.len());
            let (lowest, highest) = (*keys.iter().min().unwrap(), *keys.iter().max().unwrap());
            zones.push(Zone { chunk, count: keys.len() as u32, lowest, highest });
        }
        // Grown by remapping, the first allocation has no huge pages; what it is compared with does.
        Self { bytes: bytes.clone(), ends, zones: Zones::of(zones) }
    }
}

impl SortSource for Column {
    type Error = Infallible;

    fn zones(&self) -> &[Zone] {
        self.zones.zones()
    }

    fn column(&self, chunk: u16) -> Result<ColumnView<'_>, Infallible> {
        let start = usize::from(chunk).checked_sub(1).map_or(0, |before| self.ends[before]);
        Ok(ColumnPage::open(&self.bytes[start..self.ends[usize::from(chunk)]]).unwrap().into())
    }
}

fn column_rows(report: &Report, name: &str, values: &[u32]) {
    let len = values.len() as u32;
    let column = Column::new(values);
    println!("{name}: {:.2} bytes per row", column.bytes.len() as f64 / f64::from(len));
    let layers = Layers::new(values);
    let musts = [Goal("vector", 1.0), Goal("roaring", 1.0), Goal("croaring", 1.0)];
    let ours = |filter: Option<&Query<'_>>, direction| {
        let mut topk = TopK::new(&column).direction(direction);
        if let Some(filter) = filter {
            topk = topk.filter(filter);
        }
        topk.first(K).unwrap().iter().map(|hit| hit.key.unwrap()).sum::<u64>()
    };
    let everything = RoaringBitmap::from_sorted_iter(0..len).unwrap();
    let everything = Input::new(everything);
    row(
        report,
        &format!("{name}: top 100 of all"),
        vec![
            way("ours", || ours(None, Direction::Descending)),
            way("vector scan", || select(values.iter().copied())),
            way("roaring layers", || layers.top_roaring(&everything.roaring)),
            way("croaring layers", || layers.top_croaring(&everything.croaring)),
        ],
        &musts,
    );
    for (share, label) in [(0.1, "10 %"), (0.0005, "0.05 %")] {
        let filter = Input::new(independent(len, share, 41));
        let view = FrozenBitmap::open(&filter.bytes).unwrap();
        let query = Query::new(view, u64::from(len));
        row(
            report,
            &format!("{name}: top 100 of {label}"),
            vec![
                way("ours", || ours(Some(&query), Direction::Descending)),
                way("vector gather", || select(filter.roaring.iter().map(|slot| values[slot as usize]))),
                way("roaring layers", || layers.top_roaring(&filter.roaring)),
                way("croaring layers", || layers.top_croaring(&filter.croaring)),
            ],
            &musts,
        );
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let (low, high) = (sorted[sorted.len() / 2], sorted[sorted.len() / 5 * 4]);
    let counted = |column: &Column| -> u64 {
        let zones = column.zones().iter();
        zones
            .map(|zone| {
                let view = column.column(zone.chunk).unwrap();
                u64::from(view.range_count(u64::from(low), u64::from(high)))
            })
            .sum()
    };
    row(
        report,
        &format!("{name}: count a range"),
        vec![
            way("ours", || counted(&column)),
            way("vector scan", || values.iter().filter(|value| (low..=high).contains(value)).count() as u64),
        ],
        &musts[..1],
    );
    row(
        report,
        &format!("{name}: sum of all"),
        vec![
            way("ours", || totals(&column, None).unwrap().sum as u64),
            way("vector scan", || values.iter().map(|value| u64::from(*value)).sum()),
            way("roaring layers", || {
                layers.roaring.iter().zip(0..).map(|(layer, bit)| layer.len() << bit).sum()
            }),
        ],
        &[Goal("vector", 0.1), Goal("roaring", 0.1)],
    );
}

/// Building layers and asking them.
fn layer_rows(report: &Report, name: &str, values: &[u32], must: f64) {
    let len = values.len() as u32;
    let build = || {
        let mut builder = SlicedBuilder::with_capacity(32, values.len().div_ceil(1 << 16)).unwrap();
        for (chunk, values) in (0_u16..).zip(values.chunks(1 << 16)) {
            builder.push_u32(chunk, values, None).unwrap();
        }
        builder.finish()
    };
    let few = Effort { samples: report.effort.samples.min(3), ..report.effort };
    row(
        &Report { effort: few, quick: report.quick, filter: report.filter.clone() },
        &format!("{name}: build"),
        vec![
            way("ours", || build().layers.iter().map(|layer| layer.len()).sum()),
            way("roaring sorted", || {
                let mut bytes = Vec::new();
                let layers = (0..32).map(|bit| {
                    let slots = (0..len).filter(|slot| values[*slot as usize] >> bit & 1 == 1);
                    let mut layer = RoaringBitmap::from_sorted_iter(slots).unwrap();
                    layer.optimize();
                    bytes.clear();
                    layer.serialize_into(&mut bytes).unwrap();
                    layer.len()
                });
                layers.sum()
            }),
        ],
        &[Goal("roaring", must)],
    );
    let built = build();
    let view = built.view();
    let peers = Layers::new(values);
    let filter = Input::new(independent(len, 0.1, 41));
    let query = Query::new(FrozenBitmap::open(&filter.bytes).unwrap(), u64::from(len));
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let (low, high) = (sorted[sorted.len() / 2], sorted[sorted.len() / 5 * 4]);
    row(
        report,
        &format!("{name}: sum of 10 %"),
        vec![
            way("ours", || view.count_and_sum(Some(&query)).1 as u64),
            way("vector", || filter.roaring.iter().map(|slot| u64::from(values[slot as usize])).sum()),
            way("roaring layers", || {
                let sums = peers.roaring.iter().zip(0..);
                sums.map(|(layer, bit)| layer.intersection_len(&filter.roaring) << bit).sum()
            }),
            way("croaring layers", || {
                let sums = peers.croaring.iter().zip(0..);
                sums.map(|(layer, bit)| layer.and_cardinality(&filter.croaring) << bit).sum()
            }),
        ],
        &[Goal("vector", 1.0), Goal("roaring", 1.0), Goal("croaring", 1.0)],
    );
    row(
        report,
        &format!("{name}: count a range"),
        vec![
            way("ours", || view.count(Comparison::Between(u64::from(low), u64::from(high)), None)),
            way("vector scan", || values.iter().filter(|value| (low..=high).contains(value)).count() as u64),
            way("roaring layers", || {
                peers.at_most_roaring(high).len()
                    - match low.checked_sub(1) {
                        Some(below) => peers.at_most_roaring(below).len(),
                        None => 0,
                    }
            }),
        ],
        &[Goal("vector", 0.1), Goal("roaring", 2.0)],
    );
    row(
        report,
        &format!("{name}: top 100 of 10 %"),
        vec![
            way("ours", || {
                let hits = view.top(Some(&query), Direction::Descending, K);
                hits.iter().map(|hit| hit.key.unwrap()).sum()
            }),
            way("vector gather", || select(filter.roaring.iter().map(|slot| values[slot as usize]))),
            way("roaring layers", || peers.top_roaring(&filter.roaring)),
            way("croaring layers", || peers.top_croaring(&filter.croaring)),
        ],
        &[Goal("vector", 1.0), Goal("roaring", 1.0), Goal("croaring", 1.0)],
    );
}

/// The best `K` by a heap with a threshold.
fn select(values: impl Iterator<Item = u32>) -> u64 {
    let mut heap: BinaryHeap<Reverse<u32>> = BinaryHeap::with_capacity(K + 1);
    let mut threshold = 0;
    for value in values {
        if value > threshold || heap.len() < K {
            heap.push(Reverse(value));
            if heap.len() > K {
                heap.pop();
            }
            if heap.len() == K {
                threshold = heap.peek().unwrap().0;
            }
        }
    }
    heap.into_iter().map(|Reverse(value)| u64::from(value)).sum()
}

/// One bitmap per bit, in both libraries.
struct Layers<'a> {
    values: &'a [u32],
    roaring: Vec<RoaringBitmap>,
    croaring: Vec<Bitmap>,
}

impl<'a> Layers<'a> {
    fn new(values: &'a [u32]) -> Self {
        let roaring: Vec<RoaringBitmap> = (0..32)
            .map(|bit| {
                let mut bytes = vec![0_u8; values.len().div_ceil(8)];
                for (eight, byte) in values.chunks(8).zip(&mut bytes) {
                    *byte = eight.iter().zip(0..).map(|(value, at)| ((value >> bit & 1) as u8) << at).sum();
                }
                let mut layer = RoaringBitmap::from_lsb0_bytes(0, &bytes);
                layer.optimize();
                layer
            })
            .collect();
        let croaring = roaring
            .iter()
            .map(|layer| {
                let mut bytes = Vec::new();
                layer.serialize_into(&mut bytes).unwrap();
                Bitmap::deserialize::<croaring::Portable>(&bytes)
            })
            .collect();
        Self { values, roaring, croaring }
    }

    fn sum(&self, sure: impl Iterator<Item = u32>, tied: impl Iterator<Item = u32>) -> u64 {
        sure.chain(tied).take(K).map(|slot| u64::from(self.values[slot as usize])).sum()
    }

    /// The walk over the layers from the highest bit of O'Neil and Quass (1997).
    fn top_roaring(&self, filter: &RoaringBitmap) -> u64 {
        let (mut sure, mut tied) = (RoaringBitmap::new(), filter.clone());
        for layer in self.roaring.iter().rev() {
            let with = &tied & layer;
            match (sure.len() + with.len()).cmp(&(K as u64)) {
                std::cmp::Ordering::Greater => tied = with,
                std::cmp::Ordering::Less => {
                    tied -= &with;
                    sure |= with;
                }
                std::cmp::Ordering::Equal => {
                    sure |= with;
                    break;
                }
            }
        }
        self.sum(sure.iter(), tied.iter().filter(|slot| !sure.contains(*slot)))
    }

    /// Slots whose number is at most the one given, from the highest bit down.
    fn at_most_roaring(&self, number: u32) -> RoaringBitmap {
        let mut equal = RoaringBitmap::from_sorted_iter(0..self.values.len() as u32).unwrap();
        let mut less = RoaringBitmap::new();
        for (bit, layer) in self.roaring.iter().enumerate().rev() {
            if number >> bit & 1 == 1 {
                less |= &equal - layer;
                equal &= layer;
            } else {
                equal -= layer;
            }
        }
        less | equal
    }

    fn top_croaring(&self, filter: &Bitmap) -> u64 {
        let (mut sure, mut tied) = (Bitmap::new(), filter.clone());
        for layer in self.croaring.iter().rev() {
            let with = tied.and(layer);
            match (sure.cardinality() + with.cardinality()).cmp(&(K as u64)) {
                std::cmp::Ordering::Greater => tied = with,
                std::cmp::Ordering::Less => {
                    tied.andnot_inplace(&with);
                    sure.or_inplace(&with);
                }
                std::cmp::Ordering::Equal => {
                    sure.or_inplace(&with);
                    break;
                }
            }
        }
        self.sum(sure.iter(), tied.iter().filter(|slot| !sure.contains(*slot)))
    }
}
