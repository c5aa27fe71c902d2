//! Boolean expressions over bitmaps.

use anyhow::Result;
use bitmap_silo::{BitmapBuf, Expr, FrozenBitmap, Query};
use rayon::prelude::*;
use roaring::{MultiOps, RoaringBitmap};

use super::inputs::{blob_of, digest_bitmap, digest_frozen};
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::Random;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "evaluate",
    question: "How is an expression of 1 to 8 clauses evaluated: pair by pair, or chunk by chunk?",
    strategies: &[
        ("roaring", "pair by pair, in memory, the smallest first"),
        ("roaring-from-bytes", "the same, bitmaps deserialised first"),
        ("frozen-pairs", "pair by pair over stored bitmaps"),
        ("ours", "chunk by chunk over stored bitmaps, one thread"),
        ("ours-parallel", "the same on all threads"),
        ("limit-read", "reading the bytes of all bitmaps once"),
    ],
    baseline: "roaring",
    limit: "reading the bytes of all bitmaps once",
    memory: false,
    decision: "Queries evaluate chunk by chunk over the mapped bytes, and count without storing: most queries of the engine need a count, a page or a probe, never a \
        bitmap. Where a bitmap of many megabytes is made of one or two clauses, roaring can be faster: half of the engine's time is then page faults of the \
        one large buffer that the result is written to, while roaring takes 8 KiB containers from the heap's free lists. All threads pay from some milliseconds on.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let universes: &[(&str, u64)] = match scale {
        Scale::Small => &[("500k", 500_000)],
        Scale::Medium => &[("1.5M", 1_460_000)],
        Scale::Production => &[("14.6M", 14_600_000), ("107M", 107_000_000)],
    };
    let mut shapes = Vec::new();
    for (name, universe) in universes {
        for clauses in [1, 2, 3, 5, 8] {
            for result in ["bitmap", "count"] {
                shapes.push(Shape::new(format!("{name}-{clauses}-{result}"), *universe, "slots", 10.0, 8));
            }
        }
    }
    shapes
}

/// Densities of the bitmaps, by clause: one for a plain clause, several for an alternative.
const CLAUSES: [&[f64]; 8] =
    [&[0.5], &[0.3], &[0.1, 0.02, 0.004], &[0.8], &[0.05], &[0.4, 0.2], &[0.6], &[0.01, 0.001, 0.000_1, 0.2]];
/// Clauses that are negated.
const NEGATED: [usize; 2] = [4, 6];

/// A bitmap of a density: every second one in runs of some hundred slots.
fn make(universe: u32, density: f64, in_runs: bool, random: &mut Random) -> RoaringBitmap {
    let mut slots = Vec::new();
    let mut at = 0_u32;
    while at < universe {
        let (run, gap) = if in_runs {
            let run = 1 + random.below(400);
            (run, (f64::from(run) * (1.0 - density) / density * 2.0 * random.unit()) as u32)
        } else {
            (1, ((1.0 - random.unit()).ln() / (1.0 - density).ln()) as u32)
        };
        slots.extend(at..at.saturating_add(run).min(universe));
        at = at.saturating_add(run).saturating_add(gap);
    }
    slots.dedup();
    let mut bitmap = RoaringBitmap::from_sorted_iter(slots).unwrap();
    bitmap.optimize();
    bitmap
}

/// A clause of bitmaps and whether it is negated.
type Clause<B> = (Vec<B>, bool);

fn pairwise(clauses: &[Clause<&RoaringBitmap>]) -> RoaringBitmap {
    let united = |bitmaps: &[&RoaringBitmap]| bitmaps.iter().copied().union();
    let mut positive: Vec<RoaringBitmap> = Vec::new();
    let mut plain: Vec<&RoaringBitmap> = Vec::new();
    for (bitmaps, negated) in clauses {
        match bitmaps.as_slice() {
            [one] if !negated => plain.push(one),
            several if !negated => positive.push(united(several)),
            _ => {}
        }
    }
    plain.extend(&positive);
    plain.sort_by_key(|bitmap| bitmap.len());
    let mut all = match plain.as_slice() {
        [] => RoaringBitmap::new(),
        [one] => (*one).clone(),
        [first, second, rest @ ..] => {
            let mut all = *first & *second;
            rest.iter().for_each(|bitmap| all &= *bitmap);
            all
        }
    };
    for (bitmaps, _) in clauses.iter().filter(|(_, negated)| *negated) {
        bitmaps.iter().for_each(|bitmap| all -= *bitmap);
    }
    all
}

fn frozen_pairs(clauses: &[Clause<FrozenBitmap<'_>>]) -> BitmapBuf {
    let united = |bitmaps: &[FrozenBitmap<'_>]| bitmap_silo::union(bitmaps.iter().copied());
    let mut all: Option<BitmapBuf> = None;
    for (bitmaps, negated) in clauses {
        let clause = match bitmaps.as_slice() {
            [one] if all.is_none() => one.to_buf(),
            several => united(several),
        };
        all = Some(match all {
            None => clause,
            Some(all) if *negated => bitmap_silo::BitmapView::from(&all).and_not(&(&clause).into()),
            Some(all) => all.view().and(&clause.view()),
        });
    }
    all.unwrap_or_default()
}

fn expression<'a>(clauses: &[Clause<FrozenBitmap<'a>>]) -> Expr<'a> {
    let clause = |(bitmaps, negated): &Clause<FrozenBitmap<'a>>| {
        let leaves = bitmaps.iter().map(|bitmap| Expr::bitmap(*bitmap));
        let any = if bitmaps.len() == 1 { Expr::and(leaves) } else { Expr::or(leaves) };
        if *negated { any.negated() } else { any }
    };
    Expr::and(clauses.iter().map(clause))
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let mut parts = shape.name.split('-').skip(1);
    let count: usize = parts.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let counted = parts.next() == Some("count");
    let universe = shape.items as u32;
    let seed = lab.settings.seed;
    let bitmaps: Vec<Clause<RoaringBitmap>> = CLAUSES[..count]
        .par_iter()
        .enumerate()
        .map(|(at, densities)| {
            let mut random = Random::new(seed, 110 + at as u64);
            let bitmaps = densities.iter().map(|density| make(universe, *density, at % 2 == 1, &mut random));
            (bitmaps.collect(), NEGATED.contains(&at))
        })
        .collect();
    let in_memory: Vec<Clause<&RoaringBitmap>> =
        bitmaps.iter().map(|(bitmaps, negated)| (bitmaps.iter().collect(), *negated)).collect();
    let blobs: Vec<Clause<Vec<u8>>> =
        bitmaps.iter().map(|(bitmaps, negated)| (bitmaps.iter().map(blob_of).collect(), *negated)).collect();
    let mut frozen: Vec<Clause<FrozenBitmap<'_>>> = Vec::new();
    for (blobs, negated) in &blobs {
        frozen.push((blobs.iter().map(|blob| FrozenBitmap::open(blob)).collect::<Result<_, _>>()?, *negated));
    }
    let (in_memory, blobs, frozen) = (&in_memory, &blobs, &frozen);
    let query = || Query::new(expression(frozen), u64::from(universe));
    let of_roaring = |bitmap: &RoaringBitmap| Ok(digest_bitmap(bitmap));
    let of_ours = |bitmap: &BitmapBuf| Ok(digest_frozen(&bitmap.view()));
    let of_count = |count: &u64| Ok(Digest::of([*count]));
    let deserialised = move || -> Result<RoaringBitmap> {
        let mut owned: Vec<Clause<RoaringBitmap>> = Vec::new();
        for (blobs, negated) in blobs {
            let bitmaps: Result<_, _> =
                blobs.iter().map(|blob| RoaringBitmap::deserialize_from(&blob[..])).collect();
            owned.push((bitmaps?, *negated));
        }
        let borrowed: Vec<Clause<&RoaringBitmap>> =
            owned.iter().map(|(bitmaps, negated)| (bitmaps.iter().collect(), *negated)).collect();
        Ok(pairwise(&borrowed))
    };
    let read = move || {
        let words = |blob: &Vec<u8>| {
            let (words, _) = blob.as_chunks::<8>();
            words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
        };
        Ok(blobs.iter().flat_map(|(blobs, _)| blobs).map(words).fold(0, u64::wrapping_add))
    };
    let mut strategies = if counted {
        vec![
            Strategy::new("roaring", || Ok(pairwise(in_memory).len()), of_count),
            Strategy::new("roaring-from-bytes", move || Ok(deserialised()?.len()), of_count),
            Strategy::new("frozen-pairs", || Ok(frozen_pairs(frozen).len()), of_count),
            Strategy::new("ours", || Ok(query().count()), of_count),
            Strategy::new("ours-parallel", || Ok(query().par_count()), of_count),
        ]
    } else {
        vec![
            Strategy::new("roaring", || Ok(pairwise(in_memory)), of_roaring),
            Strategy::new("roaring-from-bytes", deserialised, of_roaring),
            Strategy::new("frozen-pairs", || Ok(frozen_pairs(frozen)), of_ours),
            Strategy::new("ours", || Ok(query().to_bitmap()), of_ours),
            Strategy::new("ours-parallel", || Ok(query().par_to_bitmap()), of_ours),
        ]
    };
    strategies.push(Strategy::limit("limit-read", read));
    lab.measure(strategies)
}
