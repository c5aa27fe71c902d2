//! Queries: filter, order, page, facets, statistics.
//!
//! * `request` — what is asked and answered. `cursor` — where a page ended.
//! * `plan` — a predicate becomes bitmaps, by what is stored. `run` — the answer.
//! * `ranges` — conditions on columns. `facets`, `stats` — aggregates.

mod cursor;
mod facets;
mod plan;
mod ranges;
mod request;
mod run;
mod stats;

pub use plan::Explain;
pub use request::{Answer, FacetCount, FacetRequest, FieldStats, Query};
