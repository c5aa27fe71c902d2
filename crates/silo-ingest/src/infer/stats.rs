//! What the values of a column have in common.

use std::collections::HashSet;

use silo_engine::{FieldType, TimeUnit};
use xxhash_rust::xxh3::xxh3_64;

use crate::text::value;

/// Spellings that stand for null in many files.
pub(super) const NULL_SPELLINGS: [&str; 3] = ["NA", "NULL", "\\N"];

/// Distinct values are counted exactly up to so many.
const MOST_EXACT: usize = 1 << 16;

/// Bits of a hash that choose a register.
const REGISTER_BITS: u32 = 12;

/// Counts distinct values: exactly while they are few, then by `HyperLogLog` (P. Flajolet et al., 2007),
/// whose standard error at 4,096 registers is 1.6 %.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    exact: HashSet<u64>,
    registers: Vec<u8>,
}

impl Distinct {
    /// Counts a value by its hash.
    pub(super) fn add(&mut self, hash: u64) {
        if self.registers.is_empty() {
            self.exact.insert(hash);
            if self.exact.len() > MOST_EXACT {
                self.registers = vec![0; 1 << REGISTER_BITS];
                for hash in std::mem::take(&mut self.exact) {
                    self.register(hash);
                }
            }
        } else {
            self.register(hash);
        }
    }

    fn register(&mut self, hash: u64) {
        let index = usize::try_from(hash >> (64 - REGISTER_BITS)).unwrap_or(0);
        let zeros = (hash << REGISTER_BITS).leading_zeros().min(64 - REGISTER_BITS) + 1;
        if let Some(register) = self.registers.get_mut(index) {
            *register = (*register).max(u8::try_from(zeros).unwrap_or(u8::MAX));
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        if self.registers.is_empty() {
            return self.exact.len() as u64;
        }
        let count = f64::from(1 << REGISTER_BITS);
        let sum: f64 = self.registers.iter().map(|&register| 2f64.powi(-i32::from(register))).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive estimate")]
        {
            (0.7213 / (1.0 + 1.079 / count) * count * count / sum).round() as u64
        }
    }
}

/// What a time shows at its finest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finest {
    Day,
    /// So many digits of a second.
    Digits(usize),
}

/// What has been seen of a column.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub(super) struct Stats {
    /// Values that are not null, or items.
    pub values: u64,
    /// Empty fields.
    pub empty: u64,
    /// How often each of [`NULL_SPELLINGS`] stands there.
    pub spelled: [u64; NULL_SPELLINGS.len()],
    /// Distinct values.
    pub distinct: Distinct,
    /// Some row has a list.
    pub lists: bool,
    /// Some value is an object.
    pub objects: bool,
    /// Bytes of all values.
    pub bytes: u64,
    /// Every value is a truth value in words.
    booleans: bool,
    /// Lowest and highest, while all are integers.
    integers: Option<(i128, i128)>,
    floats: bool,
    /// What the finest time shows, while all are times.
    times: Option<Finest>,
    /// A value that is no integer, and one that is no float, time or truth value.
    pub odd: [Option<String>; 2],
    /// A type that a file declares.
    pub declared: Option<FieldType>,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            values: 0,
            empty: 0,
            spelled: [0; NULL_SPELLINGS.len()],
            distinct: Distinct::default(),
            lists: false,
            objects: false,
            bytes: 0,
            booleans: true,
            integers: Some((i128::MAX, i128::MIN)),
            floats: true,
            times: Some(Finest::Day),
            odd: [None, None],
            declared: None,
        }
    }
}

impl Stats {
    /// Sees a value; `text` for those that are marked as text, which may only be times.
    pub(super) fn see(&mut self, bytes: &[u8], text: bool) {
        if bytes.is_empty() {
            self.empty += 1;
            return;
        }
        for (spelling, count) in NULL_SPELLINGS.iter().zip(&mut self.spelled) {
            if spelling.as_bytes() == bytes {
                *count += 1;
                return;
            }
        }
        self.values += 1;
        self.bytes += bytes.len() as u64;
        self.distinct.add(xxh3_64(bytes));
        let bytes = bytes.trim_ascii();
        if self.booleans {
            self.booleans = !text
                && [&b"true"[..], b"false", b"yes", b"no"]
                    .iter()
                    .any(|word| bytes.eq_ignore_ascii_case(word));
        }
        if let Some((low, high)) = self.integers {
            self.integers = if text || leading_zero(bytes) {
                None
            } else {
                value::integer(bytes)
                    .ok()
                    .filter(|_| !bytes.contains(&b'.'))
                    .map(|number| (low.min(number), high.max(number)))
            };
            if self.integers.is_none() {
                self.odd[0] = Some(shown(bytes));
            }
        }
        if self.floats {
            self.floats = !text && !leading_zero(bytes) && value::float(bytes).is_ok();
        }
        if let Some(digits) = self.times {
            // A bare number is an integer first.
            self.times = match value::time(bytes, TimeUnit::Seconds) {
                Ok(_) if bytes.get(4) == Some(&b'-') => Some(digits.max(finest(bytes))),
                _ => None,
            };
        }
        if !self.booleans && !self.floats && self.times.is_none() && self.odd[1].is_none() {
            self.odd[1] = Some(shown(bytes));
        }
    }

    /// Sees a value of a declared type.
    #[cfg(feature = "parquet")]
    pub(super) fn see_hash(&mut self, hash: u64, bytes: usize) {
        self.values += 1;
        self.bytes += bytes as u64;
        self.distinct.add(hash);
    }

    /// The narrowest type for all values; the margin asks for room beyond the integers that were seen.
    pub(super) fn kind(&self, margin: bool) -> FieldType {
        if let Some(declared) = self.declared {
            return declared;
        }
        if self.values == 0 || self.objects {
            return FieldType::String;
        }
        if self.booleans {
            return FieldType::Bool;
        }
        if let Some((low, high)) = self.integers {
            let widths: &[u8] = if margin { &[32, 64] } else { &[8, 16, 32, 64] };
            let fits = |kind: FieldType| {
                kind.integer_range().is_some_and(|(least, most)| low >= least && high <= most)
            };
            let kinds = widths
                .iter()
                .map(|&bits| if low < 0 { FieldType::Signed(bits) } else { FieldType::Unsigned(bits) });
            // Integers beyond 64 bits are kept as text.
            return kinds.into_iter().find(|&kind| fits(kind)).unwrap_or(FieldType::String);
        }
        if self.floats {
            return FieldType::Float(64);
        }
        match self.times {
            Some(Finest::Day) => FieldType::Time(TimeUnit::Days),
            Some(Finest::Digits(0)) => FieldType::Time(TimeUnit::Seconds),
            Some(Finest::Digits(1..=3)) => FieldType::Time(TimeUnit::Milliseconds),
            Some(Finest::Digits(4..=6)) => FieldType::Time(TimeUnit::Microseconds),
            Some(Finest::Digits(_)) => FieldType::Time(TimeUnit::Nanoseconds),
            None => FieldType::String,
        }
    }

    /// The lowest and highest integer.
    pub(super) fn range(&self) -> Option<(i128, i128)> {
        self.integers.filter(|(low, high)| low <= high)
    }
}

/// Whether digits begin with a zero that means something, as in a postal code.
fn leading_zero(bytes: &[u8]) -> bool {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    matches!(digits, [b'0', b'0'..=b'9', ..])
}

/// What a time shows.
fn finest(time: &[u8]) -> Finest {
    let Some(clock) = time.get(10..).filter(|clock| !clock.is_empty()) else { return Finest::Day };
    let digits = clock.iter().position(|&byte| byte == b'.').and_then(|at| clock.get(at + 1..));
    Finest::Digits(digits.map_or(0, |digits| digits.iter().take_while(|byte| byte.is_ascii_digit()).count()))
}

/// A value for a message.
fn shown(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(24).collect();
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(values: &[&str]) -> FieldType {
        let mut stats = Stats::default();
        for value in values {
            stats.see(value.as_bytes(), false);
        }
        stats.kind(false)
    }

    #[test]
    fn the_narrowest_type_takes_all_values() {
        for (values, expected) in [
            (&["true", "False"][..], "bool"),
            (&["1", "0", ""], "u8"),
            (&["1", "256"], "u16"),
            (&["-1", "127"], "i8"),
            (&["1", "4294967296"], "u64"),
            (&["-1", "18446744073709551615"], "string"),
            (&["18446744073709551616"], "string"),
            (&["1", "2.5", "NA"], "f64"),
            (&["1", "nan", "1e5"], "f64"),
            (&["007", "12"], "string"),
            (&["0", "0.5", "-0.5"], "f64"),
            (&["2013-01-01", "NULL"], "date"),
            (&["2013-01-01", "2013-01-01T10:00:00Z"], "time(s)"),
            (&["2013-01-01 10:00:00.123"], "time(ms)"),
            (&["2013-01-01 10:00:00.1234"], "time(us)"),
            (&["2013-01-01 10:00:00.123456789+01:00"], "time(ns)"),
            (&["2013-01-01", "2013"], "string"),
            (&["a", "1"], "string"),
            (&["", "NA"], "string"),
        ] {
            assert_eq!(kind(values).name(), expected, "{values:?}");
        }
    }

    #[test]
    fn distinct_values_are_estimated_well() {
        for count in [10u64, 60_000, 100_000, 1_000_000] {
            let mut distinct = Distinct::default();
            for value in 0..count {
                distinct.add(xxh3_64(&value.to_le_bytes()));
                distinct.add(xxh3_64(&(value / 2).to_le_bytes()));
            }
            let error = distinct.count().abs_diff(count) * 100 / count;
            assert!(error <= if count <= 65_536 { 0 } else { 6 }, "{count}: {}", distinct.count());
        }
    }
}
