//! From columns of a batch to the numbers by which fields are indexed.

use std::io;

use super::encode::{Rows, is_null, span, text};
use super::spool::{Block, Spool, SpooledColumn};
use super::terms::{LoadTerms, TermCache};
use crate::columns::{Column, Values};
use crate::entries::{indexed_text, text_hash};
use crate::schema::{Field, FieldType, Schema};
use crate::terms::MAX_TERM_LEN;
use crate::value::{float_key, key_of_bits};

/// An indexed field of a load.
#[derive(Debug, Default)]
pub(super) struct FieldSpool {
    pub(super) column: SpooledColumn,
    /// Texts of a filter field.
    pub(super) terms: LoadTerms,
}

/// Appends what a field's indexes know of one value: a text's number or hash, else the sort key.
fn push_number(
    field: &Field,
    values: &Values,
    at: usize,
    (terms, cache): (&LoadTerms, &mut TermCache),
    out: &mut Vec<u64>,
) {
    out.push(match values {
        Values::Bool(bits) => u64::from(bits.get(at) == Some(&1)),
        Values::Int(numbers) => key_of_bits(field.kind, numbers.get(at).copied().unwrap_or(0)),
        Values::Float(numbers) => {
            let bits = if field.kind == FieldType::Float(32) { 32 } else { 64 };
            float_key(bits, numbers.get(at).copied().unwrap_or(0.0))
        }
        Values::Text { ends, bytes } => {
            // Checked when the batch came.
            let text = std::str::from_utf8(text(ends, bytes, at)).unwrap_or_default();
            let text = indexed_text(field, text);
            if field.index.high { text_hash(&text) } else { u64::from(terms.number(cache, &text)) }
        }
        // Sets hold no sets.
        Values::List { .. } => 0,
    });
}

/// Fills a block with the chosen rows of a field.
fn fill(
    field: &Field,
    column: Option<&Column>,
    rows: &[u32],
    spool: &FieldSpool,
    cache: &mut TermCache,
    block: &mut Block,
) {
    block.clear();
    let Some(column) = column else {
        block.nulls.resize(rows.len().div_ceil(64), u64::MAX);
        if field.multi {
            block.ends.resize(rows.len(), 0);
        } else {
            block.numbers.resize(rows.len(), 0);
        }
        return;
    };
    // All rows, which are chosen in order.
    if let Values::Int(numbers) = &column.values
        && rows.len() == numbers.len()
        && column.nulls.iter().all(|word| *word == 0)
    {
        block.numbers.extend(numbers.iter().map(|bits| key_of_bits(field.kind, *bits)));
        return;
    }
    for (at, row) in rows.iter().enumerate() {
        let row = *row as usize;
        let null = is_null(column, row);
        if null {
            block.nulls.resize(rows.len().div_ceil(64), 0);
            if let Some(word) = block.nulls.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        }
        if let Values::List { ends, items } = &column.values {
            if !null {
                for item in span(ends, row) {
                    push_number(field, items, item, (&spool.terms, &mut *cache), &mut block.numbers);
                }
            }
            block.ends.push(block.numbers.len() as u32);
        } else if null {
            block.numbers.push(0);
        } else {
            push_number(field, &column.values, row, (&spool.terms, &mut *cache), &mut block.numbers);
        }
    }
}

/// Positions of the filter fields with a text in the batch that an index may not take: lower case may be
/// longer than the text.
pub(super) fn with_long_texts(schema: &Schema, rows: &Rows<'_>) -> Vec<usize> {
    let long = |values: &Values| match values {
        Values::Text { ends, .. } => (0..ends.len()).any(|at| span(ends, at).len() > MAX_TERM_LEN / 3),
        _ => false,
    };
    let has_long = |column: &Column| match &column.values {
        Values::List { items, .. } => long(items),
        one => long(one),
    };
    let fields = schema.fields.iter().zip(&rows.fields).enumerate();
    let found =
        fields.filter(|(_, (field, column))| field.index.filter && column.as_deref().is_some_and(has_long));
    found.map(|(at, _)| at).collect()
}

/// Why row `row` cannot be indexed, if it cannot; `long` has the fields to look at.
pub(super) fn refusal(schema: &Schema, rows: &Rows<'_>, long: &[usize], row: usize) -> Option<String> {
    for at in long {
        let (Some(field), Some(Some(column))) = (schema.fields.get(*at), rows.fields.get(*at)) else {
            continue;
        };
        let too_long = |values: &Values, at: usize| match values {
            Values::Text { ends, bytes } => {
                let text = std::str::from_utf8(text(ends, bytes, at)).unwrap_or_default();
                indexed_text(field, text).len() > MAX_TERM_LEN
            }
            _ => false,
        };
        let refused = match &column.values {
            Values::List { ends, items } => span(ends, row).any(|item| too_long(items, item)),
            one => too_long(one, row),
        };
        if refused {
            return Some(format!(
                "{} has a text of more than {MAX_TERM_LEN} bytes, which an index of kind \"filter\" does not take",
                field.name
            ));
        }
    }
    None
}

/// What a thread works with.
#[derive(Debug, Default)]
pub(super) struct FieldScratch {
    caches: Vec<TermCache>,
    block: Block,
    /// Ids without repetition.
    runs: Block,
    packed: Vec<u8>,
}

/// Spools the chosen rows of the id, where it is an integer.
pub(super) fn append_ids(
    schema: &Schema,
    rows: &Rows<'_>,
    chosen: &[u32],
    spool: &Spool,
    ids: &SpooledColumn,
    scratch: &mut FieldScratch,
) -> io::Result<()> {
    let FieldScratch { block, packed, .. } = scratch;
    if let Values::Int(numbers) = &rows.id.values {
        block.clear();
        let of = |row: &u32| numbers.get(*row as usize).copied().unwrap_or(0);
        block.numbers.extend(chosen.iter().map(|row| key_of_bits(schema.id.kind, of(row))));
        ids.append(spool, rows.first_row, chosen.len(), block, packed)?;
    }
    Ok(())
}

/// Spools the chosen rows of an integer id and of the field at a position, to which they add; rows with one id
/// that follow each other as one.
pub(super) fn append_added(
    schema: &Schema,
    rows: &Rows<'_>,
    chosen: &[u32],
    spool: &Spool,
    (at, (ids, field_spool)): (usize, (&SpooledColumn, Option<&FieldSpool>)),
    scratch: &mut FieldScratch,
) -> io::Result<()> {
    let (Some(field), Some(field_spool), Values::Int(keys)) =
        (schema.fields.get(at), field_spool, &rows.id.values)
    else {
        unreachable!("ids and values of such a load are integers")
    };
    let FieldScratch { block, runs, packed, .. } = scratch;
    block.clear();
    runs.clear();
    let column = rows.fields.get(at).and_then(Option::as_deref);
    let Some(Column { nulls, values: Values::List { ends, items } }) = column else {
        unreachable!("what is added to a set comes in lists")
    };
    let Values::Int(items) = &**items else { unreachable!("the lists were checked") };
    let key_of = |row: u32| key_of_bits(schema.id.kind, keys.get(row as usize).copied().unwrap_or(0));
    let mut push_end = |row: u32, end: usize| {
        let key = key_of(row);
        match block.ends.last_mut() {
            Some(last) if runs.numbers.last() == Some(&key) => *last = end as u32,
            _ => {
                runs.numbers.push(key);
                block.ends.push(end as u32);
            }
        }
    };
    let list_of_each = || ends.iter().zip(1..).all(|(end, row)| *end == row);
    if nulls.is_empty() && chosen.len() == ends.len() && list_of_each() {
        for row in chosen {
            push_end(*row, *row as usize + 1);
        }
        block.numbers.extend(items.iter().map(|raw| key_of_bits(field.kind, *raw)));
    } else {
        for row in chosen {
            if nulls.get(*row as usize / 64).is_none_or(|word| word >> (row % 64) & 1 == 0) {
                let list = items.get(span(ends, *row as usize)).unwrap_or_default();
                block.numbers.extend(list.iter().map(|raw| key_of_bits(field.kind, *raw)));
            }
            push_end(*row, block.numbers.len());
        }
    }
    let count = runs.numbers.len();
    ids.append(spool, rows.first_row, count, runs, packed)?;
    field_spool.column.append(spool, rows.first_row, count, block, packed)
}

/// Spools the chosen rows of every indexed field.
pub(super) fn append(
    schema: &Schema,
    rows: &Rows<'_>,
    chosen: &[u32],
    spool: &Spool,
    fields: &[FieldSpool],
    scratch: &mut FieldScratch,
) -> io::Result<()> {
    let indexed = schema.fields.iter().enumerate().filter(|(_, field)| !field.index.is_none());
    for (at, _) in indexed {
        append_one(schema, rows, chosen, spool, (at, fields), scratch)?;
    }
    Ok(())
}

/// Spools the chosen rows of the field at a position.
pub(super) fn append_one(
    schema: &Schema,
    rows: &Rows<'_>,
    chosen: &[u32],
    spool: &Spool,
    (at, fields): (usize, &[FieldSpool]),
    scratch: &mut FieldScratch,
) -> io::Result<()> {
    let FieldScratch { caches, block, packed, .. } = scratch;
    caches.resize_with(schema.fields.len(), TermCache::default);
    let (Some(field), Some(of), Some(cache)) = (schema.fields.get(at), fields.get(at), caches.get_mut(at))
    else {
        return Ok(());
    };
    let column = rows.fields.get(at).and_then(Option::as_deref);
    fill(field, column, chosen, of, cache, block);
    of.column.append(spool, rows.first_row, chosen.len(), block, packed)
}
