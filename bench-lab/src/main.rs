//! The command of the lab; `bench-lab --help` says what it does.

#![allow(
    clippy::cast_precision_loss,
    clippy::unused_self,
    reason = "rates for people; verbs are methods of their arguments"
)]

mod compare;
mod generate;
mod run;

use std::process::ExitCode;

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
    /// Lists the experiments with their questions, shapes and strategies.
    List(run::List),
    /// Runs experiments: all of them where none is named.
    Run(run::Run),
    /// Compares with engines that a user could pick instead.
    Peers(run::Peers),
    /// Makes pages and plots of docs/results out of results.
    Report(run::Report),
    /// Writes a data set, seeded and reproducible.
    Generate(generate::Generate),
    /// Compares two results, or two directories of them: what changed, with an interval of the ratio.
    Compare(compare::Compare),
    /// Runs one strategy once and prints its peak memory; `run` calls this.
    #[command(hide = true)]
    MeasureMemory(run::MeasureMemory),
}

/// Whether standard output was closed by who reads it, such as `head`. Files of the lab have names.
fn nobody_reads(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::List(list) => list.run(),
        Verb::Run(run) => run.run(),
        Verb::Peers(peers) => peers.run(),
        Verb::Report(report) => report.run(),
        Verb::Generate(generate) => generate.run(),
        Verb::Compare(compare) => compare.run(),
        Verb::MeasureMemory(measure) => measure.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
