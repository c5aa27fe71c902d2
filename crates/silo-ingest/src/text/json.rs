//! NDJSON: a strict tokenizer (RFC 8259) that finds where values lie and copies nothing.

use std::collections::HashMap;
use std::ops::Range;

use super::{Cells, Fault, Token, position};
use crate::reject::Reason;

/// Arrays and objects nest no deeper.
const DEEPEST: usize = 128;

/// The cells of the objects of a block.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    width: usize,
    starts: Vec<u32>,
    /// Where each value lies, `width` a row; an empty range where the key is absent.
    spans: Vec<(u32, u32)>,
}

/// The keys that are wanted.
#[derive(Debug)]
pub(crate) struct Keys {
    columns: HashMap<Vec<u8>, usize>,
    width: usize,
    /// The key at each place of the last object, and its column: objects tend to look alike.
    usual: Vec<(Vec<u8>, Option<usize>)>,
}

impl Keys {
    /// By name, in the order of the columns.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Keys {
        let columns: HashMap<_, _> =
            names.into_iter().enumerate().map(|(column, name)| (name.as_bytes().to_vec(), column)).collect();
        Keys { width: columns.len(), columns, usual: Vec::new() }
    }

    /// The column of the key that stands at a place of its object, as written between the quotes.
    fn column(&mut self, place: usize, key: &[u8]) -> Option<usize> {
        if let Some((usual, column)) = self.usual.get(place)
            && usual == key
        {
            return *column;
        }
        let mut scratch = Vec::new();
        let column = self.columns.get(unescape(key, &mut scratch)).copied();
        if place == self.usual.len() && place < 4_096 {
            self.usual.push((key.to_vec(), column));
        } else if let Some(usual) = self.usual.get_mut(place) {
            *usual = (key.to_vec(), column);
        }
        column
    }
}

/// Finds the values in whole lines; says how many lines they are.
pub(crate) fn split(
    data: &[u8],
    keys: &mut Keys,
    most_bytes: usize,
    objects: &mut Objects,
    faults: &mut Vec<Fault>,
) -> u64 {
    objects.width = keys.width;
    objects.starts.clear();
    objects.spans.clear();
    let mut lines = 0;
    let mut start = 0;
    while start < data.len() {
        let rest = data.get(start..).unwrap_or_default();
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..len).unwrap_or_default();
        lines += 1;
        let first = objects.spans.len();
        let content = line.strip_suffix(b"\r").unwrap_or(line);
        let result = if content.len() > most_bytes {
            Err(Reason::Overlong { bytes: content.len() as u64 })
        } else if content.iter().all(u8::is_ascii_whitespace) {
            Ok(false)
        } else {
            objects.spans.resize(first + keys.width, (0, 0));
            object(content, start, keys, objects.spans.get_mut(first..).unwrap_or_default()).map(|()| true)
        };
        match result {
            Ok(true) => objects.starts.push(position(start)),
            Ok(false) => {}
            Err(reason) => {
                objects.spans.truncate(first);
                let record = position(start)..position(start + content.len());
                faults.push(Fault { record, column: None, reason });
            }
        }
        start += len + 1;
    }
    lines
}

/// One line, into the spans of its wanted keys.
fn object(line: &[u8], base: usize, keys: &mut Keys, spans: &mut [(u32, u32)]) -> Result<(), Reason> {
    pairs(line, |place, key, value| {
        if let Some(column) = keys.column(place, key)
            && let Some(span) = spans.get_mut(column)
        {
            *span = (position(base + value.start), position(base + value.end));
        }
    })
}

/// Calls with the place and key, as written between its quotes, of each value of an object, and where the value lies.
pub(crate) fn pairs<'l>(line: &'l [u8], mut each: impl FnMut(usize, &'l [u8], Range<usize>)) -> Result<(), Reason> {
    let mut scan = Scan { bytes: line, at: 0 };
    scan.space();
    scan.expect(b'{', "{")?;
    scan.space();
    let mut place = 0;
    if !scan.take(b'}') {
        loop {
            let key = scan.key()?;
            scan.space();
            let from = scan.at;
            scan.value(1)?;
            each(place, key, from..scan.at);
            place += 1;
            scan.space();
            if scan.take(b'}') {
                break;
            }
            scan.expect(b',', ", or }")?;
            scan.space();
        }
    }
    scan.space();
    if scan.at < line.len() { Err(scan.fault("the end of the line")) } else { Ok(()) }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault(&self, expected: &'static str) -> Reason {
        Reason::Json { expected, at: self.at }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Reason> {
        if self.take(byte) { Ok(()) } else { Err(self.fault(expected)) }
    }

    /// A key and its colon: what is between the quotes.
    fn key(&mut self) -> Result<&'a [u8], Reason> {
        let from = self.at + 1;
        self.string()?;
        let key = self.bytes.get(from..self.at - 1).unwrap_or_default();
        self.space();
        self.expect(b':', ":")?;
        Ok(key)
    }

    /// Skips a string.
    fn string(&mut self) -> Result<(), Reason> {
        self.expect(b'"', "a string")?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..0x20) | None => return Err(self.fault("\"")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Reason> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let unit = self.unit()?;
                if (0xdc00..0xe000).contains(&unit) {
                    return Err(self.fault("the first half of a surrogate pair"));
                }
                if (0xd800..0xdc00).contains(&unit) {
                    let low = "the second half of a surrogate pair";
                    self.expect(b'\\', low)?;
                    if self.peek() != Some(b'u') || !(0xdc00..0xe000).contains(&self.unit()?) {
                        return Err(self.fault(low));
                    }
                }
            }
            _ => return Err(self.fault("an escape")),
        }
        Ok(())
    }

    /// `uXXXX`.
    fn unit(&mut self) -> Result<u32, Reason> {
        let unit = self.bytes.get(self.at + 1..self.at + 5).and_then(hex);
        let unit = unit.ok_or_else(|| self.fault("four hexadecimal digits"))?;
        self.at += 5;
        Ok(unit)
    }

    /// Skips a value.
    fn value(&mut self, depth: usize) -> Result<(), Reason> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(open @ (b'[' | b'{')) if depth < DEEPEST => self.nested(open == b'{', depth),
            Some(b'[' | b'{') => Err(self.fault("fewer levels")),
            _ => Err(self.fault("a value")),
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Reason> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Reason> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(self.fault("a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), Reason> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'-') {
                self.take(b'+');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn nested(&mut self, object: bool, depth: usize) -> Result<(), Reason> {
        let (close, expected) = if object { (b'}', ", or }") } else { (b']', ", or ]") };
        self.at += 1;
        self.space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            if object {
                self.key()?;
                self.space();
            }
            self.value(depth + 1)?;
            self.space();
            if self.take(close) {
                return Ok(());
            }
            self.expect(b',', expected)?;
            self.space();
        }
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}

/// The text of a valid string, from what is between its quotes.
pub(crate) fn unescape<'c>(string: &'c [u8], scratch: &'c mut Vec<u8>) -> &'c [u8] {
    if memchr::memchr(b'\\', string).is_none() {
        return string;
    }
    scratch.clear();
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or_default();
        scratch.extend_from_slice(plain);
        let mut used = 2;
        match escape.get(1) {
            Some(b'u') => {
                let unit = |at: usize| escape.get(at..at + 4).and_then(hex).unwrap_or(0xfffd);
                used = 6;
                let mut code = unit(2);
                if (0xd800..0xdc00).contains(&code) {
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (unit(8) & 0x3ff);
                    used = 12;
                }
                let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                scratch.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(b'b') => scratch.push(8),
            Some(b'f') => scratch.push(12),
            Some(b'n') => scratch.push(b'\n'),
            Some(b'r') => scratch.push(b'\r'),
            Some(b't') => scratch.push(b'\t'),
            Some(&byte) => scratch.push(byte),
            None => {}
        }
        rest = escape.get(used..).unwrap_or_default();
    }
    scratch.extend_from_slice(rest);
    scratch
}

/// What the text of a valid value means.
pub(crate) fn token<'c>(cell: &'c [u8], scratch: &'c mut Vec<u8>) -> Token<'c> {
    match cell {
        [] | b"null" => Token::Null,
        [b'"', inner @ .., b'"'] => {
            let bytes = unescape(inner, scratch);
            // A spelling of null is one in a string too, but the empty string is a text.
            Token::Value { bytes, quoted: bytes.is_empty() }
        }
        [b'[', ..] => Token::Array(cell),
        [b'{', ..] => Token::Object(cell),
        _ => Token::Value { bytes: cell, quoted: false },
    }
}

/// The texts of the items of a valid array.
pub(crate) fn items(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut scan = Scan { bytes: array, at: 1 };
    std::iter::from_fn(move || {
        scan.space();
        scan.take(b',');
        scan.space();
        let from = scan.at;
        scan.value(1).ok()?;
        array.get(from..scan.at)
    })
}

impl Cells for Objects {
    fn rows(&self) -> usize {
        self.starts.len()
    }

    fn starts(&self) -> &[u32] {
        &self.starts
    }

    fn column(&self, column: usize) -> impl Iterator<Item = Range<usize>> {
        self.spans.chunks_exact(self.width.max(1)).map(move |spans| {
            let (from, to) = spans.get(column).copied().unwrap_or_default();
            from as usize..to as usize
        })
    }

    fn is_plain(_: &[u8]) -> bool {
        false
    }

    fn token<'c>(cell: &'c [u8], scratch: &'c mut Vec<u8>) -> Token<'c> {
        token(cell, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    /// Whether a line is taken, and the texts of `a` and `b`.
    fn read(line: &[u8]) -> Option<[Option<String>; 2]> {
        let mut keys = Keys::new(["a", "b"]);
        let mut spans = [(0, 0); 2];
        object(line, 0, &mut keys, &mut spans).ok()?;
        Some(spans.map(|(from, to)| {
            let cell = &line[from as usize..to as usize];
            (!cell.is_empty()).then(|| String::from_utf8_lossy(cell).into_owned())
        }))
    }

    #[test]
    fn takes_what_serde_json_takes() {
        let mut random = SmallRng::seed_from_u64(11);
        let pieces = [
            "{", "}", "[", "]", ":", ",", "\"a\"", "\"b\"", "\"c\\u0061\"", "\"\\n\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\x\"",
            "12", "-0.5e3", "01", "1.", "-", "true", "false", "null", "nul", " ", "\t", "\"é\"", "\"", "\\", "\u{1}",
        ];
        let mut valid = 0;
        for round in 0..200_000 {
            let mut line = String::new();
            if round % 2 == 0 {
                // Valid but for one piece.
                line.push_str("{\"a\":[1,{\"b\":null}],\"b\":\"x\\\"y\"}");
                let at = random.random_range(0..=line.len());
                line.insert_str(at, pieces[random.random_range(0..pieces.len())]);
                if random.random() && line.is_char_boundary(at / 2) && line.is_char_boundary(at / 2 + 1) {
                    line.replace_range(at / 2..at / 2 + 1, "");
                }
            } else {
                for _ in 0..random.random_range(0..12) {
                    line.push_str(pieces[random.random_range(0..pieces.len())]);
                }
            }
            let ours = read(line.as_bytes());
            let theirs: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&line);
            assert_eq!(ours.is_some(), theirs.is_ok(), "{line}");
            let (Some(ours), Ok(theirs)) = (ours, theirs) else { continue };
            valid += 1;
            for (text, key) in ours.iter().zip(["a", "b"]) {
                let value: Option<serde_json::Value> = text.as_ref().map(|text| serde_json::from_str(text).unwrap());
                assert_eq!(value.as_ref(), theirs.get(key), "{line}");
                let (Some(text), Some(value)) = (text, &value) else { continue };
                if let Some(array) = value.as_array() {
                    let items: Vec<serde_json::Value> =
                        items(text.as_bytes()).map(|item| serde_json::from_slice(item).unwrap()).collect();
                    assert_eq!(&items, array);
                }
                if let Some(string) = value.as_str() {
                    let mut scratch = Vec::new();
                    let Token::Value { bytes, .. } = token(text.as_bytes(), &mut scratch) else { panic!() };
                    assert_eq!(bytes, string.as_bytes());
                }
            }
        }
        assert!(valid > 1_000, "{valid}");
    }

    #[test]
    fn deep_nesting_is_refused_without_recursing_further() {
        let line = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(line.as_bytes()), None);
        let line = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert!(read(line.as_bytes()).is_some());
    }
}
