//! Which columns of files go where in the records of a schema.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use silo_engine::columns::{Column, RowBatch, Values};
use silo_engine::{Field, FieldType, Schema};

use crate::error::{Cause, Error, Result};
use crate::input::{self, Format};
use crate::join::{Join, JoinText};
use crate::progress::Progress;
use crate::read::{Refusal, Sink};
use crate::spec::{ColumnSpec, Multi};

/// Where a column of the batches goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// It is the record's id.
    Id,
    /// It is a field, by position in the schema.
    Field(usize),
    /// Its values are added to those of a field, by position in the schema.
    Add(usize),
    /// It is only looked up in a joined file.
    Ignore,
}

/// What a command line says about columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// The column that is the id; without one records are numbered.
    pub id: Option<String>,
    /// Columns and the multi-valued fields that their values are added to.
    pub add: Vec<(String, String)>,
    /// Fields whose text is split, and the separators.
    pub split: Vec<(String, String)>,
    /// Files that are looked up.
    pub joins: Vec<JoinText>,
}

/// What is read, joined and stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to read from the files.
    pub columns: Vec<ColumnSpec>,
    /// What to look up.
    pub joins: Vec<Join>,
    /// Where the columns of the batches go: those read, those joined, and the number of the record if it is numbered.
    pub destinations: Vec<Destination>,
    /// Batches need the column of a [`Numbering`].
    pub numbered: bool,
}

/// The names of the columns of files, each once, in the order of their first appearance. Of NDJSON, whose lines may differ, and of standard
/// input, which can be read only once, there is nothing to know: none.
///
/// # Errors
///
/// Files that cannot be read.
pub fn column_names(files: &[PathBuf]) -> Result<Option<Vec<String>>> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        let Some(more) = names_of(file)? else { return Ok(None) };
        for name in more {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(Some(names))
}

fn names_of(file: &Path) -> Result<Option<Vec<String>>> {
    if file.as_os_str() == "-" {
        return Ok(None);
    }
    let opened = input::open(file, None, &Arc::new(Progress::default()))?;
    let delimiter = match opened.format {
        Format::Csv => b',',
        Format::Tsv => b'\t',
        Format::Ndjson => return Ok(None),
        #[cfg(feature = "parquet")]
        Format::Parquet => return crate::parquet::names(file, opened.content).map(Some),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            return Err(Error::input(file, "is a Parquet file; this program was built without"));
        }
    };
    let opened = crate::text::read::open(file, opened.content, Some(delimiter), 16 << 20)?;
    Ok(Some(opened.header))
}

/// Plans a load. `names` are the columns of the files, as [`column_names`] gives them; where they are not known every field is
/// looked for.
///
/// # Errors
///
/// Options that name columns or fields that are not there.
pub fn plan(schema: &Schema, names: Option<&[String]>, options: &PlanOptions) -> Result<Plan> {
    let mut planner = Planner {
        schema,
        names,
        separators: options.split.iter().cloned().collect(),
        plan: Plan {
            columns: Vec::new(),
            joins: Vec::new(),
            destinations: Vec::new(),
            numbered: options.id.is_none(),
        },
    };
    for (field, _) in &options.split {
        let field = planner.field(field)?;
        if !field.1.multi {
            return Err(Error::Options(format!(
                "field {:?} has one value and cannot be split",
                field.1.name
            )));
        }
    }
    if let Some(id) = &options.id {
        planner.column(id, schema.id.kind, None, Destination::Id)?;
    }
    for (column, field) in &options.add {
        let (at, field) = planner.field(field)?;
        if !field.multi {
            return Err(Error::Options(format!(
                "field {:?} has one value; values are added to fields with several",
                field.name
            )));
        }
        planner.column(column, field.kind, planner.multi(field), Destination::Add(at))?;
    }
    planner.fields(options)?;
    planner.joins(&options.joins)?;
    let mut plan = planner.plan;
    if plan.numbered {
        plan.destinations.push(Destination::Id);
    }
    Ok(plan)
}

struct Planner<'a> {
    schema: &'a Schema,
    names: Option<&'a [String]>,
    separators: HashMap<String, String>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    /// A field and its position.
    fn field(&self, name: &str) -> Result<(usize, &'a Field)> {
        let at = self.schema.position(name).ok_or_else(|| Error::Options(self.schema.unknown_field(name)))?;
        match self.schema.fields.get(at) {
            Some(field) => Ok((at, field)),
            None => Err(Error::Options(self.schema.unknown_field(name))),
        }
    }

    fn multi(&self, field: &Field) -> Option<Multi> {
        field.multi.then(|| match self.separators.get(&field.name) {
            Some(separator) => Multi::Split(separator.clone()),
            None => Multi::Lists,
        })
    }

    fn is_there(&self, name: &str) -> bool {
        self.names.is_none_or(|names| names.iter().any(|other| other == name))
    }

    fn column(&mut self, name: &str, kind: FieldType, multi: Option<Multi>, to: Destination) -> Result<()> {
        if !self.is_there(name) {
            let names = self.names.unwrap_or_default().join(", ");
            return Err(Error::Options(format!("there is no column {name:?}; there are {names}")));
        }
        // Of several files some may lack it, but not the id.
        let optional = to != Destination::Id;
        self.plan.columns.push(ColumnSpec { name: name.to_owned(), kind, multi, optional });
        self.plan.destinations.push(to);
        Ok(())
    }

    /// The fields that have the name of a column.
    fn fields(&mut self, options: &PlanOptions) -> Result<()> {
        for (at, field) in self.schema.fields.iter().enumerate() {
            let given = options.add.iter().any(|(_, to)| *to == field.name)
                || options.joins.iter().any(|join| join.fields.iter().any(|(name, _)| *name == field.name));
            let id = options.id.as_deref() == Some(field.name.as_str());
            if !given && !id && field.compute.is_none() && self.is_there(&field.name) {
                self.column(&field.name, field.kind, self.multi(field), Destination::Field(at))?;
            }
        }
        Ok(())
    }

    fn joins(&mut self, joins: &[JoinText]) -> Result<()> {
        let mut appended = Vec::new();
        for join in joins {
            let single = |spec: &ColumnSpec| spec.name == join.column && spec.multi.is_none();
            let column = if let Some(column) = self.plan.columns.iter().position(single) {
                column
            } else {
                self.column(&join.column, FieldType::String, None, Destination::Ignore)?;
                self.plan.columns.len() - 1
            };
            let named = if join.fields.is_empty() { self.all_fields(join)? } else { join.fields.clone() };
            let mut fields = Vec::new();
            for (name, of) in named {
                let (at, field) = self.field(&name)?;
                let to = Destination::Field(at);
                if appended.contains(&to) {
                    return Err(Error::Options(format!("two joins give field {name:?}")));
                }
                fields.push(ColumnSpec {
                    name: of,
                    kind: field.kind,
                    multi: self.multi(field),
                    optional: false,
                });
                appended.push(to);
            }
            self.plan.joins.push(Join { file: join.file.clone(), key: join.key.clone(), column, fields });
        }
        self.plan.destinations.append(&mut appended);
        Ok(())
    }

    /// The columns of a joined file that have the name of a field which nothing else gives.
    fn all_fields(&self, join: &JoinText) -> Result<Vec<(String, String)>> {
        let names = column_names(std::slice::from_ref(&join.file))?;
        let names = names.ok_or_else(|| {
            let example = format!("{}:{}={}:FIELD", join.file.display(), join.key, join.column);
            Error::Options(format!(
                "name the fields to take, as in {example}: the file does not tell its columns"
            ))
        })?;
        let free = |name: &String| {
            let to = self.schema.position(name).map(Destination::Field);
            *name != join.key && to.is_some_and(|to| !self.plan.destinations.contains(&to))
        };
        Ok(names.into_iter().filter(free).map(|name| (name.clone(), name)).collect())
    }
}

/// Appends the number of each record to batches on their way to another sink: a column of integers.
pub struct Numbering<'a> {
    first: i64,
    inner: &'a dyn Sink,
}

impl std::fmt::Debug for Numbering<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Numbering").field("first", &self.first).finish_non_exhaustive()
    }
}

impl<'a> Numbering<'a> {
    /// The first row of the input has this number.
    #[must_use]
    pub fn new(first: i64, inner: &'a dyn Sink) -> Numbering<'a> {
        Numbering { first, inner }
    }
}

impl Sink for Numbering<'_> {
    fn batch(&self, mut batch: RowBatch) -> Result<Vec<Refusal>, Cause> {
        let number = |row: usize| {
            let at = i64::try_from(batch.first_row).ok()?.checked_add(i64::try_from(row).ok()?)?;
            self.first.checked_add(at)
        };
        let numbers: Option<Vec<i64>> = (0..batch.rows).map(number).collect();
        let values = Values::Int(numbers.ok_or("more records than numbers")?);
        batch.columns.push(Column { nulls: Vec::new(), values });
        self.inner.batch(batch)
    }
}
