//! `bench-lab compare`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use bench_lab::lab::results::{RunResult, ShapeResult, StrategyResult, load_all};
use bench_lab::lab::statistics::{independent_ratio, median};
use bench_lab::lab::table::{digits, markdown, seconds};
use clap::Args;

/// Arguments of `compare`.
#[derive(Args)]
pub(crate) struct Compare {
    /// A result, or a directory of results, of which the newest of each experiment and scale counts.
    old: PathBuf,
    /// The same, later.
    new: PathBuf,
}

fn newest(path: &Path) -> Result<Vec<RunResult>> {
    if !path.is_dir() {
        return Ok(vec![RunResult::load(path)?]);
    }
    let mut kept: Vec<RunResult> = Vec::new();
    for (_, result) in load_all(path)? {
        let same =
            |other: &&mut RunResult| other.experiment == result.experiment && other.scale == result.scale;
        match kept.iter_mut().find(same) {
            Some(other) if other.date < result.date => *other = result,
            Some(_) => {}
            None => kept.push(result),
        }
    }
    Ok(kept)
}

/// Times as ratios to the baseline's of the same rounds; as they are where a run has no baseline, and those of the baseline itself.
fn relative(shape: &ShapeResult, strategy: &StrategyResult, run: &RunResult) -> Vec<f64> {
    match shape.strategy(&run.baseline) {
        Some(baseline) if strategy.strategy != run.baseline => {
            strategy.wall.iter().zip(&baseline.wall).map(|(mine, theirs)| mine / theirs).collect()
        }
        _ => strategy.wall.clone(),
    }
}

impl Compare {
    pub(crate) fn run(&self) -> Result<()> {
        let (old, new) = (newest(&self.old)?, newest(&self.new)?);
        let mut table = vec![
            [
                "experiment",
                "shape",
                "strategy",
                "old",
                "new",
                "new to old",
                "beside the baseline",
                "interval",
                "",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for new in &new {
            let same = |old: &&RunResult| old.experiment == new.experiment && old.scale == new.scale;
            let Some(old) = old.iter().find(same) else { continue };
            for shape in &new.shapes {
                let Some(old_shape) = old.shapes.iter().find(|before| before.shape == shape.shape) else {
                    continue;
                };
                for strategy in &shape.strategies {
                    let Some(before) = old_shape.strategy(&strategy.strategy) else { continue };
                    let times = median(&strategy.wall) / median(&before.wall);
                    // The machine may be busier now: each time counts as a ratio to the baseline's of its own round.
                    let (ratio, low, high) =
                        independent_ratio(&relative(shape, strategy, new), &relative(old_shape, before, new));
                    let verdict = match () {
                        () if high < 1.0 => "faster",
                        () if low > 1.0 => "slower",
                        () => "",
                    };
                    table.push(vec![
                        new.experiment.clone(),
                        shape.shape.clone(),
                        strategy.strategy.clone(),
                        seconds(before.median()),
                        seconds(strategy.median()),
                        digits(times),
                        digits(ratio),
                        format!("{}–{}", digits(low), digits(high)),
                        verdict.to_owned(),
                    ]);
                }
            }
        }
        ensure!(table.len() > 1, "the two have no experiment, scale, shape and strategy in common");
        write!(io::stdout(), "{}", markdown(&table, true))?;
        Ok(())
    }
}
