//! Batches over several keyspaces, what a commit survives, and how threads share a sync.
//!
//! `cargo run -p datasilo --example batches_and_durability`

use std::time::Instant;

use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Result, Silo};

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let silo = Silo::open(dir.path().join("shop"), Options::new())?;
    let orders = silo.create_keyspace("orders", &KeyspaceOptions::new())?;
    let stock = silo.create_keyspace("stock", &KeyspaceOptions::new())?;

    // All of a batch is there, or nothing of it: no order without its change to the stock.
    let mut batch = silo.batch();
    let started = Instant::now();
    for order in 0..1000u32 {
        batch.put(&orders, IntKey::from(order), format!("order {order}: one lamp"))?;
        batch.put(&stock, "lamps", (1000 - order - 1).to_string())?;
        silo.commit(&mut batch, Durability::Process)?; // survives the end of this process
    }
    println!("1000 commits that survive a crash of the process: {:?}", started.elapsed());

    let started = Instant::now();
    silo.sync()?; // from here on they survive a loss of power, too
    println!("one sync for all of them: {:?}", started.elapsed());

    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u32)
            .map(|thread| {
                let (silo, orders) = (&silo, &orders);
                scope.spawn(move || {
                    for n in 0..10 {
                        let order = 1000 + thread * 10 + n;
                        silo.put(orders, IntKey::from(order), "one lamp", Durability::Power)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    println!("80 durable commits from 8 threads, which share syncs: {:?}", started.elapsed());

    let snapshot = silo.snapshot();
    assert_eq!(snapshot.iter(&orders)?.count(), 1080);
    assert_eq!(snapshot.get(&stock, "lamps")?.as_deref(), Some(&b"0"[..]));
    silo.close()
}
