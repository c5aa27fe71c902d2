//! What a load wants from the columns of a file.

/// A column that is read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name in the file's header, object keys or Parquet schema.
    pub name: String,
    /// What its values become.
    pub kind: ColumnKind,
    /// Whether rows have several values, and how text is split into them.
    pub multi: Option<Multi>,
    /// A file without the column gives nulls; else it is an error.
    pub optional: bool,
}

impl ColumnSpec {
    /// A required single-valued column.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: ColumnKind) -> ColumnSpec {
        ColumnSpec { name: name.into(), kind, multi: None, optional: false }
    }

    /// The same column with several values a row.
    #[must_use]
    pub fn multi(self, multi: Multi) -> ColumnSpec {
        ColumnSpec { multi: Some(multi), ..self }
    }
}

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Yes or no.
    Bool,
    /// Whole numbers.
    Int {
        /// Width: 8, 16, 32 or 64.
        bits: u8,
        /// With negative numbers.
        signed: bool,
    },
    /// 64-bit floating point.
    Float,
    /// UTF-8.
    Text,
    /// Points in time, as counts of a unit since 1970 in UTC.
    Time(TimeUnit),
}

impl ColumnKind {
    /// Lowest and highest number of a whole-number kind; all of `i64` for others.
    pub(crate) fn range(self) -> (i128, i128) {
        match self {
            ColumnKind::Int { bits, signed: true } => {
                (-(1 << (bits.clamp(1, 64) - 1)), (1 << (bits.clamp(1, 64) - 1)) - 1)
            }
            ColumnKind::Int { bits, signed: false } => (0, (1 << bits.clamp(1, 64)) - 1),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        }
    }
}

/// What a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// Days.
    Day,
    /// Seconds.
    Second,
    /// Thousandths of a second.
    Milli,
    /// Millionths of a second.
    Micro,
    /// Thousand-millionths of a second.
    Nano,
}

impl TimeUnit {
    /// Nanoseconds in one.
    pub(crate) fn nanos(self) -> i128 {
        match self {
            TimeUnit::Day => 86_400_000_000_000,
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Milli => 1_000_000,
            TimeUnit::Micro => 1_000,
            TimeUnit::Nano => 1,
        }
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
