//! What a store costs beside the structures in it: times of writing, and ratios of reading with and
//! without pending operations, taken in turns.
//!
//! `cargo bench -p bitmap-silo --bench store`
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a benchmark of fixed inputs")]

use std::hint::black_box;
use std::time::Instant;

use bitmap_silo::store::{Field, FieldKind, Store, StoreBatch};
use bitmap_silo::{BitmapBuf, BitmapView, Expr, Query};
use datasilo::{Durability, Options, Silo};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const ROWS: u32 = 14_650_000;
const ROUNDS: usize = 31;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Median seconds of each of some runs, taken in turns.
fn in_turns<const N: usize>(mut runs: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            let started = Instant::now();
            run();
            times.push(started.elapsed().as_secs_f64());
        }
    }
    times.map(median)
}

fn every(rng: &mut SmallRng, share: f64) -> BitmapBuf {
    (0..ROWS).filter(|_| rng.random_bool(share)).collect()
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let silo = Silo::open(dir.path().join("silo"), Store::options(Options::new().background(false))).unwrap();
    let store = Store::open(&silo, "bench").unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    let field = |name: &str, kind| store.create_field(&silo, name, kind).unwrap();
    let plain = field("plain", FieldKind::Bitmap);
    let hot = field("hot", FieldKind::Bitmap);
    let tags: Vec<Field> = (0..10).map(|n| field(&format!("tags{n}"), FieldKind::Bitmap)).collect();
    let sorts: Vec<Field> = (0..3).map(|n| field(&format!("sort{n}"), FieldKind::Column)).collect();
    let ids = field("ids", FieldKind::Postings);
    let dense = every(&mut rng, 0.2);
    let other = every(&mut rng, 0.4);
    let sparse = every(&mut rng, 0.002);
    let bulk = store.bulk(&silo, &[]).unwrap();
    let mut writer = bulk.writer();
    for of in [&plain, &hot] {
        writer.put_bitmap(of, 1, &dense).unwrap();
        writer.put_bitmap(of, 2, &sparse).unwrap();
    }
    writer.put_bitmap(&plain, 3, &other).unwrap();
    writer.close().unwrap();
    bulk.finish().unwrap();
    writing(&silo, &store, &tags, &sorts, &ids, &mut rng);
    reading(&silo, &store, &plain, &hot, &mut rng);
}

fn fill(
    ops: &mut StoreBatch,
    documents: u32,
    tags: &[Field],
    sorts: &[Field],
    ids: &Field,
    rng: &mut SmallRng,
) {
    for _ in 0..documents {
        let slot = rng.random_range(0..ROWS);
        for (n, field) in tags.iter().enumerate() {
            ops.set(field, rng.random_range(0..500), slot);
            if n % 2 == 0 {
                ops.clear_bit(field, rng.random_range(0..500), slot);
            }
        }
        for field in sorts {
            ops.set_key(field, slot, rng.random_range(0..1 << 30));
        }
        ops.add(ids, u64::from(slot) * 7, slot);
    }
}

/// Times of a batch of one document and of a thousand.
fn writing(silo: &Silo, store: &Store, tags: &[Field], sorts: &[Field], ids: &Field, rng: &mut SmallRng) {
    let mut ops = StoreBatch::new();
    for _ in 0..20 {
        fill(&mut ops, 1000, tags, sorts, ids, rng);
        store.commit(silo, &mut ops, Durability::Process).unwrap();
    }
    silo.checkpoint().unwrap();
    for documents in [1, 1000] {
        let (mut collect, mut append, mut commit) = (Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        for _ in 0..(2000 / documents).max(9) {
            let mut batch = silo.batch();
            let started = Instant::now();
            fill(&mut ops, documents, tags, sorts, ids, rng);
            collect.push(started.elapsed().as_secs_f64());
            count = ops.len();
            let started = Instant::now();
            let writer = store.write(silo).unwrap();
            writer.append(&mut ops, &mut batch).unwrap();
            append.push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            silo.commit(&mut batch, Durability::Process).unwrap();
            commit.push(started.elapsed().as_secs_f64());
            ops.clear();
        }
        let (collect, append, commit) = (median(collect), median(append), median(commit));
        println!(
            "{documents} documents, {count} operations: collect {:.1} us, append {:.1} us, commit {:.1} us; \
             append {:.0} ns an operation",
            collect * 1e6,
            append * 1e6,
            commit * 1e6,
            append / count as f64 * 1e9
        );
    }
}

/// Ratios of reading a bitmap with pending operations to one without.
fn reading(silo: &Silo, store: &Store, plain: &Field, hot: &Field, rng: &mut SmallRng) {
    let mut ops = StoreBatch::new();
    let mut write = |count: u32, value: u32| {
        let started = Instant::now();
        for _ in 0..count {
            let slot = rng.random_range(0..ROWS);
            if slot % 2 == 0 {
                ops.set(hot, value, slot);
            } else {
                ops.clear_bit(hot, value, slot);
            }
            store.commit(silo, &mut ops, Durability::Process).unwrap();
        }
        started.elapsed().as_secs_f64() / f64::from(count) * 1e6
    };
    for (label, pending, checkpoint) in [
        ("in memory", 100, false),
        ("in memory", 5000, false),
        ("in the log", 0, true),
        ("both", 5000, false),
    ] {
        if pending > 0 {
            println!(
                "one set or clear a commit: {:.2} us, {:.2} us",
                write(pending, 1),
                write(pending / 10, 2)
            );
        }
        if checkpoint {
            silo.checkpoint().unwrap();
        }
        let snapshot = silo.snapshot();
        let reader = store.reader(&snapshot).unwrap();
        let other = reader.bitmap(plain, 3).unwrap();
        for value in [1, 2] {
            let parts = [reader.bitmap(plain, value).unwrap(), reader.bitmap(hot, value).unwrap()];
            let [a, b] = &parts;
            let both = |view: BitmapView<'_>| {
                black_box(Query::new(Expr::and([view.into(), other.view().into()]), ROWS.into()).count());
            };
            let write_out = |view: BitmapView<'_>| {
                black_box(Query::new(Expr::or([view.into(), other.view().into()]), ROWS.into()).to_bitmap());
            };
            let count = in_turns([&mut || both(a.view()), &mut || both(b.view())]);
            let made = in_turns([&mut || write_out(a.view()), &mut || write_out(b.view())]);
            let open = in_turns([&mut || drop(black_box(reader.bitmap(plain, value).unwrap())), &mut || {
                drop(black_box(reader.bitmap(hot, value).unwrap()));
            }]);
            println!(
                "value {value}, pending {label} ({pending} more): open {:.2} us and {:.2} us; count of AND {:.0} us, \
                 ratio {:.2}; OR to a bitmap {:.0} us, ratio {:.2}",
                open[0] * 1e6,
                open[1] * 1e6,
                count[0] * 1e6,
                count[1] / count[0],
                made[0] * 1e6,
                made[1] / made[0]
            );
        }
    }
    // A reader after each of many writers.
    let started = Instant::now();
    let rounds = 2000;
    for _ in 0..rounds {
        write(1, 1);
        let snapshot = silo.snapshot();
        black_box(store.reader(&snapshot).unwrap().bitmap(hot, 1).unwrap().view().contains(5));
    }
    println!(
        "a write and a read in turns: {:.2} us",
        started.elapsed().as_secs_f64() / f64::from(rounds) * 1e6
    );
}
