//! `bench-lab compare`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use bench_lab::lab::results::{RunResult, load_all};
use bench_lab::lab::statistics::independent_ratio;
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

impl Compare {
    pub(crate) fn run(&self) -> Result<()> {
        let (old, new) = (newest(&self.old)?, newest(&self.new)?);
        let mut table = vec![
            ["experiment", "shape", "strategy", "old", "new", "new to old", "interval", ""]
                .map(str::to_owned)
                .to_vec(),
        ];
        for new in &new {
            let same = |old: &&RunResult| old.experiment == new.experiment && old.scale == new.scale;
            let Some(old) = old.iter().find(same) else { continue };
            for shape in &new.shapes {
                let Some(before) = old.shapes.iter().find(|before| before.shape == shape.shape) else {
                    continue;
                };
                for strategy in &shape.strategies {
                    let Some(before) = before.strategy(&strategy.strategy) else { continue };
                    let (ratio, low, high) = independent_ratio(&strategy.wall, &before.wall);
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
                        digits(ratio),
                        format!("{}–{}", digits(low), digits(high)),
                        verdict.to_owned(),
                    ]);
                }
            }
        }
        ensure!(table.len() > 1, "the two have no experiment, scale, shape and strategy in common");
        print!("{}", markdown(&table, true));
        Ok(())
    }
}
