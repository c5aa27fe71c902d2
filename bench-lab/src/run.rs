//! `bench-lab list` and `bench-lab run`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bench_lab::experiments::{EXPERIMENTS, find};
use bench_lab::lab::machine::Machine;
use bench_lab::lab::results::RunResult;
use bench_lab::lab::{Experiment, Scale, Settings, runner, table};
use bench_lab::peers;
use clap::{Args, ValueEnum};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

/// Flags of every verb that measures.
#[derive(Args, Clone)]
pub(crate) struct Measuring {
    /// Only these shapes.
    #[arg(long)]
    shape: Vec<String>,
    /// Only these strategies, besides baseline and limit.
    #[arg(long)]
    strategy: Vec<String>,
    #[arg(long, value_enum, default_value_t = Scale::Small)]
    scale: Scale,
    /// Threads of parallel strategies; 0 for all.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Seconds of rounds for each shape, unless three rounds take longer; 1, 5 or 15 by scale.
    #[arg(long)]
    seconds: Option<f64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    format: Output,
    /// Directory for results; `results`, or `results/tmp` at small scale.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Folder of real bitmap sets: zip files of lists of numbers.
    #[arg(long)]
    sets: Option<PathBuf>,
    /// Directory for scratch files, which are removed.
    #[arg(long, default_value = "target/lab")]
    scratch: PathBuf,
    /// Leave out the processes that measure memory.
    #[arg(long)]
    no_memory: bool,
}

impl Measuring {
    pub(crate) fn settings(&self) -> Result<Settings> {
        if self.threads > 0 {
            rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global()?;
        }
        Ok(Settings {
            scale: self.scale,
            shapes: self.shape.clone(),
            strategies: self.strategy.clone(),
            threads: rayon::current_num_threads(),
            seconds: self.seconds.unwrap_or_else(|| self.scale.pick(0.15, 5.0, 15.0)),
            seed: self.seed,
            sets: self.sets.clone(),
            scratch: self.scratch.clone(),
            memory: !self.no_memory,
        })
    }

    fn directory(&self) -> PathBuf {
        let usual = if self.scale == Scale::Small { "results/tmp" } else { "results" };
        self.results.clone().unwrap_or_else(|| PathBuf::from(usual))
    }

    /// Keeps and prints a result.
    pub(crate) fn publish(&self, result: &RunResult) -> Result<()> {
        let path = result.save(&self.directory())?;
        match self.format {
            Output::Table => write!(io::stdout(), "{}", table::run(result))?,
            Output::Json => writeln!(io::stdout(), "{}", serde_json::to_string(result)?)?,
        }
        eprintln!("{}", path.display());
        Ok(())
    }

    /// A result without shapes.
    pub(crate) fn result(&self, experiment: &str, baseline: &str, settings: &Settings) -> Result<RunResult> {
        std::fs::create_dir_all(&settings.scratch)
            .with_context(|| format!("creating {}", settings.scratch.display()))?;
        let now = jiff::Timestamp::now().round(jiff::Unit::Second)?;
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Ok(RunResult {
            experiment: experiment.to_owned(),
            date: now.to_string(),
            command: format!("cargo run --release -p bench-lab -- {}", arguments.join(" ")),
            scale: settings.scale,
            threads: settings.threads,
            seed: settings.seed,
            machine: Machine::here(&settings.scratch),
            baseline: baseline.to_owned(),
            shapes: Vec::new(),
        })
    }
}

/// Flags of `list`.
#[derive(Args)]
pub(crate) struct List {
    #[arg(long, value_enum, default_value_t = Scale::Production)]
    scale: Scale,
}

impl List {
    pub(crate) fn run(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        for experiment in EXPERIMENTS.iter().chain(peers::PEERS) {
            let name = experiment.name;
            let verb =
                name.strip_prefix("peers-").map_or(format!("run {name}"), |kind| format!("peers {kind}"));
            writeln!(out, "{name} (bench-lab {verb}): {}", experiment.question)?;
            writeln!(out, "  shapes at {} scale", self.scale.name())?;
            for shape in (experiment.shapes)(self.scale) {
                writeln!(out, "    {:<28} {} {}", shape.name, shape.items, shape.unit)?;
            }
            writeln!(out, "  strategies")?;
            for (name, what) in experiment.strategies {
                let mark = if *name == experiment.baseline { " (baseline)" } else { "" };
                writeln!(out, "    {name:<28} {what}{mark}")?;
            }
        }
        Ok(())
    }
}

/// Flags of `run`.
#[derive(Args)]
pub(crate) struct Run {
    /// Names of experiments; see `list`.
    experiments: Vec<String>,
    #[command(flatten)]
    measuring: Measuring,
}

fn named(names: &[String]) -> Result<Vec<&'static Experiment>> {
    if names.is_empty() {
        return Ok(EXPERIMENTS.iter().collect());
    }
    names
        .iter()
        .map(|name| find(name).with_context(|| format!("there is no experiment {name}: see bench-lab list")))
        .collect()
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// Which peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// heed (LMDB), redb, fjall, rocksdb.
    Kv,
    /// roaring, croaring.
    Bitmap,
    /// `DuckDB`, tantivy, and a program written by hand.
    Query,
}

/// Flags of `peers`.
#[derive(Args)]
pub(crate) struct Peers {
    kind: Kind,
    #[command(flatten)]
    measuring: Measuring,
}

impl Peers {
    pub(crate) fn run(&self) -> Result<()> {
        match self.kind {
            Kind::Kv => self.measuring.run(&[&peers::kv::EXPERIMENT]),
            Kind::Bitmap => self.measuring.run(&[&peers::bitmap::EXPERIMENT]),
            Kind::Query => {
                let settings = self.measuring.settings()?;
                let experiment = &peers::query::EXPERIMENT;
                eprintln!(
                    "{} at {} scale on {} threads: about {}",
                    experiment.name,
                    settings.scale.name(),
                    settings.threads,
                    duration(peers::query::estimate(&settings))
                );
                let mut result = self.measuring.result(experiment.name, experiment.baseline, &settings)?;
                result.shapes = peers::query::run(&settings)?;
                self.measuring.publish(&result)
            }
        }
    }
}

impl Run {
    pub(crate) fn run(&self) -> Result<()> {
        self.measuring.run(&named(&self.experiments)?)
    }
}

impl Measuring {
    /// Runs experiments and publishes what was measured.
    fn run(&self, experiments: &[&'static Experiment]) -> Result<()> {
        let settings = self.settings()?;
        for shape in &settings.shapes {
            let known =
                experiments.iter().any(|e| (e.shapes)(settings.scale).iter().any(|s| s.name == *shape));
            ensure!(known, "none of the experiments has shape {shape} at this scale: see bench-lab list");
        }
        for strategy in &settings.strategies {
            let known = experiments.iter().any(|e| e.strategies.iter().any(|(name, _)| name == strategy));
            ensure!(known, "none of the experiments has strategy {strategy}: see bench-lab list");
        }
        let seconds: f64 = experiments.iter().map(|experiment| runner::estimate(experiment, &settings)).sum();
        eprintln!(
            "{} experiments at {} scale on {} threads: about {}",
            experiments.len(),
            settings.scale.name(),
            settings.threads,
            duration(seconds)
        );
        for experiment in experiments {
            if runner::shapes_of(experiment, &settings).is_empty() {
                continue;
            }
            let mut result = self.result(experiment.name, experiment.baseline, &settings)?;
            for shape in runner::shapes_of(experiment, &settings) {
                let one = Settings { shapes: vec![shape.name], ..settings.clone() };
                result.shapes.extend(runner::run(experiment, &one)?);
                // What was measured is kept, whatever happens to later shapes.
                if !result.shapes.is_empty() {
                    result.save(&self.directory())?;
                }
            }
            self.publish(&result)?;
        }
        Ok(())
    }
}

/// Flags of `report`.
#[derive(Args)]
pub(crate) struct Report {
    /// Directory of results.
    #[arg(long, default_value = "results")]
    results: PathBuf,
    /// Directory for pages and plots.
    #[arg(long, default_value = "docs/results")]
    pages: PathBuf,
}

impl Report {
    pub(crate) fn run(&self) -> Result<()> {
        let all: Vec<&Experiment> = EXPERIMENTS.iter().chain(peers::PEERS).collect();
        let written = bench_lab::report::write(&all, &self.results, &self.pages)?;
        let pages = self.pages.display();
        writeln!(io::stdout(), "{} pages in {pages}: {}", written.len(), written.join(", "))?;
        Ok(())
    }
}

/// Arguments of `measure-memory`.
#[derive(Args)]
pub(crate) struct MeasureMemory {
    experiment: String,
    name_of_shape: String,
    name_of_strategy: String,
    #[command(flatten)]
    measuring: Measuring,
}

impl MeasureMemory {
    pub(crate) fn run(&self) -> Result<()> {
        let experiment = find(&self.experiment).context("there is no such experiment")?;
        let settings = self.measuring.settings()?;
        runner::run_for_memory(experiment, &self.name_of_shape, &self.name_of_strategy, &settings)
    }
}
