//! Criterion micro-benches of the hot paths, on a silo that fits in the cache of a test machine.
#![expect(clippy::unwrap_used, reason = "a measuring program")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Silo};

const RECORDS: u64 = 100_000;

fn benches(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let silo = Silo::open(dir.path().join("silo"), Options::new()).unwrap();
    let records = silo.create_keyspace("records", &KeyspaceOptions::new()).unwrap();
    let mut batch = silo.batch();
    for key in 0..RECORDS {
        batch.put(&records, IntKey::from(key), [7u8; 300]).unwrap();
        if batch.len() == 1000 {
            silo.commit(&mut batch, Durability::Process).unwrap();
        }
    }
    silo.checkpoint().unwrap();
    let snapshot = silo.snapshot();
    let mut next = 0u64;
    let mut key = move || {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        IntKey::from((next >> 33) % RECORDS)
    };

    let mut reads = c.benchmark_group("read");
    reads.throughput(Throughput::Elements(1));
    reads.bench_function("get", |b| b.iter(|| black_box(snapshot.get(&records, key()).unwrap().is_some())));
    let unverified = snapshot.unverified();
    reads.bench_function("get_unverified", |b| {
        b.iter(|| black_box(unverified.get(&records, key()).unwrap().is_some()));
    });
    reads.bench_function("absent", |b| {
        b.iter(|| snapshot.contains(&records, IntKey::from(u64::MAX)).unwrap());
    });
    reads.bench_function("snapshot", |b| b.iter(|| black_box(silo.snapshot().seq())));
    reads.throughput(Throughput::Elements(32));
    reads.bench_function("multi_get_32", |b| {
        b.iter_batched(
            || [(); 32].map(|()| key()),
            |keys| black_box(snapshot.multi_get(&records, &keys).unwrap().len()),
            BatchSize::SmallInput,
        );
    });
    reads.throughput(Throughput::Elements(RECORDS));
    reads.bench_function("scan", |b| {
        b.iter(|| {
            let mut count = 0u64;
            snapshot
                .for_each(&records, |_, _| {
                    count += 1;
                    Ok::<_, datasilo::Error>(())
                })
                .unwrap();
            assert_eq!(count, RECORDS);
        });
    });
    reads.finish();

    let mut writes = c.benchmark_group("write");
    writes.throughput(Throughput::Elements(1));
    writes.bench_function("put", |b| {
        b.iter(|| silo.put(&records, key(), [7u8; 24], Durability::Process).unwrap());
    });
    writes.throughput(Throughput::Elements(1000));
    writes.bench_function("batch_put_1000", |b| {
        b.iter(|| {
            for _ in 0..1000 {
                batch.put(&records, key(), [7u8; 300]).unwrap();
            }
            silo.commit(&mut batch, Durability::Process).unwrap();
        });
    });
    writes.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = benches
}
criterion_main!(all);
