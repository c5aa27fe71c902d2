//! From what was seen to types and indexes.

use std::fmt::Write as _;

use silo_engine::{Field, FieldType, IdField, IndexKinds, Schema};

use super::stats::Stats;
use super::{InferOptions, Inference, InferredColumn, NULL_SPELLINGS, Table};
use crate::error::{Error, Result};
use crate::join::JoinText;
use crate::spec::Multi;

/// Up to so many values a field gets a bitmap for each (docs/adr/0010).
const MOST_BITMAPS: u64 = 10_000;
/// Sets tend to be asked for by value: their limit is higher.
const MOST_SET_BITMAPS: u64 = 50_000;
/// Numbers with at most so many values are categories as much as amounts.
const MOST_CATEGORIES: u64 = 1_000;
/// Text that is longer on average is not looked up as a whole.
const LONG_TEXT: u64 = 40;

/// Decides about all columns.
pub(super) fn decide(mut table: Table, options: &InferOptions) -> Inference {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
    let estimated_rows = if table.whole { table.rows } else { table.estimated as u64 };
    let recognized = |at: usize, spelling: &str| {
        options.nulls.iter().any(|null| null == spelling)
            || table.columns.iter().any(|(_, stats)| {
                let seen = stats.spelled.get(at).is_some_and(|&count| count > 0);
                // Nobody writes \N for anything else.
                seen && (spelling == "\\N" || stats.values > 0 && stats.kind(false) != FieldType::String)
            })
    };
    let known: Vec<bool> =
        NULL_SPELLINGS.iter().enumerate().map(|(at, spelling)| recognized(at, spelling)).collect();
    let mut nulls = options.nulls.clone();
    for (spelling, _) in NULL_SPELLINGS.iter().zip(&known).filter(|(_, known)| **known) {
        if !nulls.iter().any(|null| null == spelling) {
            nulls.push((*spelling).to_owned());
        }
    }
    let separators = std::mem::take(&mut table.separators);
    let columns = table.columns.into_iter().map(|(name, mut stats)| {
        // What is no null is a text; its column's other values are text too, or there are none.
        for ((spelling, count), known) in NULL_SPELLINGS.iter().zip(stats.spelled).zip(&known) {
            if !known && count > 0 {
                stats.values += count;
                stats.distinct.add(xxhash_rust::xxh3::xxh3_64(spelling.as_bytes()));
            }
        }
        let multi = match separators.get(&name) {
            Some(separator) => Some(Multi::Split(separator.clone())),
            None => stats.lists.then_some(Multi::Lists),
        };
        column(name, multi, &stats, &known, (table.rows, estimated_rows, table.whole))
    });
    let columns = columns.collect();
    Inference { columns, nulls, rows: table.rows, estimated_rows, whole: table.whole }
}

fn column(
    name: String,
    multi: Option<Multi>,
    stats: &Stats,
    known: &[bool],
    (rows, estimated_rows, whole): (u64, u64, bool),
) -> InferredColumn {
    let kind = stats.kind(!whole);
    let seen = stats.distinct.count();
    // Values that are mostly different will go on being so.
    let growing = seen > stats.values / 2;
    let distinct = if growing && rows > 0 {
        u64::try_from(u128::from(seen) * u128::from(estimated_rows) / u128::from(rows)).unwrap_or(u64::MAX)
    } else {
        seen
    };
    let unique = multi.is_none() && stats.values == rows && seen * 100 >= rows * 97 && rows > 1;
    let (index, why) = index_kinds(&name, kind, multi.is_some(), distinct, stats, rows);
    let nulls: u64 = stats.empty
        + stats.spelled.iter().zip(known).filter(|(_, known)| **known).map(|(n, _)| n).sum::<u64>();
    let nullable = nulls > 0 || multi.is_none() && stats.values < rows || !whole;
    let about = if whole && seen == distinct { "" } else { "about " };
    let mut reason = format!("{about}{distinct} values");
    if let Some((low, high)) = stats.range() {
        let _ = write!(reason, " from {low} to {high}");
    }
    if nulls > 0 {
        let _ = write!(reason, ", {nulls} nulls");
    }
    if stats.declared.is_none() {
        let odd = if kind == FieldType::String { stats.odd[1].as_ref() } else { stats.odd[0].as_ref() };
        match odd {
            Some(odd) => {
                let _ = write!(reason, "; {} because of {odd}", kind.name());
            }
            None if stats.values == 0 => reason.push_str("; text, for want of values"),
            None => {}
        }
    }
    reason.push_str("; ");
    reason.push_str(why);
    InferredColumn { name, kind, multi, nullable, distinct, unique, index, reason }
}

/// By what a column should be found, and why.
fn index_kinds(
    name: &str,
    kind: FieldType,
    multi: bool,
    distinct: u64,
    stats: &Stats,
    rows: u64,
) -> (IndexKinds, &'static str) {
    let none = IndexKinds::none();
    let lower = name.to_lowercase();
    let identifies = name.ends_with("Id") || name.ends_with("ID") || lower == "id" || lower.ends_with("_id");
    if stats.values == 0 {
        return (none, "only stored: it is empty");
    }
    if stats.objects {
        return (none, "only stored: objects are kept as JSON");
    }
    if multi {
        return if distinct <= MOST_SET_BITMAPS && !matches!(kind, FieldType::Float(_)) {
            (none.filter(), "filter: a set of few enough values")
        } else if matches!(kind, FieldType::Float(_)) {
            (none, "only stored: a set of floats")
        } else {
            (none.high(), "high: a set of many values")
        };
    }
    match kind {
        FieldType::Bool => (none.filter(), "filter: a truth value"),
        FieldType::String if distinct <= MOST_BITMAPS && (distinct * 2 <= rows || rows < 1_000) => {
            (none.filter(), "filter: few enough texts")
        }
        FieldType::String if stats.bytes / stats.values.max(1) <= LONG_TEXT => {
            (none.high(), "high: many short texts")
        }
        FieldType::String => (none, "only stored: many long texts"),
        FieldType::Signed(_) | FieldType::Unsigned(_) if identifies && distinct > MOST_CATEGORIES => {
            (none.high(), "high: it names things by number")
        }
        FieldType::Signed(_) | FieldType::Unsigned(_) if identifies => {
            (none.filter(), "filter: it names few things by number")
        }
        FieldType::Signed(_) | FieldType::Unsigned(_) if distinct <= 1 => {
            (none.filter(), "filter: one value")
        }
        FieldType::Signed(_) | FieldType::Unsigned(_) if distinct <= MOST_CATEGORIES => {
            (none.filter().sort(), "filter and sort: few numbers")
        }
        FieldType::Signed(_) | FieldType::Unsigned(_) => (none.sort(), "sort: many numbers"),
        FieldType::Float(_) => (none.sort(), "sort: a quantity"),
        FieldType::Time(_) => (none.sort(), "sort: a time"),
    }
}

impl InferredColumn {
    /// The column with several values a row, of which any may be missing.
    fn in_sets(self) -> InferredColumn {
        let none = IndexKinds::none();
        let index = match self.kind {
            FieldType::Float(_) => none,
            _ if self.distinct <= MOST_SET_BITMAPS => none.filter(),
            _ => none.high(),
        };
        InferredColumn { multi: self.multi.or(Some(Multi::Lists)), unique: false, index, ..self }
    }
}

impl Inference {
    /// Adds the columns that a join appends, given what is known of the joined file. Where the key is not unique there, records get
    /// the values of all matching rows.
    ///
    /// # Errors
    ///
    /// Columns that are not there, and names that are taken.
    pub fn join(&mut self, join: &JoinText, joined: Inference) -> Result<()> {
        let file = join.file.display();
        let find = |name: &str| {
            joined.columns.iter().find(|column| column.name == name).ok_or_else(|| {
                let names: Vec<&str> = joined.columns.iter().map(|column| column.name.as_str()).collect();
                Error::Options(format!("{file} has no column {name:?}; it has {}", names.join(", ")))
            })
        };
        let key = find(&join.key)?;
        let taken = |this: &Self, name: &str| this.columns.iter().any(|column| column.name == name);
        let named: Vec<(String, String)> = if join.fields.is_empty() {
            let others = joined.columns.iter().filter(|column| column.name != join.key);
            let free = others.filter(|column| !taken(self, &column.name));
            free.map(|column| (column.name.clone(), column.name.clone())).collect()
        } else {
            join.fields.clone()
        };
        for (name, of) in named {
            if taken(self, &name) {
                return Err(Error::Options(format!(
                    "there is a column {name:?} already: give the one of {file} another name, as in joined_{name}={of}"
                )));
            }
            let column = find(&of)?.clone();
            let mut column = if key.unique { column } else { column.in_sets() };
            let several = if key.unique { "" } else { ", where several rows have one key" };
            column.reason = format!("{}; from {file}{several}", column.reason);
            self.columns.push(InferredColumn { name, nullable: true, unique: false, ..column });
        }
        for null in joined.nulls {
            if !self.nulls.contains(&null) {
                self.nulls.push(null);
            }
        }
        Ok(())
    }

    /// A schema of all columns. Without the name of the id's column records are numbered: the id is an integer with a name of its own.
    ///
    /// # Errors
    ///
    /// A column for the id that is not there or has no fit type, and names that schemas do not take.
    pub fn schema(&self, id: Option<&str>) -> Result<Schema> {
        let id_field = match id {
            None => {
                let taken = |name: &&str| self.columns.iter().any(|column| column.name == **name);
                let name = ["id", "rowId", "recordId", "siloId"].iter().find(|name| !taken(name)).copied();
                IdField::new(name.unwrap_or("recordNumber"), FieldType::Unsigned(64))
            }
            Some(name) => {
                let column = self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
                    let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
                    Error::Options(format!(
                        "there is no column {name:?} for the id; there are {}",
                        names.join(", ")
                    ))
                })?;
                let kind = match column.kind {
                    FieldType::Signed(_) => FieldType::Signed(64),
                    FieldType::Unsigned(_) => FieldType::Unsigned(64),
                    FieldType::String => FieldType::String,
                    other => {
                        return Err(Error::Options(format!(
                            "column {name:?} is a {}; ids are integers or strings",
                            other.name()
                        )));
                    }
                };
                IdField::new(name, kind)
            }
        };
        let fields = self.columns.iter().filter(|column| Some(column.name.as_str()) != id).map(|column| {
            let mut field = Field::new(&column.name, column.kind).index(column.index);
            field.multi = column.multi.is_some();
            field.nullable = column.nullable;
            field
        });
        Schema::new(id_field, fields.collect()).map_err(|error| Error::Options(error.to_string()))
    }

    /// The schema as TOML, with the reasons as comments.
    ///
    /// # Errors
    ///
    /// As [`Self::schema`].
    pub fn to_toml(&self, id: Option<&str>) -> Result<String> {
        let schema = self.schema(id)?;
        let mut text = String::new();
        let of = if self.whole { String::new() } else { format!(" of about {}", self.estimated_rows) };
        let _ = writeln!(text, "# Guessed from {} rows{of}.", self.rows);
        if !self.nulls.is_empty() {
            let _ = writeln!(text, "# Taken for null besides empty fields: {}.", self.nulls.join(", "));
        }
        let candidates: Vec<&str> =
            self.columns.iter().filter(|column| column.unique).map(|column| column.name.as_str()).collect();
        match id {
            Some(_) => {}
            None if candidates.is_empty() => {
                text.push_str("# Records are numbered: no column names each record.\n");
            }
            None => {
                let _ = writeln!(text, "# Records are numbered; --id could name: {}.", candidates.join(", "));
            }
        }
        // The schema's own form, with each field's reason above it.
        let mut fields = self.columns.iter().filter(|column| Some(column.name.as_str()) != id);
        for line in schema.to_toml().lines() {
            if line.trim() == "[[fields]]"
                && let Some(column) = fields.next()
            {
                let _ = writeln!(text, "# {}", column.reason.replace(['\n', '\r'], " "));
            }
            text.push_str(line);
            text.push('\n');
        }
        Ok(text)
    }
}
