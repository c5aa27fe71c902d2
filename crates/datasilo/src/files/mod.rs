//! The files of a silo: segments of the ops log, index runs, manifest, sync mark.

pub(crate) mod line;
pub(crate) mod log_scan;
pub(crate) mod manifest_file;
pub(crate) mod mark_file;
pub(crate) mod read_ahead;
pub(crate) mod run;
pub(crate) mod run_builder;
pub(crate) mod run_merge;
pub(crate) mod segment;
pub(crate) mod segment_writer;
pub(crate) mod verified;
