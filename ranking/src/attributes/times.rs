//! Times as people and programs write them, in requests, files and filters alike.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const MICROSECONDS_PER_SECOND: f64 = 1e6;

/// The end of the year 9999 in Unix seconds, which is as far as RFC 3339 goes.
const SECONDS_MAX: f64 = 253_402_300_800.0;

/// The start of the year 0 in Unix seconds.
const SECONDS_MIN: f64 = -62_167_219_200.0;

/// Microseconds since 1970 of an RFC 3339 time. The zone may be left out, and is then UTC; so may the time of day, and
/// is then midnight. What is finer than a microsecond is cut off. `None` is anything else.
///
/// ```
/// use attune_ranking::attributes::time_from_text;
///
/// assert_eq!(time_from_text("1970-01-02"), Some(86_400_000_000));
/// assert_eq!(time_from_text("1970-01-01T00:00:01.5"), Some(1_500_000));
/// assert_eq!(time_from_text("1970-01-01T01:00:00+01:00"), Some(0));
/// assert_eq!(time_from_text("yesterday"), None);
/// ```
pub fn time_from_text(text: &str) -> Option<i64> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = parse(text).or_else(|| parse(&format!("{text}Z"))).or_else(|| parse(&format!("{text}T00:00:00Z")))?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000)).ok()
}

/// Microseconds since 1970 of Unix seconds, rounded. `None` outside the years 0 to 9999 and for what is not a number.
pub fn time_from_seconds(seconds: f64) -> Option<i64> {
    let known = (SECONDS_MIN..SECONDS_MAX).contains(&seconds);
    known.then(|| (seconds * MICROSECONDS_PER_SECOND).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_in_utc() {
        let noon = time_from_seconds(1_767_268_800.0);
        for text in ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00", "2026-01-01T14:00:00+02:00"] {
            assert_eq!(time_from_text(text), noon, "{text}");
        }
        assert_eq!(time_from_text("2026-01-01"), time_from_seconds(1_767_225_600.0));
    }

    #[test]
    fn what_is_finer_than_a_microsecond_is_cut_off() {
        assert_eq!(time_from_text("1970-01-01T00:00:00.123456789Z"), Some(123_456));
        assert_eq!(time_from_text("1969-12-31T23:59:59.9999999Z"), Some(-1));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "2026", "2026-13-01", "2026-02-30", "2026-01-01T25:00:00Z", "01/02/2026", "2026-01-01Z"] {
            assert_eq!(time_from_text(text), None, "{text}");
        }
        for seconds in [f64::NAN, f64::INFINITY, 1e300, SECONDS_MAX] {
            assert_eq!(time_from_seconds(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn text_and_seconds_end_at_the_same_years() {
        assert_eq!(time_from_text("0000-01-01"), time_from_seconds(SECONDS_MIN));
        assert_eq!(time_from_text("9999-12-31T23:59:59"), time_from_seconds(SECONDS_MAX - 1.0));
    }
}
