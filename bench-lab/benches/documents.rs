//! Criterion on the strategies of the engine: `doc-merge`, `join`.

use criterion::{Criterion, criterion_group, criterion_main};

fn benches(c: &mut Criterion) {
    bench_lab::lab::criterion::bench(c, &["doc-merge", "join"]);
}

criterion_group!(group, benches);
criterion_main!(group);
