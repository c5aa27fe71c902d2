//! What a load wants from the columns of a file.

use silo_engine::FieldType;

/// A column that is read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name in the file's header, object keys or Parquet schema.
    pub name: String,
    /// What its values become.
    pub kind: FieldType,
    /// Whether rows have several values, and how text is split into them.
    pub multi: Option<Multi>,
    /// A file without the column gives nulls; else it is an error.
    pub optional: bool,
}

impl ColumnSpec {
    /// A required single-valued column.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: FieldType) -> ColumnSpec {
        ColumnSpec { name: name.into(), kind, multi: None, optional: false }
    }

    /// The same column with several values a row.
    #[must_use]
    pub fn multi(self, multi: Multi) -> ColumnSpec {
        ColumnSpec { multi: Some(multi), ..self }
    }
}

/// Where the values of a multi-valued column come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Multi {
    /// Arrays of NDJSON and lists of Parquet; any other value is a list of one.
    Lists,
    /// Text is split at this separator, which is not empty; arrays and lists as above.
    Split(String),
}

/// The texts that stand for a null besides the empty field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nulls {
    texts: Vec<String>,
    /// Bit n: one of them has n bytes; bit 63: 63 or more.
    lengths: u64,
}

impl Nulls {
    /// From the spellings; the empty one goes without saying.
    pub fn new(texts: impl IntoIterator<Item = impl Into<String>>) -> Nulls {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        let lengths = texts.iter().fold(0, |bits, text| bits | 1 << text.len().min(63));
        Nulls { texts, lengths }
    }

    /// Whether bytes are one of the spellings.
    #[inline]
    pub(crate) fn contains(&self, bytes: &[u8]) -> bool {
        self.lengths >> bytes.len().min(63) & 1 == 1 && self.texts.iter().any(|text| text.as_bytes() == bytes)
    }

    /// The spellings.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}
