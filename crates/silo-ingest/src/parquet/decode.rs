//! A column chunk into columns, some rows at a time.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result};
use silo_engine::columns::{Column, Values};
use silo_engine::{FieldType, TimeUnit};

use super::convert::{Scalar, push_scalar};
use super::layout::{Leaf, Levels, Meaning};
use crate::reject::Reason;
use crate::spec::ColumnSpec;
use crate::text::column::{Context, NullBits, no_values, push, push_split, reason, separator, value_count};
use crate::text::position;
use crate::text::value::Wrong;

/// The Julian day of 1970-01-01, from which 96-bit times count.
const EPOCH_DAY: i128 = 2_440_588;

/// Reads one column of one row group.
pub(crate) struct Decoder {
    reader: ColumnReader,
    meaning: Meaning,
    levels: Levels,
}

/// The most text and values of one column in a batch, whose ends have 32 bits.
const MOST_BYTES: usize = 1 << 30;

/// A value on its way.
enum Item<'v> {
    Scalar(Scalar),
    Text(&'v [u8]),
}

impl Decoder {
    /// For a leaf whose meaning is known.
    pub(crate) fn new(reader: ColumnReader, leaf: &Leaf) -> Decoder {
        let meaning = leaf.meaning.clone().unwrap_or(Meaning::Text);
        Decoder { reader, meaning, levels: leaf.levels }
    }

    /// The next rows.
    pub(crate) fn column(
        &mut self,
        rows: usize,
        asked: usize,
        spec: &ColumnSpec,
        context: &mut Context<'_>,
    ) -> Result<Column> {
        let (meaning, levels) = (self.meaning, self.levels);
        let target = Target { rows, asked, spec, levels };
        let whole = |number: i64, unsigned: u64| match meaning {
            Meaning::Unsigned => Scalar::Int(unsigned.into()),
            Meaning::Time(unit) => Scalar::Time(number.into(), unit),
            Meaning::Decimal(0) => Scalar::Int(number.into()),
            #[expect(clippy::cast_precision_loss, reason = "decimals become floats")]
            Meaning::Decimal(scale) => Scalar::Float(number as f64 / 10f64.powi(scale.cast_signed())),
            _ => Scalar::Int(number.into()),
        };
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => {
                target.read(reader, context, |value| Item::Scalar(Scalar::Bool(*value)))
            }
            ColumnReader::Int32ColumnReader(reader) => target.read(reader, context, |value| {
                Item::Scalar(whole((*value).into(), value.cast_unsigned().into()))
            }),
            ColumnReader::Int64ColumnReader(reader) => {
                target.read(reader, context, |value| Item::Scalar(whole(*value, value.cast_unsigned())))
            }
            ColumnReader::Int96ColumnReader(reader) => target.read(reader, context, |value| {
                let nanos = match *value.data() {
                    [low, high, day] => {
                        let days = i128::from(day.cast_signed()) - EPOCH_DAY;
                        days * i128::from(TimeUnit::Days.nanoseconds()) + i128::from(u64::from(high) << 32 | u64::from(low))
                    }
                    _ => i128::MAX >> 64,
                };
                Item::Scalar(Scalar::Time(nanos, TimeUnit::Nanoseconds))
            }),
            ColumnReader::FloatColumnReader(reader) => {
                target.read(reader, context, |value| Item::Scalar(Scalar::Float((*value).into())))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                target.read(reader, context, |value| Item::Scalar(Scalar::Float(*value)))
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                target.read(reader, context, |value| Item::Text(value.data()))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                target.read(reader, context, |value| Item::Text(value.data()))
            }
        }
    }
}

/// Where the values go.
struct Target<'a> {
    rows: usize,
    asked: usize,
    spec: &'a ColumnSpec,
    levels: Levels,
}

impl Target<'_> {
    fn read<T: DataType>(
        &self,
        reader: &mut ColumnReaderImpl<T>,
        context: &mut Context<'_>,
        item: impl Fn(&T::T) -> Item<'_>,
    ) -> Result<Column> {
        let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut records = 0;
        while records < self.rows {
            let (read, _, _) = reader.read_records(
                self.rows - records,
                Some(&mut definitions),
                Some(&mut repetitions),
                &mut values,
            )?;
            if read == 0 {
                break;
            }
            records += read;
        }
        let required = self.levels.value == 0;
        let count = if required { values.len() } else { definitions.len() };
        let starts = if self.levels.item.is_some() {
            repetitions.iter().filter(|&&level| level == 0).count()
        } else {
            count
        };
        if records != self.rows || starts != self.rows {
            return Err(ParquetError::General(format!(
                "column {:?} has {starts} rows where {} were promised",
                self.spec.name, self.rows
            )));
        }
        let bytes = |value| match item(value) {
            Item::Scalar(_) => 1,
            Item::Text(bytes) => bytes.len() + 1,
        };
        if values.iter().map(bytes).sum::<usize>() > MOST_BYTES {
            return Err(ParquetError::General(format!(
                "column {:?} has more than {MOST_BYTES} bytes in {} rows",
                self.spec.name, self.rows
            )));
        }
        let mut values = values.iter();
        let column = match (&self.spec.multi, self.levels.item) {
            (None, _) => self.single(count, &definitions, &mut values, context, &item),
            (Some(_), None) => self.lists(count, &definitions, None, &mut values, context, &item),
            (Some(_), Some(level)) => {
                self.lists(count, &definitions, Some((level, &repetitions)), &mut values, context, &item)
            }
        };
        column.ok_or_else(|| {
            ParquetError::General(format!("column {:?} has fewer values than its levels promise", self.spec.name))
        })
    }

    /// One value a row. None if values are missing.
    fn single<'v, V: 'v>(
        &self,
        count: usize,
        definitions: &[i16],
        values: &mut impl Iterator<Item = &'v V>,
        context: &mut Context<'_>,
        item: &impl Fn(&V) -> Item<'_>,
    ) -> Option<Column> {
        let kind = self.spec.kind;
        let mut column = no_values(kind);
        let mut nulls = NullBits::default();
        for row in 0..count {
            let there = self.levels.value == 0 || definitions.get(row) == Some(&self.levels.value);
            let pushed = if there {
                match item(values.next()?) {
                    Item::Scalar(scalar) => push_scalar(&mut column, kind, scalar, &mut context.nans),
                    Item::Text(bytes) => push_text(&mut column, kind, bytes, context),
                }
            } else {
                Ok(())
            };
            if let Err(wrong) = pushed {
                context.faults.push((position(row), self.asked, fault(kind, wrong)));
            }
            if value_count(&column) == row {
                // Nothing was pushed: a null, NaN, or a row that will be dropped.
                nulls.set(row, count);
                push_placeholder(&mut column);
            }
        }
        Some(Column { nulls: nulls.into_inner(), values: column })
    }

    /// Several values a row; `lists` are the item level and the repetition levels. None if values are missing.
    fn lists<'v, V: 'v>(
        &self,
        count: usize,
        definitions: &[i16],
        lists: Option<(i16, &[i16])>,
        values: &mut impl Iterator<Item = &'v V>,
        context: &mut Context<'_>,
        item: &impl Fn(&V) -> Item<'_>,
    ) -> Option<Column> {
        let kind = self.spec.kind;
        let separator = self.spec.multi.as_ref().and_then(separator);
        let mut items = no_values(kind);
        let mut ends = Vec::with_capacity(self.rows);
        let mut nulls = NullBits::default();
        let mut row = 0;
        for at in 0..count {
            let begins = lists.is_none_or(|(_, repetitions)| repetitions.get(at) == Some(&0));
            if begins && at > 0 {
                ends.push(position(value_count(&items)));
                row += 1;
            }
            let level = definitions.get(at).copied().unwrap_or(self.levels.value);
            if level < self.levels.value {
                // Below the level of an empty list there is none.
                if lists.is_none_or(|(item, _)| level + 1 < item) {
                    nulls.set(row, self.rows);
                }
                continue;
            }
            let before = value_count(&items);
            let pushed = match (item(values.next()?), &separator) {
                (Item::Scalar(scalar), _) => push_scalar(&mut items, kind, scalar, &mut context.nans),
                (Item::Text(bytes), Some(separator)) if std::str::from_utf8(bytes).is_ok() => {
                    push_split(&mut items, kind, bytes, separator, context.nulls, &mut context.nans)
                }
                (Item::Text(bytes), _) => push_text(&mut items, kind, bytes, context),
            };
            if lists.is_none() && separator.is_none() && value_count(&items) == before {
                nulls.set(row, self.rows);
            }
            if let Err(wrong) = pushed {
                context.faults.push((position(row), self.asked, fault(kind, wrong)));
            }
        }
        if count > 0 {
            ends.push(position(value_count(&items)));
        }
        Some(Column { nulls: nulls.into_inner(), values: Values::List { ends, items: Box::new(items) } })
    }
}

/// A fault of a value; text that is not UTF-8 is told as that.
fn fault(kind: FieldType, wrong: Wrong) -> Reason {
    if kind == FieldType::String && wrong == Wrong::Range { Reason::NotUtf8 } else { reason(kind, wrong) }
}

/// Appends text, unless it is a spelling of null.
fn push_text(values: &mut Values, kind: FieldType, bytes: &[u8], context: &mut Context<'_>) -> Result<(), Wrong> {
    let empty = bytes.is_empty();
    if !empty && context.nulls.contains(bytes) || empty && kind != FieldType::String {
        return Ok(());
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(if kind == FieldType::String { Wrong::Range } else { Wrong::Type });
    }
    push(values, kind, bytes, &mut context.nans)
}

fn push_placeholder(values: &mut Values) {
    match values {
        Values::Bool(all) => all.push(0),
        Values::Int(all) => all.push(0),
        Values::Float(all) => all.push(0.0),
        Values::Text { ends, bytes } => ends.push(position(bytes.len())),
        Values::List { ends, items } => ends.push(position(value_count(items))),
    }
}
