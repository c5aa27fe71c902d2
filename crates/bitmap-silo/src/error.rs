//! What can be wrong with bytes and arguments.

/// Why bytes are no bitmap, or an argument no slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitmapError {
    /// The bytes end before the structure does.
    #[error(
        "the bitmap's bytes end early: {what} at byte {offset} needs {expected} bytes, {got} are left; restore the value from a backup or rebuild it"
    )]
    Truncated {
        /// The structure that did not fit.
        what: &'static str,
        /// Where it starts.
        offset: u64,
        /// Bytes it needs.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The bytes break a rule of the format.
    #[error(
        "the bitmap's bytes are malformed at byte {offset}: {what}; restore the value from a backup or rebuild it"
    )]
    Malformed {
        /// The broken rule.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// Chunks were written in other than ascending order.
    #[error("chunk {got} was written after chunk {last}; write chunks in ascending order")]
    ChunkOrder {
        /// The last key written.
        last: u16,
        /// The key that is not above it.
        got: u16,
    },
    /// More slots than 32 bits number.
    #[error("rows end at slot {slots}, past the last of 4,294,967,295; split them")]
    SlotRange {
        /// One past the last slot.
        slots: u64,
    },
    /// Slots and values that do not pair up.
    #[error("{slots} slots and {values} values do not pair up; pass as many of each")]
    RowLengths {
        /// How many slots.
        slots: usize,
        /// How many values.
        values: usize,
    },
    /// A value beyond those announced.
    #[error("value {value} is not below the value count {value_count}; number values from zero")]
    ValueRange {
        /// The value.
        value: u32,
        /// The number of values announced.
        value_count: u32,
    },
    /// Parts to be merged overlap or are out of order.
    #[error(
        "part {part} does not start above the last chunk of the parts before it; give each chunk to one part"
    )]
    PartOrder {
        /// Index of the offending part.
        part: usize,
    },
}

impl BitmapError {
    pub(crate) fn truncated(what: &'static str, offset: usize, need: usize, len: usize) -> Self {
        Self::Truncated {
            what,
            offset: offset as u64,
            expected: need as u64,
            got: len.saturating_sub(offset) as u64,
        }
    }

    pub(crate) fn malformed(what: &'static str, offset: usize) -> Self {
        Self::Malformed { what, offset: offset as u64 }
    }
}
