//! Which columns a Parquet file has, and what their numbers mean.

use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit as ParquetUnit, Type as Physical};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use silo_engine::TimeUnit;

use crate::error::{Error, Result};
use crate::spec::ColumnSpec;

/// A column of primitive values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leaf {
    /// The field's name; a path with dots within groups of several columns.
    pub name: String,
    /// Its place among the file's columns.
    pub index: usize,
    /// What its values are; none for types that are not read, with their name.
    pub meaning: Result<Meaning, String>,
    /// How lists are encoded.
    pub levels: Levels,
}

/// What values mean beyond their physical type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Meaning {
    Bool,
    Signed,
    Unsigned,
    Float,
    Text,
    Time(TimeUnit),
    /// An integer to be divided by ten to this power.
    Decimal(u32),
}

/// How deep values lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Levels {
    /// The definition level of a value that is there.
    pub value: i16,
    /// The definition level of an item that is there, if perhaps null; none for columns that are not lists.
    pub item: Option<i16>,
}

/// The columns of a file.
pub(crate) fn leaves(schema: &SchemaDescriptor) -> Vec<Leaf> {
    let roots: Vec<usize> = (0..schema.num_columns()).map(|index| schema.get_column_root_idx(index)).collect();
    let leaf = |(index, column): (usize, &parquet::schema::types::ColumnDescPtr)| {
        let root = schema.get_column_root_idx(index);
        let alone = roots.iter().filter(|&&other| other == root).count() == 1;
        let name = if alone { schema.get_column_root(index).name().to_owned() } else { column.path().string() };
        let levels = Levels {
            value: column.max_def_level(),
            item: (column.max_rep_level() > 0).then(|| column.repeated_ancestor_def_level()),
        };
        let meaning = if column.max_rep_level() > 1 { Err("a list of lists".to_owned()) } else { meaning(column) };
        Leaf { name, index, meaning, levels }
    };
    schema.columns().iter().enumerate().map(leaf).collect()
}

fn meaning(column: &ColumnDescriptor) -> Result<Meaning, String> {
    let logical = column.logical_type_ref();
    let converted = column.converted_type();
    let unsigned = matches!(
        converted,
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64
    ) || matches!(logical, Some(LogicalType::Integer(integer)) if !integer.is_signed);
    let time = match (logical, converted) {
        (Some(LogicalType::Timestamp(timestamp)), _) => Some(match timestamp.unit {
            ParquetUnit::MILLIS => TimeUnit::Milliseconds,
            ParquetUnit::MICROS => TimeUnit::Microseconds,
            ParquetUnit::NANOS => TimeUnit::Nanoseconds,
        }),
        (Some(LogicalType::Date), _) | (_, ConvertedType::DATE) => Some(TimeUnit::Days),
        (_, ConvertedType::TIMESTAMP_MILLIS) => Some(TimeUnit::Milliseconds),
        (_, ConvertedType::TIMESTAMP_MICROS) => Some(TimeUnit::Microseconds),
        _ => None,
    };
    let decimal = matches!(logical, Some(LogicalType::Decimal(_))) || converted == ConvertedType::DECIMAL;
    let scale = u32::try_from(column.type_scale()).unwrap_or(0);
    match column.physical_type() {
        Physical::BOOLEAN => Ok(Meaning::Bool),
        Physical::INT96 => Ok(Meaning::Time(TimeUnit::Nanoseconds)),
        Physical::INT32 | Physical::INT64 if decimal => Ok(Meaning::Decimal(scale)),
        Physical::INT32 | Physical::INT64 => Ok(match time {
            Some(unit) => Meaning::Time(unit),
            None if unsigned => Meaning::Unsigned,
            None => Meaning::Signed,
        }),
        Physical::FLOAT | Physical::DOUBLE => Ok(Meaning::Float),
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY if decimal => Err("a decimal of bytes".to_owned()),
        Physical::BYTE_ARRAY => Ok(Meaning::Text),
        Physical::FIXED_LEN_BYTE_ARRAY => match logical {
            Some(LogicalType::Float16) => Err("16-bit floats".to_owned()),
            Some(LogicalType::Uuid) => Err("UUIDs in bytes".to_owned()),
            _ => Ok(Meaning::Text),
        },
    }
}

/// The leaf of each column; none for an optional one that is not there.
pub(crate) fn locate(file: &Path, columns: &[ColumnSpec], leaves: &[Leaf]) -> Result<Vec<Option<Leaf>>> {
    let names: Vec<String> = leaves.iter().map(|leaf| leaf.name.clone()).collect();
    let places = crate::read::locate(file, columns, &names)?;
    let mut located = Vec::new();
    for (column, place) in columns.iter().zip(places) {
        let leaf = place.and_then(|place| leaves.get(place));
        if let Some(leaf) = leaf {
            let name = &leaf.name;
            if let Err(what) = &leaf.meaning {
                return Err(Error::input(file, format!("column {name:?} holds {what}, which is not supported")));
            }
            if leaf.levels.item.is_some() && column.multi.is_none() {
                return Err(Error::input(
                    file,
                    format!("column {name:?} holds lists, but its field takes one value; make the field multi-valued"),
                ));
            }
        }
        located.push(leaf.cloned());
    }
    Ok(located)
}
