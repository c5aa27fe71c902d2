//! Commits.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use datasilo::{Durability, IntKey, Keyspace, KeyspaceOptions, Options, Silo};

use crate::Config;
use crate::limit::{AppendLog, value};
use crate::measure::{Table, alternate, cpu, median, wall};

const BATCH: u64 = 1000;

struct Puts {
    silo: Silo,
    keyspace: Keyspace,
    next: u64,
}

impl Puts {
    fn new(dir: &std::path::Path) -> Self {
        let silo = Silo::open(dir, Options::new()).unwrap();
        let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new()).unwrap();
        Self { silo, keyspace, next: 0 }
    }

    fn batches(&mut self, count: u64, len: usize, durability: Durability) {
        let mut batch = self.silo.batch();
        let mut record = Vec::new();
        for _ in 0..count {
            for key in self.next..self.next + BATCH {
                value(key, len, &mut record);
                batch.put(&self.keyspace, IntKey::from(key), &record).unwrap();
            }
            self.silo.commit(&mut batch, durability).unwrap();
            self.next += BATCH;
        }
    }
}

pub(crate) fn run(config: &Config, table: &mut Table) {
    batches(config, table);
    threads(config, table);
    singles(config, table);
    durable(config, table);
}

fn batches(config: &Config, table: &mut Table) {
    let dir = config.scratch();
    let mut puts = Puts::new(&dir.path().join("silo"));
    let mut log = AppendLog::create(&dir.path().join("log"));
    let count = (config.records / BATCH / 10).clamp(20, 400);
    let mut first = 0;
    let (mut buffer, mut record) = (Vec::new(), Vec::new());
    let times = alternate(
        config.rounds,
        count * BATCH,
        &mut [
            &mut || {
                cpu(|| {
                    for _ in 0..count {
                        log.batch(first, BATCH, 300, &mut buffer, &mut record);
                        first += BATCH;
                    }
                })
            },
            &mut || cpu(|| puts.batches(count, 300, Durability::Process)),
        ],
    );
    table.ratio("put in batches of 1,000, 300 B", "ns", times[1], times[0], 3.0, Some(1.5));
    let next = puts.next;
    let deletes = alternate(
        config.rounds,
        count * BATCH,
        &mut [&mut || {
            cpu(|| {
                let mut batch = puts.silo.batch();
                for key in 0..(count * BATCH).min(next) {
                    batch.delete(&puts.keyspace, IntKey::from(key)).unwrap();
                    if batch.len() as u64 == BATCH {
                        puts.silo.commit(&mut batch, Durability::Process).unwrap();
                    }
                }
            })
        }],
    );
    table.figure("delete in batches of 1,000", deletes[0], "ns", 300.0, None, false);
}

fn threads(config: &Config, table: &mut Table) {
    let count = (config.records / BATCH / 10).clamp(20, 400);
    let run_on = |threads: u64| {
        let dir = config.scratch();
        let puts = Puts::new(&dir.path().join("silo"));
        wall(|| {
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let (silo, keyspace) = (&puts.silo, &puts.keyspace);
                    scope.spawn(move || {
                        let mut batch = silo.batch();
                        let mut record = Vec::new();
                        for at in 0..count / threads * BATCH {
                            let key = thread << 32 | at;
                            value(key, 300, &mut record);
                            batch.put(keyspace, IntKey::from(key), &record).unwrap();
                            if batch.len() as u64 == BATCH {
                                silo.commit(&mut batch, Durability::Process).unwrap();
                            }
                        }
                    });
                }
            });
        })
    };
    let times = alternate(config.rounds, count * BATCH, &mut [&mut || run_on(1), &mut || run_on(2)]);
    table.figure(
        "batch put on 2 threads, rate to one thread's",
        times[0] / times[1],
        "x",
        1.3,
        Some(1.6),
        true,
    );
}

fn singles(config: &Config, table: &mut Table) {
    let dir = config.scratch();
    let silo = Silo::open(dir.path().join("silo"), Options::new()).unwrap();
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new()).unwrap();
    let count = (config.records / 25).max(1000);
    let mut key = 0u64;
    let raw = std::fs::File::create(dir.path().join("raw")).unwrap();
    let mut at = 0;
    let times = alternate(
        config.rounds,
        count,
        &mut [
            &mut || {
                cpu(|| {
                    for _ in 0..count {
                        raw.write_all_at(&[7u8; 88], at).unwrap();
                        at += 88;
                    }
                })
            },
            &mut || {
                cpu(|| {
                    for _ in 0..count {
                        silo.put(&keyspace, IntKey::from(key), [7u8; 24], Durability::Process).unwrap();
                        key += 1;
                    }
                })
            },
        ],
    );
    table.figure("single put, 24 B, million a second", 1e3 / times[1], "M/s", 1.0, Some(2.5), true);
    // A goal of 1 M/s where a `pwrite` alone takes 220 ns leaves this much for everything else.
    table.ratio(
        "single put, 24 B, to a pwrite alone",
        "ns",
        times[1],
        times[0],
        1000.0 / 220.0,
        Some(400.0 / 220.0),
    );
}

fn durable(config: &Config, table: &mut Table) {
    let dir = config.scratch();
    let mut puts = Puts::new(&dir.path().join("silo"));
    let mut log = AppendLog::create(&dir.path().join("log"));
    let (mut buffer, mut record) = (Vec::new(), Vec::new());
    let count = 20;
    let mut first = 0;
    let times = alternate(
        config.rounds,
        count,
        &mut [
            &mut || {
                wall(|| {
                    for _ in 0..count {
                        log.batch(first, BATCH, 300, &mut buffer, &mut record);
                        log.sync();
                        first += BATCH;
                    }
                })
            },
            &mut || wall(|| puts.batches(count, 300, Durability::Power)),
        ],
    );
    table.ratio("durable batch of 1,000, 300 B", "ns", times[1], times[0], 2.5, Some(1.3));
    let count = 60;
    let silo = &puts.silo;
    let keyspace = &puts.keyspace;
    let single = |thread: u64, count: u64| {
        for key in 0..count {
            silo.put(keyspace, IntKey::from(thread << 40 | key), [7u8; 24], Durability::Power).unwrap();
        }
    };
    let mut pairs: Vec<(f64, f64, f64)> = Vec::new();
    for _ in 0..config.rounds.max(3) {
        let limit = wall(|| {
            for key in 0..count {
                log.batch(key, 1, 24, &mut buffer, &mut record);
                log.sync();
            }
        });
        let one = wall(|| single(1, count));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                scope.spawn(move || single(thread, count));
            }
        });
        let two: Duration = started.elapsed();
        let each = |time: Duration, n: u64| time.as_nanos() as f64 / n as f64;
        pairs.push((each(limit, count), each(one, count), each(two, 2 * count)));
    }
    let middle = |pick: fn(&(f64, f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
    table.ratio("durable single put, 24 B", "ns", middle(|p| p.1), middle(|p| p.0), 1.2, None);
    table.ratio("durable single put on 2 threads, to one", "ns", middle(|p| p.2), middle(|p| p.1), 0.6, None);
}
