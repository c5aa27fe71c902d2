//! Sizes and speeds of postings pages on fields shaped as those of an image catalogue.
//!
//! `cargo bench -p bitmap-silo --bench postings`; `-- quick` takes fewer rows, another number is
//! the number of rows. Times are medians of runs that take turns.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::pedantic,
    reason = "a benchmark: a failed unwrap is a failed run"
)]

use std::hint::black_box;
use std::time::Instant;

use bitmap_silo::postings::{
    PageSplit, PostingOp, PostingsDelta, PostingsError, PostingsPage, PostingsView, Splits, build_pages,
    encode_splits, fold, par_sort_pairs, sort_pairs,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

type Pair = (u64, u32);

/// Rows of the usual test size.
const ROWS: u32 = 14_650_000;
const PAGE_PAIRS: usize = 8192;
const RUNS: usize = 5;

/// A field and its pairs in slot order.
struct Field {
    name: &'static str,
    pairs: Vec<Pair>,
    /// Bytes a pair may take.
    goal: f64,
}

/// Shape of a field: a value for each slot.
fn fields(rows: u32) -> Vec<Field> {
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut user, mut post, mut id) = (Vec::new(), Vec::new(), Vec::new());
    let users = f64::from(rows) / 190.0;
    let (mut post_id, mut record_id) = (5_000_000_u64, 9_000_000_u64);
    while id.len() < rows as usize {
        // Zipf of exponent one; numbers are given to users in no order of popularity.
        let rank = users.powf(rng.random::<f64>()) as u64;
        let user_id = rank.wrapping_mul(0x9e37_79b9) % 12_000_000;
        // Some posts were begun long before they are filled.
        post_id += rng.random_range(1..4);
        let jump = if rng.random_ratio(1, 8) { rng.random_range(0..3000) } else { 0 };
        for _ in 0..rng.random_range(1..=8.min(rows as usize - id.len()).max(1)) {
            let slot = id.len() as u32;
            // Gaps between ids, and rows that come out of order.
            record_id += if rng.random_ratio(1, 7) { 2 } else { 1 };
            user.push((user_id, slot));
            post.push((post_id - jump, slot));
            id.push((record_id, slot));
        }
    }
    for at in 0..id.len() {
        if rng.random_ratio(1, 8) {
            let other = at.saturating_sub(rng.random_range(0..200));
            let (a, b) = (id[at].0, id[other].0);
            (id[at].0, id[other].0) = (b, a);
        }
    }
    let rows = id.len() as u32;
    let many = f64::from(rows) / 7.3;
    let uniform = (0..rows).map(|slot| ((rng.random::<f64>() * many) as u64, slot)).collect();
    let random = (0..rows).map(|slot| (rng.random(), slot)).collect();
    let dense = (0..rows).map(|slot| (u64::from(slot) + 77, slot)).collect();
    let field = |name, pairs, goal| Field { name, pairs, goal };
    vec![
        field("user", user, 4.5),
        field("post", post, 4.0),
        field("id, gaps, some out of order", id, 2.0),
        field("id, one after the other", dense, 1.0),
        field("id, random 64 bits", random, 12.0),
        field("2 M values, uniform", uniform, 6.0),
    ]
}

fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Bytes of a portable Roaring blob per value, summed.
fn roaring_bytes(sorted: &[Pair]) -> usize {
    sorted
        .chunk_by(|a, b| a.0 == b.0)
        .map(|pairs| {
            let mut bitmap = RoaringBitmap::from_sorted_iter(pairs.iter().map(|pair| pair.1)).unwrap();
            bitmap.optimize();
            bitmap.serialized_size()
        })
        .sum()
}

struct Pages {
    bytes: Vec<u8>,
    /// Where each page starts.
    places: Vec<usize>,
    splits: Vec<u8>,
}

impl Pages {
    fn build(sorted: &[Pair]) -> Self {
        let (mut bytes, mut places, mut splits) = (Vec::new(), vec![0], Vec::new());
        build_pages(sorted.iter().copied(), PAGE_PAIRS, |first, page| {
            bytes.extend_from_slice(page);
            splits.push(PageSplit { first, page: splits.len() as u32 });
            places.push(bytes.len());
            Ok::<(), PostingsError>(())
        })
        .unwrap();
        Self { bytes, places, splits: encode_splits(splits).unwrap() }
    }

    fn page(&self, index: usize) -> PostingsPage<'_> {
        PostingsPage::open(&self.bytes[self.places[index]..self.places[index + 1]]).unwrap()
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let rows = words.iter().find_map(|word| word.parse().ok());
    let rows = rows.unwrap_or(if words.iter().any(|word| word == "quick") { 200_000 } else { ROWS });
    println!("{rows} rows, pages of {PAGE_PAIRS} pairs, {} threads", rayon::current_num_threads());
    let sort_only = words.iter().any(|word| word == "sort");
    for field in fields(rows) {
        measure(field, sort_only);
    }
}

fn measure(Field { name, pairs, goal }: Field, sort_only: bool) {
    let (mut sorted, mut room) = (pairs.clone(), pairs.clone());
    let (mut ours, mut threads, mut std) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS.min(3) {
        sorted.clone_from(&pairs);
        ours.push(seconds(|| sort_pairs(&mut sorted, &mut room)));
        sorted.clone_from(&pairs);
        threads.push(seconds(|| par_sort_pairs(&mut sorted, &mut room)));
        sorted.clone_from(&pairs);
        std.push(seconds(|| sorted.sort_unstable()));
    }
    println!(
        "\n{name}: sort {:.0} ms, on threads {:.0} ms, sort_unstable {:.0} ms",
        median(ours) * 1e3,
        median(threads) * 1e3,
        median(std) * 1e3
    );
    if sort_only {
        return;
    }
    let count = sorted.len() as f64;
    let build = median((0..RUNS).map(|_| seconds(|| drop(black_box(Pages::build(&sorted))))).collect());
    let raw = median(
        (0..RUNS)
            .map(|_| {
                seconds(|| {
                    let none = |_: Pair, page: &[u8]| {
                        black_box(page.len());
                        Ok::<(), PostingsError>(())
                    };
                    build_pages(sorted.iter().copied(), PAGE_PAIRS, none).unwrap();
                })
            })
            .collect(),
    );
    let pages = Pages::build(&sorted);
    let bytes = (pages.bytes.len() + pages.splits.len()) as f64 / count;
    let value_count = sorted.chunk_by(|a, b| a.0 == b.0).count();
    println!("  {value_count} values, {:.1} slots each", count / value_count as f64);
    println!("  {bytes:.2} bytes a pair, goal {goal}: {}", if bytes <= goal { "met" } else { "MISSED" });
    println!("  {:.3} of portable Roaring blobs", bytes * count / roaring_bytes(&sorted) as f64);
    println!("  build {:.0} M pairs/s, kept {:.0} M pairs/s", count / raw / 1e6, count / build / 1e6);
    look_up(&pages, &sorted);
}

fn look_up(pages: &Pages, sorted: &[Pair]) {
    let mut rng = SmallRng::seed_from_u64(2);
    let splits = Splits::open(&pages.splits).unwrap();
    let anywhere: Vec<Pair> = (0..200_000).map(|_| sorted[rng.random_range(0..sorted.len())]).collect();
    let middle = splits.len() / 2;
    let page = pages.page(middle);
    let from = sorted.partition_point(|pair| *pair < page.first().unwrap());
    let here: Vec<Pair> = (0..200_000).map(|_| sorted[from + rng.random_range(0..page.len())]).collect();
    let time = |f: &dyn Fn(Pair) -> u64, asked: &[Pair]| {
        let run = |_| {
            seconds(|| {
                black_box(asked.iter().map(|pair| f(*pair)).fold(0, u64::wrapping_add));
            })
        };
        median((0..RUNS).map(run).collect()) / asked.len() as f64 * 1e9
    };
    let unique = |pair: Pair| u64::from(page.get_unique(pair.0).unwrap());
    let count = |pair: Pair| page.count(pair.0) as u64;
    let contains = |pair: Pair| u64::from(page.contains(pair.0, pair.1));
    let cold = |pair: Pair| {
        let page = pages.page(splits.page_of(pair.0, pair.1).unwrap());
        u64::from(page.get_unique(pair.0).unwrap())
    };
    println!(
        "  one page: unique {:.0} ns, count {:.0} ns, contains {:.0} ns; splits, open, unique among all: {:.0} ns",
        time(&unique, &here),
        time(&count, &here),
        time(&contains, &here),
        time(&cold, &anywhere)
    );
    let pairs = page.len() as f64;
    let per_pair = |f: &dyn Fn()| median((0..21).map(|_| seconds(f)).collect()) / pairs * 1e9;
    let one_by_one = || {
        for posting in page.range(0..=u64::MAX) {
            for slot in posting.slots {
                black_box(slot);
            }
        }
    };
    let folded = || {
        let sums = page.range(0..=u64::MAX).map(|posting| posting.slots.fold(0, u32::wrapping_add));
        black_box(sums.fold(0, u32::wrapping_add));
    };
    let values = || {
        let counts = page.range(0..=u64::MAX).map(|posting| posting.slots.len() as u64 ^ posting.value);
        black_box(counts.fold(0, u64::wrapping_add));
    };
    let ops = here.iter().take(100).flat_map(|pair| {
        let (value, slot) = *pair;
        [PostingOp::Remove { value, slot }, PostingOp::Add { value, slot: slot ^ 1 }]
    });
    let delta = PostingsDelta::from_ops(ops);
    let fold_all = || drop(black_box(fold(&PostingsView::patched(page, &delta)).unwrap()));
    println!(
        "  a pair: one by one {:.1} ns, folded {:.1} ns, values with counts {:.1} ns, page folded with 200 operations {:.1} ns",
        per_pair(&one_by_one),
        per_pair(&folded),
        per_pair(&values),
        per_pair(&fold_all)
    );
}
