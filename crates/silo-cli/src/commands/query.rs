//! `silo query`

use std::io::{BufWriter, Write};

use serde_json::Value as Json;
use silo_engine::{Answer, Direction, Engine, FieldStats, Filter, Query, Schema};

use super::{columns_of, names_in};
use crate::args::{QueryArgs, QueryFormat};
use crate::failure::{Failure, Result};
use crate::output::human;
use crate::output::records::{CsvRecords, Record, write_ndjson, write_table};
use crate::output::table::TextTable;

/// Values of a facet, where no number is given.
const FACET_VALUES: usize = 10;
/// Columns of a table whose fields were not chosen.
const TABLE_COLUMNS: usize = 8;

pub(super) fn run(args: &QueryArgs) -> Result<()> {
    let rows_only = matches!(args.format, QueryFormat::Csv | QueryFormat::Ndjson);
    if rows_only && !(args.facets.is_empty() && args.stats.is_empty() && !args.explain) {
        return Err(Failure::usage(
            "--facet, --stats and --explain need --format table or json: they are no records",
        ));
    }
    let engine = Engine::open_read_only(&args.dir)?;
    let names = fields_of(engine.schema(), args);
    let answer = engine.query(&query_of(args, &names)?)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    print(&mut out, args, engine.schema(), &answer, &names)?;
    Ok(out.flush()?)
}

/// The fields to print.
pub(super) fn fields_of(schema: &Schema, args: &QueryArgs) -> Vec<String> {
    match (&args.fields, args.format) {
        (Some(fields), _) => names_in(fields),
        (None, QueryFormat::Json) => Vec::new(),
        (None, QueryFormat::Csv | QueryFormat::Ndjson) => vec!["*".to_owned()],
        (None, QueryFormat::Table) => likely_fields(schema, args),
    }
}

/// Prints an answer in the format that was asked for.
pub(super) fn print(
    out: &mut impl Write,
    args: &QueryArgs,
    schema: &Schema,
    answer: &Answer,
    names: &[String],
) -> Result<()> {
    match args.format {
        QueryFormat::Json => writeln!(out, "{}", answer.to_json(schema))?,
        _ if args.count && !args.explain && args.facets.is_empty() && args.stats.is_empty() => {
            writeln!(out, "{}", answer.total)?;
        }
        QueryFormat::Table => table(out, args, schema, answer, &columns_of(schema, names))?,
        QueryFormat::Ndjson => write_ndjson(out, &records(schema, answer))?,
        QueryFormat::Csv => {
            let mut csv = CsvRecords::new(out, columns_of(schema, names))?;
            for record in records(schema, answer) {
                csv.write(&record)?;
            }
            csv.finish()?;
        }
    }
    Ok(())
}

pub(super) fn query_of(args: &QueryArgs, names: &[String]) -> Result<Query> {
    let filter = args.filter.as_deref().map_or_else(|| Ok(Filter::all()), Filter::parse)?;
    let mut query =
        Query::new(filter).limit(args.limit).offset(args.offset).cursor(args.cursor.clone()).fields(names);
    if let Some(sort) = &args.sort {
        let (field, direction) = sort_of(sort).map_err(Failure::Usage)?;
        query = query.sort(field, direction);
    }
    for facet in &args.facets {
        let (field, limit) = facet_of(facet).map_err(Failure::Usage)?;
        query = query.facet(field, limit);
    }
    for field in &args.stats {
        query = query.stats(field);
    }
    if args.count {
        query = query.count_only();
    }
    if args.explain {
        query = query.explain();
    }
    Ok(query)
}

/// `FIELD:asc|desc`
pub(super) fn sort_of(text: &str) -> Result<(&str, Direction), String> {
    match text.rsplit_once(':') {
        Some((field, "asc")) if !field.is_empty() => Ok((field, Direction::Ascending)),
        Some((field, "desc")) if !field.is_empty() => Ok((field, Direction::Descending)),
        _ => Err(format!("{text:?} is no order: write FIELD:asc or FIELD:desc")),
    }
}

/// `FIELD[:N]`
pub(super) fn facet_of(text: &str) -> Result<(&str, Option<usize>), String> {
    match text.rsplit_once(':') {
        None if !text.is_empty() => Ok((text, Some(FACET_VALUES))),
        Some((field, count)) if !field.is_empty() => match count.parse() {
            Ok(count) => Ok((field, Some(count))),
            Err(_) => Err(format!("{text:?} is no facet: write FIELD or FIELD:10")),
        },
        _ => Err(format!("{text:?} is no facet: write FIELD or FIELD:10")),
    }
}

/// The fields that a person is likely to look for: those of order and filter, then the first ones.
fn likely_fields(schema: &Schema, args: &QueryArgs) -> Vec<String> {
    if args.count || args.limit == 0 {
        return Vec::new();
    }
    let sort = args.sort.as_deref().and_then(|sort| sort.rsplit_once(':')).map_or("", |(field, _)| field);
    let words = args.filter.as_deref().unwrap_or_default().split(|c: char| !c.is_alphanumeric() && c != '_');
    let named: Vec<&str> = std::iter::once(sort).chain(words).collect();
    let mut fields: Vec<String> = Vec::new();
    let (first, rest): (Vec<_>, Vec<_>) =
        schema.fields.iter().map(|field| &field.name).partition(|name| named.contains(&name.as_str()));
    for name in first.into_iter().chain(rest).take(TABLE_COLUMNS) {
        fields.push(name.clone());
    }
    // An empty list would show nothing of the records.
    if fields.is_empty() { vec!["*".to_owned()] } else { fields }
}

/// The records of an answer as JSON objects.
pub(super) fn records(schema: &Schema, answer: &Answer) -> Vec<Record> {
    let object = |document: &silo_engine::Document| match document.to_json(schema, &answer.fields) {
        Json::Object(object) => object,
        _ => Record::new(),
    };
    if answer.documents.is_empty() {
        // Only the ids were asked for.
        let id = |id: &silo_engine::Id| id.to_value().to_json(schema.id.kind);
        return answer.ids.iter().map(|of| Record::from_iter([(schema.id.name.clone(), id(of))])).collect();
    }
    answer.documents.iter().map(object).collect()
}

fn table(
    out: &mut impl Write,
    args: &QueryArgs,
    schema: &Schema,
    answer: &Answer,
    columns: &[String],
) -> Result<()> {
    if let Some(explain) = &answer.explain {
        write!(out, "{explain}")?;
    }
    for (field, counts) in &answer.facets {
        let kind = schema.field(field)?.kind;
        let mut table = TextTable::new([field.as_str(), "records"]);
        for of in counts {
            let value = match of.value.to_json(kind) {
                Json::String(text) => text,
                other => other.to_string(),
            };
            table.row([value, human::count(of.count)]);
        }
        writeln!(out, "{table}")?;
    }
    if !answer.stats.is_empty() {
        let mut table = TextTable::new(["field", "min", "max", "sum", "mean", "records"]);
        for (field, of) in &answer.stats {
            let kind = schema.field(field)?.kind;
            let FieldStats { min, max, sum, mean, count } = of;
            let cell = |value: &silo_engine::Value| match value.to_json(kind) {
                Json::Null => String::new(),
                Json::String(text) => text,
                other => other.to_string(),
            };
            table.row([field.clone(), cell(min), cell(max), cell(sum), cell(mean), human::count(*count)]);
        }
        writeln!(out, "{table}")?;
    }
    if !answer.ids.is_empty() {
        write_table(out, columns, &records(schema, answer))?;
    }
    let shown = if answer.ids.is_empty() { String::new() } else { format!(", {} shown", answer.ids.len()) };
    writeln!(out, "{}{shown}, {}", human::counted(answer.total, "record"), human::duration(answer.elapsed))?;
    if let Some(cursor) = &answer.cursor {
        writeln!(out, "the next page: --cursor {cursor}")?;
    }
    let more = schema.fields.len().saturating_sub(columns.len() - 1);
    if args.fields.is_none() && more > 0 && !answer.ids.is_empty() {
        writeln!(out, "{}: --fields '*'", human::counted(more as u64, "more field"))?;
    }
    Ok(())
}
