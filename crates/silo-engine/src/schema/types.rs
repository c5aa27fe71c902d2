//! Types of fields, and how their numbers map to sort keys.

use serde::{Deserialize, Serialize};

/// The type of a field's values.
///
/// In TOML: `bool`, `i8` … `i64`, `u8` … `u64` (`integer` is `i64`), `f32`, `f64` (`float`), `string`,
/// `date`, `time(s)`, `time(ms)`, `time(us)`, `time(ns)` (`time` is `time(s)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FieldType {
    /// True or false.
    Bool,
    /// A signed integer of so many bits: 8, 16, 32 or 64.
    Signed(u8),
    /// An unsigned integer of so many bits: 8, 16, 32 or 64.
    Unsigned(u8),
    /// A float of so many bits, 32 or 64. Never NaN.
    Float(u8),
    /// UTF-8 text.
    String,
    /// A moment: a signed 64-bit count of the unit since 1970-01-01T00:00:00Z.
    Time(TimeUnit),
}

/// What a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeUnit {
    /// Days: a date.
    Days,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds; from 1677 to 2262.
    Nanoseconds,
}

impl TimeUnit {
    /// Nanoseconds in the unit.
    #[must_use]
    pub fn nanoseconds(self) -> i64 {
        match self {
            Self::Days => 86_400_000_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        }
    }
}

/// Every type and its name in a schema.
const NAMES: [(FieldType, &str); 17] = [
    (FieldType::Bool, "bool"),
    (FieldType::Signed(8), "i8"),
    (FieldType::Signed(16), "i16"),
    (FieldType::Signed(32), "i32"),
    (FieldType::Signed(64), "i64"),
    (FieldType::Unsigned(8), "u8"),
    (FieldType::Unsigned(16), "u16"),
    (FieldType::Unsigned(32), "u32"),
    (FieldType::Unsigned(64), "u64"),
    (FieldType::Float(32), "f32"),
    (FieldType::Float(64), "f64"),
    (FieldType::String, "string"),
    (FieldType::Time(TimeUnit::Days), "date"),
    (FieldType::Time(TimeUnit::Seconds), "time(s)"),
    (FieldType::Time(TimeUnit::Milliseconds), "time(ms)"),
    (FieldType::Time(TimeUnit::Microseconds), "time(us)"),
    (FieldType::Time(TimeUnit::Nanoseconds), "time(ns)"),
];

/// Other spellings.
const ALIASES: [(&str, &str); 7] = [
    ("integer", "i64"),
    ("unsigned", "u64"),
    ("float", "f64"),
    ("time", "time(s)"),
    ("boolean", "bool"),
    ("text", "string"),
    ("str", "string"),
];

impl FieldType {
    /// Its name in a schema.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(this, _)| *this == self).map_or("unknown", |(_, name)| name)
    }

    /// The type of a name, or what is wrong with it.
    ///
    /// # Errors
    /// A message that lists the names, for a name that is none.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        if let Some((this, _)) = NAMES.iter().find(|(_, known)| *known == name) {
            return Ok(*this);
        }
        let known: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
        Err(format!("type {name:?} is unknown; there are: {}", known.join(", ")))
    }

    /// The least and the greatest number of an integer or time type.
    #[must_use]
    pub fn integer_range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::Signed(bits) => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
            Self::Unsigned(bits) => (0, (1_i128 << bits) - 1),
            Self::Time(_) => (i128::from(i64::MIN), i128::from(i64::MAX)),
            Self::Bool | Self::Float(_) | Self::String => return None,
        })
    }

    /// True for integers and times.
    #[must_use]
    pub fn is_integer(self) -> bool {
        self.integer_range().is_some()
    }
}

impl From<FieldType> for String {
    fn from(this: FieldType) -> Self {
        this.name().to_owned()
    }
}

impl TryFrom<String> for FieldType {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::from_name(&name)
    }
}

/// By what a field can be found. In TOML a list: `index = ["filter", "sort"]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct IndexKinds {
    /// A bitmap per value: for up to some ten thousand values.
    pub filter: bool,
    /// Postings: for any number of values.
    pub high: bool,
    /// A column: for order and ranges.
    pub sort: bool,
}

impl IndexKinds {
    /// No index: the field is only stored.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// With bitmaps.
    #[must_use]
    pub fn filter(mut self) -> Self {
        self.filter = true;
        self
    }

    /// With postings.
    #[must_use]
    pub fn high(mut self) -> Self {
        self.high = true;
        self
    }

    /// With a column.
    #[must_use]
    pub fn sort(mut self) -> Self {
        self.sort = true;
        self
    }

    /// True if the field is only stored.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl From<IndexKinds> for Vec<String> {
    fn from(this: IndexKinds) -> Self {
        let kinds = [(this.filter, "filter"), (this.high, "high"), (this.sort, "sort")];
        kinds.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.to_owned()).collect()
    }
}

impl TryFrom<Vec<String>> for IndexKinds {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        let mut this = Self::default();
        for name in &names {
            match name.as_str() {
                "filter" => this.filter = true,
                "high" => this.high = true,
                "sort" => this.sort = true,
                _ => return Err(format!("index kind {name:?} is unknown; there are: filter, high, sort")),
            }
        }
        Ok(this)
    }
}
