//! Times as text: ISO 8601 to counts of a unit and back.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::schema::TimeUnit;

/// Nanoseconds since 1970-01-01T00:00:00Z of a date, or a date and time; UTC unless it has an offset.
///
/// # Errors
/// What forms are read.
pub(crate) fn parse_nanoseconds(text: &str) -> Result<i128, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.as_nanosecond());
    }
    let civil: DateTime = text
        .parse()
        .map_err(|_| format!("{text:?} is no date or time: write 2024-01-31, or 2024-01-31T23:59:59Z"))?;
    let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| format!("{text:?} is out of range"))?;
    Ok(zoned.timestamp().as_nanosecond())
}

/// The count of a unit that a date or time falls into, rounded down.
///
/// # Errors
/// What forms are read, and for what the unit cannot count in 64 bits.
pub fn parse_time(text: &str, unit: TimeUnit) -> Result<i64, String> {
    let count = parse_nanoseconds(text)?.div_euclid(i128::from(unit.nanoseconds()));
    i64::try_from(count).map_err(|_| format!("{text:?} is out of the range of 64-bit nanoseconds"))
}

/// A count of a unit as ISO 8601 in UTC; none for moments beyond the years −9999 to 9999.
#[must_use]
pub fn format_time(count: i64, unit: TimeUnit) -> Option<String> {
    let nanoseconds = i128::from(count) * i128::from(unit.nanoseconds());
    let moment = Timestamp::from_nanosecond(nanoseconds).ok()?;
    Some(match unit {
        TimeUnit::Days => moment.to_zoned(TimeZone::UTC).date().to_string(),
        _ => moment.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_iso_8601_are_read() {
        let seconds = |text| parse_time(text, TimeUnit::Seconds);
        assert_eq!(seconds("1970-01-02"), Ok(86_400));
        assert_eq!(seconds("1970-01-01T00:01"), Ok(60));
        assert_eq!(seconds("1970-01-01 00:00:01"), Ok(1));
        assert_eq!(seconds("1970-01-01T00:00:01.9Z"), Ok(1));
        assert_eq!(seconds("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(seconds("1969-12-31T23:59:59.5Z"), Ok(-1));
        assert_eq!(parse_time("1970-01-01T00:00:00.123456789Z", TimeUnit::Nanoseconds), Ok(123_456_789));
        assert_eq!(parse_time("1969-12-31T12:00:00Z", TimeUnit::Days), Ok(-1));
        for wrong in ["", "yesterday", "2024-13-01", "2024-02-30", "2024-01-01T25:00:00Z", "12"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(parse_time("2300-01-01", TimeUnit::Nanoseconds).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        for (count, unit, text) in [
            (0, TimeUnit::Days, "1970-01-01"),
            (1_700_000_000, TimeUnit::Seconds, "2023-11-14T22:13:20Z"),
            (1_700_000_000_123, TimeUnit::Milliseconds, "2023-11-14T22:13:20.123Z"),
            (-1, TimeUnit::Microseconds, "1969-12-31T23:59:59.999999Z"),
            (i64::MAX, TimeUnit::Nanoseconds, "2262-04-11T23:47:16.854775807Z"),
        ] {
            assert_eq!(format_time(count, unit).as_deref(), Some(text));
            assert_eq!(parse_time(text, unit), Ok(count));
        }
        assert_eq!(format_time(i64::MAX, TimeUnit::Seconds), None);
    }
}
