//! The lab: which strategy for which data, and how far from the machine's limit.

fn main() {}
