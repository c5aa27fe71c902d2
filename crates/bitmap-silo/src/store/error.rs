//! What can go wrong in a store.

use crate::column::ColumnError;
use crate::error::BitmapError;
use crate::postings::PostingsError;

use super::fields::FieldKind;

/// Why a call on a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The silo below refused.
    #[error(transparent)]
    Silo(#[from] datasilo::Error),
    /// A value in the silo is not what the format says.
    #[error("{place}: {source}")]
    Bitmap {
        /// Whose value it is.
        place: String,
        /// What is wrong with it.
        source: BitmapError,
    },
    /// A value in the silo breaks a rule of the store's format.
    #[error("{place}: {what}; restore the silo from a backup or rebuild the field")]
    Malformed {
        /// Whose value it is.
        place: String,
        /// The broken rule.
        what: String,
    },
    /// Rows or a page given by the caller are no column.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// Pairs or a page given by the caller are no postings.
    #[error(transparent)]
    Postings(#[from] PostingsError),
    /// No field has this name.
    #[error("no field is named {name:?}; there are: {known}")]
    UnknownField {
        /// The name asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// The field was dropped, or belongs to another store.
    #[error("field {name:?} (id {id}) is not in this store or was dropped: get it from the store's fields")]
    NoSuchField {
        /// The name it had.
        name: String,
        /// Its id.
        id: u32,
    },
    /// The field is of another kind.
    #[error("field {name:?} has kind {existing:?}, not {wanted:?}: use it as that, or choose another name")]
    FieldKind {
        /// The field.
        name: String,
        /// Its kind.
        existing: FieldKind,
        /// The kind asked for.
        wanted: FieldKind,
    },
    /// A name that cannot be a field's.
    #[error("field {name:?} cannot be made: {why}")]
    InvalidField {
        /// The name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// Operations on a bulk load, or arguments of it, that contradict each other.
    #[error("{0}")]
    Usage(String),
}

/// The result of a call on a store.
pub type StoreResult<T> = Result<T, StoreError>;

impl StoreError {
    pub(crate) fn bitmap(place: impl FnOnce() -> String) -> impl FnOnce(BitmapError) -> Self {
        move |source| Self::Bitmap { place: place(), source }
    }

    pub(crate) fn malformed(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Malformed { place: place.into(), what: what.into() }
    }
}
