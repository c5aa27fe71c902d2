//! The experiments, one file each.

mod inputs;
mod merge;

use crate::lab::Experiment;

/// All of them, in the order of the lists.
pub const EXPERIMENTS: &[Experiment] = &[merge::EXPERIMENT];

/// An experiment by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Experiment> {
    EXPERIMENTS.iter().find(|experiment| experiment.name == name)
}
