//! `silo completions`

use clap::CommandFactory;

use crate::args::Cli;
use crate::failure::Result;
use std::io::Write;

pub(super) fn run(shell: clap_complete::Shell) -> Result<()> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "silo", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
