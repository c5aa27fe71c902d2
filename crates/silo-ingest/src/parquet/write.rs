//! Records as Parquet.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{
    Compression, LogicalType, Repetition, TimeUnit as ParquetUnit, Type as Physical, ZstdLevel,
};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use silo_engine::{Document, FieldType, Schema, TimeUnit, Value};

use crate::error::{Error, Result};

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 17;

/// Writes records as a Parquet file: the id, then a column for each field; sets are lists.
#[derive(Debug)]
pub struct ParquetWriter<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    rows: usize,
}

/// A column of the row group that is being gathered.
#[derive(Debug)]
struct Column {
    name: String,
    kind: FieldType,
    multi: bool,
    nullable: bool,
    values: Values,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

/// Values that are there.
#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn new(writer: W, schema: &Schema) -> Result<ParquetWriter<W>> {
        let id = Column::new(&schema.id.name, schema.id.kind, false, false);
        let fields = schema
            .fields
            .iter()
            .map(|field| Column::new(&field.name, field.kind, field.multi, field.nullable));
        let columns: Vec<Column> = std::iter::once(id).chain(fields).collect();
        let types = columns.iter().map(Column::parquet_type).collect::<Result<_, _>>().map_err(failed)?;
        let root = Type::group_type_builder("record").with_fields(types).build().map_err(failed)?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer =
            SerializedFileWriter::new(writer, Arc::new(root), Arc::new(properties)).map_err(failed)?;
        Ok(ParquetWriter { writer, columns, rows: 0 })
    }

    /// Adds records, whole and of the schema.
    ///
    /// # Errors
    ///
    /// What the writer says, and times that Parquet's units cannot hold.
    pub fn write(&mut self, documents: &[Document]) -> Result<()> {
        for document in documents {
            let id = document.id.to_value();
            for (column, value) in self.columns.iter_mut().zip(std::iter::once(&id).chain(&document.values)) {
                column.push(value).map_err(|why| {
                    Error::Options(format!("record {}, field {:?}: {why}", document.id, column.name))
                })?;
            }
            self.rows += 1;
            if self.rows >= GROUP_ROWS {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Writes what is buffered, and the end of the file.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn finish(mut self) -> Result<()> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.writer.close().map(|_| ()).map_err(failed)
    }

    fn end_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column().map_err(failed)? else { break };
            column.write(writer.untyped()).map_err(failed)?;
            writer.close().map_err(failed)?;
            column.clear();
        }
        self.rows = 0;
        group.close().map(|_| ()).map_err(failed)
    }
}

/// An error of the `parquet` crate, which wraps those of the writer.
fn failed(error: ParquetError) -> Error {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => *error,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other),
    };
    Error::io(Path::new("the Parquet output"))(source)
}

impl Column {
    fn new(name: &str, kind: FieldType, multi: bool, nullable: bool) -> Column {
        let values = match kind {
            FieldType::Bool => Values::Bool(Vec::new()),
            FieldType::Signed(64) | FieldType::Unsigned(64) => Values::Int64(Vec::new()),
            FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::Time(TimeUnit::Days) => {
                Values::Int32(Vec::new())
            }
            FieldType::Time(_) => Values::Int64(Vec::new()),
            FieldType::Float(32) => Values::Float(Vec::new()),
            FieldType::Float(_) => Values::Double(Vec::new()),
            FieldType::String => Values::Text(Vec::new()),
        };
        let name = name.to_owned();
        Column { name, kind, multi, nullable, values, definitions: Vec::new(), repetitions: Vec::new() }
    }

    fn parquet_type(&self) -> Result<TypePtr, ParquetError> {
        let physical = match &self.values {
            Values::Bool(_) => Physical::BOOLEAN,
            Values::Int32(_) => Physical::INT32,
            Values::Int64(_) => Physical::INT64,
            Values::Float(_) => Physical::FLOAT,
            Values::Double(_) => Physical::DOUBLE,
            Values::Text(_) => Physical::BYTE_ARRAY,
        };
        let bits = |bits: u8| i8::try_from(bits).unwrap_or(64);
        let logical = match self.kind {
            FieldType::Bool | FieldType::Float(_) => None,
            FieldType::Signed(width) => Some(LogicalType::integer(bits(width), true)),
            FieldType::Unsigned(width) => Some(LogicalType::integer(bits(width), false)),
            FieldType::String => Some(LogicalType::String),
            FieldType::Time(TimeUnit::Days) => Some(LogicalType::Date),
            FieldType::Time(TimeUnit::Seconds | TimeUnit::Milliseconds) => {
                Some(LogicalType::timestamp(true, ParquetUnit::MILLIS))
            }
            FieldType::Time(TimeUnit::Microseconds) => {
                Some(LogicalType::timestamp(true, ParquetUnit::MICROS))
            }
            FieldType::Time(TimeUnit::Nanoseconds) => Some(LogicalType::timestamp(true, ParquetUnit::NANOS)),
        };
        let here = if self.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let (name, repetition) =
            if self.multi { ("element", Repetition::REQUIRED) } else { (self.name.as_str(), here) };
        let leaf = Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical);
        let leaf = Arc::new(leaf.build()?);
        if !self.multi {
            return Ok(leaf);
        }
        let items =
            Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![leaf]);
        let list = Type::group_type_builder(&self.name)
            .with_repetition(here)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(items.build()?)]);
        Ok(Arc::new(list.build()?))
    }

    fn push(&mut self, value: &Value) -> Result<(), String> {
        let there = i16::from(self.nullable);
        match value {
            Value::Null => {
                self.definitions.push(0);
                self.repetitions.push(0);
            }
            Value::List(items) => {
                if items.is_empty() {
                    self.definitions.push(there);
                    self.repetitions.push(0);
                }
                for (at, item) in items.iter().enumerate() {
                    self.definitions.push(there + 1);
                    self.repetitions.push(i16::from(at > 0));
                    self.push_value(item)?;
                }
            }
            one => {
                self.definitions.push(there);
                self.repetitions.push(0);
                self.push_value(one)?;
            }
        }
        Ok(())
    }

    fn push_value(&mut self, value: &Value) -> Result<(), String> {
        match (&mut self.values, value) {
            (Values::Bool(values), Value::Bool(x)) => values.push(*x),
            (Values::Int32(values), Value::Int(x)) => match (self.kind, i32::try_from(*x), u32::try_from(*x))
            {
                // Unsigned numbers are stored as their bits.
                (FieldType::Unsigned(_), _, Ok(x)) => values.push(x.cast_signed()),
                (_, Ok(x), _) => values.push(x),
                _ => return Err(format!("{x} days are beyond what Parquet's dates hold")),
            },
            (Values::Int64(values), Value::Int(x)) => {
                let factor = if self.kind == FieldType::Time(TimeUnit::Seconds) { 1_000 } else { 1 };
                match (self.kind, i64::try_from(x * factor), u64::try_from(*x)) {
                    (FieldType::Unsigned(_), _, Ok(x)) => values.push(x.cast_signed()),
                    (_, Ok(x), _) => values.push(x),
                    _ => return Err(format!("{x} seconds are beyond what Parquet's times hold")),
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "values of the field are 32-bit floats")]
            (Values::Float(values), Value::Float(x)) => values.push(*x as f32),
            (Values::Double(values), Value::Float(x)) => values.push(*x),
            (Values::Text(values), Value::Text(x)) => values.push(ByteArray::from(x.as_bytes().to_vec())),
            (_, other) => return Err(format!("a {} is not of the field's type", other.type_name())),
        }
        Ok(())
    }

    fn write(&self, writer: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let definitions = (self.nullable || self.multi).then_some(self.definitions.as_slice());
        let repetitions = self.multi.then_some(self.repetitions.as_slice());
        let written = match (writer, &self.values) {
            (ColumnWriter::BoolColumnWriter(writer), Values::Bool(values)) => {
                writer.write_batch(values, definitions, repetitions)
            }
            (ColumnWriter::Int32ColumnWriter(writer), Values::Int32(values)) => {
                writer.write_batch(values, definitions, repetitions)
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::Int64(values)) => {
                writer.write_batch(values, definitions, repetitions)
            }
            (ColumnWriter::FloatColumnWriter(writer), Values::Float(values)) => {
                writer.write_batch(values, definitions, repetitions)
            }
            (ColumnWriter::DoubleColumnWriter(writer), Values::Double(values)) => {
                writer.write_batch(values, definitions, repetitions)
            }
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(values)) => {
                writer.write_batch(values, definitions, repetitions)
            }
            _ => return Err(ParquetError::General(format!("column {:?} has another type", self.name))),
        };
        written.map(|_| ())
    }

    fn clear(&mut self) {
        self.definitions.clear();
        self.repetitions.clear();
        match &mut self.values {
            Values::Bool(values) => values.clear(),
            Values::Int32(values) => values.clear(),
            Values::Int64(values) => values.clear(),
            Values::Float(values) => values.clear(),
            Values::Double(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
    }
}
