//! Answers on standard output: tables for people, JSON and CSV for programs.

pub(crate) mod human;
pub(crate) mod records;
pub(crate) mod table;
