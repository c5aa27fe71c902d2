//! Appending frames.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use datasilo::{Durability, IntKey, KeyspaceOptions, Options, Silo};

use super::log::{fingerprint, for_each_frame, frame_bytes, push_frame};
use crate::lab::files::{PageAdvice, map_for_writing, map_path};
use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};
use crate::random::{Random, mix};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "write-path",
    question: "How do threads append frames: through a mapping, by writes of whole regions, through a shared buffer?",
    strategies: &[
        ("mapping-64K", "into a mapped file, regions of 64 KiB leased by an atomic add"),
        ("mapping-1M", "the same with 1 MiB"),
        ("mapping-16M", "the same with 16 MiB"),
        ("mapping-1M-populated", "1 MiB, and pages made ahead"),
        ("mapping-1M-unchecked", "1 MiB without CRC-32"),
        ("pwrite-64K", "regions of 64 KiB on the heap, each written by one call"),
        ("pwrite-1M", "the same with 1 MiB"),
        ("pwrite-16M", "the same with 16 MiB"),
        ("pwrite-1M-unchecked", "1 MiB without CRC-32"),
        ("buf-writer", "a `BufWriter` of 1 MiB, locked for each frame"),
        ("ours-bulk", "the engine's bulk session: also builds the index, and syncs"),
        ("ours-batches", "the engine's commits of 1,000 puts, which other threads can read at once"),
        ("limit-write-all", "`write_all` of the same bytes, 1 MiB a call"),
        ("limit-memcpy", "copying the same bytes in memory"),
    ],
    baseline: "pwrite-1M",
    limit: "`write_all` of the same bytes, 1 MiB a call",
    memory: false,
    decision: "The engine writes regions of 2 MiB by `pwrite` and maps for reading only: a mapping for writing costs a page fault for each page, and a full disk \
        would be a signal instead of an error. The engine's own strategies are slower than bare frames, because theirs are not frames alone: a bulk session builds the \
        index of the keys and syncs, and a commit of 1,000 puts is visible to readers when it returns.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let total: u64 = scale.pick(4 << 20, 64 << 20, 1 << 30);
    let mut shapes: Vec<Shape> = [24, 230, 300, 4096]
        .map(|len| {
            Shape::new(
                format!("{len}B-1-thread"),
                total / (len + 16),
                "frames",
                (len + 64) as f64 * 20.0,
                len * 3,
            )
        })
        .into();
    shapes.push(Shape::new("300B-threads", total / 316, "frames", 8_000.0, 900));
    shapes.push(Shape::new("300B-threads-synced", total / 316, "frames", 20_000.0, 900));
    shapes
}

/// What is written.
#[derive(Clone)]
struct Plan {
    frames: u64,
    len: usize,
    threads: usize,
    synced: bool,
    pool: Vec<u8>,
}

impl Plan {
    /// The value of a key: a slice of bytes in memory.
    fn value(&self, key: u64) -> &[u8] {
        let at = mix(key) as usize % (self.pool.len() - self.len);
        &self.pool[at..at + self.len]
    }

    /// Keys of a thread.
    fn keys(&self, thread: usize) -> std::ops::Range<u64> {
        let (thread, threads) = (thread as u64, self.threads as u64);
        self.frames * thread / threads..self.frames * (thread + 1) / threads
    }

    /// Regions that the frames fill, one more for each thread.
    fn regions(&self, region: usize) -> usize {
        (self.frames as usize).div_ceil(region / frame_bytes(self.len)) + self.threads
    }

    fn on_threads(&self, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..self.threads)
                .map(|thread| {
                    scope.spawn({
                        let work = &work;
                        move || work(thread)
                    })
                })
                .collect();
            handles.into_iter().try_for_each(|handle| handle.join().unwrap())
        })
    }
}

fn create(path: &Path) -> Result<File> {
    Ok(File::options().create(true).truncate(true).read(true).write(true).open(path)?)
}

fn by_mapping(plan: &Plan, path: &Path, region: usize, populate: bool, checked: bool) -> Result<()> {
    let file = create(path)?;
    let total = plan.regions(region) * region;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, total as u64)?;
    let mut map = map_for_writing(&file, populate)?;
    let leases: Mutex<std::slice::ChunksExactMut<'_, u8>> = Mutex::new(map.chunks_exact_mut(region));
    plan.on_threads(|thread| {
        let (mut place, mut at) = (&mut [][..], 0);
        let mut frame = Vec::new();
        for key in plan.keys(thread) {
            frame.clear();
            push_frame(&mut frame, key, plan.value(key), checked);
            if at + frame.len() > place.len() {
                place = leases.lock().unwrap().next().unwrap();
                at = 0;
            }
            place[at..at + frame.len()].copy_from_slice(&frame);
            at += frame.len();
        }
        Ok(())
    })?;
    if plan.synced {
        map.flush()?;
        file.sync_data()?;
    }
    Ok(())
}

fn by_pwrite(plan: &Plan, path: &Path, region: usize, checked: bool) -> Result<()> {
    let file = create(path)?;
    let next = AtomicUsize::new(0);
    plan.on_threads(|thread| {
        let mut buffer = Vec::with_capacity(region);
        let flush = |buffer: &mut Vec<u8>| {
            buffer.resize(region, 0);
            let at = next.fetch_add(1, Ordering::Relaxed) * region;
            let written = file.write_all_at(buffer, at as u64);
            buffer.clear();
            written
        };
        for key in plan.keys(thread) {
            let value = plan.value(key);
            if buffer.len() + frame_bytes(value.len()) > region {
                flush(&mut buffer)?;
            }
            push_frame(&mut buffer, key, value, checked);
        }
        Ok(flush(&mut buffer)?)
    })?;
    if plan.synced {
        file.sync_data()?;
    }
    Ok(())
}

fn by_buf_writer(plan: &Plan, path: &Path) -> Result<()> {
    let writer = Mutex::new(BufWriter::with_capacity(1 << 20, create(path)?));
    plan.on_threads(|thread| {
        let mut frame = Vec::new();
        for key in plan.keys(thread) {
            frame.clear();
            push_frame(&mut frame, key, plan.value(key), true);
            writer.lock().unwrap().write_all(&frame)?;
        }
        Ok(())
    })?;
    let file = writer.into_inner().unwrap().into_inner()?;
    if plan.synced {
        file.sync_data()?;
    }
    Ok(())
}

fn by_bulk(plan: &Plan, dir: &Path) -> Result<()> {
    let silo = Silo::open(dir, Options::new().background(false))?;
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new())?;
    let session = silo.bulk(&[&keyspace])?;
    plan.on_threads(|thread| {
        let mut writer = session.writer();
        for key in plan.keys(thread) {
            writer.put(&keyspace, IntKey::from(key), plan.value(key))?;
        }
        Ok(writer.close()?)
    })?;
    session.finish()?;
    Ok(silo.close()?)
}

fn by_batches(plan: &Plan, dir: &Path) -> Result<()> {
    let silo = Silo::open(dir, Options::new())?;
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new())?;
    plan.on_threads(|thread| {
        let mut batch = silo.batch();
        for key in plan.keys(thread) {
            batch.put(&keyspace, IntKey::from(key), plan.value(key))?;
            if batch.len() == 1_000 {
                silo.commit(&mut batch, Durability::Process)?;
                batch.clear();
            }
        }
        silo.commit(&mut batch, Durability::Process)?;
        Ok(())
    })?;
    if plan.synced {
        silo.sync()?;
    }
    Ok(silo.close()?)
}

fn digest_of_file(path: &Path, region: usize) -> Result<u64> {
    let map = map_path(path, PageAdvice::None)?;
    let mut digest = Digest::default();
    for_each_frame(&map, region.min(map.len()).max(1), |_, frame| {
        digest.add(fingerprint(frame.key, frame.value));
    });
    Ok(digest.value())
}

fn digest_of_silo(dir: &Path) -> Result<u64> {
    let silo = Silo::open(dir, Options::new().background(false))?;
    let keyspace = silo.keyspace("records")?;
    let mut digest = Digest::default();
    silo.snapshot().for_each::<anyhow::Error>(&keyspace, |key, value| {
        digest.add(fingerprint(IntKey::to_u64(key).unwrap_or(u64::MAX), &value));
        Ok(())
    })?;
    Ok(digest.value())
}

fn run(shape: &Shape, lab: &mut Lab<'_>) -> Result<()> {
    const K64: usize = 64 << 10;
    const M1: usize = 1 << 20;
    const M16: usize = 16 << 20;
    let len = shape.name.split('B').next().and_then(|len| len.parse().ok()).unwrap_or(300);
    let threads = if shape.name.contains("-threads") { lab.settings.threads } else { 1 };
    let mut pool = vec![0; 1 << 18];
    Random::new(lab.settings.seed, 60).fill(&mut pool);
    let plan = Plan { frames: shape.items, len, threads, synced: shape.name.ends_with("-synced"), pool };
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let (path, dir) = (scratch.path().join("log"), scratch.path().join("silo"));
    let (plan, path, dir) = (&plan, &path, &dir);
    let fresh = || {
        let _ = std::fs::remove_file(path);
        let _ = std::fs::remove_dir_all(dir);
        Ok(())
    };
    let mapping = |name, region, populate, checked| {
        Strategy::with_input(
            name,
            fresh,
            move |()| by_mapping(plan, path, region, populate, checked),
            move |()| digest_of_file(path, region),
        )
    };
    let pwrite = |name, region, checked| {
        Strategy::with_input(
            name,
            fresh,
            move |()| by_pwrite(plan, path, region, checked),
            move |()| digest_of_file(path, region),
        )
    };
    let chunk = vec![1_u8; M1];
    let chunks = (plan.frames as usize * frame_bytes(len)).div_ceil(M1);
    let (chunk, mut target) = (&chunk, vec![0_u8; M16]);
    lab.measure(vec![
        mapping("mapping-64K", K64, false, true),
        mapping("mapping-1M", M1, false, true),
        mapping("mapping-16M", M16, false, true),
        mapping("mapping-1M-populated", M1, true, true),
        mapping("mapping-1M-unchecked", M1, false, false),
        pwrite("pwrite-64K", K64, true),
        pwrite("pwrite-1M", M1, true),
        pwrite("pwrite-16M", M16, true),
        pwrite("pwrite-1M-unchecked", M1, false),
        Strategy::with_input(
            "buf-writer",
            fresh,
            |()| by_buf_writer(plan, path),
            |()| digest_of_file(path, usize::MAX),
        ),
        Strategy::with_input("ours-bulk", fresh, |()| by_bulk(plan, dir), |()| digest_of_silo(dir)),
        Strategy::with_input("ours-batches", fresh, |()| by_batches(plan, dir), |()| digest_of_silo(dir)),
        Strategy::limit_with("limit-write-all", fresh, |()| {
            let mut file = create(path)?;
            (0..chunks).try_for_each(|_| file.write_all(chunk))?;
            if plan.synced {
                file.sync_data()?;
            }
            Ok(())
        }),
        Strategy::limit("limit-memcpy", move || {
            for at in 0..chunks {
                let start = at % 16 * M1;
                target[start..start + M1].copy_from_slice(std::hint::black_box(chunk));
            }
            Ok(target[M1])
        }),
    ])
}
