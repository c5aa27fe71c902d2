//! The `silo` command.

fn main() {}
