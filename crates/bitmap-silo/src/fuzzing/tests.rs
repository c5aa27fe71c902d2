//! The fuzzers' entry points on generated input: in every test run, without instrumentation.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs a function on noise for a second, or as long as a campaign says. A failing input is printed.
fn run(target: fn(&[u8])) {
    let budget = Duration::from_secs(env("SILO_CAMPAIGN_SECONDS", 1));
    let mut rng = SmallRng::seed_from_u64(env("SILO_SEED", 1));
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < budget {
        let mut input = vec![0; rng.random_range(0..600)];
        rng.fill_bytes(&mut input);
        if rng.random() {
            // Small numbers and zeros come up more often than they would.
            for byte in &mut input {
                *byte &= *byte >> 3;
            }
        }
        let before = Instant::now();
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "case {count} panics on {input:?}");
        assert!(before.elapsed() < Duration::from_secs(20), "case {count} takes too long on {input:?}");
        count += 1;
    }
    println!("{count} cases");
}

#[test]
fn hostile_blobs_are_judged_as_roaring_judges_them() {
    run(frozen);
    run(algebra);
}

#[test]
fn hostile_blobs_are_judged_as_croaring_judges_them() {
    run(|data| {
        let bytes = made_blob(data);
        let peer = croaring::Bitmap::try_deserialize::<croaring::Portable>(&bytes);
        assert_eq!(crate::FrozenBitmap::from_untrusted(&bytes).is_ok(), peer.is_some(), "{bytes:?}");
    });
}

#[test]
fn made_blobs_are_often_good() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut good = 0;
    for _ in 0..1000 {
        let mut input = [0; 300];
        rng.fill_bytes(&mut input);
        let bytes = made_blob(&input);
        let view = crate::FrozenBitmap::from_untrusted(&bytes);
        good += usize::from(view.is_ok_and(|view| view.container_count() > 2));
    }
    assert!((100..900).contains(&good), "{good} of 1,000 are good");
}

#[test]
fn hostile_views_stay_in_their_bytes() {
    run(hostile_views);
    run(sliced);
}

#[test]
fn hostile_pages_stay_in_their_bytes() {
    run(column);
    run(postings);
}

#[test]
fn hostile_operands_and_values_are_refused_or_read() {
    run(operands);
    run(stored);
}
