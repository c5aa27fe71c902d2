//! Criterion on the strategies of the engine: `scan`, `compaction`.

use criterion::{Criterion, criterion_group, criterion_main};

fn benches(c: &mut Criterion) {
    bench_lab::lab::criterion::bench(c, &["scan", "compaction"]);
}

criterion_group!(group, benches);
criterion_main!(group);
