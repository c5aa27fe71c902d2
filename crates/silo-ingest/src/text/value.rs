//! Numbers and times from bytes.

use std::ops::Range;

use silo_engine::TimeUnit;

/// Why bytes are not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Of another type.
    Type,
    /// Of the type, but too large or too small.
    Range,
}

/// An integer of at most 16 digits in its usual spelling, which lies in `data` at a range.
///
/// Digits are read eight at a time as a word that ends where they end, without a loop whose length would have to be
/// guessed (D. Lemire, Quickly parsing eight digits, 2018).
#[inline]
pub(crate) fn short_integer(data: &[u8], cell: Range<usize>) -> Option<i64> {
    let negative = data.get(cell.start) == Some(&b'-');
    let from = cell.start + usize::from(negative);
    let len = cell.end.checked_sub(from)?;
    let value = match len {
        1..=8 => last_digits(data, cell.end, len)?,
        9..=16 => {
            let high = last_digits(data, cell.end - 8, len - 8)?;
            high * 100_000_000 + last_digits(data, cell.end, 8)?
        }
        _ => return None,
    }
    .cast_signed();
    Some(if negative { -value } else { value })
}

/// The value of the one to eight digits before `end`.
#[inline]
fn last_digits(data: &[u8], end: usize, len: usize) -> Option<u64> {
    let word = match end.checked_sub(8) {
        Some(start) => u64::from_le_bytes(*data.get(start..end)?.first_chunk()?),
        // So close to the beginning of the block there are no eight bytes.
        None => data.get(..end)?.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)) << (8 * (8 - end)),
    };
    // Bytes before the digits become zeros.
    let unused = 8 * (8 - len);
    let digits = (word ^ 0x3030_3030_3030_3030) >> unused << unused;
    // Each byte is below ten: adding 0x76 leaves its high bit clear.
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some(low.wrapping_add(high) >> 32)
}

/// Any integer: a sign, digits, a fraction of zeros.
pub(crate) fn integer(bytes: &[u8]) -> Result<i128, Wrong> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, bytes),
    };
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, fraction) = digits.split_at_checked(whole).unwrap_or_default();
    let zeros = match fraction {
        [] => true,
        [b'.', zeros @ ..] => zeros.iter().all(|&byte| byte == b'0'),
        _ => false,
    };
    if whole.is_empty() || !zeros {
        return Err(Wrong::Type);
    }
    let mut value = 0i128;
    for &byte in whole {
        value = value * 10 + i128::from(byte - b'0');
        if value > 1 << 64 {
            return Err(Wrong::Range);
        }
    }
    Ok(if negative { -value } else { value })
}

/// Powers of ten that `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A decimal of at most 15 digits without exponent: exact integers, so that one division rounds
/// correctly (W. D. Clinger, How to read floating point numbers accurately, 1990).
#[inline]
pub(crate) fn short_float(bytes: &[u8]) -> Option<f64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (mut value, mut count, mut point) = (0u64, 0usize, None);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
            count += 1;
        } else if byte == b'.' && point.is_none() {
            point = Some(count);
        } else {
            return None;
        }
    }
    let fraction = count - point.unwrap_or(count);
    if count == 0 || count > 15 || fraction == count || point == Some(count) {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 10^15")]
    let value = value as f64 / POWERS.get(fraction)?;
    Some(if negative && value != 0.0 { -value } else { value })
}

/// Any float; none for NaN.
pub(crate) fn float(bytes: &[u8]) -> Result<Option<f64>, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong::Type)?;
    let value: f64 = text.parse().map_err(|_| Wrong::Type)?;
    if value.is_nan() {
        return Ok(None);
    }
    if value.is_infinite() && bytes.iter().any(u8::is_ascii_digit) {
        return Err(Wrong::Range);
    }
    // Turns -0 into 0.
    Ok(Some(value + 0.0))
}

/// A truth value.
pub(crate) fn boolean(bytes: &[u8]) -> Option<bool> {
    let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
    if ["1", "true", "t", "yes", "y"].into_iter().any(is) {
        Some(true)
    } else if ["0", "false", "f", "no", "n"].into_iter().any(is) {
        Some(false)
    } else {
        None
    }
}

/// A time in its commonest spelling, `2013-01-31T10:00:00Z` (or a space, or without the `Z`).
#[inline]
pub(crate) fn short_time(bytes: &[u8], unit: TimeUnit) -> Option<i64> {
    let (date, time) = bytes.split_first_chunk::<10>()?;
    let time: &[u8; 9] = match time {
        [time @ .., b'Z'] => time.try_into().ok()?,
        _ => time.try_into().ok()?,
    };
    let [b'T' | b' ', h0, h1, b':', m0, m1, b':', s0, s1] = *time else { return None };
    let days = date_days(date).ok()?;
    let (hour, minute, second) = (two(h0, h1)?, two(m0, m1)?, two(s0, s1)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    match unit {
        TimeUnit::Days => Some(days),
        TimeUnit::Seconds => Some(seconds),
        TimeUnit::Milliseconds => Some(seconds * 1_000),
        TimeUnit::Microseconds => Some(seconds * 1_000_000),
        TimeUnit::Nanoseconds => seconds.checked_mul(1_000_000_000),
    }
}

/// Any time: ISO 8601, or an integer that already counts the unit.
pub(crate) fn time(bytes: &[u8], unit: TimeUnit) -> Result<i64, Wrong> {
    let nanos = match bytes.split_first_chunk::<10>() {
        Some((date @ [_, _, _, _, b'-', ..], rest)) => {
            i128::from(date_days(date)?) * i128::from(TimeUnit::Days.nanoseconds()) + time_of_day(rest)?
        }
        _ => return i64::try_from(integer(bytes)?).map_err(|_| Wrong::Range),
    };
    i64::try_from(nanos.div_euclid(i128::from(unit.nanoseconds()))).map_err(|_| Wrong::Range)
}

/// Nanoseconds since midnight UTC of a time of day with its `T`, or of nothing.
fn time_of_day(bytes: &[u8]) -> Result<i128, Wrong> {
    let mut rest = match bytes {
        [] => return Ok(0),
        [b'T' | b't' | b' ', rest @ ..] => rest,
        _ => return Err(Wrong::Type),
    };
    let hour = take_two(&mut rest)?;
    take(&mut rest, b':').then_some(()).ok_or(Wrong::Type)?;
    let minute = take_two(&mut rest)?;
    let mut second = 0;
    let mut nanos = 0i128;
    if take(&mut rest, b':') {
        second = take_two(&mut rest)?;
        if take(&mut rest, b'.') {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (fraction, behind) = rest.split_at_checked(digits).ok_or(Wrong::Type)?;
            if fraction.is_empty() {
                return Err(Wrong::Type);
            }
            for place in 0..9 {
                let digit = fraction.get(place).map_or(0, |digit| digit - b'0');
                nanos = nanos * 10 + i128::from(digit);
            }
            rest = behind;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Wrong::Type);
    }
    let east = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let mut rest = rest;
            let hours = take_two(&mut rest)?;
            take(&mut rest, b':');
            let minutes = if rest.is_empty() { 0 } else { take_two(&mut rest)? };
            if !rest.is_empty() || hours > 23 || minutes > 59 {
                return Err(Wrong::Type);
            }
            let east = hours * 60 + minutes;
            if *sign == b'-' { -east } else { east }
        }
        _ => return Err(Wrong::Type),
    };
    let seconds = hour * 3_600 + (minute - east) * 60 + second;
    Ok(i128::from(seconds) * 1_000_000_000 + nanos)
}

fn take(rest: &mut &[u8], byte: u8) -> bool {
    let Some(behind) = rest.strip_prefix(&[byte]) else { return false };
    *rest = behind;
    true
}

fn take_two(rest: &mut &[u8]) -> Result<i64, Wrong> {
    let [tens, ones, behind @ ..] = *rest else { return Err(Wrong::Type) };
    *rest = behind;
    two(*tens, *ones).ok_or(Wrong::Type)
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Days since 1970-01-01 of `YYYY-MM-DD` in the proleptic Gregorian calendar (H. Hinnant,
/// chrono-compatible low-level date algorithms).
#[inline]
fn date_days(bytes: &[u8; 10]) -> Result<i64, Wrong> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *bytes else { return Err(Wrong::Type) };
    let parts = (two(y0, y1), two(y2, y3), two(m0, m1), two(d0, d1));
    let (Some(century), Some(year), Some(month), Some(day)) = parts else { return Err(Wrong::Type) };
    let year = century * 100 + year;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(Wrong::Type),
    };
    if day < 1 || day > last {
        return Err(Wrong::Type);
    }
    // Years begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Ok(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    #[test]
    fn short_numbers_agree_with_the_general_ones() {
        let mut random = SmallRng::seed_from_u64(3);
        for _ in 0..200_000 {
            let len = random.random_range(0..20);
            let text: Vec<u8> = (0..len)
                .map(|at| match random.random_range(0..40) {
                    0 => b'.',
                    1 if at == 0 => b'-',
                    2 => b"-+eE x"[random.random_range(0..6)],
                    _ => random.random_range(b'0'..=b'9'),
                })
                .collect();
            // With digits around it, and without.
            let around = [&b"12345678"[..], &text, b"9"].concat();
            let short = short_integer(&around, 8..8 + text.len());
            assert_eq!(short_integer(&text, 0..text.len()), short);
            if let Some(short) = short {
                assert_eq!(integer(&text), Ok(i128::from(short)));
            } else if text.len() <= 16 && !text.starts_with(b"+") && !text.contains(&b'.') {
                assert_eq!(integer(&text), Err(Wrong::Type));
            }
            let float = float(&text);
            if let Some(short) = short_float(&text) {
                let full = float.unwrap().unwrap();
                assert_eq!(short.to_bits(), full.to_bits(), "{}", String::from_utf8_lossy(&text));
            }
        }
        assert_eq!(short_float(b"-0.0").map(f64::to_bits), Some(0));
        assert_eq!(float(b"-0e5").unwrap().map(f64::to_bits), Some(0));
    }

    #[test]
    fn integers_end_where_they_must() {
        assert_eq!(integer(b"18446744073709551615"), Ok(u64::MAX.into()));
        assert_eq!(integer(b"-9223372036854775808"), Ok(i64::MIN.into()));
        assert_eq!(integer(b"99999999999999999999999999999999999999999999"), Err(Wrong::Range));
        assert_eq!(integer(b"+7"), Ok(7));
        assert_eq!(integer(b"7.00"), Ok(7));
        for wrong in ["", "-", "+", "--1", "1.5", "1e3", ".0", "0x1", "1 2", "\u{0661}"] {
            assert_eq!(integer(wrong.as_bytes()), Err(Wrong::Type), "{wrong}");
        }
        assert_eq!(short_integer(b"-0000000000000012", 0..17), Some(-12));
        assert_eq!(short_integer(b"9999999999999999", 0..16), Some(9_999_999_999_999_999));
        assert_eq!(short_integer(b"12345678123456781", 0..17), None);
    }

    #[test]
    fn floats_that_overflow_or_are_none() {
        assert_eq!(float(b"1e999"), Err(Wrong::Range));
        assert_eq!(float(b"-1e999"), Err(Wrong::Range));
        assert_eq!(float(b"inf"), Ok(Some(f64::INFINITY)));
        assert_eq!(float(b"-Infinity"), Ok(Some(f64::NEG_INFINITY)));
        assert_eq!(float(b"NaN"), Ok(None));
        assert_eq!(float(b"1,5"), Err(Wrong::Type));
        assert_eq!(float(b""), Err(Wrong::Type));
    }

    #[test]
    fn times_in_all_spellings() {
        let s = TimeUnit::Seconds;
        for (text, expected) in [
            ("1970-01-01", 0),
            ("2013-01-01T10:00:00Z", 1_357_034_400),
            ("2013-01-01 10:00:00", 1_357_034_400),
            ("2013-01-01T10:00", 1_357_034_400),
            ("2013-01-01T10:00:00.999999", 1_357_034_400),
            ("2013-01-01T12:00:00+02:00", 1_357_034_400),
            ("2013-01-01T04:30:00-0530", 1_357_034_400),
            ("2013-01-01T11:00+01", 1_357_034_400),
            ("1969-12-31T23:59:59.5Z", -1),
            ("2000-02-29", 951_782_400),
            ("0000-01-01", -62_167_219_200),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
            ("-5", -5),
            ("1357034400", 1_357_034_400),
        ] {
            assert_eq!(time(text.as_bytes(), s), Ok(expected), "{text}");
            if let Some(short) = short_time(text.as_bytes(), s) {
                assert_eq!(short, expected);
            }
        }
        for wrong in [
            "2013-02-29", "2013-13-01", "2013-00-01", "2013-01-00", "2013-1-1", "2013-01-01T24:00:00",
            "2013-01-01T10", "2013-01-01T10:00:60", "2013-01-01T10:00:00.", "2013-01-01T10:00:00+1",
            "2013-01-01X10:00:00", "2013-01-01T10:00:00ZZ", "2013-01-01T10:00:00+01:000", "today", "",
        ] {
            assert_eq!(time(wrong.as_bytes(), s), Err(Wrong::Type), "{wrong}");
            assert_eq!(short_time(wrong.as_bytes(), s), None, "{wrong}");
        }
        assert_eq!(time(b"2300-01-01", TimeUnit::Nanoseconds), Err(Wrong::Range));
        assert_eq!(short_time(b"2300-01-01T00:00:00Z", TimeUnit::Nanoseconds), None);
        assert_eq!(time(b"2013-01-01T10:00:00.123456789Z", TimeUnit::Nanoseconds), Ok(1_357_034_400_123_456_789));
        assert_eq!(time(b"1969-12-31T01:00:00", TimeUnit::Days), Ok(-1));
        assert_eq!(time(b"99999999999999999999", s), Err(Wrong::Range));
    }

    #[test]
    fn days_count_up_through_all_years() {
        let mut expected = -719_528;
        for year in 0..10_000 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, days) in (1..).zip(months) {
                for day in [1, days] {
                    let text = format!("{year:04}-{month:02}-{day:02}");
                    let days = date_days(text.as_bytes().try_into().unwrap()).unwrap();
                    assert_eq!(days, expected + day - 1, "{text}");
                }
                expected += days;
            }
        }
    }
}
