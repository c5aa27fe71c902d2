//! The `silo` command.

mod args;
mod output;
mod progress;

use clap::Parser;

fn main() {
    let cli = args::Cli::parse();
    println!("{cli:?}");
}
