//! `silo get`

use std::io::{BufWriter, Write};

use serde_json::Value as Json;
use silo_engine::{Engine, FieldSet};

use super::{columns_of, id_of, names_in};
use crate::args::{GetArgs, QueryFormat};
use crate::failure::{Failure, Result};
use crate::output::records::{CsvRecords, Record, write_ndjson, write_table};

pub(super) fn run(args: &GetArgs) -> Result<()> {
    let engine = Engine::open_read_only(&args.dir)?;
    let schema = engine.schema();
    let names = args.fields.as_deref().map_or_else(|| vec!["*".to_owned()], names_in);
    let fields = FieldSet::named(schema, &names)?;
    let ids = args.ids.iter().map(|text| id_of(schema, text)).collect::<Result<Vec<_>>>()?;
    let view = engine.view()?;
    let (mut found, mut missing) = (Vec::<Record>::new(), Vec::new());
    for id in &ids {
        match view.get(id, &fields)?.map(|document| document.to_json(schema, &fields)) {
            Some(Json::Object(object)) => found.push(object),
            _ => missing.push(id.to_string()),
        }
    }
    let columns = columns_of(schema, &names);
    let mut out = BufWriter::new(std::io::stdout().lock());
    match args.format {
        QueryFormat::Json => writeln!(out, "{}", serde_json::json!(found))?,
        QueryFormat::Ndjson => write_ndjson(&mut out, &found)?,
        QueryFormat::Table => write_table(&mut out, &columns, &found)?,
        QueryFormat::Csv => {
            let mut csv = CsvRecords::new(&mut out, columns)?;
            for record in &found {
                csv.write(record)?;
            }
            csv.finish()?;
        }
    }
    out.flush()?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!("no record has {} {}", schema.id.name, missing.join(", "))))
}
