//! `silo backup`

use std::io::Write;

use silo_engine::Engine;

use crate::args::BackupArgs;
use crate::failure::{Failure, Result};
use crate::output::human;

pub(super) fn run(args: &BackupArgs) -> Result<()> {
    let engine = Engine::open(&args.dir)?;
    let report = engine.backup(&args.dest).map_err(|error| match error {
        silo_engine::Error::Store(datasilo::Error::AlreadyExists { path }) => Failure::failed(format!(
            "{} is not empty: give a directory that does not exist yet",
            path.display()
        )),
        other => other.into(),
    })?;
    engine.close()?;
    let files = |count| human::counted(count, "file");
    writeln!(
        std::io::stdout(),
        "{} in {}: {} shared with the original, {} copied",
        human::bytes(report.bytes),
        args.dest.display(),
        files(report.linked_files),
        files(report.copied_files)
    )?;
    Ok(())
}
