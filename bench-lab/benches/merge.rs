//! Criterion on the strategies of the engine: `merge`.

use criterion::{Criterion, criterion_group, criterion_main};

fn benches(c: &mut Criterion) {
    bench_lab::lab::criterion::bench(c, &["merge"]);
}

criterion_group!(group, benches);
criterion_main!(group);
