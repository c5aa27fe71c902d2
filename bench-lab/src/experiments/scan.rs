//! Reading an ops log for compaction: which frame of each key is the last?

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use datasilo::{IntKey, KeyspaceOptions, Options, Silo};
use memmap2::Mmap;
use rayon::prelude::*;

use super::inputs::Map;
use super::log::{Frame, LogPlan, REGION_BYTES, fingerprint, for_each_frame, frame_bytes};
use crate::lab::files::{PageAdvice, evict, map_path};
use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "scan",
    question: "How is a log read to find the last frame of each key, and does page advice help, the cache being warm or cold?",
    strategies: &[
        ("1-sequential-copy", "one thread, values copied to the heap"),
        ("2-prescan", "one thread reads the headers, then frames are checked and copied in parallel"),
        ("2B-parallel-prescan", "headers are read in parallel by regions, too"),
        (
            "3-self-synchronising",
            "byte ranges; each thread finds its first frame by the checksum; values copied",
        ),
        ("4-flat-sort", "one thread, values copied into a flat vector, sorted by key"),
        ("zero-copy", "one thread keeps address and length only"),
        ("zero-copy-parallel", "regions in parallel keep addresses, sorted by key"),
        ("ours-open-scan", "the engine opens a silo of the same records and visits them on one thread"),
        ("ours-open-scan-parallel", "the same on all threads"),
        ("limit-check", "one thread checks every frame and keeps nothing"),
    ],
    baseline: "1-sequential-copy",
    limit: "one thread checks every frame and keeps nothing (the published \"no copy\" bound)",
    memory: true,
    decision: "Scans keep addresses, never values, on all threads. Does sequential advice harm a parallel scan on Linux? No: read-ahead is kept for each \
        run of faults, and every thread walks regions of its own, so that advice and threads go together (see the comparisons); without advice, threads may \
        even lose. What harms is random advice, by which each page is a read of its own: the engine maps for look-ups with it, so a scan reads index and \
        segments in windows that it asks for beforehand, which is why its cold times hardly depend on the advice. Its parallel scan of a cold file is \
        bound by the device.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let shape = |name: &str, frames: u64, len: u64| Shape::new(name, frames, "frames", 5_000.0, len * 3);
    match scale {
        Scale::Small => {
            vec![shape("small-warm-none", 20_000, 300), shape("small-cold-sequential", 20_000, 300)]
        }
        Scale::Medium => medium(100_000),
        Scale::Production => {
            let mut shapes = medium(1_000_000);
            shapes.push(shape("large-warm-none", 1_000_000, 500));
            shapes.push(shape("production-warm-none", 14_600_000, 300));
            shapes.push(shape("production-cold-sequential", 14_600_000, 300));
            shapes
        }
    }
}

fn medium(frames: u64) -> Vec<Shape> {
    let mut shapes = vec![Shape::new("small-warm-none", frames / 10, "frames", 5_000.0, 900)];
    for cache in ["warm", "cold"] {
        for advice in ["none", "sequential", "random", "willneed"] {
            shapes.push(Shape::new(format!("medium-{cache}-{advice}"), frames, "frames", 5_000.0, 900));
        }
    }
    shapes
}

fn advice_of(shape: &str) -> PageAdvice {
    match shape.rsplit('-').next() {
        Some("sequential") => PageAdvice::Sequential,
        Some("random") => PageAdvice::Random,
        Some("willneed") => PageAdvice::WillNeed,
        _ => PageAdvice::None,
    }
}

/// The last value of each key, by heap or by place in the mapping.
enum Live {
    Copied(Vec<(u64, Vec<u8>)>),
    Mapped(Mmap, Vec<(u64, usize)>),
    /// Fingerprints of records.
    Visited(Vec<u64>),
}

impl Live {
    fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        match self {
            Self::Copied(list) => list.iter().for_each(|(key, value)| digest.add(fingerprint(*key, value))),
            Self::Mapped(map, list) => list.iter().for_each(|(key, at)| {
                digest.add(fingerprint(*key, Frame::at(&map[*at..]).unwrap().value));
            }),
            Self::Visited(fingerprints) => {
                fingerprints.iter().for_each(|fingerprint| digest.add(*fingerprint));
            }
        }
        digest.value()
    }
}

fn checked(frame: &Frame<'_>) {
    assert!(frame.is_whole(), "a frame of the log has the wrong checksum");
}

fn sequential_copy(map: &Mmap) -> Live {
    let mut live: Map<u64, Vec<u8>> = Map::default();
    for_each_frame(map, REGION_BYTES, |_, frame| {
        checked(&frame);
        live.insert(frame.key, frame.value.to_vec());
    });
    Live::Copied(live.into_iter().collect())
}

/// Keeps the last of each key of frames that are sorted by key, ties in log order.
fn last_of_each<T>(sorted: Vec<(u64, T)>) -> Vec<(u64, T)> {
    let mut kept: Vec<(u64, T)> = Vec::with_capacity(sorted.len());
    for entry in sorted {
        match kept.last_mut() {
            Some(last) if last.0 == entry.0 => *last = entry,
            _ => kept.push(entry),
        }
    }
    kept
}

/// Copies the last value of each key, from places in log order.
fn copy_last(map: &Mmap, places: &[usize]) -> Live {
    let entry = |at: &usize| {
        let frame = Frame::at(&map[*at..]).unwrap();
        checked(&frame);
        (frame.key, frame.value.to_vec())
    };
    let mut copied: Vec<(u64, Vec<u8>)> = places.par_iter().map(entry).collect();
    copied.par_sort_by_key(|(key, _)| *key);
    Live::Copied(last_of_each(copied))
}

fn prescan(map: &Mmap) -> Live {
    let mut places = Vec::new();
    for_each_frame(map, REGION_BYTES, |at, _| places.push(at));
    copy_last(map, &places)
}

fn parallel_prescan(map: &Mmap) -> Live {
    let regions: Vec<(usize, &[u8])> = map.chunks(REGION_BYTES).enumerate().collect();
    let places = |(index, region): &(usize, &[u8])| {
        let mut places = Vec::new();
        for_each_frame(region, REGION_BYTES, |at, _| places.push(index * REGION_BYTES + at));
        places
    };
    let places: Vec<Vec<usize>> = regions.par_iter().map(places).collect();
    copy_last(map, &places.concat())
}

fn self_synchronising(map: &Mmap, threads: usize) -> Live {
    let parts = threads * 4;
    let len = map.len();
    let part = |index: usize| {
        let end = len * (index + 1) / parts;
        let mut at = (len * index / parts).next_multiple_of(8);
        let mut copied = Vec::new();
        while at < end {
            // Zeros and whatever lies before the first whole frame are stepped over.
            match map.get(at..).and_then(Frame::at).filter(Frame::is_whole) {
                Some(frame) => {
                    copied.push((frame.key, frame.value.to_vec()));
                    at += frame_bytes(frame.value.len());
                }
                None => at += 8,
            }
        }
        copied
    };
    let mut copied: Vec<(u64, Vec<u8>)> = (0..parts).into_par_iter().flat_map_iter(part).collect();
    copied.par_sort_by_key(|(key, _)| *key);
    Live::Copied(last_of_each(copied))
}

fn flat_sort(map: &Mmap) -> Live {
    let mut copied = Vec::new();
    for_each_frame(map, REGION_BYTES, |_, frame| {
        checked(&frame);
        copied.push((frame.key, frame.value.to_vec()));
    });
    copied.sort_by_key(|(key, _)| *key);
    Live::Copied(last_of_each(copied))
}

fn zero_copy(map: Mmap) -> Live {
    let mut live: Map<u64, usize> = Map::default();
    for_each_frame(&map, REGION_BYTES, |at, frame| {
        checked(&frame);
        live.insert(frame.key, at);
    });
    Live::Mapped(map, live.into_iter().collect())
}

fn zero_copy_parallel(map: Mmap) -> Live {
    let regions: Vec<(usize, &[u8])> = map.chunks(REGION_BYTES).enumerate().collect();
    let one = |(index, region): &(usize, &[u8])| {
        let mut places = Vec::new();
        for_each_frame(region, REGION_BYTES, |at, frame| {
            checked(&frame);
            places.push((frame.key, index * REGION_BYTES + at));
        });
        places
    };
    let mut places: Vec<(u64, usize)> = regions.par_iter().flat_map_iter(one).collect();
    places.par_sort_unstable();
    Live::Mapped(map, last_of_each(places))
}

/// A silo of the records of a log.
pub(super) fn load_silo(dir: &Path, plan: &LogPlan) -> Result<()> {
    let silo = Silo::open(dir, Options::new().background(false).checkpoint_ops(1 << 25))?;
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new())?;
    let session = silo.bulk(&[&keyspace])?;
    let mut writer = session.writer();
    plan.for_each(|key, value| Ok(writer.put(&keyspace, IntKey::from(key), value)?))?;
    writer.close()?;
    session.finish()?;
    silo.close()?;
    Ok(())
}

fn ours(dir: &Path, parallel: bool) -> Result<Live> {
    let silo = Silo::open(dir, Options::new().background(false))?;
    let keyspace = silo.keyspace("records")?;
    let snapshot = silo.snapshot();
    let of = |key: &[u8], value: &[u8]| fingerprint(IntKey::to_u64(key).unwrap_or(u64::MAX), value);
    let mut visited = Vec::new();
    if parallel {
        let gathered: thread_local::ThreadLocal<std::cell::RefCell<Vec<u64>>> =
            thread_local::ThreadLocal::new();
        snapshot.par_for_each::<anyhow::Error>(&keyspace, |key, value| {
            gathered.get_or_default().borrow_mut().push(of(key, &value));
            Ok(())
        })?;
        visited = gathered.into_iter().flat_map(std::cell::RefCell::into_inner).collect();
    } else {
        snapshot.for_each::<anyhow::Error>(&keyspace, |key, value| {
            visited.push(of(key, &value));
            Ok(())
        })?;
    }
    Ok(Live::Visited(visited))
}

/// The files of a directory.
pub(super) fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?)
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    let large = shape.name.starts_with("large");
    let plan = LogPlan {
        frames: shape.items,
        mean_len: if large { 500 } else { 300 },
        overwritten: if large { 0.4 } else { 0.2 },
        seed: lab.settings.seed,
    };
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let (log, silo) = (scratch.path().join("log"), scratch.path().join("silo"));
    plan.write(&log)?;
    if lab.wants("ours-open-scan") || lab.wants("ours-open-scan-parallel") {
        load_silo(&silo, &plan)?;
    }
    let advice = advice_of(&shape.name);
    let cold = shape.name.contains("-cold-");
    let threads = lab.settings.threads;
    ensure!(plan.keys() < u64::from(u32::MAX), "keys of a log are below 2^32");
    let mapped = || {
        if cold {
            evict(&log)?;
        }
        map_path(&log, advice)
    };
    let opened = || {
        if cold { files_of(&silo)?.iter().try_for_each(|path| evict(path)) } else { Ok(()) }
    };
    let digest = |live: &Live| Ok(live.digest());
    lab.measure(vec![
        Strategy::with_input("1-sequential-copy", mapped, |map| Ok(sequential_copy(&map)), digest),
        Strategy::with_input("2-prescan", mapped, |map| Ok(prescan(&map)), digest),
        Strategy::with_input("2B-parallel-prescan", mapped, |map| Ok(parallel_prescan(&map)), digest),
        Strategy::with_input(
            "3-self-synchronising",
            mapped,
            |map| Ok(self_synchronising(&map, threads)),
            digest,
        ),
        Strategy::with_input("4-flat-sort", mapped, |map| Ok(flat_sort(&map)), digest),
        Strategy::with_input("zero-copy", mapped, |map| Ok(zero_copy(map)), digest),
        Strategy::with_input("zero-copy-parallel", mapped, |map| Ok(zero_copy_parallel(map)), digest),
        Strategy::with_input("ours-open-scan", opened, |()| ours(&silo, false), digest),
        Strategy::with_input("ours-open-scan-parallel", opened, |()| ours(&silo, true), digest),
        Strategy::limit_with("limit-check", mapped, |map| {
            for_each_frame(&map, REGION_BYTES, |_, frame| checked(&frame));
            Ok(map)
        }),
    ])
}
