//! The greatest values of a 32-bit field under a filter.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;

use anyhow::Result;
use bitmap_silo::column::{ColumnPage, ColumnView, Direction, PageBuilder, Zone};
use bitmap_silo::sliced::{SlicedBuf, SlicedBuilder};
use bitmap_silo::topk::{SortSource, TopK};
use bitmap_silo::{BitmapBuf, Query};
use roaring::RoaringBitmap;

use super::inputs::bitmap_of;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::Random;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "top-k",
    question: "Which values of a 32-bit field are the greatest, under a filter?",
    strategies: &[
        ("reconstruct", "each slot of the filter: its value from 32 roaring layers, a heap"),
        ("walk-layers", "candidates narrowed by the layers, highest first, whole bitmaps of roaring"),
        ("gather", "each slot of the filter: its value from a plain array in memory, a heap"),
        ("permutation", "slots in the order of values, in memory; the filter is probed"),
        ("ours-sliced", "the engine's bit-sliced layers with zones, narrowed chunk by chunk"),
        (
            "ours-column",
            "the engine's column pages with zones: chunks by their best key, then slots in value order",
        ),
    ],
    baseline: "gather",
    limit: "none is stated: the permutation in memory is what the others are to be held against",
    memory: false,
    decision: "Sort fields are column pages with zones (`bitmap_silo::topk`), read from stored bytes; bit-sliced layers serve sums and quantiles. Arrays in memory that \
        know nothing of updates stay ahead at both ends: under a filter of a handful of slots, opening pages costs more than the plain array's few reads; under a \
        wide filter, the permutation needs a probe or two a result. Many equal counters under a filter of 1 % are the engine's weak place: hundreds of results lie in \
        ties of chunks that all have the same best key, where narrowing layers is quicker.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let slots = scale.pick(300_000, 1_460_000, 14_600_000);
    let mut shapes = Vec::new();
    for values in ["time", "counter"] {
        for filter in ["0.001%", "1%", "50%"] {
            for k in [50, 500] {
                shapes.push(Shape::new(format!("{values}-{filter}-{k}"), slots, "slots", 300.0, 120));
            }
        }
    }
    shapes
}

/// Column pages in memory.
struct Pages {
    zones: Vec<Zone>,
    pages: Vec<Vec<u8>>,
}

impl Pages {
    fn new(values: &[u32]) -> Result<Self> {
        let mut builder = PageBuilder::new();
        let (mut zones, mut pages) = (Vec::new(), Vec::new());
        for (chunk, values) in (0_u16..).zip(values.chunks(1 << 16)) {
            let slots: Vec<u16> = (0..=u16::MAX).take(values.len()).collect();
            let keys: Vec<u64> = values.iter().map(|value| u64::from(*value)).collect();
            let bound = |keys: Option<&u64>| keys.copied().unwrap_or(0);
            let (lowest, highest) = (bound(keys.iter().min()), bound(keys.iter().max()));
            zones.push(Zone { chunk, count: values.len() as u32, lowest, highest });
            pages.push(builder.build(&slots, &keys)?);
        }
        Ok(Self { zones, pages })
    }
}

impl SortSource for Pages {
    type Error = Infallible;

    fn zones(&self) -> &[Zone] {
        &self.zones
    }

    fn column(&self, chunk: u16) -> Result<ColumnView<'_>, Infallible> {
        Ok(ColumnPage::open(&self.pages[usize::from(chunk)]).unwrap().into())
    }
}

fn sliced(values: &[u32]) -> Result<SlicedBuf> {
    let mut builder = SlicedBuilder::with_capacity(32, values.len().div_ceil(1 << 16))?;
    for (chunk, values) in (0_u16..).zip(values.chunks(1 << 16)) {
        builder.push_u32(chunk, values, None)?;
    }
    Ok(builder.finish())
}

/// The greatest values, descending.
fn greatest(values: impl Iterator<Item = u32>, k: usize) -> Vec<u32> {
    let mut heap: BinaryHeap<Reverse<u32>> = BinaryHeap::with_capacity(k + 1);
    for value in values {
        if heap.len() < k {
            heap.push(Reverse(value));
        } else if heap.peek().is_some_and(|least| least.0 < value) {
            heap.pop();
            heap.push(Reverse(value));
        }
    }
    let mut list: Vec<u32> = heap.into_iter().map(|value| value.0).collect();
    list.sort_unstable_by_key(|value| Reverse(*value));
    list
}

fn value_of(layers: &[RoaringBitmap], slot: u32) -> u32 {
    (0..).zip(layers).fold(0, |value, (bit, layer)| value | u32::from(layer.contains(slot)) << bit)
}

fn walk_layers(layers: &[RoaringBitmap], filter: &RoaringBitmap, k: usize) -> Vec<u32> {
    // Slots that are certainly among the greatest, and those that still may be.
    let (mut certain, mut open) = (RoaringBitmap::new(), filter.clone());
    for layer in layers.iter().rev() {
        let higher = &open & layer;
        let found = certain.len() + higher.len();
        if found > k as u64 {
            open = higher;
        } else {
            certain |= &higher;
            open -= layer;
            if found == k as u64 {
                open.clear();
                break;
            }
        }
    }
    let missing = k - certain.len() as usize;
    let tied = open.iter().take(missing);
    greatest(certain.iter().chain(tied).map(|slot| value_of(layers, slot)), k)
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let mut parts = shape.name.split('-');
    let is_time = parts.next() == Some("time");
    let share =
        parts.next().and_then(|share| share.trim_end_matches('%').parse::<f64>().ok()).unwrap_or(1.0) / 100.0;
    let k: usize = parts.next().and_then(|k| k.parse().ok()).unwrap_or(50);
    let mut random = Random::new(lab.settings.seed, 160);
    let values: Vec<u32> = (0..shape.items as u32)
        .map(|slot| {
            if is_time {
                // Nearly monotone, a few late.
                let late = if random.chance(0.07) { random.below(1_000_000) } else { random.below(240) };
                1_600_000_000 + slot * 7 + late
            } else if random.chance(0.45) {
                0
            } else {
                (1.55 * (0.7 + 1.1 * random.normal())).exp() as u32
            }
        })
        .collect();
    let wanted = ((shape.items as f64 * share) as usize).max(3);
    let mut slots: Vec<u32> =
        (0..shape.items as u32).filter(|_| random.chance(wanted as f64 / shape.items as f64)).collect();
    if slots.is_empty() {
        slots.push(random.below(shape.items as u32));
    }
    let filter = bitmap_of(&slots);
    let stored = BitmapBuf::from(&filter);
    let query = Query::new(&stored, shape.items);
    let buf = sliced(&values)?;
    let layers: Vec<RoaringBitmap> = buf.layers.iter().map(|layer| layer.view().to_roaring()).collect();
    let pages = Pages::new(&values)?;
    let mut order: Vec<u32> = (0..shape.items as u32).collect();
    order.sort_unstable_by_key(|slot| Reverse((values[*slot as usize], *slot)));
    let view = buf.view();
    let of = |values: &Vec<u32>| Ok(Digest::of(values.iter().map(|value| u64::from(*value))));
    let (values, layers, filter, query) = (&values, &layers, &filter, &query);
    lab.measure(vec![
        Strategy::new(
            "reconstruct",
            || Ok(greatest(filter.iter().map(|slot| value_of(layers, slot)), k)),
            of,
        ),
        Strategy::new("walk-layers", || Ok(walk_layers(layers, filter, k)), of),
        Strategy::new("gather", || Ok(greatest(filter.iter().map(|slot| values[slot as usize]), k)), of),
        Strategy::new(
            "permutation",
            || {
                let matches = order.iter().filter(|slot| filter.contains(**slot));
                Ok(matches.take(k).map(|slot| values[*slot as usize]).collect())
            },
            of,
        ),
        Strategy::new(
            "ours-sliced",
            || {
                let hits = view.top(Some(query), Direction::Descending, k);
                Ok(hits.iter().map(|hit| hit.key.unwrap_or(0) as u32).collect())
            },
            of,
        ),
        Strategy::new(
            "ours-column",
            || {
                let hits = TopK::new(&pages).direction(Direction::Descending).filter(query).first(k)?;
                Ok(hits.iter().map(|hit| hit.key.unwrap_or(0) as u32).collect())
            },
            of,
        ),
    ])
}
