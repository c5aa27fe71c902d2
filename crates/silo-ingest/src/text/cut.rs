//! Where records begin and end.
//!
//! A quote opens a quoted field only as the first byte of a field, that is, at a record's start or
//! after a delimiter or line feed that is not quoted itself. So scanning needs to look only at quotes and,
//! where the answer lies, at line feeds.

use memchr::{memchr, memrchr};

/// How records of a text file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Records {
    /// Delimited fields, in which a quoted field may hold line breaks.
    Delimited(u8),
    /// Every line is one.
    Lines,
}

/// Where a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The first end of a record at or after the target, or the end of the data.
    pub end: usize,
    /// Where the record that ends at `end` begins.
    pub last: usize,
    /// Whether there was a line break at the end.
    pub complete: bool,
    /// The data ended in a quoted field.
    pub open: bool,
}

impl Records {
    /// Scans from `from`, which begins a record, to the first end of a record at or after `target`.
    pub(crate) fn cut(self, data: &[u8], from: usize, target: usize) -> Cut {
        let mut cut = Cut { end: from, last: from, complete: true, open: false };
        if from >= target {
            return cut;
        }
        let mut at = from;
        loop {
            // Not quoted at `at`. Line breaks before `low` do not end the scan.
            let low = at.max(target - 1);
            let mut open = self.opening(data, from, at, low);
            let newline =
                if open.is_some() { None } else { find(b'\n', data, low, data.len()) };
            if open.is_none() {
                open = self.opening(data, from, low, newline.unwrap_or(data.len()));
            }
            let plain_end = open.or(newline).unwrap_or(data.len());
            if let Some(start) = rfind(b'\n', data, at, plain_end) {
                cut.last = start + 1;
            }
            let Some(open) = open else {
                cut.complete = newline.is_some();
                cut.end = newline.map_or(data.len(), |at| at + 1);
                return cut;
            };
            let Some(closed) = closing(data, open + 1) else {
                return Cut { end: data.len(), complete: false, open: true, ..cut };
            };
            at = closed;
        }
    }

    /// The first quote in `at..end` that opens a field.
    fn opening(self, data: &[u8], first: usize, mut at: usize, end: usize) -> Option<usize> {
        let Records::Delimited(delimiter) = self else { return None };
        while let Some(quote) = find(b'"', data, at, end) {
            let before = quote.checked_sub(1).and_then(|before| data.get(before));
            if quote == first || before.is_some_and(|&byte| byte == delimiter || byte == b'\n') {
                return Some(quote);
            }
            at = quote + 1;
        }
        None
    }
}

/// Behind the quote that closes a field whose first byte, behind the opening quote, is at `at`.
fn closing(data: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let quote = find(b'"', data, at, data.len())?;
        if data.get(quote + 1) != Some(&b'"') {
            return Some(quote + 1);
        }
        at = quote + 2;
    }
}

/// The first such byte in `from..to`.
fn find(byte: u8, data: &[u8], from: usize, to: usize) -> Option<usize> {
    memchr(byte, data.get(from..to)?).map(|at| from + at)
}

/// The last such byte in `from..to`.
fn rfind(byte: u8, data: &[u8], from: usize, to: usize) -> Option<usize> {
    memrchr(byte, data.get(from..to)?).map(|at| from + at)
}

/// Follows records byte by byte, for those too long to be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follow {
    records: Records,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted field: it may close the field or be the first of two.
    Quote,
}

impl Follow {
    /// At the start of a record.
    pub(crate) fn new(records: Records) -> Follow {
        Follow { records, state: State::FieldStart }
    }

    /// Goes on to the end of the record: the number of bytes up to it if it is in `data`.
    pub(crate) fn end(&mut self, data: &[u8]) -> Option<usize> {
        let Records::Delimited(delimiter) = self.records else { return memchr(b'\n', data).map(|at| at + 1) };
        for (index, &byte) in data.iter().enumerate() {
            self.state = match (self.state, byte) {
                (State::Quoted, b'"') => State::Quote,
                (State::Quoted, _) | (State::FieldStart | State::Quote, b'"') => State::Quoted,
                (_, b'\n') => return Some(index + 1),
                (_, byte) if byte == delimiter => State::FieldStart,
                _ => State::Plain,
            };
        }
        None
    }

    /// In a quoted field that was not closed.
    pub(crate) fn is_open(self) -> bool {
        self.state == State::Quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    #[test]
    fn cuts_agree_with_following_byte_by_byte() {
        let mut random = SmallRng::seed_from_u64(7);
        for round in 0..20_000 {
            let len = random.random_range(0..40);
            let data: Vec<u8> =
                (0..len).map(|_| b"ab,,\"\"\"\n\n\r\t"[random.random_range(0..11)]).collect();
            let records = if round % 5 == 0 { Records::Lines } else { Records::Delimited(b',') };
            // Starts of all records.
            let mut starts = vec![0];
            let mut open = false;
            while *starts.last().unwrap() < len {
                let start = *starts.last().unwrap();
                let mut follow = Follow::new(records);
                let Some(size) = follow.end(&data[start..]) else {
                    open = follow.is_open();
                    break;
                };
                starts.push(start + size);
            }
            let from_index = random.random_range(0..starts.len());
            let from = starts[from_index];
            let target = random.random_range(0..=len);
            let cut = records.cut(&data, from, target);
            if from >= target {
                assert_eq!((cut.end, cut.last), (from, from));
                continue;
            }
            let Some(next) = starts.iter().position(|&start| start >= target) else {
                let last = *starts.last().unwrap();
                assert_eq!(cut, Cut { end: len, last, complete: false, open }, "{data:?} {from} {target}");
                continue;
            };
            let expected = Cut { end: starts[next], last: starts[next - 1], complete: true, open: false };
            assert_eq!(cut, expected, "{data:?} {from} {target}");
        }
    }
}
