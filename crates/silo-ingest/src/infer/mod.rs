//! A schema guessed from data, with its reasons.

#[cfg(feature = "parquet")]
mod parquet;
mod sample;
mod schema;
mod stats;

use std::collections::HashMap;
use std::path::PathBuf;

use silo_engine::{FieldType, IndexKinds};

use crate::error::{Error, Result};
use crate::spec::{ColumnSpec, Multi, Nulls};
use stats::{NULL_SPELLINGS, Stats};

/// What is known beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InferOptions {
    /// Spellings of null that were told.
    pub nulls: Vec<String>,
    /// Columns whose text is split into several values, and their separators.
    pub split: Vec<(String, String)>,
}

/// What files were found to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Inference {
    /// Their columns, in the order of their first appearance.
    pub columns: Vec<InferredColumn>,
    /// Spellings of null: those that were told and those that were recognized.
    pub nulls: Vec<String>,
    /// Rows looked at.
    pub rows: u64,
    /// Rows there are; an estimate unless all were looked at.
    pub estimated_rows: u64,
    /// Whether all rows were looked at.
    pub whole: bool,
}

/// A column as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredColumn {
    /// Its name in the files.
    pub name: String,
    /// The narrowest type that takes its values.
    pub kind: FieldType,
    /// Where several values come from.
    pub multi: Option<Multi>,
    /// Whether some row has no value.
    pub nullable: bool,
    /// Distinct values, estimated for all rows.
    pub distinct: u64,
    /// Whether no value was seen twice.
    pub unique: bool,
    /// By what it should be found.
    pub index: IndexKinds,
    /// Why, in words.
    pub reason: String,
}

impl InferredColumn {
    /// What to read it as.
    #[must_use]
    pub fn spec(&self) -> ColumnSpec {
        ColumnSpec { name: self.name.clone(), kind: self.kind, multi: self.multi.clone(), optional: true }
    }
}

/// Looks at files and guesses what they hold. `-`, which can be read only once, is refused.
///
/// # Errors
///
/// Files that cannot be read.
pub fn infer(files: &[PathBuf], options: &InferOptions) -> Result<Inference> {
    let mut table = Table { separators: options.split.iter().cloned().collect(), ..Table::default() };
    table.nulls = Nulls::new(options.nulls.iter().cloned());
    table.estimated = 0.0;
    table.whole = true;
    for file in files {
        if file.as_os_str() == "-" {
            return Err(Error::Options(
                "a schema cannot be guessed from standard input, which is read once; give one, or load a file".to_owned(),
            ));
        }
        sample::see(file, &mut table)?;
    }
    Ok(schema::decide(table, options))
}

/// All columns as they are being looked at.
#[derive(Debug, Default)]
struct Table {
    columns: Vec<(String, Stats)>,
    places: HashMap<String, usize>,
    separators: HashMap<String, String>,
    /// Spellings of null that were told.
    nulls: Nulls,
    rows: u64,
    estimated: f64,
    whole: bool,
}

impl Table {
    /// A column, which may be new.
    fn column(&mut self, name: &str) -> &mut Stats {
        let next = self.columns.len();
        let place = *self.places.entry(name.to_owned()).or_insert(next);
        if place == next {
            self.columns.push((name.to_owned(), Stats::default()));
        }
        match self.columns.get_mut(place) {
            Some((_, stats)) => stats,
            None => unreachable!("every place has a column"),
        }
    }

    fn separator(&self, name: &str) -> Option<String> {
        self.separators.get(name).filter(|separator| !separator.is_empty()).cloned()
    }

    /// So many rows were seen in so many units of all, if all are known.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn saw(&mut self, rows: u64, seen: usize, of: Option<usize>) {
        self.rows += rows;
        self.whole &= of == Some(seen);
        // What cannot be known counts as ten times what was seen.
        let factor = of.map_or(10.0, |of| of as f64 / seen.max(1) as f64);
        self.estimated += rows as f64 * factor;
    }
}
