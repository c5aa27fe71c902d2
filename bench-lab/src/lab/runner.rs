//! Running an experiment.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::experiment::{Experiment, Scale, Shape};
use super::results::{ShapeResult, StrategyResult};
use super::strategy::{Sample, Strategy};

/// Fewest rounds, however long they take.
const ROUNDS_MIN: usize = 3;
const ROUNDS_MAX: usize = 60;

/// What a run was asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much data.
    pub scale: Scale,
    /// Only these shapes; all where empty.
    pub shapes: Vec<String>,
    /// Only these strategies, besides baseline and limit; all where empty.
    pub strategies: Vec<String>,
    /// Threads of parallel strategies.
    pub threads: usize,
    /// Seconds of rounds for each shape, unless three rounds take longer.
    pub seconds: f64,
    /// Seed of the inputs.
    pub seed: u64,
    /// A folder of real bitmap sets, if one was given.
    pub sets: Option<PathBuf>,
    /// Where scratch files go.
    pub scratch: PathBuf,
    /// Whether peak memory is measured, where it is a result.
    pub memory: bool,
}

/// Peak growth of memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Peaks {
    resident: u64,
    heap: u64,
}

enum Mode<'c> {
    /// Time the strategies in alternating rounds.
    Time,
    /// Run one strategy once and print its peak memory.
    Memory(String),
    /// Let Criterion time the engine's strategies.
    Criterion(&'c mut criterion::Criterion),
}

/// The lab while it runs one shape.
pub struct Lab<'s> {
    /// What was asked for.
    pub settings: &'s Settings,
    experiment: &'s Experiment,
    shape: Shape,
    mode: Mode<'s>,
    result: Option<ShapeResult>,
    skipped: Option<String>,
}

impl std::fmt::Debug for Lab<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab").field("experiment", &self.experiment).field("shape", &self.shape).finish()
    }
}

fn say(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }
}

impl Lab<'_> {
    /// Whether a strategy was asked for: experiments may leave out the input of others.
    #[must_use]
    pub fn wants(&self, strategy: &str) -> bool {
        match &self.mode {
            Mode::Memory(only) => only == strategy,
            Mode::Criterion(_) => strategy.starts_with("ours"),
            Mode::Time => {
                let chosen = &self.settings.strategies;
                chosen.is_empty()
                    || strategy == self.experiment.baseline
                    || strategy.starts_with("limit")
                    || chosen.iter().any(|name| name == strategy)
            }
        }
    }

    /// Leaves a shape out, for a reason that is said.
    pub fn skip(&mut self, reason: &str) {
        self.skipped = Some(reason.to_owned());
    }

    /// Measures the strategies of a shape. Digests are compared before anything is timed.
    pub fn measure(&mut self, strategies: Vec<Strategy<'_>>) -> Result<()> {
        for strategy in &strategies {
            let known = self.experiment.strategies.iter().any(|(name, _)| *name == strategy.name);
            ensure!(known, "{} does not list strategy {}", self.experiment.name, strategy.name);
        }
        let mut strategies: Vec<Strategy<'_>> =
            strategies.into_iter().filter(|strategy| self.wants(strategy.name)).collect();
        match &mut self.mode {
            Mode::Memory(_) => memory_of(&mut strategies),
            Mode::Criterion(criterion) => {
                let mut group =
                    criterion.benchmark_group(format!("{} {}", self.experiment.name, self.shape.name));
                group.sample_size(10).throughput(criterion::Throughput::Elements(self.shape.items));
                for strategy in &mut strategies {
                    group.bench_function(strategy.name, |bench| {
                        // The time of the work alone, without that of its input.
                        bench.iter_custom(|count| {
                            (0..count).map(|_| (strategy.execute)(false).unwrap().wall).sum()
                        });
                    });
                }
                group.finish();
                Ok(())
            }
            Mode::Time => {
                self.result = Some(self.time(&mut strategies)?);
                Ok(())
            }
        }
    }

    fn time(&self, strategies: &mut [Strategy<'_>]) -> Result<ShapeResult> {
        let label = format!("{} {}", self.experiment.name, self.shape.name);
        let mut digest: Option<(u64, &'static str)> = None;
        let mut first_round = Duration::ZERO;
        let mut results: Vec<StrategyResult> = Vec::new();
        let mut checked: Vec<Sample> = Vec::new();
        for strategy in &mut *strategies {
            say(&format!("{label}: checking {}", strategy.name));
            let sample = (strategy.execute)(true).with_context(|| format!("{label}: {}", strategy.name))?;
            first_round += sample.wall;
            checked.push(sample);
            match (digest, sample.digest) {
                (Some((expected, first)), Some(found)) if expected != found => bail!(
                    "{label}: {} made {found:016x}, {first} made {expected:016x}: one of them is wrong, nothing was timed",
                    strategy.name
                ),
                (None, Some(found)) => digest = Some((found, strategy.name)),
                _ => {}
            }
            results.push(StrategyResult {
                strategy: strategy.name.to_owned(),
                figures: strategy.figures.as_ref().map_or(Ok(Vec::new()), |figures| figures())?,
                ..StrategyResult::default()
            });
        }
        let rounds = (self.settings.seconds / first_round.as_secs_f64()) as usize;
        let mut rounds = rounds.clamp(ROUNDS_MIN, ROUNDS_MAX);
        // Where one round is longer than what was asked for, the checking round counts: nothing in it is cold for long.
        if first_round.as_secs_f64() > self.settings.seconds {
            rounds -= 1;
            for (result, sample) in results.iter_mut().zip(&checked) {
                result.wall.push(sample.wall.as_secs_f64());
                result.cpu.push(sample.cpu.as_secs_f64());
            }
        }
        let count = strategies.len();
        for round in 0..rounds {
            // Each round begins with another strategy, so that none always follows the same one.
            for step in 0..count {
                let at = (round + step + 1) % count;
                say(&format!("{label}: round {} of {rounds}, {}", round + 1, strategies[at].name));
                let sample = (strategies[at].execute)(false)?;
                results[at].wall.push(sample.wall.as_secs_f64());
                results[at].cpu.push(sample.cpu.as_secs_f64());
            }
        }
        say("");
        Ok(ShapeResult {
            shape: self.shape.name.clone(),
            items: self.shape.items,
            unit: self.shape.unit.to_owned(),
            digest: digest.map(|(digest, _)| format!("{digest:016x}")),
            strategies: results,
        })
    }
}

/// Sizes of this process in bytes: peak resident, resident, not mapped from files.
fn sizes() -> Result<(u64, u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/status").context("reading the size of this process")?;
    let size = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    Ok((size("VmHWM:"), size("VmRSS:"), size("RssAnon:")))
}

/// Runs the one strategy and prints its peaks.
fn memory_of(strategies: &mut [Strategy<'_>]) -> Result<()> {
    let [strategy] = strategies else { bail!("there is no such strategy in this shape") };
    // 5 sets the peak back to the present size; where that is not allowed, the peak includes the input.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (_, resident_before, heap_before) = sizes()?;
    let (done, heap_peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Ok((_, _, heap)) = sizes() {
                    heap_peak.fetch_max(heap, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let executed = (strategy.execute)(false);
        done.store(true, Ordering::Relaxed);
        executed
    })?;
    let (peak, _, _) = sizes()?;
    let peaks = Peaks {
        resident: peak.saturating_sub(resident_before),
        heap: heap_peak.load(Ordering::Relaxed).saturating_sub(heap_before),
    };
    println!("{}", serde_json::to_string(&peaks)?);
    Ok(())
}

/// Asks a process of its own for the peak memory of a strategy.
fn peaks_of(experiment: &Experiment, shape: &Shape, strategy: &str, settings: &Settings) -> Result<Peaks> {
    let output = Command::new(std::env::current_exe()?)
        .args(["measure-memory", experiment.name, &shape.name, strategy])
        .args(["--scale", settings.scale.name()])
        .args(["--threads", &settings.threads.to_string(), "--seed", &settings.seed.to_string()])
        .arg("--scratch")
        .arg(&settings.scratch)
        // Freed memory goes back to the system at once, so that what the input left is not taken for free.
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .env("MALLOC_TRIM_THRESHOLD_", "65536")
        .output()
        .context("starting a process to measure memory")?;
    ensure!(
        output.status.success(),
        "measuring the memory of {strategy} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("the process that measures memory printed no peaks")
}

/// The shapes of an experiment that were asked for.
#[must_use]
pub fn shapes_of(experiment: &Experiment, settings: &Settings) -> Vec<Shape> {
    let mut shapes = (experiment.shapes)(settings.scale);
    if !settings.shapes.is_empty() {
        shapes.retain(|shape| settings.shapes.contains(&shape.name));
    }
    shapes
}

/// Seconds that an experiment takes, roughly.
#[must_use]
pub fn estimate(experiment: &Experiment, settings: &Settings) -> f64 {
    let shapes = shapes_of(experiment, settings);
    let one = |shape: &Shape| {
        let memory = if experiment.memory && settings.memory { 2.0 } else { 0.0 };
        settings.seconds.max(shape.round_seconds * ROUNDS_MIN as f64) + shape.round_seconds * (1.0 + memory)
    };
    shapes.iter().map(one).sum()
}

/// Runs an experiment.
pub fn run(experiment: &Experiment, settings: &Settings) -> Result<Vec<ShapeResult>> {
    let mut results = Vec::new();
    for shape in shapes_of(experiment, settings) {
        let available = super::machine::available_memory();
        ensure!(
            shape.memory_bytes < available,
            "{} {} needs about {} MiB of memory, {} MiB are available: choose a smaller --scale or another --shape",
            experiment.name,
            shape.name,
            shape.memory_bytes >> 20,
            available >> 20
        );
        let started = Instant::now();
        let mut lab =
            Lab { settings, experiment, shape: shape.clone(), mode: Mode::Time, result: None, skipped: None };
        (experiment.run)(&shape, &mut lab)?;
        if let Some(reason) = lab.skipped {
            eprintln!("{} {} left out: {reason}", experiment.name, shape.name);
            continue;
        }
        let Some(mut result) = lab.result else { bail!("{} measured nothing", experiment.name) };
        if experiment.memory && settings.memory {
            for strategy in &mut result.strategies {
                say(&format!("{} {}: memory of {}", experiment.name, shape.name, strategy.strategy));
                let peaks = peaks_of(experiment, &shape, &strategy.strategy, settings)?;
                (strategy.peak_resident, strategy.peak_heap) = (Some(peaks.resident), Some(peaks.heap));
            }
            say("");
        }
        if !std::io::stderr().is_terminal() {
            eprintln!("{} {}: {:.1} s", experiment.name, shape.name, started.elapsed().as_secs_f64());
        }
        results.push(result);
    }
    Ok(results)
}

/// Runs one strategy of one shape once and prints its peak memory: what [`run`] starts a process for.
pub fn run_for_memory(
    experiment: &Experiment,
    shape: &str,
    strategy: &str,
    settings: &Settings,
) -> Result<()> {
    let shape = (experiment.shapes)(settings.scale).into_iter().find(|known| known.name == shape);
    let Some(shape) = shape else { bail!("{} has no such shape", experiment.name) };
    let mode = Mode::Memory(strategy.to_owned());
    let mut lab = Lab { settings, experiment, shape: shape.clone(), mode, result: None, skipped: None };
    (experiment.run)(&shape, &mut lab)
}

/// Lets Criterion time the engine's strategies of a shape.
pub fn run_in_criterion(
    experiment: &Experiment,
    shape: &Shape,
    settings: &Settings,
    criterion: &mut criterion::Criterion,
) -> Result<()> {
    let mode = Mode::Criterion(criterion);
    let mut lab = Lab { settings, experiment, shape: shape.clone(), mode, result: None, skipped: None };
    (experiment.run)(shape, &mut lab)
}

/// A directory for scratch files that is removed when it is dropped.
pub fn scratch_dir(scratch: &Path) -> Result<tempfile::TempDir> {
    std::fs::create_dir_all(scratch).with_context(|| format!("creating {}", scratch.display()))?;
    tempfile::tempdir_in(scratch).with_context(|| format!("creating a directory in {}", scratch.display()))
}

/// Groups figures by name, for tables.
#[must_use]
pub fn figure_names(shape: &ShapeResult) -> Vec<String> {
    let names = shape.strategies.iter().flat_map(|strategy| &strategy.figures).map(|(name, _)| name.clone());
    names.collect::<BTreeSet<String>>().into_iter().collect()
}
