//! `silo schema`

use std::io::Write;

use silo_engine::Engine;

use crate::args::SchemaArgs;
use crate::failure::Result;

pub(super) fn run(args: &SchemaArgs) -> Result<()> {
    let engine = Engine::open_read_only(&args.dir)?;
    Ok(std::io::stdout().write_all(engine.schema().to_toml().as_bytes())?)
}
