//! Cells into typed columns: one tight loop a type.

use std::ops::{Range, RangeInclusive};

use memchr::memmem;
use silo_engine::FieldType;
use silo_engine::columns::{Column, Values};

use super::value::{self, Wrong};
use super::{Cells, Token, json, position};
use crate::reject::Reason;
use crate::spec::{ColumnSpec, Multi, Nulls};

/// What the columns of a block share.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// Spellings of null.
    pub nulls: &'a Nulls,
    /// Rows that cannot be taken: (row, column asked for, reason).
    pub faults: Vec<(u32, usize, Reason)>,
    /// Floats that were no number, and became null.
    pub nans: u64,
    scratch: Vec<u8>,
}

impl<'a> Context<'a> {
    /// For a block.
    pub(crate) fn new(nulls: &'a Nulls) -> Context<'a> {
        Context { nulls, faults: Vec::new(), nans: 0, scratch: Vec::new() }
    }
}

/// Bits of null rows, made when there is one.
#[derive(Debug, Default)]
pub(crate) struct NullBits(Vec<u64>);

impl NullBits {
    /// Marks a row of so many.
    #[inline]
    pub(crate) fn set(&mut self, row: usize, rows: usize) {
        if self.0.is_empty() {
            self.0.resize(rows.div_ceil(64), 0);
        }
        if let Some(word) = self.0.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// The column's bits.
    pub(crate) fn into_inner(self) -> Vec<u64> {
        self.0
    }
}

/// A column of nothing but nulls.
pub(crate) fn all_null(spec: &ColumnSpec, rows: usize) -> Column {
    let mut nulls = vec![u64::MAX; rows / 64];
    if !rows.is_multiple_of(64) {
        nulls.push((1 << (rows % 64)) - 1);
    }
    let values = match (&spec.multi, spec.kind) {
        (Some(_), kind) => Values::List { ends: vec![0; rows], items: Box::new(no_values(kind)) },
        (None, FieldType::Bool) => Values::Bool(vec![0; rows]),
        (None, FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::Time(_)) => {
            Values::Int(vec![0; rows])
        }
        (None, FieldType::Float(_)) => Values::Float(vec![0.0; rows]),
        (None, FieldType::String) => Values::Text { ends: vec![0; rows], bytes: Vec::new() },
    };
    Column { nulls, values }
}

/// An empty list of values.
pub(crate) fn no_values(kind: FieldType) -> Values {
    match kind {
        FieldType::Bool => Values::Bool(Vec::new()),
        FieldType::Signed(_) | FieldType::Unsigned(_) | FieldType::Time(_) => Values::Int(Vec::new()),
        FieldType::Float(_) => Values::Float(Vec::new()),
        FieldType::String => Values::Text { ends: Vec::new(), bytes: Vec::new() },
    }
}

/// The type in words.
pub(crate) fn expected(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Bool => "a boolean",
        FieldType::Signed(8) => "an i8",
        FieldType::Signed(16) => "an i16",
        FieldType::Signed(32) => "an i32",
        FieldType::Signed(_) => "an i64",
        FieldType::Unsigned(8) => "a u8",
        FieldType::Unsigned(16) => "a u16",
        FieldType::Unsigned(32) => "a u32",
        FieldType::Unsigned(_) => "a u64",
        FieldType::Float(_) => "a number",
        FieldType::String => "a text",
        FieldType::Time(_) => "a time (ISO 8601, or a count of the field's unit)",
    }
}

/// A fault of a value.
pub(crate) fn reason(kind: FieldType, wrong: Wrong) -> Reason {
    match wrong {
        Wrong::Type => Reason::NotA { expected: expected(kind) },
        Wrong::Range => Reason::OutOfRange { expected: expected(kind) },
    }
}

/// A whole number of a kind, as it is stored.
#[inline]
pub(crate) fn stored(kind: FieldType, number: i128) -> Result<i64, Wrong> {
    let (low, high) = range(kind);
    if number < low || number > high {
        return Err(Wrong::Range);
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked; unsigned 64-bit numbers keep their bits")]
    Ok(number as i64)
}

/// What a whole-number or time type takes.
fn range(kind: FieldType) -> (i128, i128) {
    kind.integer_range().unwrap_or((i64::MIN.into(), i64::MAX.into()))
}

/// What a whole-number type takes of what an i64 holds; the rest of u64 goes the long way.
fn limits(kind: FieldType) -> RangeInclusive<i64> {
    let (low, high) = range(kind);
    i64::try_from(low).unwrap_or(i64::MIN)..=i64::try_from(high).unwrap_or(i64::MAX)
}

/// Whether a null is spelled as a value.
fn is_ambiguous<T>(nulls: &Nulls, short: impl Fn(&[u8], Range<usize>) -> Option<T>) -> bool {
    nulls.texts().iter().any(|text| short(text.as_bytes(), 0..text.len()).is_some())
}

/// A float as its field holds it; 32-bit ones are rounded.
#[inline]
pub(crate) fn fit_float(kind: FieldType, value: f64) -> Result<f64, Wrong> {
    if kind != FieldType::Float(32) {
        return Ok(value);
    }
    #[expect(clippy::cast_possible_truncation, reason = "what the field holds")]
    let narrow = value as f32;
    if narrow.is_infinite() && value.is_finite() { Err(Wrong::Range) } else { Ok(narrow.into()) }
}

/// Whole numbers and times from bytes.
fn whole(kind: FieldType, bytes: &[u8]) -> Result<i64, Wrong> {
    match kind {
        FieldType::Time(unit) => value::time(bytes, unit),
        _ => stored(kind, value::integer(bytes)?),
    }
}

/// Reads column `index` of the file as column `asked` of the batch.
pub(crate) fn read<C: Cells>(
    cells: &C,
    data: &[u8],
    index: usize,
    asked: usize,
    spec: &ColumnSpec,
    context: &mut Context<'_>,
) -> Column {
    let kind = spec.kind;
    if let Some(multi) = &spec.multi {
        return lists(cells, data, index, asked, (kind, multi), context);
    }
    let place = (index, asked, kind);
    match kind {
        FieldType::Bool => {
            let short = |data: &[u8], cell: Range<usize>| match data.get(cell)? {
                b"0" | b"false" => Some(0),
                b"1" | b"true" => Some(1),
                _ => None,
            };
            let any = |bytes: &[u8]| value::boolean(bytes).map(|yes| Some(u8::from(yes))).ok_or(Wrong::Type);
            let (values, nulls) = numbers(cells, data, place, context, short, any);
            Column { nulls, values: Values::Bool(values) }
        }
        FieldType::Signed(_) | FieldType::Unsigned(_) => {
            let limits = limits(kind);
            let short = |data: &[u8], cell: Range<usize>| {
                value::short_integer(data, cell).filter(|value| limits.contains(value))
            };
            let any = |bytes: &[u8]| whole(kind, bytes).map(Some);
            let (values, nulls) = numbers(cells, data, place, context, short, any);
            Column { nulls, values: Values::Int(values) }
        }
        FieldType::Time(unit) => {
            let short = |data: &[u8], cell: Range<usize>| {
                let time = value::short_time(data.get(cell.clone())?, unit);
                time.or_else(|| value::short_integer(data, cell))
            };
            let any = |bytes: &[u8]| whole(kind, bytes).map(Some);
            let (values, nulls) = numbers(cells, data, place, context, short, any);
            Column { nulls, values: Values::Int(values) }
        }
        FieldType::Float(_) => {
            let short =
                |data: &[u8], cell: Range<usize>| fit_float(kind, value::short_float(data.get(cell)?)?).ok();
            let any = |bytes: &[u8]| value::float(bytes)?.map(|value| fit_float(kind, value)).transpose();
            let (values, nulls) = numbers(cells, data, place, context, short, any);
            Column { nulls, values: Values::Float(values) }
        }
        FieldType::String => texts(cells, data, index, asked, context),
    }
}

/// A column of plain values: `short` takes the usual spellings as they stand in the file, `any` what is left (none is NaN).
fn numbers<C: Cells, T: Copy + Default>(
    cells: &C,
    data: &[u8],
    (index, asked, kind): (usize, usize, FieldType),
    context: &mut Context<'_>,
    short: impl Fn(&[u8], Range<usize>) -> Option<T>,
    any: impl Fn(&[u8]) -> Result<Option<T>, Wrong>,
) -> (Vec<T>, Vec<u64>) {
    let rows = cells.rows();
    let ambiguous = is_ambiguous(context.nulls, &short);
    let mut values = Vec::with_capacity(rows);
    let mut nulls = NullBits::default();
    for (row, range) in cells.column(index).enumerate() {
        if !ambiguous {
            let value = short(data, range.clone());
            // A quoted number, in CSV or in JSON, is the number.
            if let Some(value) = value.or_else(|| short(data, inside_quotes(data, &range)?)) {
                values.push(value);
                continue;
            }
        }
        let cell = data.get(range).unwrap_or_default();
        let value = match C::token(cell, &mut context.scratch) {
            Token::Null => Ok(None),
            Token::Value { bytes, .. } => match bytes.trim_ascii() {
                [] => Ok(None),
                bytes if context.nulls.contains(bytes) => Ok(None),
                bytes => {
                    let value = any(bytes);
                    context.nans += u64::from(value.is_ok_and_none());
                    value.map_err(|wrong| reason(kind, wrong))
                }
            },
            Token::Array(_) => Err(Reason::Several),
            Token::Object(_) => Err(reason(kind, Wrong::Type)),
        };
        values.push(match value {
            Ok(Some(value)) => value,
            Ok(None) => {
                nulls.set(row, rows);
                T::default()
            }
            Err(reason) => {
                context.faults.push((position(row), asked, reason));
                T::default()
            }
        });
    }
    (values, nulls.into_inner())
}

/// What is between the quotes of a cell that begins and ends with one.
#[inline]
fn inside_quotes(data: &[u8], cell: &Range<usize>) -> Option<Range<usize>> {
    let inside = cell.start + 1..cell.end.checked_sub(1)?;
    let quoted = data.get(cell.start) == Some(&b'"') && data.get(inside.end) == Some(&b'"');
    (quoted && inside.start <= inside.end).then_some(inside)
}

/// Appends part of a block; short parts as a copy of 16 bytes of which the rest is cut off again,
/// which is faster than a copy of a length that varies.
#[inline]
fn append(bytes: &mut Vec<u8>, data: &[u8], part: Range<usize>) {
    let len = part.end.saturating_sub(part.start);
    if len <= 16
        && let Some(chunk) = data.get(part.start..).and_then(<[u8]>::first_chunk::<16>)
    {
        bytes.extend_from_slice(chunk);
        bytes.truncate(bytes.len() - 16 + len);
    } else {
        bytes.extend_from_slice(data.get(part).unwrap_or_default());
    }
}

/// Whether a result is none.
trait IsOkAndNone {
    fn is_ok_and_none(&self) -> bool;
}

impl<T, E> IsOkAndNone for Result<Option<T>, E> {
    fn is_ok_and_none(&self) -> bool {
        matches!(self, Ok(None))
    }
}

fn texts<C: Cells>(cells: &C, data: &[u8], index: usize, asked: usize, context: &mut Context<'_>) -> Column {
    let rows = cells.rows();
    let mut ends = Vec::with_capacity(rows);
    let mut bytes = Vec::with_capacity(data.len() / 4);
    let mut nulls = NullBits::default();
    for (row, range) in cells.column(index).enumerate() {
        let cell = data.get(range.clone()).unwrap_or_default();
        if C::is_plain(cell) && !context.nulls.contains(cell) {
            append(&mut bytes, data, range);
            ends.push(position(bytes.len()));
            continue;
        }
        match C::token(cell, &mut context.scratch) {
            Token::Value { bytes: text, quoted } if quoted || !context.nulls.contains(text) => {
                bytes.extend_from_slice(text);
            }
            Token::Null | Token::Value { .. } => nulls.set(row, rows),
            Token::Object(text) => bytes.extend_from_slice(text),
            Token::Array(_) => context.faults.push((position(row), asked, Reason::Several)),
        }
        ends.push(position(bytes.len()));
    }
    Column { nulls: nulls.into_inner(), values: Values::Text { ends, bytes } }
}

fn lists<C: Cells>(
    cells: &C,
    data: &[u8],
    index: usize,
    asked: usize,
    (kind, multi): (FieldType, &Multi),
    context: &mut Context<'_>,
) -> Column {
    let rows = cells.rows();
    let separator = separator(multi);
    let mut ends = Vec::with_capacity(rows);
    let mut items = no_values(kind);
    let mut nulls = NullBits::default();
    let mut item_scratch = Vec::new();
    let whole_number = matches!(kind, FieldType::Signed(_) | FieldType::Unsigned(_));
    let plain = (whole_number && separator.is_none() && !is_ambiguous(context.nulls, value::short_integer))
        .then(|| limits(kind));
    for (row, range) in cells.column(index).enumerate() {
        // A list of one integer as it is usually spelled.
        if let (Some(limits), Values::Int(all)) = (&plain, &mut items)
            && let Some(value) =
                value::short_integer(data, range.clone()).filter(|value| limits.contains(value))
        {
            all.push(value);
            ends.push(position(all.len()));
            continue;
        }
        let cell = data.get(range).unwrap_or_default();
        let mut pushed = Ok(());
        match C::token(cell, &mut context.scratch) {
            Token::Null => nulls.set(row, rows),
            Token::Value { bytes, quoted } => {
                if !quoted && context.nulls.contains(bytes.trim_ascii()) {
                    nulls.set(row, rows);
                } else if let Some(separator) = &separator {
                    pushed = push_split(&mut items, kind, bytes, separator, context.nulls, &mut context.nans);
                } else if !bytes.is_empty() {
                    pushed = push(&mut items, kind, bytes, &mut context.nans);
                }
            }
            Token::Array(array) => {
                pushed = json::items(array).try_for_each(|item| match json::token(item, &mut item_scratch) {
                    Token::Value { bytes, quoted } if quoted || !context.nulls.contains(bytes) => {
                        push(&mut items, kind, bytes, &mut context.nans)
                    }
                    Token::Null | Token::Value { .. } => Ok(()),
                    Token::Array(text) | Token::Object(text) if kind == FieldType::String => {
                        push(&mut items, kind, text, &mut context.nans)
                    }
                    Token::Array(_) | Token::Object(_) => Err(Wrong::Type),
                });
            }
            Token::Object(text) if kind == FieldType::String => {
                pushed = push(&mut items, kind, text, &mut context.nans);
            }
            Token::Object(_) => pushed = Err(Wrong::Type),
        }
        if let Err(wrong) = pushed {
            context.faults.push((position(row), asked, reason(kind, wrong)));
        }
        ends.push(position(value_count(&items)));
    }
    Column { nulls: nulls.into_inner(), values: Values::List { ends, items: Box::new(items) } }
}

/// What text is split at.
pub(crate) fn separator(multi: &Multi) -> Option<memmem::Finder<'_>> {
    match multi {
        Multi::Split(separator) if !separator.is_empty() => Some(memmem::Finder::new(separator)),
        Multi::Split(_) | Multi::Lists => None,
    }
}

/// Appends the values between separators; empty ones and nulls are left out.
pub(crate) fn push_split(
    items: &mut Values,
    kind: FieldType,
    bytes: &[u8],
    separator: &memmem::Finder<'_>,
    nulls: &Nulls,
    nans: &mut u64,
) -> Result<(), Wrong> {
    let mut from = 0;
    let mut cuts = separator.find_iter(bytes).chain([bytes.len()]);
    cuts.try_for_each(|to| {
        let item = bytes.get(from..to).unwrap_or_default();
        from = to + separator.needle().len();
        if item.trim_ascii().is_empty() || nulls.contains(item) {
            return Ok(());
        }
        push(items, kind, item, nans)
    })
}

/// Appends a value; NaN is left out and counted.
pub(crate) fn push(values: &mut Values, kind: FieldType, bytes: &[u8], nans: &mut u64) -> Result<(), Wrong> {
    match values {
        Values::Text { ends, bytes: all } => {
            all.extend_from_slice(bytes);
            ends.push(position(all.len()));
        }
        Values::Bool(all) => all.push(u8::from(value::boolean(bytes.trim_ascii()).ok_or(Wrong::Type)?)),
        Values::Int(all) => all.push(whole(kind, bytes.trim_ascii())?),
        Values::Float(all) => match value::float(bytes.trim_ascii())? {
            Some(value) => all.push(fit_float(kind, value)?),
            None => *nans += 1,
        },
        Values::List { .. } => return Err(Wrong::Type),
    }
    Ok(())
}

/// How many values there are.
pub(crate) fn value_count(values: &Values) -> usize {
    match values {
        Values::Bool(values) => values.len(),
        Values::Int(values) => values.len(),
        Values::Float(values) => values.len(),
        Values::Text { ends, .. } | Values::List { ends, .. } => ends.len(),
    }
}
