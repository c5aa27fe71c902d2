//! The command of the lab; `bench-lab --help` says what it does.

mod generate;

use clap::{Parser, Subcommand};

/// Experiments, peers, generators and reports of the silo crates.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes a data set, seeded and reproducible.
    Generate(generate::Generate),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Generate(generate) => generate.run(),
    }
}
