//! Delimited records into the ends of their fields.

use std::ops::Range;

use super::masks::masks;
use super::{Cells, Fault, Token, position};
use crate::reject::Reason;

/// The fields of the records of a block that have as many as the header.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    width: usize,
    /// Where each record begins.
    starts: Vec<u32>,
    /// Where each field ends, `width` a record; the next begins behind the delimiter.
    ends: Vec<u32>,
}

/// Splits whole records; says how many lines they are.
pub(crate) fn split(
    data: &[u8],
    delimiter: u8,
    width: usize,
    most_bytes: usize,
    fields: &mut Fields,
    faults: &mut Vec<Fault>,
) -> u64 {
    fields.width = width;
    fields.starts.clear();
    fields.ends.clear();
    let mut splitter =
        Splitter { data, width, most_bytes, fields, faults, record: 0, field: 0, first: 0, lines: 0 };
    let (chunks, rest) = data.as_chunks::<64>();
    let mut quoted = Quoted::default();
    let mut base = 0;
    for chunk in chunks {
        splitter.chunk(masks(chunk, delimiter), base, &mut quoted);
        base += 64;
    }
    let mut padded = [0; 64];
    for (to, from) in padded.iter_mut().zip(rest) {
        *to = *from;
    }
    splitter.chunk(masks(&padded, delimiter), base, &mut quoted);
    if splitter.record < data.len() {
        // The last record has no line break.
        splitter.field(data.len());
        splitter.record(data.len(), data.len());
    }
    splitter.lines
}

/// Whether the splitter is in a quoted field.
#[derive(Debug, Default)]
struct Quoted {
    inside: bool,
    /// Quotes before this position are the second of two.
    seen: usize,
}

struct Splitter<'a> {
    data: &'a [u8],
    width: usize,
    most_bytes: usize,
    fields: &'a mut Fields,
    faults: &'a mut Vec<Fault>,
    /// Where the record begins.
    record: usize,
    /// Where the field begins.
    field: usize,
    /// How many ends there were before the record.
    first: usize,
    lines: u64,
}

impl Splitter<'_> {
    #[inline]
    fn chunk(&mut self, masks: super::masks::Masks, base: usize, quoted: &mut Quoted) {
        let mut events = masks.delimiter | masks.newline;
        if masks.quote == 0 && !quoted.inside {
            while events != 0 {
                let bit = events.trailing_zeros();
                events &= events - 1;
                let at = base + bit as usize;
                self.field(at);
                if masks.newline >> bit & 1 == 1 {
                    self.record(at, at + 1);
                }
            }
            return;
        }
        events |= masks.quote;
        while events != 0 {
            let bit = events.trailing_zeros();
            events &= events - 1;
            let at = base + bit as usize;
            if masks.quote >> bit & 1 == 1 {
                self.quote(at, quoted);
            } else if quoted.inside {
                self.lines += masks.newline >> bit & 1;
            } else {
                self.field(at);
                if masks.newline >> bit & 1 == 1 {
                    self.record(at, at + 1);
                }
            }
        }
    }

    fn quote(&mut self, at: usize, quoted: &mut Quoted) {
        if !quoted.inside {
            quoted.inside = at == self.field;
        } else if at >= quoted.seen {
            if self.data.get(at + 1) == Some(&b'"') {
                quoted.seen = at + 2;
            } else {
                quoted.inside = false;
            }
        }
    }

    /// Ends a field.
    #[inline]
    fn field(&mut self, at: usize) {
        self.fields.ends.push(position(at));
        self.field = at + 1;
    }

    /// Ends a record, whose last field has been ended at `end`.
    #[inline]
    fn record(&mut self, end: usize, next: usize) {
        self.lines += 1;
        let ends = &mut self.fields.ends;
        let mut content = end;
        if end > self.record && self.data.get(end - 1) == Some(&b'\r') {
            content = end - 1;
            if let Some(last) = ends.last_mut() {
                *last = position(content);
            }
        }
        let found = ends.len() - self.first;
        if found == self.width && content > self.record && content - self.record <= self.most_bytes {
            self.fields.starts.push(position(self.record));
            self.first = ends.len();
        } else {
            ends.truncate(self.first);
            // A blank line is nothing.
            if content > self.record {
                let reason = if content - self.record > self.most_bytes {
                    Reason::Overlong { bytes: (content - self.record) as u64 }
                } else {
                    Reason::FieldCount { expected: self.width, found }
                };
                let record = position(self.record)..position(content);
                self.faults.push(Fault { record, column: None, reason });
            }
        }
        self.record = next;
        self.field = next;
    }
}

impl Cells for Fields {
    fn rows(&self) -> usize {
        self.starts.len()
    }

    fn starts(&self) -> &[u32] {
        &self.starts
    }

    #[inline]
    fn column(&self, column: usize) -> impl Iterator<Item = Range<usize>> {
        self.starts.iter().zip(self.ends.chunks_exact(self.width.max(1))).map(move |(&start, ends)| {
            let from = match column.checked_sub(1) {
                None => start as usize,
                Some(before) => ends.get(before).map_or(usize::MAX, |&end| end as usize + 1),
            };
            from..ends.get(column).map_or(0, |&end| end as usize)
        })
    }

    #[inline]
    fn is_plain(cell: &[u8]) -> bool {
        cell.first().is_some_and(|&byte| byte != b'"')
    }

    #[inline]
    fn token<'c>(cell: &'c [u8], scratch: &'c mut Vec<u8>) -> Token<'c> {
        match cell {
            [] => Token::Null,
            [b'"', rest @ ..] => Token::Value { bytes: unquote(rest, scratch), quoted: true },
            _ => Token::Value { bytes: cell, quoted: false },
        }
    }
}

/// The content of a quoted field, from behind its opening quote.
pub(crate) fn unquote<'c>(field: &'c [u8], scratch: &'c mut Vec<u8>) -> &'c [u8] {
    match memchr::memchr(b'"', field) {
        None => return field,
        Some(at) if at + 1 == field.len() => return field.get(..at).unwrap_or_default(),
        Some(_) => {}
    }
    scratch.clear();
    let mut bytes = field.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'"' {
            scratch.push(byte);
        } else if bytes.next_if_eq(&b'"').is_some() {
            scratch.push(b'"');
        } else {
            // What follows the closing quote stands as it is.
            scratch.extend(&mut bytes);
        }
    }
    scratch
}
