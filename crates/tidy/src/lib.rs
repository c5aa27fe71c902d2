//! Nothing but tests: the repository keeps its own rules. See `tests/tidy.rs`.
