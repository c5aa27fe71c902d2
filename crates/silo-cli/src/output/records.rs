//! Records, as JSON objects, in each of the formats.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::table::TextTable;

/// A record as the engine gives it: fields by name.
pub(crate) type Record = Map<String, Value>;

/// A cell of a table or a CSV file: text as it is, null as nothing, lists and objects as JSON.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A cell of a table for people: a list without its brackets, long text cut.
fn short_cell(value: Option<&Value>) -> String {
    const MOST_CHARS: usize = 48;
    let text = match value {
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        other => cell(other),
    };
    // Control characters of data must not reach a terminal.
    let text: String = text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    if text.chars().count() <= MOST_CHARS {
        return text;
    }
    text.chars().take(MOST_CHARS - 1).chain(['…']).collect()
}

/// Writes a table of `columns`.
pub(crate) fn write_table(out: &mut impl Write, columns: &[String], records: &[Record]) -> io::Result<()> {
    let mut table = TextTable::new(columns.iter().map(String::as_str));
    for record in records {
        table.row(columns.iter().map(|column| short_cell(record.get(column))));
    }
    writeln!(out, "{table}")
}

/// Writes one JSON object a line.
pub(crate) fn write_ndjson<'a>(
    out: &mut impl Write,
    records: impl IntoIterator<Item = &'a Record>,
) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut *out, record)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Writes a header and one record a line. Null is an empty field, an empty string is a quoted one, so that a
/// load reads back what was written.
pub(crate) struct CsvRecords<W: Write> {
    out: W,
    columns: Vec<String>,
}

impl<W: Write> CsvRecords<W> {
    /// Writes the header.
    pub(crate) fn new(mut out: W, columns: Vec<String>) -> io::Result<Self> {
        for (at, column) in columns.iter().enumerate() {
            write_field(&mut out, at, column)?;
        }
        out.write_all(b"\n")?;
        Ok(Self { out, columns })
    }

    /// Writes a record.
    pub(crate) fn write(&mut self, record: &Record) -> io::Result<()> {
        for (at, column) in self.columns.iter().enumerate() {
            match record.get(column) {
                None | Some(Value::Null) => write_separator(&mut self.out, at)?,
                value => write_field(&mut self.out, at, &cell(value))?,
            }
        }
        self.out.write_all(b"\n")
    }

    /// Writes what is buffered.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_separator(out: &mut impl Write, at: usize) -> io::Result<()> {
    if at > 0 { out.write_all(b",") } else { Ok(()) }
}

fn write_field(out: &mut impl Write, at: usize, text: &str) -> io::Result<()> {
    write_separator(out, at)?;
    if !text.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return out.write_all(text.as_bytes());
    }
    out.write_all(b"\"")?;
    out.write_all(text.replace('"', "\"\"").as_bytes())?;
    out.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn csv_tells_null_from_empty_text_and_quotes_what_needs_it() {
        let mut out = Vec::new();
        let columns = ["a", "b,c", "d"].map(str::to_owned).to_vec();
        let mut csv = CsvRecords::new(&mut out, columns).unwrap();
        csv.write(&record(r#"{"a": null, "b,c": "", "d": "say \"hi\"\nthere"}"#)).unwrap();
        csv.write(&record(r#"{"a": 1.5, "b,c": [1, 2], "d": true}"#)).unwrap();
        csv.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "a,\"b,c\",d\n,\"\",\"say \"\"hi\"\"\nthere\"\n1.5,\"[1,2]\",true\n");
    }

    #[test]
    fn tables_cut_long_text_and_defuse_control_characters() {
        let long = "x".repeat(100);
        assert_eq!(short_cell(Some(&Value::String(long))).chars().count(), 48);
        assert_eq!(short_cell(Some(&Value::String("\u{1b}[31m".into()))), "·[31m");
        assert_eq!(short_cell(Some(&serde_json::json!([1, "a"]))), "1, a");
        assert_eq!(short_cell(None), "");
    }
}
