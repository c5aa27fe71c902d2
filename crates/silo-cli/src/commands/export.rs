//! `silo export`

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::Value as Json;
use silo_engine::{Direction, Engine, Filter, Query, Schema, View};

use super::columns_of;
use super::query::records;
use crate::args::{ExportArgs, ExportFormat};
use crate::failure::{Failure, Result};
use crate::output::records::{CsvRecords, Record, write_ndjson};

/// Records that are read at a time.
const PAGE: usize = 10_000;

pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let engine = Engine::open_read_only(&args.dir)?;
    let view = engine.view()?;
    match &args.output {
        None => write(args, engine.schema(), &view, &mut std::io::stdout()),
        Some(path) => {
            let name = path.file_name().ok_or_else(|| Failure::usage("--output names no file"))?;
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let fail = |error| Failure::file("write", path)(error);
            // Whole or not at all.
            let mut file = tempfile::Builder::new()
                .prefix(&format!(".{}", name.to_string_lossy()))
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
                .tempfile_in(parent)
                .map_err(fail)?;
            write(args, engine.schema(), &view, file.as_file_mut()).map_err(|failure| match failure {
                Failure::Closed => Failure::failed(format!("cannot write {}: broken pipe", path.display())),
                other => other,
            })?;
            file.as_file().sync_all().map_err(fail)?;
            file.persist(path).map_err(|error| fail(error.error))?;
            Ok(())
        }
    }
}

fn write(args: &ExportArgs, schema: &Schema, view: &View<'_>, out: &mut (impl Write + Send)) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    match args.format {
        ExportFormat::Ndjson => {
            each_page(schema, view, |page| Ok(write_ndjson(&mut out, &page)?))?;
        }
        ExportFormat::Csv => {
            let mut csv = CsvRecords::new(&mut out, columns_of(schema, &["*".to_owned()]))?;
            each_page(schema, view, |page| {
                for mut record in page {
                    join_lists(schema, &mut record, &args.separator)?;
                    csv.write(&record)?;
                }
                Ok(())
            })?;
            csv.finish()?;
        }
        ExportFormat::Parquet => parquet(schema, view, &mut out)?,
    }
    Ok(out.flush()?)
}

/// Calls `f` with all records, in the order of their ids, as of one moment.
fn each_page(schema: &Schema, view: &View<'_>, mut f: impl FnMut(Vec<Record>) -> Result<()>) -> Result<()> {
    each_answer(schema, view, |answer| f(records(schema, answer)))
}

fn each_answer(
    schema: &Schema,
    view: &View<'_>,
    mut f: impl FnMut(&silo_engine::Answer) -> Result<()>,
) -> Result<()> {
    let mut query =
        Query::new(Filter::all()).sort(&schema.id.name, Direction::Ascending).limit(PAGE).fields(["*"]);
    loop {
        let answer = view.query(&query)?;
        f(&answer)?;
        match answer.cursor {
            Some(cursor) => query = query.cursor(Some(cursor)),
            None => return Ok(()),
        }
    }
}

/// Lists become text, so that a load with `--split` reads them back.
fn join_lists(schema: &Schema, record: &mut Record, separator: &str) -> Result<()> {
    let id = record.get(&schema.id.name).map_or_else(String::new, Json::to_string);
    for (name, value) in record.iter_mut() {
        let Json::Array(items) = value else { continue };
        let texts: Vec<String> = items
            .iter()
            .map(|item| match item {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            })
            .collect();
        if let Some(text) = texts.iter().find(|text| text.is_empty() || text.contains(separator)) {
            return Err(Failure::failed(format!(
                "{} {id}, field {name:?}: {text:?} in a list cannot be told apart in CSV with the separator {separator:?}: choose another --separator, or --format ndjson",
                schema.id.name
            )));
        }
        *value = Json::String(texts.join(separator));
    }
    Ok(())
}

fn parquet(schema: &Schema, view: &View<'_>, out: &mut (impl Write + Send)) -> Result<()> {
    let fail = |error: silo_ingest::Error| match error {
        silo_ingest::Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
            Failure::Closed
        }
        other => Failure::from(other),
    };
    let mut writer = silo_ingest::ParquetWriter::new(out, schema).map_err(fail)?;
    each_answer(schema, view, |answer| writer.write(&answer.documents).map_err(fail))?;
    writer.finish().map_err(fail)
}
