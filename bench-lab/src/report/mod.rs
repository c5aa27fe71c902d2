//! Pages and plots out of results.
//!
//! A page shows, for the largest scale that was run, the newest result of each shape. It ends with a digest of the results' files, by which a test
//! tells whether it is older than they are.

mod findings;
mod page;
mod plot;
mod published;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::lab::Experiment;
use crate::lab::results::{RunResult, ShapeResult};

/// What a page shows.
#[derive(Debug)]
pub struct Shown {
    /// Shapes with the run that each comes from.
    pub shapes: Vec<(usize, ShapeResult)>,
    /// The runs, oldest first.
    pub runs: Vec<RunResult>,
    /// Digest of the runs' files.
    pub digest: String,
}

/// The newest results of an experiment at the largest scale; none where there is no result.
pub fn shown(experiment: &Experiment, dir: &Path) -> Result<Option<Shown>> {
    let all = crate::lab::results::load_all(dir)?;
    let mut all: Vec<(PathBuf, RunResult)> =
        all.into_iter().filter(|(_, run)| run.experiment == experiment.name).collect();
    let Some(scale) = all.iter().map(|(_, run)| run.scale).max() else { return Ok(None) };
    all.retain(|(_, run)| run.scale == scale);
    all.sort_by(|a, b| a.1.date.cmp(&b.1.date));
    let mut newest: Vec<(usize, ShapeResult)> = Vec::new();
    for (index, (_, run)) in all.iter().enumerate() {
        for shape in &run.shapes {
            newest.retain(|(_, known)| known.shape != shape.shape);
            newest.push((index, shape.clone()));
        }
    }
    let order: Vec<String> = (experiment.shapes)(scale).into_iter().map(|shape| shape.name).collect();
    newest.sort_by_key(|(_, shape)| order.iter().position(|name| *name == shape.shape));
    let mut used: Vec<usize> = newest.iter().map(|(index, _)| *index).collect();
    used.sort_unstable();
    used.dedup();
    let mut bytes = Vec::new();
    for index in &used {
        let path = &all[*index].0;
        bytes.extend(std::fs::read(path).with_context(|| format!("reading {}", path.display()))?);
    }
    let place = |index: usize| used.iter().position(|used| *used == index).unwrap_or(0);
    Ok(Some(Shown {
        shapes: newest.into_iter().map(|(index, shape)| (place(index), shape)).collect(),
        runs: used.iter().map(|index| all[*index].1.clone()).collect(),
        digest: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes)),
    }))
}

/// The digest that a page carries.
#[must_use]
pub fn digest_of_page(page: &str) -> Option<&str> {
    page.rsplit("<!-- results: ").next()?.split(' ').next()
}

/// Writes the page and the plot of each experiment that has results, and the index; answers their names.
pub fn write(experiments: &[&Experiment], results: &Path, pages: &Path) -> Result<Vec<String>> {
    std::fs::create_dir_all(pages).with_context(|| format!("creating {}", pages.display()))?;
    let mut written = Vec::new();
    let mut index = String::from(
        "# Results\n\nPages made by `cargo run --release -p bench-lab -- report` out of `results/`, one for each experiment of the lab.\n\n| experiment | question | answer | the engine's best against the best of the others |\n|---|---|---|---|\n",
    );
    for experiment in experiments {
        let Some(shown) = shown(experiment, results)? else { continue };
        let name = experiment.name;
        std::fs::write(pages.join(format!("{name}.svg")), plot::plot(experiment, &shown))?;
        std::fs::write(pages.join(format!("{name}.md")), page::page(experiment, &shown))?;
        index += &format!(
            "| [{name}]({name}.md) | {} | {} {} | {} |\n",
            experiment.question,
            page::answer(experiment, &shown),
            page::limits(experiment, &shown).unwrap_or_default(),
            page::engine(&shown, true).unwrap_or_default()
        );
        written.push(name.to_owned());
    }
    index +=
        "\n[datasilo against its limits](datasilo-goals.md) is measured by that crate's own benchmark.\n";
    std::fs::write(pages.join("README.md"), index)?;
    Ok(written)
}
