//! Criterion on the strategies of the engine: `evaluate`.

use criterion::{Criterion, criterion_group, criterion_main};

fn benches(c: &mut Criterion) {
    bench_lab::lab::criterion::bench(c, &["evaluate"]);
}

criterion_group!(group, benches);
criterion_main!(group);
