//! The engine's strategies under Criterion, for watching one hot path at a time.
//!
//! Inputs are those of the experiments at small scale (medium with `LAB_SCALE=medium`); each strategy that begins with `ours` becomes a
//! benchmark of its own.

use std::path::PathBuf;

use criterion::Criterion;

use super::{Scale, Settings, runner};

/// Benches the engine's strategies of experiments.
pub fn bench(criterion: &mut Criterion, experiments: &[&str]) {
    let medium = std::env::var("LAB_SCALE").is_ok_and(|scale| scale == "medium");
    let settings = Settings {
        scale: if medium { Scale::Medium } else { Scale::Small },
        shapes: Vec::new(),
        strategies: Vec::new(),
        threads: rayon::current_num_threads(),
        seconds: 0.0,
        seed: 1,
        sets: None,
        scratch: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/lab"),
        memory: false,
    };
    for name in experiments {
        let experiment = crate::experiments::find(name).unwrap();
        for shape in runner::shapes_of(experiment, &settings) {
            // Cold caches are no matter for a benchmark that repeats itself.
            if !shape.name.contains("-cold-") {
                runner::run_in_criterion(experiment, &shape, &settings, criterion).unwrap();
            }
        }
    }
}
