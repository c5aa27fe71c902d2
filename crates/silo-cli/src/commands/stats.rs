//! `silo stats`

use std::io::Write;

use serde_json::{Value as Json, json};
use silo_engine::{Engine, Field, IndexKinds};

use super::bytes_on_disk;
use crate::args::{ReportFormat, StatsArgs};
use crate::failure::Result;
use crate::output::human;
use crate::output::table::TextTable;

pub(super) fn run(args: &StatsArgs) -> Result<()> {
    // Only the writer knows what of its files is in use.
    let engine = match Engine::open(&args.dir) {
        Err(silo_engine::Error::Store(datasilo::Error::Locked { .. })) => Engine::open_read_only(&args.dir)?,
        opened => opened?,
    };
    let records = engine.len()?;
    let store = engine.store_stats().ok();
    let schema = engine.schema().clone();
    engine.close()?;
    let bytes = bytes_on_disk(&args.dir);
    let mut out = std::io::stdout().lock();
    if args.format == ReportFormat::Json {
        let spaces = store.as_ref().map(|store| {
            let space = |space: &datasilo::KeyspaceStats| {
                json!({
                    "name": space.name, "entries": space.entries, "live_bytes": space.live_bytes,
                    "dead_bytes": space.dead_bytes, "index_bytes": space.index_bytes,
                })
            };
            store.keyspaces.iter().map(space).collect::<Vec<Json>>()
        });
        let fields = schema.fields.iter().map(|field| {
            json!({
                "name": field.name, "type": field.kind.name(), "multi": field.multi, "nullable": field.nullable,
                "index": Vec::<String>::from(field.index),
            })
        });
        writeln!(
            out,
            "{}",
            json!({
                "records": records, "bytes": bytes,
                "id": { "name": schema.id.name, "type": schema.id.kind.name() },
                "fields": fields.collect::<Vec<Json>>(), "spaces": spaces,
            })
        )?;
        return Ok(());
    }
    let each = bytes.checked_div(records).map_or_else(String::new, |each| format!(", {each} a record"));
    writeln!(out, "{}, {} on disk{each}", human::counted(records, "record"), human::bytes(bytes))?;
    let mut table = TextTable::new(["field", "type", "found by"]);
    table.row([schema.id.name.clone(), schema.id.kind.name().to_owned(), "id".to_owned()]);
    for field in &schema.fields {
        table.row([field.name.clone(), type_of(field), found_by(field.index)]);
    }
    writeln!(out, "{table}")?;
    let Some(store) = store else { return Ok(()) };
    let mut table = TextTable::new(["space", "entries", "live", "dead", "index"]);
    for space in &store.keyspaces {
        table.row([
            space.name.clone(),
            human::count(space.entries),
            human::bytes(space.live_bytes),
            human::bytes(space.dead_bytes),
            human::bytes(space.index_bytes),
        ]);
    }
    Ok(writeln!(out, "{table}")?)
}

fn type_of(field: &Field) -> String {
    let several = if field.multi { ", several" } else { "" };
    let null = if field.nullable { "" } else { ", never null" };
    format!("{}{several}{null}", field.kind.name())
}

fn found_by(index: IndexKinds) -> String {
    if index.is_none() { "only stored".to_owned() } else { Vec::<String>::from(index).join(", ") }
}
