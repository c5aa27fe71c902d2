//! What is kept of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::experiment::Scale;
use super::machine::Machine;
use super::statistics::{median, quantile, ratio_interval};

/// One experiment of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Name of the experiment; peers are named `peers-kv` and so on.
    pub experiment: String,
    /// UTC, to the second.
    pub date: String,
    /// The command line.
    pub command: String,
    /// How much data.
    pub scale: Scale,
    /// Threads of parallel strategies.
    pub threads: usize,
    /// Seed of the inputs.
    pub seed: u64,
    /// Where it was measured.
    pub machine: Machine,
    /// The strategy that ratios refer to.
    pub baseline: String,
    /// What was measured.
    pub shapes: Vec<ShapeResult>,
}

/// One shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShapeResult {
    /// Its name.
    pub shape: String,
    /// Units of work of one execution.
    pub items: u64,
    /// What a unit is.
    pub unit: String,
    /// The digest of all strategies.
    pub digest: Option<String>,
    /// The strategies.
    pub strategies: Vec<StrategyResult>,
}

/// One strategy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StrategyResult {
    /// Its name.
    pub strategy: String,
    /// Wall time of each round in seconds; round `i` is beside round `i` of the other strategies.
    pub wall: Vec<f64>,
    /// CPU time of each round in seconds.
    pub cpu: Vec<f64>,
    /// By how much resident memory grew at most, in bytes, mapped pages included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_resident: Option<u64>,
    /// By how much memory apart from mapped files grew at most, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_heap: Option<u64>,
    /// Other figures, such as bytes stored or operations a second, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<(String, f64)>,
}

impl StrategyResult {
    /// Median of the wall time in seconds.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.wall)
    }

    /// First and third quartile of the wall time.
    #[must_use]
    pub fn quartiles(&self) -> (f64, f64) {
        (quantile(&self.wall, 0.25), quantile(&self.wall, 0.75))
    }

    /// How many times as long as another strategy of the same rounds, with the interval of 95 %.
    #[must_use]
    pub fn ratio_to(&self, other: &StrategyResult) -> (f64, f64, f64) {
        let ratios: Vec<f64> =
            self.wall.iter().zip(&other.wall).map(|(mine, theirs)| mine / theirs).collect();
        ratio_interval(&ratios)
    }
}

impl StrategyResult {
    /// The same of CPU time, which other programs on the machine disturb less; without interval.
    #[must_use]
    pub fn cpu_ratio_to(&self, other: &StrategyResult) -> f64 {
        let ratios: Vec<f64> = self.cpu.iter().zip(&other.cpu).map(|(mine, theirs)| mine / theirs).collect();
        median(&ratios)
    }
}

impl ShapeResult {
    /// A strategy by name.
    #[must_use]
    pub fn strategy(&self, name: &str) -> Option<&StrategyResult> {
        self.strategies.iter().find(|strategy| strategy.strategy == name)
    }

    /// The physical limit, if one was timed.
    #[must_use]
    pub fn limit(&self) -> Option<&StrategyResult> {
        self.strategies.iter().find(|strategy| strategy.strategy.starts_with("limit"))
    }

    /// The fastest strategy, limits left out.
    #[must_use]
    pub fn fastest(&self) -> Option<&StrategyResult> {
        let strategies = self.strategies.iter().filter(|s| !s.strategy.starts_with("limit"));
        strategies.min_by(|a, b| a.median().total_cmp(&b.median()))
    }
}

impl RunResult {
    /// Writes it as JSON into a directory, as `EXPERIMENT-SCALE-DATE.json`.
    pub fn save(&self, dir: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let date: String = self.date.chars().filter(char::is_ascii_alphanumeric).collect();
        let path = dir.join(format!("{}-{}-{date}.json", self.experiment, self.scale.name()));
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Reads one.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no result of the lab", path.display()))
    }
}

/// All results of a directory with their files, by name; none where there is no such directory.
pub fn load_all(dir: &Path) -> Result<Vec<(PathBuf, RunResult)>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| Ok((path.clone(), RunResult::load(&path)?))).collect()
}
