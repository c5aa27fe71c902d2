//! The lab: which strategy for which data, and how far from the machine's limit.
//!
//! `README.md` says what it does and how to run it. Modules, in reading order:
//!
//! * [`workload`] — the data: rows of an image site, seeded, for any number of rows.
//! * [`lab`] — how things are measured.
//! * [`experiments`] — what is measured.
//! * [`peers`] — other engines at the same work.
//! * [`report`] — pages and plots out of results.
//! * [`random`] — random numbers that stay the same for ever.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "programs that measure: their inputs are made here and within bounds, and a failure ends the run"
)]
#![allow(
    clippy::needless_for_each,
    clippy::similar_names,
    clippy::type_complexity,
    clippy::too_many_lines,
    clippy::format_push_string,
    clippy::unnecessary_wraps,
    reason = "strategies side by side: closures of one type, tables of them, text put together"
)]

pub mod experiments;
pub mod lab;
pub mod peers;
pub mod random;
pub mod report;
pub mod workload;
