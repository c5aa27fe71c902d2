//! The verbs, each in a file.

mod backup;
mod bench;
mod check;
mod compact;
mod completions;
mod delete;
mod demo;
mod export;
mod get;
mod infer;
mod load;
mod put;
mod query;
mod rejects;
mod schema;
mod staging;
mod stats;

use std::path::Path;

use silo_engine::{FieldType, Id, Schema, Value};

use crate::args::Verb;
use crate::failure::{Failure, Result};

/// Does what was asked.
pub(crate) fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Infer(args) => infer::run(args),
        Verb::Load(args) => load::run(args),
        Verb::Query(args) => query::run(args),
        Verb::Get(args) => get::run(args),
        Verb::Put(args) => put::run(args),
        Verb::Delete(args) => delete::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Stats(args) => stats::run(args),
        Verb::Schema(args) => schema::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Compact(args) => compact::run(args),
        Verb::Backup(args) => backup::run(args),
        Verb::Export(args) => export::run(args),
        Verb::Completions { shell } => completions::run(*shell),
    }
}

/// An id as it is typed.
fn id_of(schema: &Schema, text: &str) -> Result<Id> {
    let kind = schema.id.kind;
    let value = match kind {
        FieldType::String => Ok(Value::Text(text.to_owned())),
        _ => text.parse().map(Value::Int).map_err(|_| format!("{text:?} is no {}", kind.name())),
    };
    value.and_then(|value| Id::from_value(kind, value)).map_err(|why| {
        Failure::usage(format!("{}: {why}; ids of this silo are of type {}", schema.id.name, kind.name()))
    })
}

/// Field names between commas.
fn names_in(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The columns of a table of records: the id, unless it is named elsewhere, and the fields as named.
fn columns_of(schema: &Schema, names: &[String]) -> Vec<String> {
    let all = names.iter().any(|name| name == "*");
    let id = &schema.id.name;
    let mut columns = if all || !names.contains(id) { vec![id.clone()] } else { Vec::new() };
    if all {
        columns.extend(schema.fields.iter().map(|field| field.name.clone()));
    } else {
        columns.extend(names.iter().cloned());
    }
    columns
}

/// Bytes of the files of a directory, as they lie on disk.
fn bytes_on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.blocks() * 512)
        .sum()
}
