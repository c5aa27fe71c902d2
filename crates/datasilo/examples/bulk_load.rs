//! Loading many records from several threads, published at once.
//!
//! `cargo run --release -p datasilo --example bulk_load [RECORDS]`

use std::time::Instant;

use datasilo::{IntKey, KeyspaceOptions, Options, Result, Silo};

fn main() -> Result<()> {
    let records: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let threads = std::thread::available_parallelism().map_or(2, |n| u32::try_from(n.get()).unwrap_or(2));
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let silo = Silo::open(dir.path().join("loaded"), Options::new())?;
    let docs = silo.create_keyspace("docs", &KeyspaceOptions::new())?;

    let started = Instant::now();
    let session = silo.bulk(&[&docs])?;
    std::thread::scope(|scope| {
        let loaders: Vec<_> = (0..threads)
            .map(|thread| {
                let (mut writer, docs) = (session.writer(), &docs);
                scope.spawn(move || {
                    // Each thread takes the records of its own stretch of the input.
                    let stretch = records.div_ceil(threads);
                    for record in thread * stretch..records.min((thread + 1) * stretch) {
                        let document = format!("{{\"id\":{record},\"name\":\"record {record}\"}}");
                        // Equal keys would count in the order of the input, not of the threads.
                        writer.set_rank(u64::from(record))?;
                        writer.put(docs, IntKey::from(record), document)?;
                    }
                    writer.close()
                })
            })
            .collect();
        loaders.into_iter().try_for_each(|loader| loader.join().expect("no loader panics"))
    })?;
    println!("written by {threads} threads after {:?}; nobody sees it yet", started.elapsed());
    assert_eq!(silo.snapshot().iter(&docs)?.count(), 0);
    let report = session.finish()?;
    println!(
        "{} records, {} bytes, durable and visible after {:?}",
        report.ops,
        report.bytes,
        started.elapsed()
    );

    let snapshot = silo.snapshot();
    let last = snapshot.get(&docs, IntKey::from(records - 1))?.unwrap_or_default();
    println!("the last one: {}", String::from_utf8_lossy(&last));
    let stats = silo.stats()?;
    assert!(stats.keyspaces.iter().all(|keyspace| keyspace.entries == u64::from(records)));
    drop(snapshot);
    silo.close()
}
