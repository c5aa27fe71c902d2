//! How the lab measures.
//!
//! * [`experiment`] — what an experiment is: a question, shapes of data, strategies, a baseline, a limit.
//! * [`strategy`] — one way to do the work, timed, with a digest of what it made.
//! * [`runner`] — digests first, then alternating rounds; in a child process, the peak memory of one strategy.
//! * [`statistics`] — medians, quartiles, intervals of ratios.
//! * [`machine`] — where it was measured.
//! * [`results`] — what is kept of a run, as JSON.
//! * [`table`] — what a person sees of it.
//! * [`criterion`] — the engine's strategies as Criterion benchmarks.
//! * [`files`] — scratch files, mappings, the page cache.

pub mod criterion;
pub mod experiment;
pub mod files;
pub mod machine;
pub mod results;
pub mod runner;
pub mod statistics;
pub mod strategy;
pub mod table;

pub use experiment::{Experiment, Scale, Shape};
pub use runner::{Lab, Settings};
pub use strategy::{Digest, Strategy};
