//! Inputs and measuring, shared by the benchmarks of this crate.

pub(crate) mod inputs;
pub(crate) mod paired;
#[path = "../../tests/oracle/real.rs"]
pub(crate) mod real;
pub(crate) mod report;
pub(crate) mod streams;
