//! The lab refuses to time strategies that do not agree, and measures those that do.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::panic, reason = "tests")]

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use bench_lab::experiments::EXPERIMENTS;
use bench_lab::lab::{Experiment, Lab, Scale, Settings, Shape, Strategy, runner};

fn settings() -> Settings {
    Settings {
        scale: Scale::Small,
        shapes: Vec::new(),
        strategies: Vec::new(),
        threads: 2,
        seconds: 0.05,
        seed: 1,
        sets: None,
        scratch: std::env::temp_dir(),
        memory: false,
    }
}

fn experiment(run: fn(&Shape, &mut Lab<'_>) -> Result<()>) -> Experiment {
    Experiment {
        name: "sums",
        question: "?",
        strategies: &[("loop", ""), ("formula", ""), ("limit", "")],
        baseline: "loop",
        limit: "",
        memory: false,
        decision: "",
        shapes: |_| vec![Shape::new("only", 1_000, "numbers", 1.0, 1)],
        run,
    }
}

fn slow_sum(count: u64) -> u64 {
    (0..count).inspect(|_| std::thread::sleep(Duration::from_micros(5))).sum()
}

#[test]
fn strategies_that_agree_are_timed_in_turns() {
    let sums = experiment(|shape, lab| {
        lab.measure(vec![
            Strategy::new("loop", || Ok(slow_sum(shape.items)), |sum| Ok(*sum)),
            Strategy::new("formula", || Ok(shape.items * (shape.items - 1) / 2), |sum| Ok(*sum)),
            Strategy::limit("limit", || Ok(())),
        ])
    });
    let results = runner::run(&sums, &settings()).unwrap();
    let [shape] = &results[..] else { panic!("one shape") };
    assert!(shape.digest.is_some());
    let strategy = |name: &str| shape.strategy(name).unwrap();
    assert!(strategy("loop").wall.len() >= 3);
    assert_eq!(strategy("loop").wall.len(), strategy("formula").wall.len());
    let (ratio, low, high) = strategy("loop").ratio_to(strategy("formula"));
    assert!(ratio > 10.0 && low <= ratio && ratio <= high, "{ratio} {low} {high}");
    assert_eq!(shape.fastest().unwrap().strategy, "formula");
}

#[test]
fn strategies_that_disagree_fail_the_run() {
    let sums = experiment(|_, lab| {
        lab.measure(vec![
            Strategy::new("loop", || Ok(1_u64), |sum| Ok(*sum)),
            Strategy::new("formula", || Ok(2_u64), |sum| Ok(*sum)),
        ])
    });
    let error = runner::run(&sums, &settings()).unwrap_err().to_string();
    assert!(error.contains("formula") && error.contains("nothing was timed"), "{error}");
}

#[test]
fn strategies_that_are_not_listed_fail_the_run() {
    let sums = experiment(|_, lab| lab.measure(vec![Strategy::new("other", || Ok(1_u64), |sum| Ok(*sum))]));
    assert!(runner::run(&sums, &settings()).is_err());
}

#[test]
fn names_are_unique_and_baselines_exist() {
    let all = || EXPERIMENTS.iter().chain(bench_lab::peers::PEERS);
    for experiment in all() {
        assert_eq!(all().filter(|other| other.name == experiment.name).count(), 1, "{}", experiment.name);
        assert!(
            experiment.strategies.iter().any(|(name, _)| *name == experiment.baseline),
            "{}",
            experiment.name
        );
        for scale in [Scale::Small, Scale::Medium, Scale::Production] {
            let shapes = (experiment.shapes)(scale);
            assert!(!shapes.is_empty());
            for shape in &shapes {
                assert_eq!(
                    shapes.iter().filter(|other| other.name == shape.name).count(),
                    1,
                    "{}",
                    shape.name
                );
                assert!(shape.memory_bytes <= 20 << 30, "{} {} fits 20 GiB", experiment.name, shape.name);
            }
        }
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bench-lab"))
        .arg("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
