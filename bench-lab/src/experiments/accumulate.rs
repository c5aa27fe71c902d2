//! Pairs of value and slot to one bitmap per value.

use std::sync::Mutex;

use anyhow::Result;
use bitmap_silo::postings::{PostingsError, PostingsPage, build_pages, par_sort_pairs};
use bitmap_silo::store::PAGE_PAIRS;
use bitmap_silo::{ValueBitmaps, store_into};
use dashmap::DashMap;
use datasilo::{IntKey, KeyspaceOptions, Options, Silo};
use rayon::prelude::*;
use roaring::{MultiOps, RoaringBitmap};

use super::inputs::{Map, ValuesDigest, blob_of, digest_bitmap, digest_slots};
use super::pairs::{Joined, Part, Source, build_by_chunks, build_by_values, join};
use crate::lab::runner::scratch_dir;
use crate::lab::{Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};
use crate::workload::{TAG_COUNT, Workload};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "accumulate",
    question: "How do pairs of value and slot become one bitmap per value, on all threads?",
    strategies: &[
        ("A-maps", "a map of bitmaps per thread, merged by `|=`"),
        ("A2-maps-union", "the same, merged by multi-way union"),
        ("B-shared-bitmaps", "one DashMap of locked bitmaps"),
        ("C-shared-lists", "one DashMap of locked lists, made bitmaps in parallel"),
        ("D-sort", "flat pairs per thread, sorted together"),
        ("E-lists", "a map of lists per thread, joined, made bitmaps in parallel"),
        ("F-shards", "256 locked maps of bitmaps, filled in batches"),
        ("G-lists-shards", "E, joined shard by shard in parallel"),
        ("ours-chunks", "each thread builds stored bitmaps of its own chunks; parts are concatenated"),
        ("ours-values", "each thread builds stored bitmaps of its own values; nothing to join"),
        (
            "ours-postings",
            "pairs sorted by radix, then cut into postings pages: what a field of index `high` is",
        ),
        ("limit-copy", "reading the pairs once and copying the bytes of the result"),
    ],
    baseline: "A-maps",
    limit: "reading the pairs once and copying the bytes of the result",
    memory: true,
    decision: "A field with few values is built by chunks (`bitmap_silo::build_values` on each thread's chunks, then `concatenate`), one with \
        many values by values or as postings pages. Whole loads, from CSV text to a synced silo, are the experiment `load`.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let pairs = scale.pick(200_000, 1_460_000, 14_600_000);
    let mut shapes: Vec<Shape> =
        [("low", 700.0), ("mid", 1_600.0), ("high", 5_000.0), ("high-skew", 5_000.0)]
            .map(|(name, cost)| Shape::new(name, pairs, "pairs", cost, 180))
            .into();
    shapes.push(Shape::new("load", scale.pick(200_000, 4_000_000, 40_000_000), "pairs", 2_000.0, 80));
    shapes
}

/// What a strategy makes.
enum Made {
    Bitmaps(Vec<(u32, RoaringBitmap)>),
    Joined(Vec<Joined>),
    Values(Vec<(u32, ValueBitmaps)>),
    /// Pages of postings, in order.
    Postings(Vec<Vec<u8>>),
}

impl Made {
    fn digest(&self) -> u64 {
        let mut digest = ValuesDigest::default();
        match self {
            Self::Bitmaps(bitmaps) => {
                for (value, bitmap) in bitmaps {
                    digest.add(0, u64::from(*value), digest_bitmap(bitmap));
                }
            }
            Self::Postings(pages) => {
                let mut slots: Vec<u32> = Vec::new();
                let mut last = None;
                let mut whole = |value: Option<u64>, slots: &mut Vec<u32>| {
                    if let Some(value) = value {
                        digest.add(0, value, digest_slots(slots.drain(..)));
                    }
                };
                for page in pages {
                    let page = PostingsPage::open(page).unwrap();
                    for posting in page.range(0..=u64::MAX) {
                        if last != Some(posting.value) {
                            whole(last.replace(posting.value), &mut slots);
                        }
                        slots.extend(posting.slots);
                    }
                }
                whole(last, &mut slots);
            }
            Self::Joined(_) | Self::Values(_) => self.for_each_stored(|value, bytes| {
                let view = bitmap_silo::BitmapView::open(bytes).unwrap();
                let slots = bitmap_silo::Query::new(view, 1 << 32).first(usize::MAX);
                digest.add(0, u64::from(value), digest_slots(slots));
            }),
        }
        digest.value()
    }

    /// Key and stored bytes of each entry that is not empty: bitmaps by value, pages by number.
    fn for_each_stored(&self, mut f: impl FnMut(u32, &[u8])) {
        match self {
            Self::Bitmaps(bitmaps) => bitmaps.iter().for_each(|(value, bitmap)| {
                let (blob, mut stored) = (blob_of(bitmap), Vec::new());
                store_into(&bitmap_silo::FrozenBitmap::open(&blob).unwrap(), &mut stored);
                f(*value, &stored);
            }),
            Self::Joined(blocks) => {
                let all = (0..).zip(blocks.iter().flat_map(Joined::iter));
                all.filter(|(_, bytes)| !bytes.is_empty()).for_each(|(value, bytes)| f(value, bytes));
            }
            Self::Postings(pages) => (0..).zip(pages).for_each(|(number, page)| f(number, page)),
            Self::Values(parts) => {
                for (first, part) in parts {
                    for (value, at) in (*first..).zip(0..part.value_count()) {
                        if let Some(bytes) = part.stored(at).filter(|bytes| !bytes.is_empty()) {
                            f(value, bytes);
                        }
                    }
                }
            }
        }
    }
}

type Bitmaps = Map<u32, RoaringBitmap>;
type Lists = Map<u32, Vec<u32>>;

fn map_of(part: &Part<'_>) -> Bitmaps {
    let mut map = Bitmaps::default();
    part.for_each(|value, slot| {
        map.entry(value).or_default().insert(slot);
    });
    map
}

fn lists_of(part: &Part<'_>) -> Lists {
    let mut map = Lists::default();
    part.for_each(|value, slot| map.entry(value).or_default().push(slot));
    map
}

fn finished(mut list: Vec<u32>) -> RoaringBitmap {
    if !list.is_sorted() {
        list.sort_unstable();
    }
    list.dedup();
    RoaringBitmap::from_sorted_iter(list).unwrap()
}

fn maps(parts: &[Part<'_>]) -> Made {
    let merged = parts.par_iter().map(map_of).reduce(Bitmaps::default, |mut all, part| {
        for (value, bitmap) in part {
            *all.entry(value).or_default() |= bitmap;
        }
        all
    });
    Made::Bitmaps(merged.into_iter().collect())
}

fn maps_union(parts: &[Part<'_>]) -> Made {
    let maps: Vec<Bitmaps> = parts.par_iter().map(map_of).collect();
    let mut grouped: Map<u32, Vec<RoaringBitmap>> = Map::default();
    for (value, bitmap) in maps.into_iter().flatten() {
        grouped.entry(value).or_default().push(bitmap);
    }
    Made::Bitmaps(grouped.into_par_iter().map(|(value, bitmaps)| (value, bitmaps.union())).collect())
}

fn shared_bitmaps(parts: &[Part<'_>]) -> Made {
    let map: DashMap<u32, Mutex<RoaringBitmap>, ahash::RandomState> = DashMap::default();
    parts.par_iter().for_each(|part| {
        part.for_each(|value, slot| {
            if let Some(bitmap) = map.get(&value) {
                bitmap.lock().unwrap().insert(slot);
            } else {
                map.entry(value).or_default().lock().unwrap().insert(slot);
            }
        });
    });
    Made::Bitmaps(map.into_iter().map(|(value, bitmap)| (value, bitmap.into_inner().unwrap())).collect())
}

fn shared_lists(parts: &[Part<'_>]) -> Made {
    let map: DashMap<u32, Mutex<Vec<u32>>, ahash::RandomState> = DashMap::default();
    parts.par_iter().for_each(|part| {
        part.for_each(|value, slot| {
            if let Some(list) = map.get(&value) {
                list.lock().unwrap().push(slot);
            } else {
                map.entry(value).or_default().lock().unwrap().push(slot);
            }
        });
    });
    let lists: Vec<(u32, Mutex<Vec<u32>>)> = map.into_iter().collect();
    Made::Bitmaps(
        lists.into_par_iter().map(|(value, list)| (value, finished(list.into_inner().unwrap()))).collect(),
    )
}

fn sorted(parts: &[Part<'_>]) -> Made {
    let flat: Vec<Vec<u64>> = parts
        .par_iter()
        .map(|part| {
            let mut pairs = Vec::new();
            part.for_each(|value, slot| pairs.push(u64::from(value) << 32 | u64::from(slot)));
            pairs
        })
        .collect();
    let mut pairs = flat.concat();
    drop(flat);
    pairs.par_sort_unstable();
    pairs.dedup();
    let groups: Vec<&[u64]> = pairs.chunk_by(|a, b| a >> 32 == b >> 32).collect();
    let one = |group: &&[u64]| {
        let slots = group.iter().map(|pair| *pair as u32);
        ((group[0] >> 32) as u32, RoaringBitmap::from_sorted_iter(slots).unwrap())
    };
    Made::Bitmaps(groups.par_iter().map(one).collect())
}

fn lists(parts: &[Part<'_>]) -> Made {
    let maps: Vec<Lists> = parts.par_iter().map(lists_of).collect();
    let mut all = Lists::default();
    for (value, list) in maps.into_iter().flatten() {
        let whole = all.entry(value).or_default();
        if whole.is_empty() { *whole = list } else { whole.extend_from_slice(&list) }
    }
    Made::Bitmaps(all.into_par_iter().map(|(value, list)| (value, finished(list))).collect())
}

const SHARDS: usize = 256;

fn shard_of(value: u32) -> usize {
    mix(u64::from(value)) as usize % SHARDS
}

fn shards(parts: &[Part<'_>]) -> Made {
    const BATCH: usize = 1024;
    let shards: Vec<Mutex<Bitmaps>> = (0..SHARDS).map(|_| Mutex::default()).collect();
    let flush = |shard: usize, batch: &mut Vec<(u32, u32)>| {
        let mut map = shards[shard].lock().unwrap();
        for (value, slot) in batch.drain(..) {
            map.entry(value).or_default().insert(slot);
        }
    };
    parts.par_iter().for_each(|part| {
        let mut batches: Vec<Vec<(u32, u32)>> = (0..SHARDS).map(|_| Vec::with_capacity(BATCH)).collect();
        part.for_each(|value, slot| {
            let shard = shard_of(value);
            batches[shard].push((value, slot));
            if batches[shard].len() == BATCH {
                flush(shard, &mut batches[shard]);
            }
        });
        batches.iter_mut().enumerate().for_each(|(shard, batch)| flush(shard, batch));
    });
    Made::Bitmaps(shards.into_iter().flat_map(|shard| shard.into_inner().unwrap()).collect())
}

fn lists_shards(parts: &[Part<'_>]) -> Made {
    let dealt: Vec<Vec<Vec<(u32, Vec<u32>)>>> = parts
        .par_iter()
        .map(|part| {
            let mut shards = vec![Vec::new(); SHARDS];
            lists_of(part).into_iter().for_each(|(value, list)| shards[shard_of(value)].push((value, list)));
            shards
        })
        .collect();
    let one = |shard: usize| {
        let mut all: Map<u32, Vec<u32>> = Map::default();
        for (value, list) in dealt.iter().flat_map(|part| &part[shard]) {
            all.entry(*value).or_default().extend_from_slice(list);
        }
        all.into_iter().map(|(value, list)| (value, finished(list))).collect::<Vec<_>>()
    };
    Made::Bitmaps((0..SHARDS).into_par_iter().flat_map_iter(one).collect())
}

/// Sorts all pairs, then cuts the pages of as many ranges of whole values as there are threads.
fn postings(parts: &[Part<'_>]) -> Made {
    let flat: Vec<Vec<(u64, u32)>> = parts
        .par_iter()
        .map(|part| {
            let mut pairs = Vec::new();
            part.for_each(|value, slot| pairs.push((u64::from(value), slot)));
            pairs
        })
        .collect();
    let mut pairs = flat.concat();
    drop(flat);
    par_sort_pairs(&mut pairs, &mut Vec::new());
    let mut ranges = Vec::new();
    let mut rest = &pairs[..];
    let share = pairs.len().div_ceil(parts.len().max(1));
    while !rest.is_empty() {
        let value = rest[share.min(rest.len()) - 1].0;
        let (range, after) = rest.split_at(rest.partition_point(|pair| pair.0 <= value));
        ranges.push(range);
        rest = after;
    }
    let pages = |range: &&[(u64, u32)]| {
        let mut pages = Vec::new();
        build_pages(range.iter().copied(), PAGE_PAIRS, |_, page| {
            pages.push(page.to_vec());
            Ok::<(), PostingsError>(())
        })
        .unwrap();
        pages
    };
    Made::Postings(ranges.par_iter().flat_map_iter(pages).collect())
}

/// Writes the bitmaps into a new silo, synced: the end of a load.
fn store(made: &Made, dir: &std::path::Path) -> Result<()> {
    let silo = Silo::open(dir, Options::new().background(false))?;
    let keyspace = silo.create_keyspace("tags", &KeyspaceOptions::new())?;
    let session = silo.bulk(&[&keyspace])?;
    let mut writer = session.writer();
    let mut failed = None;
    made.for_each_stored(|value, bytes| {
        if let Err(error) = writer.put(&keyspace, IntKey::from(value), bytes) {
            failed = Some(error);
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    writer.close()?;
    session.finish()?;
    silo.close()?;
    Ok(())
}

/// The pairs of image and tag as text, about as many as asked for, and a bound of the slots.
fn tags_csv(pairs: u64, seed: u64) -> (Vec<u8>, u32) {
    let workload = Workload::new(pairs / 10, 10, seed);
    let blocks: Vec<Vec<u8>> = (0..workload.block_count())
        .into_par_iter()
        .map(|block| {
            let mut text = Vec::new();
            let (mut id, mut number) = (itoa::Buffer::new(), itoa::Buffer::new());
            for (row, tags) in workload.block(block).iter() {
                let id = id.format(row.id).as_bytes();
                for tag in tags {
                    text.extend_from_slice(id);
                    text.push(b',');
                    text.extend_from_slice(number.format(*tag).as_bytes());
                    text.push(b'\n');
                }
            }
            text
        })
        .collect();
    (blocks.concat(), (pairs / 10 * 5 / 4 + 1_000) as u32)
}

fn values_of(shape: &Shape, seed: u64) -> (Vec<u32>, u32) {
    let mut random = Random::new(seed, 11);
    let value_count = match shape.name.as_str() {
        "low" => 5,
        "mid" => 31_000,
        _ => 2_000_000,
    };
    let draw = |random: &mut Random| match shape.name.as_str() {
        "low" if random.chance(0.6) => 0,
        "high-skew" if random.chance(0.2) => 7,
        _ => random.below(value_count),
    };
    ((0..shape.items).map(|_| draw(&mut random)).collect(), value_count)
}

type Work<'a> = Box<dyn Fn(&[Part<'_>]) -> Made + Sync + 'a>;

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let is_load = shape.name == "load";
    let (threads, seed) = (lab.settings.threads, lab.settings.seed);
    let (mut values, mut csv, mut slots) = (Vec::new(), Vec::new(), shape.items as u32);
    let mut value_count = TAG_COUNT + 1;
    if is_load {
        (csv, slots) = tags_csv(shape.items, seed);
    } else {
        (values, value_count) = values_of(shape, seed);
    }
    let source = if is_load { Source::Csv(&csv) } else { Source::Values(&values) };
    let dir = scratch_dir(&lab.settings.scratch)?;
    let works: Vec<(&'static str, Work<'_>)> = vec![
        ("A-maps", Box::new(maps)),
        ("A2-maps-union", Box::new(maps_union)),
        ("B-shared-bitmaps", Box::new(shared_bitmaps)),
        ("C-shared-lists", Box::new(shared_lists)),
        ("D-sort", Box::new(sorted)),
        ("E-lists", Box::new(lists)),
        ("F-shards", Box::new(shards)),
        ("G-lists-shards", Box::new(lists_shards)),
        (
            "ours-chunks",
            Box::new(|_| {
                Made::Joined(join(&build_by_chunks(source, value_count, slots, threads), value_count))
            }),
        ),
        ("ours-values", Box::new(|_| Made::Values(build_by_values(source, value_count, threads)))),
        ("ours-postings", Box::new(postings)),
    ];
    let mut strategies: Vec<Strategy<'_>> = works
        .into_iter()
        .map(|(name, work)| {
            let dir = &dir;
            Strategy::new(
                name,
                move || {
                    let made = work(&source.parts(threads));
                    if is_load {
                        let place = dir.path().join(name);
                        store(&made, &place)?;
                        std::fs::remove_dir_all(&place)?;
                    }
                    Ok(made)
                },
                |made: &Made| Ok(made.digest()),
            )
        })
        .collect();
    let mut result_bytes = 0;
    if lab.wants("limit-copy") {
        Made::Values(build_by_values(source, value_count, threads))
            .for_each_stored(|_, bytes| result_bytes += bytes.len());
    }
    let result = vec![1_u8; result_bytes];
    strategies.push(Strategy::limit("limit-copy", move || {
        let read = match source {
            Source::Csv(text) => text.iter().fold(0_u64, |sum, byte| sum.wrapping_add(u64::from(*byte))),
            Source::Values(values) => {
                values.iter().fold(0_u64, |sum, value| sum.wrapping_add(u64::from(*value)))
            }
        };
        Ok((read, result.clone()))
    }));
    lab.measure(strategies)
}
