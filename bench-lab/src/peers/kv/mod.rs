//! Stores of keys and values.

mod datasilo;
#[cfg(feature = "peer-fjall")]
mod fjall;
#[cfg(feature = "peer-heed")]
mod heed;
#[cfg(feature = "peer-redb")]
mod redb;
#[cfg(feature = "peer-rocksdb")]
mod rocksdb;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

use crate::lab::files::{PageAdvice, map_path};
use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};

/// The comparison.
pub const EXPERIMENT: Experiment = Experiment {
    name: "peers-kv",
    question: "How does datasilo compare with other embedded stores at loading, reading and updating?",
    strategies: &[
        ("ours", "datasilo: default options; loads by a bulk session; verified reads; `multi_get` of 32"),
        (
            "heed",
            "LMDB: keys big-endian, loads by MDB_APPEND in one transaction, MDB_NORDAHEAD; MDB_NOSYNC where commits need not survive a power loss",
        ),
        (
            "redb",
            "redb: cache of 1 GiB, loads in one transaction in key order; Durability::None where commits need not survive a power loss",
        ),
        ("fjall", "fjall: cache of 1 GiB, no compression, loads by ingestion; PersistMode by durability"),
        (
            "rocksdb",
            "RocksDB of the distribution: block cache of 1 GiB, Bloom filters of 10 bits, no compression, loads by ingested table files; `multi_get` of 32",
        ),
        ("limit-file", "values in one file: written and synced (load), found by a vector of offsets (get)"),
    ],
    baseline: "ours",
    limit: "values in one file: written and synced (load), found by a vector of offsets (get)",
    memory: false,
    decision: "datasilo keeps no key order, which the others give: whoever needs range scans should pick one of them. It buys loads at the speed of a plain file and look-ups \
        that come near a vector of offsets where keys are asked for together. A commit that survives a power loss costs what the device's sync costs, whatever the store.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let keys = scale.pick(20_000, 1_000_000, 5_000_000);
    let reads = scale.pick(10_000, 200_000, 400_000);
    let memory = keys * 400;
    let shape = |name: &str, items: u64, unit, cost: f64| Shape {
        memory_bytes: memory,
        ..Shape::new(name, items, unit, cost, 0)
    };
    vec![
        shape("300B-load", keys, "records", 15_000.0),
        shape("24B-load", keys, "records", 6_000.0),
        shape("300B-get", reads, "reads", 20_000.0),
        shape("24B-get", reads, "reads", 15_000.0),
        shape("300B-get-32", reads, "reads", 20_000.0),
        shape("300B-scan", keys, "records", 8_000.0),
        shape("300B-put-batches", scale.pick(5_000, 100_000, 500_000), "puts", 60_000.0),
        shape("300B-put-durable", scale.pick(30, 300, 2_000), "puts", 5_000_000.0),
        shape("300B-open-get", 1, "opens", 5e8),
    ]
}

/// What commits survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Survives {
    /// The end of the process.
    Process,
    /// A loss of power.
    Power,
}

/// A store with keys of eight bytes.
trait Store {
    /// Loads keys 0 to `count` − 1 into the empty store, synced at the end.
    fn load(&self, count: u64, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()>;

    /// Commits puts in batches.
    fn put(&self, keys: &[u64], batch: usize, value: &dyn Fn(u64) -> Vec<u8>) -> Result<()>;

    /// Calls `f` with each value.
    fn get(&self, keys: &[u64], f: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// As `get`, with so many keys at a time if the store can.
    fn multi_get(&self, keys: &[u64], width: usize, f: &mut dyn FnMut(&[u8])) -> Result<()> {
        let _ = width;
        self.get(keys, f)
    }

    /// Calls `f` with all keys and values in any order.
    fn scan(&self, f: &mut dyn FnMut(u64, &[u8])) -> Result<()>;
}

/// How a store is opened, created where it is missing.
type Open = fn(&Path, Survives) -> Result<Box<dyn Store>>;

fn stores() -> Vec<(&'static str, Open)> {
    vec![
        ("ours", datasilo::open as Open),
        #[cfg(feature = "peer-heed")]
        ("heed", heed::open),
        #[cfg(feature = "peer-redb")]
        ("redb", redb::open),
        #[cfg(feature = "peer-fjall")]
        ("fjall", fjall::open),
        #[cfg(feature = "peer-rocksdb")]
        ("rocksdb", rocksdb::open),
    ]
}

/// What a program does with a value.
fn consume(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks::<8>();
    let sum = words.iter().fold(value.len() as u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

fn digest_of(store: &dyn Store) -> Result<u64> {
    let mut digest = Digest::default();
    store.scan(&mut |key, value| digest.add(mix(key) ^ consume(value)))?;
    Ok(digest.value())
}

fn bytes_of(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let metadata = entry?;
        sum += if metadata.file_type()?.is_dir() {
            bytes_of(&metadata.path())?
        } else {
            allocated(&metadata.metadata()?)
        };
    }
    Ok(sum)
}

/// Bytes on disk: a sparse file counts what it has.
fn allocated(metadata: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let len: usize = shape.name.split('B').next().and_then(|len| len.parse().ok()).unwrap_or(300);
    let work = shape.name.split_once('-').map_or("", |(_, work)| work);
    let seed = lab.settings.seed;
    let mut pool = vec![0; 1 << 16];
    Random::new(seed, 130).fill(&mut pool);
    let value = move |key: u64| {
        let at = mix(key) as usize % (pool.len() - len);
        pool[at..at + len].to_vec()
    };
    let value: &dyn Fn(u64) -> Vec<u8> = &value;
    let stores: Vec<(&'static str, Open)> =
        stores().into_iter().filter(|(name, _)| lab.wants(name)).collect();
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let place = |name: &str| scratch.path().join(name);
    let key_count = (EXPERIMENT.shapes)(lab.settings.scale)[0].items;
    let mut random = Random::new(seed, 131);
    let wanted: Vec<u64> = (0..shape.items).map(|_| random.word() % key_count).collect();
    let wanted = &wanted;
    let fresh = |name: &'static str| {
        let dir = place(name);
        move || {
            let _ = std::fs::remove_dir_all(&dir);
            Ok(std::fs::create_dir_all(&dir)?)
        }
    };
    // Declared before what borrows from it.
    let mut opened: Vec<(&'static str, Open, Option<Box<dyn Store>>)> = Vec::new();
    let mut strategies = Vec::new();
    let writes = matches!(work, "load" | "put-batches" | "put-durable");
    let survives = if work == "put-batches" { Survives::Process } else { Survives::Power };
    if !writes {
        for (name, open) in &stores {
            std::fs::create_dir_all(place(name))?;
            let store = open(&place(name), Survives::Power)?;
            store.load(key_count, value)?;
            // An engine that is to be opened must be closed.
            opened.push((*name, *open, (work != "open-get").then_some(store)));
        }
    }
    if writes {
        for (name, open) in stores {
            let (dir, digest_dir, size_dir) = (place(name), place(name), place(name));
            let write = move |()| {
                let store = open(&dir, survives)?;
                match work {
                    "load" => store.load(shape.items, value),
                    "put-batches" => store.put(wanted, 1_000, value),
                    _ => store.put(wanted, 1, value),
                }
            };
            let digest = move |(): &()| digest_of(&*open(&digest_dir, survives)?);
            let strategy = Strategy::with_input(name, fresh(name), write, digest);
            let size = move || {
                Ok(vec![("bytes a record".to_owned(), bytes_of(&size_dir)? as f64 / shape.items as f64)])
            };
            strategies.push(if work == "load" { strategy.with_figures(size) } else { strategy });
        }
    } else {
        for (name, open, store) in &opened {
            let dir = place(name);
            let read = move || {
                let mut sum = 0_u64;
                let mut add = |value: &[u8]| sum = sum.wrapping_add(consume(value));
                match (work, store) {
                    ("get", Some(store)) => store.get(wanted, &mut add)?,
                    ("get-32", Some(store)) => store.multi_get(wanted, 32, &mut add)?,
                    ("scan", Some(store)) => {
                        store.scan(&mut |key, value| add(&[&key.to_le_bytes(), value].concat()))?;
                    }
                    _ => open(&dir, Survives::Power)?.get(wanted, &mut add)?,
                }
                Ok(sum)
            };
            strategies.push(Strategy::new(name, read, |sum| Ok(Digest::of([*sum]))));
        }
    }
    limit(work, len, shape.items, key_count, wanted, value, &place("limit"), &mut strategies)?;
    lab.measure(strategies)
}

/// A plain file at the same work, where that says something.
#[expect(clippy::too_many_arguments, reason = "what the work is")]
fn limit<'a>(
    work: &str,
    len: usize,
    items: u64,
    key_count: u64,
    wanted: &'a [u64],
    value: &'a dyn Fn(u64) -> Vec<u8>,
    path: &Path,
    strategies: &mut Vec<Strategy<'a>>,
) -> Result<()> {
    let path = path.to_owned();
    let write = move |path: &Path, count: u64| -> Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        (0..count).try_for_each(|key| file.write_all(&value(key)))?;
        Ok(file.into_inner()?.sync_all()?)
    };
    match work {
        "load" => strategies.push(Strategy::limit("limit-file", move || write(&path, items))),
        "get" | "get-32" => {
            write(&path, key_count)?;
            let map = map_path(&path, PageAdvice::None)?;
            let places: Vec<(u64, u32)> = (0..key_count).map(|key| (key * len as u64, len as u32)).collect();
            strategies.push(Strategy::limit("limit-file", move || {
                let find = |key: &u64| {
                    let (at, len) = places[*key as usize];
                    consume(&map[at as usize..at as usize + len as usize])
                };
                Ok(wanted.iter().map(find).fold(0, u64::wrapping_add))
            }));
        }
        _ => {}
    }
    Ok(())
}
