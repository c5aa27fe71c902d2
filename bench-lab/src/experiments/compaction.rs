//! Compaction as a whole: find what lives, move it, sync it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Result, ensure};
use datasilo::{Durability, IntKey, Options, Silo};
use memmap2::Mmap;
use rayon::prelude::*;

use super::inputs::Map;
use super::log::{Frame, LogPlan, REGION_BYTES, fingerprint, for_each_frame, frame_bytes, push_frame};
use super::scan::{files_of, load_silo};
use crate::lab::files::{PageAdvice, map, map_for_writing, map_path};
use crate::lab::runner::scratch_dir;
use crate::lab::{Digest, Experiment, Lab, Scale, Shape, Strategy};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "compaction",
    question: "A fifth of a log is dead. How is what lives moved into a new file, synced?",
    strategies: &[
        ("heap-copy", "values are copied to the heap while scanning, then written"),
        ("mapping-serial", "addresses while scanning, then copies from mapping to mapping on one thread"),
        ("mapping-parallel", "the same on all threads"),
        ("kernel-copy", "addresses, then `copy_file_range` of neighbours together"),
        ("ours", "the engine's compaction, which also rewrites its index"),
        ("limit-copy-file", "copying and syncing a file with as many bytes as live"),
    ],
    baseline: "heap-copy",
    limit: "copying and syncing a file with as many bytes as live",
    memory: true,
    decision: "Frames move verbatim from the mapping by vectored writes and never pass through the heap; neighbours move together. The engine is slower \
        than a bare copy from mapping to mapping, because it does more: it moves only the runs in which enough is dead, looks up and rewrites the index entry of \
        each record that moves, while readers and writers go on, and switches over by a durable checkpoint.",
    shapes,
    run,
};

fn shapes(scale: Scale) -> Vec<Shape> {
    let frames = scale.pick(20_000, 100_000, 1_000_000);
    vec![Shape::new("300B-20%-dead", frames, "frames", 20_000.0, 1_200)]
}

/// Places of live frames in the order of the log.
fn live_places(map: &Mmap) -> Vec<usize> {
    let mut live: Map<u64, usize> = Map::default();
    for_each_frame(map, REGION_BYTES, |at, frame| {
        assert!(frame.is_whole(), "a frame of the log has the wrong checksum");
        live.insert(frame.key, at);
    });
    let mut places: Vec<usize> = live.into_values().collect();
    places.par_sort_unstable();
    places
}

fn frame_at(map: &Mmap, at: usize) -> &[u8] {
    let frame = Frame::at(&map[at..]).unwrap();
    &map[at..at + frame_bytes(frame.value.len())]
}

/// Frames of the output lie end to end, without regions.
fn digest_of_output(path: &Path) -> Result<u64> {
    let map = map_path(path, PageAdvice::None)?;
    let mut digest = Digest::default();
    for_each_frame(&map, map.len().max(1), |_, frame| {
        assert!(frame.is_whole(), "a moved frame has the wrong checksum");
        digest.add(fingerprint(frame.key, frame.value));
    });
    Ok(digest.value())
}

fn heap_copy(log: &Path, out: &Path) -> Result<()> {
    let map = map_path(log, PageAdvice::Sequential)?;
    let mut live: Map<u64, Vec<u8>> = Map::default();
    for_each_frame(&map, REGION_BYTES, |_, frame| {
        assert!(frame.is_whole(), "a frame of the log has the wrong checksum");
        live.insert(frame.key, frame.value.to_vec());
    });
    let mut file = BufWriter::with_capacity(1 << 20, File::create(out)?);
    let mut frame = Vec::new();
    for (key, value) in live {
        frame.clear();
        push_frame(&mut frame, key, &value, true);
        file.write_all(&frame)?;
    }
    file.into_inner()?.sync_data()?;
    Ok(())
}

fn mapping_copy(log: &Path, out: &Path, parallel: bool) -> Result<()> {
    let source = map_path(log, PageAdvice::Sequential)?;
    let places = live_places(&source);
    let total: usize = places.iter().map(|at| frame_at(&source, *at).len()).sum();
    let file = File::options().create(true).truncate(true).read(true).write(true).open(out)?;
    file.set_len(total as u64)?;
    let mut target = map_for_writing(&file, false)?;
    let copy = |places: &[usize], mut target: &mut [u8]| {
        for at in places {
            let frame = frame_at(&source, *at);
            let (here, rest) = std::mem::take(&mut target).split_at_mut(frame.len());
            here.copy_from_slice(frame);
            target = rest;
        }
    };
    if parallel {
        let parts: Vec<&[usize]> = places.chunks(1 << 14).collect();
        let mut targets = Vec::new();
        let mut rest = &mut target[..];
        for part in &parts {
            let len = part.iter().map(|at| frame_at(&source, *at).len()).sum();
            let (here, after) = rest.split_at_mut(len);
            targets.push(here);
            rest = after;
        }
        parts.into_par_iter().zip(targets).for_each(|(part, target)| copy(part, target));
    } else {
        copy(&places, &mut target);
    }
    target.flush()?;
    file.sync_data()?;
    Ok(())
}

fn kernel_copy(log: &Path, out: &Path) -> Result<()> {
    let source_file = File::open(log)?;
    let source = map(&source_file, PageAdvice::Sequential)?;
    let places = live_places(&source);
    let file = File::create(out)?;
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for at in places {
        let len = frame_at(&source, at).len();
        match runs.last_mut() {
            Some((start, run)) if *start + *run == at => *run += len,
            _ => runs.push((at, len)),
        }
    }
    let mut to = 0;
    for (start, len) in runs {
        let (mut from, mut left) = (start as u64, len);
        while left > 0 {
            let moved =
                rustix::fs::copy_file_range(&source_file, Some(&mut from), &file, Some(&mut to), left)?;
            ensure!(moved > 0, "the kernel copied nothing");
            left -= moved;
        }
    }
    file.sync_data()?;
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for path in files_of(from)? {
        std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// A silo of which a part is dead: every key once, then overwrites.
fn load_overwritten(dir: &Path, plan: &LogPlan) -> Result<()> {
    load_silo(dir, &LogPlan { frames: 1, overwritten: 0.0, ..*plan })?;
    let silo = Silo::open(dir, Options::new().background(false))?;
    let keyspace = silo.keyspace("records")?;
    let mut batch = silo.batch();
    plan.for_each(|key, value| {
        batch.put(&keyspace, IntKey::from(key), value)?;
        if batch.len() == 10_000 {
            silo.commit(&mut batch, Durability::Process)?;
            batch.clear();
        }
        Ok(())
    })?;
    silo.commit(&mut batch, Durability::Process)?;
    silo.checkpoint()?;
    silo.close()?;
    Ok(())
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
    let plan = LogPlan { frames: shape.items, mean_len: 300, overwritten: 0.2, seed: lab.settings.seed };
    let scratch = scratch_dir(&lab.settings.scratch)?;
    let (log, out) = (scratch.path().join("log"), scratch.path().join("out"));
    let (silo, silo_copy) = (scratch.path().join("silo"), scratch.path().join("silo-copy"));
    plan.write(&log)?;
    if lab.wants("ours") {
        load_overwritten(&silo, &plan)?;
    }
    let live = scratch.path().join("live");
    heap_copy(&log, &live)?;
    let fresh = || {
        let _ = std::fs::remove_file(&out);
        Ok(())
    };
    let digest = |(): &()| digest_of_output(&out);
    lab.measure(vec![
        Strategy::with_input("heap-copy", fresh, |()| heap_copy(&log, &out), digest),
        Strategy::with_input("mapping-serial", fresh, |()| mapping_copy(&log, &out, false), digest),
        Strategy::with_input("mapping-parallel", fresh, |()| mapping_copy(&log, &out, true), digest),
        Strategy::with_input("kernel-copy", fresh, |()| kernel_copy(&log, &out), digest),
        Strategy::with_input(
            "ours",
            || {
                copy_dir(&silo, &silo_copy)?;
                // Dead from a fifth on: below that, the engine waits.
                Ok(Silo::open(&silo_copy, Options::new().background(false).dead_ratio(0.01))?)
            },
            |silo| {
                let report = silo.compact()?;
                ensure!(report.segments > 0, "the engine found nothing to compact");
                Ok(silo.close()?)
            },
            |()| digest_of_silo(&silo_copy),
        ),
        Strategy::limit_with("limit-copy-file", fresh, |()| {
            std::fs::copy(&live, &out)?;
            Ok(File::options().write(true).open(&out)?.sync_data()?)
        }),
    ])
}
