//! `silo compact`

use std::io::Write;

use silo_engine::Engine;

use super::bytes_on_disk;
use crate::args::CompactArgs;
use crate::failure::Result;
use crate::output::human;

pub(super) fn run(args: &CompactArgs) -> Result<()> {
    let engine = Engine::open(&args.dir)?;
    let before = bytes_on_disk(&args.dir);
    let report = engine.compact()?;
    engine.close()?;
    let after = bytes_on_disk(&args.dir);
    writeln!(
        std::io::stdout(),
        "compacted in {}: {} moved, {} on disk before, {} now",
        human::duration(report.elapsed),
        human::bytes(report.moved_bytes),
        human::bytes(before),
        human::bytes(after)
    )?;
    Ok(())
}
