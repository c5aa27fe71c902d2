//! The command as programs and people use it: every verb, every error.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::format_collect, reason = "tests")]

mod bench;
mod edges;
mod errors;
mod flights;
mod kill;
mod load;
mod query;
mod support;
mod update;
mod upkeep;
