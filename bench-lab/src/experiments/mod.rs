//! The experiments, one file each.

mod accumulate;
mod filter_accumulate;
mod inputs;
mod log;
mod merge;
mod merge_maps;
mod pairs;
mod scan;
mod sort_layers;

use crate::lab::Experiment;

/// All of them, in the order of the lists.
pub const EXPERIMENTS: &[Experiment] = &[
    merge::EXPERIMENT,
    merge_maps::EXPERIMENT,
    accumulate::EXPERIMENT,
    filter_accumulate::EXPERIMENT,
    sort_layers::EXPERIMENT,
    scan::EXPERIMENT,
];

/// An experiment by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Experiment> {
    EXPERIMENTS.iter().find(|experiment| experiment.name == name)
}
