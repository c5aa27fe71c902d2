//! `silo schema`

use std::io::Write;

use silo_engine::Engine;

use super::load::read_schema;
use crate::args::SchemaArgs;
use crate::failure::{Failure, Result};
use crate::output::human;

pub(super) fn run(args: &SchemaArgs) -> Result<()> {
    let Some(path) = &args.set else {
        let engine = Engine::open_read_only(&args.dir)?;
        return Ok(std::io::stdout().write_all(engine.schema().to_toml().as_bytes())?);
    };
    let schema = read_schema(path)?;
    let mut engine = Engine::open(&args.dir)?;
    engine.alter(&schema).map_err(|error| match error {
        silo_engine::Error::Schema(_) => Failure::usage(format!("{}: {error}", path.display())),
        other => other.into(),
    })?;
    let (fields, records) = (engine.schema().fields.len() as u64, engine.len()?);
    engine.close()?;
    let fields = human::counted(fields, "field");
    Ok(writeln!(
        std::io::stdout(),
        "{} now {fields}",
        if records == 1 {
            "1 record has".to_owned()
        } else {
            format!("{} have", human::counted(records, "record"))
        }
    )?)
}
