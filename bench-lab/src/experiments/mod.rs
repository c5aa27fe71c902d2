//! The experiments, one file each.

mod accumulate;
mod cardinality;
mod compaction;
mod doc_merge;
mod evaluate;
mod filter_accumulate;
mod inputs;
mod join;
mod load;
mod log;
mod maps;
mod merge;
mod merge_maps;
mod pairs;
mod read_path;
mod scan;
mod sort_layers;
mod top_k;
mod write_path;

use crate::lab::Experiment;

/// All of them, in the order of the lists.
pub const EXPERIMENTS: &[Experiment] = &[
    merge::EXPERIMENT,
    merge_maps::EXPERIMENT,
    accumulate::EXPERIMENT,
    filter_accumulate::EXPERIMENT,
    cardinality::EXPERIMENT,
    sort_layers::EXPERIMENT,
    scan::EXPERIMENT,
    compaction::EXPERIMENT,
    write_path::EXPERIMENT,
    read_path::EXPERIMENT,
    doc_merge::EXPERIMENT,
    join::EXPERIMENT,
    load::EXPERIMENT,
    maps::EXPERIMENT,
    evaluate::EXPERIMENT,
    top_k::EXPERIMENT,
];

/// An experiment by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Experiment> {
    EXPERIMENTS.iter().find(|experiment| experiment.name == name)
}
