//! Rows on their way in: batches of typed columns without an allocation per value.

/// Some consecutive rows of an input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowBatch {
    /// Position of the first row in the whole input, from 0: of two rows with one id the later wins.
    pub first_row: u64,
    /// How many rows.
    pub rows: usize,
    /// The columns, each with `rows` values, in the order that the load was told.
    pub columns: Vec<Column>,
}

/// One column of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Bit `i % 64` of word `i / 64` says that row `i` is null; empty where no row is.
    pub nulls: Vec<u64>,
    /// The values; a null row has a placeholder (0, no bytes, no items).
    pub values: Values,
}

/// Values of a column by type.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Booleans, one byte each, 0 or 1.
    Bool(Vec<u8>),
    /// Integers and times (counts of the field's unit). Unsigned 64-bit fields store their bits.
    Int(Vec<i64>),
    /// Floats, never NaN.
    Float(Vec<f64>),
    /// UTF-8 text: row `i` ends at `ends[i]` and begins where the one before ends.
    Text {
        /// Ends of the rows in `bytes`.
        ends: Vec<u32>,
        /// All rows' bytes.
        bytes: Vec<u8>,
    },
    /// Several values a row: those of row `i` end at `ends[i]`. Items are never null.
    List {
        /// Ends of the rows in `items`.
        ends: Vec<u32>,
        /// All rows' items.
        items: Box<Values>,
    },
}
