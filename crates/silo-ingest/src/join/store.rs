//! Columns kept in memory, numbers at the width that their range needs.

use silo_engine::columns::{Column, RowBatch, Values};

use crate::text::position;

/// A row of one of several batches.
pub(super) type RowOf = (u32, u32);

/// A column of a table.
#[derive(Debug)]
pub(super) struct Store {
    /// Bit per row; empty where no row is null.
    nulls: Vec<u64>,
    values: Stored,
}

#[derive(Debug)]
enum Stored {
    Bool(Vec<u8>),
    Int(Packed),
    Float(Vec<f64>),
    Text { ends: Vec<u64>, bytes: Vec<u8> },
    List { ends: Vec<u64>, items: Box<Stored> },
}

/// Integers as differences to the lowest.
#[derive(Debug)]
struct Packed {
    low: i64,
    differences: Differences,
}

#[derive(Debug)]
enum Differences {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

impl Packed {
    fn new(numbers: impl Iterator<Item = i64> + Clone) -> Packed {
        let low = numbers.clone().min().unwrap_or(0);
        let high = numbers.clone().max().unwrap_or(0);
        let differences = numbers.map(|number| number.wrapping_sub(low).cast_unsigned());
        let differences = match high.wrapping_sub(low).cast_unsigned() {
            0..=0xff => Differences::U8(differences.map(|value| narrow(value)).collect()),
            0x100..=0xffff => Differences::U16(differences.map(|value| narrow(value)).collect()),
            0x1_0000..=0xffff_ffff => Differences::U32(differences.map(|value| narrow(value)).collect()),
            _ => Differences::U64(differences.collect()),
        };
        Packed { low, differences }
    }

    fn get(&self, row: usize) -> i64 {
        let difference = match &self.differences {
            Differences::U8(all) => all.get(row).copied().map(u64::from),
            Differences::U16(all) => all.get(row).copied().map(u64::from),
            Differences::U32(all) => all.get(row).copied().map(u64::from),
            Differences::U64(all) => all.get(row).copied(),
        };
        self.low.wrapping_add(difference.unwrap_or(0).cast_signed())
    }

    fn heap_bytes(&self) -> usize {
        match &self.differences {
            Differences::U8(all) => all.len(),
            Differences::U16(all) => all.len() * 2,
            Differences::U32(all) => all.len() * 4,
            Differences::U64(all) => all.len() * 8,
        }
    }
}

/// A number that was found to fit.
fn narrow<T: TryFrom<u64> + Default>(value: u64) -> T {
    T::try_from(value).unwrap_or_default()
}

fn is_null(nulls: &[u64], row: usize) -> bool {
    nulls.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
}

fn span(ends: &[u32], row: usize) -> std::ops::Range<usize> {
    let from = row.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    from as usize..ends.get(row).copied().unwrap_or(from) as usize
}

fn span_of(ends: &[u64], row: usize) -> std::ops::Range<usize> {
    let at = |row: usize| ends.get(row).map_or(0, |&end| usize::try_from(end).unwrap_or(usize::MAX));
    row.checked_sub(1).map_or(0, at)..at(row)
}

impl Store {
    /// The rows of a column of batches, in an order.
    pub(super) fn gather(batches: &[RowBatch], column: usize, order: &[RowOf]) -> Store {
        let columns: Vec<&Column> = batches.iter().filter_map(|batch| batch.columns.get(column)).collect();
        let mut nulls = Vec::new();
        if columns.iter().any(|column| !column.nulls.is_empty()) {
            nulls.resize(order.len().div_ceil(64), 0u64);
            for (to, &(batch, row)) in order.iter().enumerate() {
                let null = columns.get(batch as usize).is_some_and(|column| is_null(&column.nulls, row as usize));
                if let (true, Some(word)) = (null, nulls.get_mut(to / 64)) {
                    *word |= 1 << (to % 64);
                }
            }
        }
        let values: Vec<&Values> = columns.iter().map(|column| &column.values).collect();
        Store { nulls, values: Stored::gather(&values, order) }
    }

    /// Bytes of memory.
    pub(super) fn heap_bytes(&self) -> usize {
        self.nulls.len() * 8 + self.values.heap_bytes()
    }

    /// Appends a row that may be null; whether it is not.
    pub(super) fn push_to(&self, row: u32, values: &mut Values) -> bool {
        let there = !is_null(&self.nulls, row as usize);
        if there {
            self.values.push_to(row as usize, values);
        }
        there
    }
}

impl Stored {
    fn gather(batches: &[&Values], order: &[RowOf]) -> Stored {
        macro_rules! plain {
            ($kind:ident) => {
                order.iter().map(|&(batch, row)| match batches.get(batch as usize) {
                    Some(Values::$kind(all)) => all.get(row as usize).copied().unwrap_or_default(),
                    _ => Default::default(),
                })
            };
        }
        match batches.first() {
            None | Some(Values::Bool(_)) => Stored::Bool(plain!(Bool).collect()),
            Some(Values::Int(_)) => Stored::Int(Packed::new(plain!(Int))),
            Some(Values::Float(_)) => Stored::Float(plain!(Float).collect()),
            Some(Values::Text { .. }) => {
                let (mut all_ends, mut all) = (Vec::with_capacity(order.len()), Vec::new());
                for &(batch, row) in order {
                    if let Some(Values::Text { ends, bytes }) = batches.get(batch as usize) {
                        all.extend_from_slice(bytes.get(span(ends, row as usize)).unwrap_or_default());
                    }
                    all_ends.push(all.len() as u64);
                }
                all.shrink_to_fit();
                Stored::Text { ends: all_ends, bytes: all }
            }
            Some(Values::List { .. }) => {
                let (mut all_ends, mut items) = (Vec::with_capacity(order.len()), Vec::new());
                let mut inner = Vec::new();
                for batch in batches {
                    if let Values::List { items, .. } = batch {
                        inner.push(&**items);
                    }
                }
                for &(batch, row) in order {
                    if let Some(Values::List { ends, .. }) = batches.get(batch as usize) {
                        items.extend(span(ends, row as usize).map(|item| (batch, position(item))));
                    }
                    all_ends.push(items.len() as u64);
                }
                Stored::List { ends: all_ends, items: Box::new(Stored::gather(&inner, &items)) }
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Stored::Bool(all) => all.len(),
            Stored::Int(all) => all.heap_bytes(),
            Stored::Float(all) => all.len() * 8,
            Stored::Text { ends, bytes } => ends.len() * 8 + bytes.len(),
            Stored::List { ends, items } => ends.len() * 8 + items.heap_bytes(),
        }
    }

    /// Appends a row's value, or the items of its list.
    fn push_to(&self, row: usize, values: &mut Values) {
        match (self, values) {
            (Stored::Bool(all), Values::Bool(values)) => values.extend(all.get(row)),
            (Stored::Int(all), Values::Int(values)) => values.push(all.get(row)),
            (Stored::Float(all), Values::Float(values)) => values.extend(all.get(row)),
            (Stored::Text { ends, bytes: all }, Values::Text { ends: to, bytes }) => {
                bytes.extend_from_slice(all.get(span_of(ends, row)).unwrap_or_default());
                to.push(position(bytes.len()));
            }
            (Stored::List { ends, items }, values) => {
                for item in span_of(ends, row) {
                    items.push_to(item, values);
                }
            }
            _ => {}
        }
    }
}
