//! What can be wrong with postings.

/// Why bytes are no postings, or pairs cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostingsError {
    /// The bytes end before the structure does.
    #[error(
        "postings end early: {what} needs {expected} bytes, {got} are there; restore the value from a backup or rebuild the field"
    )]
    Truncated {
        /// The structure that did not fit.
        what: &'static str,
        /// Bytes the value needs up to the end of it.
        expected: u64,
        /// Bytes the value has.
        got: u64,
    },
    /// The bytes break a rule of the format.
    #[error(
        "postings are malformed at byte {offset}: {what}; restore the value from a backup or rebuild the field"
    )]
    Malformed {
        /// The broken rule.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// Pairs were written in other than ascending order.
    #[error("pair {got:?} was written after {last:?}; sort pairs by value, then slot")]
    PairOrder {
        /// The last pair written, value and slot.
        last: (u64, u32),
        /// The pair below it.
        got: (u64, u32),
    },
    /// More pairs or markers than a page can have.
    #[error("{entries} entries do not fit one page, which has at most {max}; split them")]
    PageFull {
        /// Pairs or markers.
        entries: u64,
        /// The most a page can have.
        max: u64,
    },
}

impl PostingsError {
    pub(super) fn truncated(what: &'static str, expected: usize, got: usize) -> Self {
        Self::Truncated { what, expected: expected as u64, got: got as u64 }
    }

    pub(super) fn malformed(what: &'static str, offset: usize) -> Self {
        Self::Malformed { what, offset: offset as u64 }
    }
}
