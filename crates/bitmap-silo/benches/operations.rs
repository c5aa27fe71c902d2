//! Single operations beside their twins of `roaring` and `croaring`, for watching one at a time;
//! the `ratios` benchmark judges.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark: a failed unwrap is a failed run"
)]

#[path = "lab/inputs.rs"]
mod inputs;

use bitmap_silo::{BitmapView, Expr, FrozenBitmap, Query, Rows, build_values, union_len};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inputs::{Input, SMALL, operands};
use roaring::MultiOps;

const KINDS: [&str; 5] = ["dense", "mixed", "sparse", "rare", "runs"];

fn view(input: &Input) -> FrozenBitmap<'_> {
    FrozenBitmap::open(&input.bytes).unwrap()
}

fn pairs(c: &mut Criterion) {
    let mut group = c.benchmark_group("intersection of two");
    for kind in KINDS {
        let inputs = operands(kind, SMALL / 4);
        let (a, b) = (&inputs[0], &inputs[1]);
        group.throughput(Throughput::Bytes((a.bytes.len() + b.bytes.len()) as u64));
        group.bench_function(BenchmarkId::new("bitmap-silo", kind), |bench| {
            bench.iter(|| view(a).and(&view(b)));
        });
        group.bench_function(BenchmarkId::new("bitmap-silo count", kind), |bench| {
            bench.iter(|| view(a).intersection_len(&view(b)));
        });
        group.bench_function(BenchmarkId::new("roaring warm", kind), |bench| {
            bench.iter(|| &a.roaring & &b.roaring);
        });
        group.bench_function(BenchmarkId::new("croaring view", kind), |bench| {
            bench.iter(|| a.croaring_view().and(&b.croaring_view()));
        });
        group.bench_function(BenchmarkId::new("croaring count", kind), |bench| {
            bench.iter(|| a.croaring.and_cardinality(&b.croaring));
        });
    }
    group.finish();
}

fn expressions(c: &mut Criterion) {
    let mut group = c.benchmark_group("expression, counted");
    for kind in KINDS {
        let inputs = operands(kind, SMALL / 4);
        let views: Vec<BitmapView<'_>> = inputs.iter().map(|input| view(input).into()).collect();
        let leaf = |index: usize| Expr::bitmap(views[index]);
        let expr = Expr::and([leaf(0), Expr::or([leaf(1), leaf(2), leaf(3)])]).and_not(leaf(4));
        let query = Query::new(expr, 1 << 32);
        group.bench_function(BenchmarkId::new("bitmap-silo", kind), |bench| {
            bench.iter(|| query.count());
        });
        group.bench_function(BenchmarkId::new("bitmap-silo bitmap", kind), |bench| {
            bench.iter(|| query.to_bitmap());
        });
        group.bench_function(BenchmarkId::new("bitmap-silo first 100", kind), |bench| {
            bench.iter(|| query.first(100));
        });
        group.bench_function(BenchmarkId::new("union of five", kind), |bench| {
            bench.iter(|| union_len(views.iter().copied()));
        });
        group.bench_function(BenchmarkId::new("union of five, roaring", kind), |bench| {
            bench.iter(|| inputs.iter().map(|input| &input.roaring).union().len());
        });
    }
    group.finish();
}

fn iteration(c: &mut Criterion) {
    let mut group = c.benchmark_group("iteration");
    for kind in KINDS {
        let inputs = operands(kind, SMALL / 4);
        let frozen = view(&inputs[0]);
        group.throughput(Throughput::Elements(frozen.len()));
        let mut buffer = vec![0; 4096];
        group.bench_function(BenchmarkId::new("bitmap-silo batches", kind), |bench| {
            bench.iter(|| {
                let mut iter = frozen.iter();
                while iter.next_many(&mut buffer) == buffer.len() {}
            });
        });
        group.bench_function(BenchmarkId::new("bitmap-silo", kind), |bench| {
            bench.iter(|| frozen.iter().map(u64::from).sum::<u64>());
        });
        group.bench_function(BenchmarkId::new("roaring", kind), |bench| {
            bench.iter(|| inputs[0].roaring.iter().map(u64::from).sum::<u64>());
        });
    }
    group.finish();
}

fn building(c: &mut Criterion) {
    let mut group = c.benchmark_group("rows to bitmaps");
    group.sample_size(10);
    for value_count in [5_u32, 31_000, 200_000] {
        let values: Vec<u32> =
            (0..SMALL / 10).map(|row| row.wrapping_mul(2_654_435_761) % value_count).collect();
        group.throughput(Throughput::Elements(values.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(value_count), |bench| {
            let rows = Rows::Consecutive { first_slot: 0, values: &values };
            bench.iter(|| build_values(rows, value_count).unwrap());
        });
    }
    group.finish();
}

criterion_group!(operation_benches, pairs, expressions, iteration, building);
criterion_main!(operation_benches);
