//! Rows and pairs as Parquet files.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Result, bail};
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::block::{Block, Row};
use super::files::Columns;
use super::text::{Cell, cells, spelled};

const ROWS_OF_GROUP: usize = 1 << 20;

/// Values of one column that wait for their row group.
struct Buffer {
    name: &'static str,
    values: Values,
    /// Empty for columns without nulls and lists.
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

enum Values {
    Int(Vec<i32>),
    Bool(Vec<bool>),
    Text(Vec<ByteArray>),
    List(Vec<i32>),
}

impl Buffer {
    fn new(name: &'static str, cell: &Cell<'_>) -> Self {
        let values = match cell {
            Cell::Bool(_) => Values::Bool(Vec::new()),
            Cell::List(_) | Cell::Tags(_) => Values::List(Vec::new()),
            // The default row has nulls where any row may, of these types.
            Cell::Null if name != "remixOf" => Values::Text(Vec::new()),
            Cell::Text(_) | Cell::Name(_) | Cell::Hash(_) => Values::Text(Vec::new()),
            Cell::Null | Cell::Number(_) => Values::Int(Vec::new()),
        };
        Self { name, values, definition: Vec::new(), repetition: Vec::new() }
    }

    fn schema(&self) -> String {
        let name = self.name;
        match &self.values {
            Values::Int(_) if name == "remixOf" => format!("optional int32 {name};"),
            Values::Int(_) => format!("required int32 {name};"),
            Values::Bool(_) => format!("required boolean {name};"),
            Values::Text(_) => format!("optional binary {name} (STRING);"),
            Values::List(_) => {
                format!(
                    "required group {name} (LIST) {{ repeated group list {{ required int32 element; }} }}"
                )
            }
        }
    }

    fn push_list(&mut self, items: impl Iterator<Item = i32>) {
        let Values::List(list) = &mut self.values else { return };
        let before = list.len();
        list.extend(items);
        let count = list.len() - before;
        self.definition.extend(std::iter::repeat_n(i16::from(count > 0), count.max(1)));
        self.repetition.extend((0..count.max(1)).map(|at| i16::from(at > 0)));
    }

    fn push(&mut self, cell: &Cell<'_>) {
        let present = !matches!(cell, Cell::Null);
        match (&mut self.values, cell) {
            (Values::Int(values), Cell::Number(number)) => values.push(*number as i32),
            (Values::Bool(values), Cell::Bool(set)) => values.push(*set),
            (Values::Text(values), Cell::Text(_) | Cell::Name(_) | Cell::Hash(_)) => {
                values.push(ByteArray::from(spelled(cell)));
            }
            (_, Cell::List(items)) => {
                return self.push_list(items.iter().filter(|item| **item != 0).map(|item| i32::from(*item)));
            }
            (_, Cell::Tags(tags)) => return self.push_list(tags.iter().map(|tag| i32::from(*tag))),
            _ => {}
        }
        if self.name == "remixOf" || matches!(self.values, Values::Text(_)) {
            self.definition.push(i16::from(present));
        }
    }

    fn clear(&mut self) {
        match &mut self.values {
            Values::Int(values) | Values::List(values) => values.clear(),
            Values::Bool(values) => values.clear(),
            Values::Text(values) => values.clear(),
        }
        self.definition.clear();
        self.repetition.clear();
    }
}

fn open(file: File, schema: &str) -> Result<SerializedFileWriter<File>> {
    let schema = Arc::new(parse_message_type(schema)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    Ok(SerializedFileWriter::new(file, schema, Arc::new(properties))?)
}

fn write_group(writer: &mut SerializedFileWriter<File>, buffers: &mut [Buffer]) -> Result<()> {
    let mut group = writer.next_row_group()?;
    for buffer in buffers.iter_mut() {
        let Some(mut column) = group.next_column()? else { bail!("the schema lacks {}", buffer.name) };
        let definition = (!buffer.definition.is_empty()).then_some(&buffer.definition[..]);
        let repetition = (!buffer.repetition.is_empty()).then_some(&buffer.repetition[..]);
        match &buffer.values {
            Values::Int(values) | Values::List(values) => {
                column.typed::<Int32Type>().write_batch(values, definition, repetition)?;
            }
            Values::Bool(values) => {
                column.typed::<BoolType>().write_batch(values, definition, repetition)?;
            }
            Values::Text(values) => {
                column.typed::<ByteArrayType>().write_batch(values, definition, repetition)?;
            }
        }
        column.close()?;
        buffer.clear();
    }
    group.close()?;
    Ok(())
}

/// The main table.
pub(super) struct RowsFile {
    writer: SerializedFileWriter<File>,
    buffers: Vec<Buffer>,
    columns: Columns,
    tags: bool,
    waiting: usize,
}

impl RowsFile {
    pub(super) fn new(file: File, columns: Columns, tags: bool) -> Result<Self> {
        let nothing = Row { blocked: 255, base_model: 255, ..Row::default() };
        let mut buffers = Vec::new();
        cells(&nothing, tags.then_some(&[]), columns, |name, cell| buffers.push(Buffer::new(name, &cell)));
        let schema: String = buffers.iter().map(Buffer::schema).collect();
        let writer = open(file, &format!("message images {{ {schema} }}"))?;
        Ok(Self { writer, buffers, columns, tags, waiting: 0 })
    }

    pub(super) fn push(&mut self, block: &Block) -> Result<()> {
        for (row, tags) in block.iter() {
            let mut buffers = self.buffers.iter_mut();
            cells(row, self.tags.then_some(tags), self.columns, |_, cell| {
                if let Some(buffer) = buffers.next() {
                    buffer.push(&cell);
                }
            });
        }
        self.waiting += block.row_count();
        if self.waiting >= ROWS_OF_GROUP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting = 0;
        write_group(&mut self.writer, &mut self.buffers)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if self.waiting > 0 {
            self.flush()?;
        }
        self.writer.close()?;
        Ok(())
    }
}

/// The pairs of image and tag.
pub(super) struct PairsFile {
    writer: SerializedFileWriter<File>,
    buffers: [Buffer; 2],
}

impl PairsFile {
    pub(super) fn new(file: File) -> Result<Self> {
        let writer = open(file, "message tags { required int32 imageId; required int32 tagId; }")?;
        let buffer = |name| Buffer::new(name, &Cell::Number(0));
        Ok(Self { writer, buffers: [buffer("imageId"), buffer("tagId")] })
    }

    pub(super) fn push(&mut self, block: &Block) -> Result<()> {
        let [ids, tags] = &mut self.buffers;
        let (Values::Int(ids), Values::Int(tags)) = (&mut ids.values, &mut tags.values) else {
            bail!("both columns are numbers");
        };
        for (row, list) in block.iter() {
            ids.extend(std::iter::repeat_n(row.id as i32, list.len()));
            tags.extend(list.iter().map(|tag| i32::from(*tag)));
        }
        if ids.len() >= 8 * ROWS_OF_GROUP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        write_group(&mut self.writer, &mut self.buffers)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.writer.close()?;
        Ok(())
    }
}
