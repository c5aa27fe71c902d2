//! The fuzzers' entry points on generated input: in every test run, without instrumentation.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs a function on input from `make` for some seconds. A failing input is printed.
fn run(seconds: u64, target: fn(&[u8]), make: impl Fn(&mut SmallRng) -> Vec<u8>) {
    let budget = Duration::from_secs(env("SILO_CAMPAIGN_SECONDS", seconds));
    let mut rng = SmallRng::seed_from_u64(env("SILO_SEED", 1));
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < budget {
        let input = make(&mut rng);
        let before = Instant::now();
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "case {count} panics on {input:?}");
        assert!(before.elapsed() < Duration::from_secs(20), "case {count} takes too long on {input:?}");
        count += 1;
    }
    println!("{count} cases");
}

fn noise(rng: &mut SmallRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..=len)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Bytes of a sample file with a few fields replaced.
fn nearly(rng: &mut SmallRng, prefix: &str, skip: usize) -> Vec<u8> {
    let files: Vec<&Vec<u8>> = samples()
        .iter()
        .flat_map(|f| f.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, b)| b))
        .collect();
    let mut bytes = files[rng.random_range(0..files.len())].get(skip..).unwrap_or_default().to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len().max(1));
        let value = Input(&noise(rng, 16)).edge().to_le_bytes();
        let width = 1 << rng.random_range(0..4);
        put(&mut bytes, at, &value[..width]);
    }
    bytes
}

#[test]
fn hostile_manifests_do_not_panic() {
    run(1, manifest, |rng| nearly(rng, "MANIFEST", MANIFEST_HEADER_LEN));
}

#[test]
fn hostile_frames_and_groups_do_not_panic() {
    run(1, frame, |rng| noise(rng, 64));
    run(1, group, |rng| {
        let mut bytes = nearly(rng, "seg-", FILE_HEADER_LEN);
        bytes.truncate(2000);
        bytes
    });
}

#[test]
fn hostile_chains_do_not_panic() {
    run(1, chain, |rng| {
        let mut bytes = noise(rng, 64);
        put(&mut bytes, 4, &u32::from(rng.random::<u8>() % 9).to_le_bytes());
        bytes
    });
}

#[test]
fn hostile_segments_do_not_panic() {
    run(1, segment, |rng| nearly(rng, "seg-", FILE_HEADER_LEN));
}

#[test]
fn hostile_index_runs_with_good_checksums_do_not_panic() {
    run(5, index_run, |rng| noise(rng, 80));
}

#[test]
fn hostile_files_with_good_checksums_do_not_panic() {
    run(5, silo_files, |rng| noise(rng, 80));
}

#[test]
fn fixing_checksums_changes_nothing_in_good_files() {
    for files in samples() {
        for (name, bytes) in files {
            let mut fixed = bytes.clone();
            fix_file(name, &mut fixed);
            assert!(fixed == *bytes, "{name}");
        }
    }
}
