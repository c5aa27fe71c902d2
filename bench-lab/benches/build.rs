//! Criterion on the strategies of the engine: `accumulate`, `filter-accumulate`, `sort-layers`.

use criterion::{Criterion, criterion_group, criterion_main};

fn benches(c: &mut Criterion) {
    bench_lab::lab::criterion::bench(c, &["accumulate", "filter-accumulate", "sort-layers"]);
}

criterion_group!(group, benches);
criterion_main!(group);
