//! One bitmap out of N partial ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::Result;
use bitmap_silo::{BitmapBuf, Expr, FrozenBitmap, Query, concatenate, union};
use rayon::prelude::*;
use roaring::{MultiOps, RoaringBitmap};

use super::inputs::{bitmap_of, blob_of, digest_bitmap, digest_frozen, uniform_set};
use crate::lab::{Experiment, Lab, Scale, Shape, Strategy};

const BOUND: u32 = 15_000_000;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "merge",
    question: "Several threads made a bitmap each. How do they become one?",
    strategies: &[
        ("A-sequential", "`|=` one after the other, in memory"),
        ("B-fold-reduce", "rayon's fold and reduce with `|=`"),
        ("C-union-refs", "roaring's multi-way union of references"),
        ("D-union-owned", "roaring's multi-way union of owned bitmaps"),
        ("E-largest-first", "`|=`, beginning with the largest"),
        ("F-heap", "k-way heap merge of the iterators into `from_sorted_iter`"),
        ("G-tree", "a tree of pairwise unions, parallel"),
        ("ours-union", "the engine's union of stored bitmaps, chunk by chunk, one thread"),
        ("ours-par-union", "the same on all threads: each takes whole chunks"),
        ("ours-concatenate", "the parts own chunks from the start, so that merging copies bytes"),
        ("limit-memcpy", "copying the bytes of the result"),
    ],
    baseline: "A-sequential",
    limit: "copying the bytes of the result",
    memory: true,
    decision: "Whoever builds owns whole chunks of 65,536 slots (`bitmap_silo::build_values` by thread, then `concatenate`), so that \
        bulk loads never merge overlapping bitmaps. Where overlapping ones meet, `bitmap_silo::union` goes chunk by chunk over the stored bytes.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let sizes: [(&str, u64); 3] =
        [("large", scale.pick(90_000, 600_000, 1_800_000)), ("medium", 100_000), ("sparse", 1_000)];
    let mut shapes = Vec::new();
    for (name, size) in sizes {
        let size = if scale == Scale::Small { size.min(30_000) } else { size };
        for parts in [8, 32] {
            shapes.push(Shape::new(format!("{name}-{parts}"), size * parts, "entries", 150.0, 40));
        }
    }
    shapes
}

fn heap_merge(parts: &[RoaringBitmap]) -> RoaringBitmap {
    let mut iterators: Vec<_> = parts.iter().map(RoaringBitmap::iter).collect();
    let mut heap: BinaryHeap<Reverse<(u32, usize)>> =
        iterators.iter_mut().enumerate().filter_map(|(at, iter)| Some(Reverse((iter.next()?, at)))).collect();
    let mut last = None;
    let ascending = std::iter::from_fn(|| {
        loop {
            let Reverse((slot, at)) = heap.pop()?;
            if let Some(next) = iterators[at].next() {
                heap.push(Reverse((next, at)));
            }
            if last != Some(slot) {
                last = Some(slot);
                return last;
            }
        }
    });
    RoaringBitmap::from_sorted_iter(ascending).unwrap()
}

fn tree(parts: &[RoaringBitmap]) -> RoaringBitmap {
    match parts {
        [] => RoaringBitmap::new(),
        [one] => one.clone(),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            let (left, right) = rayon::join(|| tree(left), || tree(right));
            left | right
        }
    }
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let count: usize = shape.name.rsplit('-').next().and_then(|count| count.parse().ok()).unwrap_or(8);
    let size = shape.items as usize / count;
    let seed = lab.settings.seed;
    let parts: Vec<RoaringBitmap> = (0..count as u64)
        .into_par_iter()
        .map(|part| bitmap_of(&uniform_set(size, BOUND, seed, part)))
        .collect();
    let blobs: Vec<Vec<u8>> = parts.iter().map(blob_of).collect();
    let views: Vec<FrozenBitmap<'_>> =
        blobs.iter().map(|blob| FrozenBitmap::open(blob)).collect::<Result<_, _>>()?;
    let whole = (&parts).union();
    let copied = blob_of(&whole);
    // The same slots in as many parts, each with chunks of its own.
    let owned: Vec<BitmapBuf> = (0..count as u64)
        .map(|part| {
            let edge = |part: u64| (u64::from(BOUND.div_ceil(1 << 16)) * part / count as u64 * 65_536) as u32;
            whole.range(edge(part)..edge(part + 1)).collect()
        })
        .collect();
    let owned: Vec<FrozenBitmap<'_>> = owned.iter().map(BitmapBuf::view).collect();
    let of_roaring = |bitmap: &RoaringBitmap| Ok(digest_bitmap(bitmap));
    let of_ours = |bitmap: &BitmapBuf| Ok(digest_frozen(&bitmap.view()));
    let strategies = vec![
        Strategy::with_input(
            "A-sequential",
            || Ok(parts[0].clone()),
            |mut all| {
                parts[1..].iter().for_each(|part| all |= part);
                Ok(all)
            },
            of_roaring,
        ),
        Strategy::new(
            "B-fold-reduce",
            || {
                Ok(parts
                    .par_iter()
                    .fold(RoaringBitmap::new, |all, part| all | part)
                    .reduce(RoaringBitmap::new, |a, b| a | b))
            },
            of_roaring,
        ),
        Strategy::new("C-union-refs", || Ok((&parts).union()), of_roaring),
        Strategy::with_input("D-union-owned", || Ok(parts.clone()), |parts| Ok(parts.union()), of_roaring),
        Strategy::with_input(
            "E-largest-first",
            || Ok(parts.clone()),
            |mut parts| {
                parts.sort_by_key(|part| Reverse(part.len()));
                Ok(parts.into_iter().reduce(|all, part| all | part).unwrap_or_default())
            },
            of_roaring,
        ),
        Strategy::new("F-heap", || Ok(heap_merge(&parts)), of_roaring),
        Strategy::new("G-tree", || Ok(tree(&parts)), of_roaring),
        Strategy::new("ours-union", || Ok(union(views.iter().copied())), of_ours),
        Strategy::new(
            "ours-par-union",
            || Ok(Query::new(Expr::or(views.iter().map(|view| Expr::bitmap(*view))), 1 << 32).par_to_bitmap()),
            of_ours,
        ),
        Strategy::new("ours-concatenate", || Ok(concatenate(&owned)?), of_ours),
        Strategy::limit("limit-memcpy", || Ok(copied.clone())),
    ];
    lab.measure(strategies)
}
