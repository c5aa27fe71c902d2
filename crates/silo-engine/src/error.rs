//! Everything that can go wrong, each with what to do about it.

use std::fmt;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A schema that cannot be used.
    #[error("schema: {0}")]
    Schema(String),
    /// A filter that cannot be read or does not fit the schema.
    #[error("{0}")]
    Filter(#[from] FilterError),
    /// A document that does not fit the schema.
    #[error("{0}")]
    Document(String),
    /// Something asked of a query that cannot be answered as asked.
    #[error("query: {0}")]
    Query(String),
    /// A load that cannot go on.
    #[error("load: {0}")]
    Load(String),
    /// Temporary files of a load, which lie in the silo's directory.
    #[error("temporary files of the load: {0}; make room in the silo's directory and load again")]
    Temporary(#[from] std::io::Error),
    /// Bytes in the silo that this crate did not write.
    #[error("damaged {what}: {why}; run `check` to see the extent and `repair` to rebuild the indexes")]
    Damaged {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Postings that could not be built.
    #[error("postings: {0}")]
    Postings(#[from] bitmap_silo::postings::PostingsError),
    /// The store below.
    #[error(transparent)]
    Store(#[from] datasilo::Error),
    /// The indexes below.
    #[error(transparent)]
    Index(bitmap_silo::store::StoreError),
}

impl From<bitmap_silo::store::StoreError> for Error {
    fn from(error: bitmap_silo::store::StoreError) -> Self {
        match error {
            bitmap_silo::store::StoreError::Silo(error) => Self::Store(error),
            other => Self::Index(other),
        }
    }
}

impl Error {
    /// Bytes that are not what was written.
    pub(crate) fn damaged(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Damaged { what: what.into(), why: why.to_string() }
    }
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// What is wrong and what to do.
    pub message: String,
    /// The filter's text and the character (from 0) at which the fault lies, if it came as text.
    pub at: Option<(String, usize)>,
}

impl FilterError {
    /// An error without a place.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None }
    }

    /// The column, from 1, if the filter came as text.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.at.as_ref().map(|(_, at)| at + 1)
    }
}

impl std::error::Error for FilterError {}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((text, at)) = &self.at else { return write!(f, "filter: {}", self.message) };
        // The caret's line must have the width of the text before the fault.
        let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
        let line_start = text.chars().take(*at).collect::<String>().rfind('\n').map_or(0, |nl| nl + 1);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let lead = text.get(..line_start).unwrap_or_default().chars().count();
        let caret: String = line.chars().take(at - lead).map(blank).collect();
        write!(f, "filter, column {}: {}\n  {line}\n  {caret}^", at + 1, self.message)
    }
}

/// The name nearest to a misspelt one, as the end of an error message.
pub(crate) fn did_you_mean<'a>(wrong: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let lower = wrong.to_lowercase();
    let nearest = names
        .clone()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 2.max(name.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, name)) = nearest {
        return format!("did you mean {name:?}?");
    }
    let mut known: Vec<&str> = names.take(21).collect();
    let more = if known.len() > 20 { ", …" } else { "" };
    known.truncate(20);
    format!("there are: {}{more}", known.join(", "))
}
