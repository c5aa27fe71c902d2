//! Maps of value to bitmap that threads made, to one map.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::Result;
use bitmap_silo::{Rows, ValueBitmaps, build_values};
use rayon::prelude::*;
use roaring::{MultiOps, RoaringBitmap};

use super::inputs::{Map, ValuesDigest, blob_of, digest_bitmap, digest_slots};
use super::pairs::{Joined, join};
use crate::lab::{Experiment, Lab, Scale, Shape, Strategy};
use crate::random::Random;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "merge-maps",
    question: "Threads made a map of value to bitmap for each of 8 fields. How do the maps become one?",
    strategies: &[
        ("A-nested", "nested maps by rayon's reduce"),
        ("B-by-field", "fields in parallel, thread after thread"),
        ("C-sort", "all entries in one list, sorted, neighbours united"),
        ("D-heap", "sorted entries of each thread, merged by a heap"),
        ("E-sort-serialise", "C, and the result serialised"),
        ("F-group", "grouped by (field, value), each group united"),
        ("G-flat", "flat maps of (field, value), by rayon's reduce"),
        ("ours-join", "parts that own chunks: stored bodies are copied, value by value"),
        ("ours-fields", "no parts at all: a thread builds a whole field (in the `-total` shapes)"),
        ("limit-memcpy", "copying the bytes of the result"),
    ],
    baseline: "A-nested",
    limit: "copying the bytes of the result",
    memory: true,
    decision: "Threads never build maps of overlapping bitmaps: a thread owns whole fields or whole chunks, and what is left of merging is \
        copying, or nothing. The `-total` shapes include the building from rows, and show that the gain is not bought there.",
    shapes,
    run,
};

const FIELDS: usize = 8;
/// Values of each field.
const VALUES: [u32; FIELDS] = [5, 5, 50_000, 50_000, 50_000, 2_000_000, 2_000_000, 2_000_000];

fn shapes(scale: Scale) -> Vec<Shape> {
    let rows = scale.pick(20_000, 300_000, 1_000_000);
    ["t32", "machine", "t32-total", "machine-total"]
        .map(|name| Shape::new(name, rows, "rows", 20_000.0, 2_500))
        .into()
}

type Flat = Vec<((u8, u32), RoaringBitmap)>;
type Maps = [Map<u32, RoaringBitmap>; FIELDS];

fn columns(rows: u64, seed: u64) -> Vec<Vec<u32>> {
    (0..FIELDS)
        .map(|field| {
            let mut random = Random::new(seed, 20 + field as u64);
            let count = VALUES[field];
            (0..rows)
                .map(|_| {
                    if count == 50_000 {
                        ((1.0 - random.unit().powi(2)) * 50_000.0) as u32 % count
                    } else {
                        random.below(count)
                    }
                })
                .collect()
        })
        .collect()
}

fn maps_of(columns: &[Vec<u32>], rows: std::ops::Range<usize>) -> Maps {
    std::array::from_fn(|field| {
        let mut map: Map<u32, RoaringBitmap> = Map::default();
        for row in rows.clone() {
            map.entry(columns[field][row]).or_default().insert(row as u32);
        }
        map
    })
}

fn all_maps(columns: &[Vec<u32>], parts: usize) -> Vec<Maps> {
    let rows = columns[0].len();
    (0..parts)
        .into_par_iter()
        .map(|part| maps_of(columns, rows * part / parts..rows * (part + 1) / parts))
        .collect()
}

/// Stored bitmaps of a field, for parts of whole chunks.
fn our_parts_of(column: &[u32], parts: usize, value_count: u32) -> Vec<ValueBitmaps> {
    let chunks = column.len().div_ceil(1 << 16);
    let parts = parts.min(chunks);
    let edge = |part: usize| (chunks * part / parts * 65_536).min(column.len());
    let one = |part: usize| {
        let values = &column[edge(part)..edge(part + 1)];
        build_values(Rows::Consecutive { first_slot: edge(part) as u32, values }, value_count).unwrap()
    };
    (0..parts).into_par_iter().map(one).collect()
}

/// The same of all fields.
fn our_parts(columns: &[Vec<u32>], parts: usize) -> Vec<Vec<ValueBitmaps>> {
    columns.par_iter().zip(VALUES).map(|(column, values)| our_parts_of(column, parts, values)).collect()
}

fn reduced(maps: Vec<Maps>) -> Maps {
    maps.into_par_iter().reduce(Maps::default, |mut all, part| {
        for (all, part) in all.iter_mut().zip(part) {
            for (value, bitmap) in part {
                *all.entry(value).or_default() |= bitmap;
            }
        }
        all
    })
}

fn by_field(maps: Vec<Maps>) -> Maps {
    let mut fields: [Vec<Map<u32, RoaringBitmap>>; FIELDS] = Default::default();
    for map in maps {
        for (field, map) in fields.iter_mut().zip(map) {
            field.push(map);
        }
    }
    let merged: Vec<Map<u32, RoaringBitmap>> = fields
        .into_par_iter()
        .map(|maps| {
            let mut all: Map<u32, RoaringBitmap> = Map::default();
            for (value, bitmap) in maps.into_iter().flatten() {
                *all.entry(value).or_default() |= bitmap;
            }
            all
        })
        .collect();
    merged.try_into().unwrap()
}

fn flat(maps: Vec<Maps>) -> Flat {
    let one = |(field, map): (u8, Map<u32, RoaringBitmap>)| {
        map.into_iter().map(move |(value, bitmap)| ((field, value), bitmap))
    };
    maps.into_iter().flat_map(|maps| (0..).zip(maps).flat_map(one)).collect()
}

/// Unites neighbours with one key; entries come sorted.
fn united(sorted: impl Iterator<Item = ((u8, u32), RoaringBitmap)>) -> Flat {
    let mut all: Flat = Vec::new();
    for (key, bitmap) in sorted {
        match all.last_mut() {
            Some((last, whole)) if *last == key => *whole |= bitmap,
            _ => all.push((key, bitmap)),
        }
    }
    all
}

fn by_sort(maps: Vec<Maps>) -> Flat {
    let mut entries = flat(maps);
    entries.par_sort_by_key(|(key, _)| *key);
    united(entries.into_iter())
}

fn by_heap(maps: Vec<Maps>) -> Flat {
    let lists: Vec<Flat> = maps
        .into_par_iter()
        .map(|maps| {
            let mut list = flat(vec![maps]);
            list.sort_unstable_by_key(|(key, _)| *key);
            list
        })
        .collect();
    let mut iterators: Vec<_> = lists.into_iter().map(IntoIterator::into_iter).collect();
    let mut heads: Vec<Option<RoaringBitmap>> = Vec::new();
    let mut heap = BinaryHeap::new();
    for (at, iterator) in iterators.iter_mut().enumerate() {
        let head = iterator.next();
        heap.extend(head.as_ref().map(|(key, _)| Reverse((*key, at))));
        heads.push(head.map(|(_, bitmap)| bitmap));
    }
    united(std::iter::from_fn(|| {
        let Reverse((key, at)) = heap.pop()?;
        let bitmap = heads[at].take()?;
        if let Some((next, bitmap)) = iterators[at].next() {
            heap.push(Reverse((next, at)));
            heads[at] = Some(bitmap);
        }
        Some((key, bitmap))
    }))
}

fn by_group(maps: Vec<Maps>) -> Flat {
    let mut groups: Map<(u8, u32), Vec<RoaringBitmap>> = Map::default();
    for (key, bitmap) in flat(maps) {
        groups.entry(key).or_default().push(bitmap);
    }
    groups.into_par_iter().map(|(key, bitmaps)| (key, bitmaps.union())).collect()
}

fn by_flat_maps(maps: Vec<Maps>) -> Flat {
    let merged = maps.into_par_iter().map(|maps| flat(vec![maps]).into_iter().collect::<Map<_, _>>()).reduce(
        Map::default,
        |mut all, part| {
            for (key, bitmap) in part {
                *all.entry(key).or_default() |= bitmap;
            }
            all
        },
    );
    merged.into_iter().collect()
}

fn our_join(parts: &[Vec<ValueBitmaps>]) -> Vec<Vec<Joined>> {
    parts.iter().zip(VALUES).map(|(parts, values)| join(parts, values)).collect()
}

fn of_maps(maps: &Maps) -> Result<u64> {
    let mut digest = ValuesDigest::default();
    for (field, map) in (0..).zip(maps) {
        map.iter().for_each(|(value, bitmap)| digest.add(field, u64::from(*value), digest_bitmap(bitmap)));
    }
    Ok(digest.value())
}

fn of_flat(flat: &Flat) -> Result<u64> {
    let mut digest = ValuesDigest::default();
    for ((field, value), bitmap) in flat {
        digest.add(u64::from(*field), u64::from(*value), digest_bitmap(bitmap));
    }
    Ok(digest.value())
}

fn of_joined(fields: &Vec<Vec<Joined>>) -> Result<u64> {
    let mut digest = ValuesDigest::default();
    for (field, blocks) in (0..).zip(fields) {
        let stored = (0..).zip(blocks.iter().flat_map(Joined::iter)).filter(|(_, bytes)| !bytes.is_empty());
        for (value, bytes) in stored {
            let slots =
                bitmap_silo::Query::new(bitmap_silo::BitmapView::open(bytes)?, 1 << 32).first(usize::MAX);
            digest.add(field, value, digest_slots(slots));
        }
    }
    Ok(digest.value())
}

/// Of fields of one part each.
fn of_parts(fields: &Vec<Vec<ValueBitmaps>>) -> Result<u64> {
    let mut digest = ValuesDigest::default();
    for (field, parts) in (0..).zip(fields) {
        parts.iter().for_each(|part| digest.add_all(field, part));
    }
    Ok(digest.value())
}

/// A strategy that merges maps, which are made within its time or before it.
fn of_merge<'a, O: 'a>(
    name: &'static str,
    make: &'a (impl Fn() -> Vec<Maps> + 'a),
    total: bool,
    merge: impl Fn(Vec<Maps>) -> O + 'a,
    digest: impl Fn(&O) -> Result<u64> + 'a,
) -> Strategy<'a> {
    if total {
        Strategy::new(name, move || Ok(merge(make())), digest)
    } else {
        Strategy::with_input(name, || Ok(make()), move |maps| Ok(merge(maps)), digest)
    }
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let columns = columns(shape.items, lab.settings.seed);
    let total = shape.name.ends_with("-total");
    let parts = if shape.name.starts_with("t32") { 32 } else { lab.settings.threads };
    let make = || all_maps(&columns, parts);
    let mut strategies = vec![
        of_merge("A-nested", &make, total, reduced, of_maps),
        of_merge("B-by-field", &make, total, by_field, of_maps),
        of_merge("C-sort", &make, total, by_sort, of_flat),
        of_merge("D-heap", &make, total, by_heap, of_flat),
        of_merge(
            "E-sort-serialise",
            &make,
            total,
            |maps| {
                let flat = by_sort(maps);
                let bytes: Vec<u8> = flat.iter().flat_map(|(_, bitmap)| blob_of(bitmap)).collect();
                (flat, bytes)
            },
            |(flat, _)| of_flat(flat),
        ),
        of_merge("F-group", &make, total, by_group, of_flat),
        of_merge("G-flat", &make, total, by_flat_maps, of_flat),
    ];
    let make_ours = || our_parts(&columns, parts);
    strategies.push(if total {
        Strategy::new("ours-join", || Ok(our_join(&make_ours())), of_joined)
    } else {
        Strategy::with_input("ours-join", || Ok(make_ours()), |parts| Ok(our_join(&parts)), of_joined)
    });
    let mut bytes = Vec::new();
    if lab.wants("limit-memcpy") {
        bytes = our_join(&make_ours()).into_iter().flatten().flat_map(|block| block.bytes).collect();
    }
    strategies.push(Strategy::limit("limit-memcpy", move || Ok(bytes.clone())));
    if total {
        let fields = || {
            columns.par_iter().zip(VALUES).map(|(column, values)| our_parts_of(column, 1, values)).collect()
        };
        strategies.push(Strategy::new("ours-fields", move || Ok(fields()), of_parts));
    }
    lab.measure(strategies)
}
