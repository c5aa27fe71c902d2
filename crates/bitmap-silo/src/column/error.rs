//! What can be wrong with a column's bytes and rows.

/// Why bytes are no column page, operand or zones, or rows no column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// The bytes are more or fewer than the structure calls for.
    #[error(
        "the column's bytes have the wrong length: {what} calls for {expected} bytes, there are {got}; rebuild the field or restore it from a backup"
    )]
    Length {
        /// The structure.
        what: &'static str,
        /// Bytes it has by its header.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The bytes break a rule of the format.
    #[error(
        "the column's bytes are malformed at byte {offset}: {what}; rebuild the field or restore it from a backup"
    )]
    Malformed {
        /// The broken rule.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// Slots and keys that do not pair up.
    #[error("{slots} slots and {keys} keys do not pair up; pass as many of each")]
    RowLengths {
        /// How many slots.
        slots: usize,
        /// How many keys.
        keys: usize,
    },
    /// Slots of a page that do not ascend.
    #[error("slot {got} comes after slot {previous}; pass slots in ascending order, each once")]
    SlotOrder {
        /// The slot before.
        previous: u16,
        /// The slot that is not above it.
        got: u16,
    },
}

impl ColumnError {
    pub(super) fn length(what: &'static str, expected: usize, got: usize) -> Self {
        Self::Length { what, expected: expected as u64, got: got as u64 }
    }

    pub(super) fn malformed(what: &'static str, offset: usize) -> Self {
        Self::Malformed { what, offset: offset as u64 }
    }
}
