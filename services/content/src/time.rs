//! Times, as they are kept: microseconds since 1970, and RFC 3339 in UTC for whoever reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use attune_ranking::attributes::{time_from_seconds, time_from_text};
use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

/// Now.
pub(crate) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// As RFC 3339 in UTC, as fine as it needs to be.
pub(crate) fn rfc3339(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A time as clients write it: RFC 3339, where zone and time of day may be left out, or Unix seconds.
pub(crate) fn read(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => time_from_text(text),
        Value::Number(seconds) => time_from_seconds(seconds.as_f64()?),
        _ => None,
    }
}

/// Whether a text is a date and a time of day by RFC 3339, zone included, and hence meant as a time. A date alone is not:
/// it may as well be the name of an edition, and a kind that was taken for another cannot be changed.
pub(crate) fn is_time(text: &str) -> bool {
    text.len() >= "1970-01-01T00:00:00Z".len() && DateTime::parse_from_rfc3339(text).is_ok()
}
