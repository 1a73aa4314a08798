//! One field of a row, whatever the format, and what can be made of it.
//!
//! A number is taken where text is wanted (ids are often numbers) and text where a number is wanted (CSV has nothing
//! else). The errors are the reasons that the side file of rejected rows gives: they name the field and quote its
//! beginning.

use attune_ranking::attributes::time_from_text;
use chrono::DateTime;
use serde_json::Value as Json;

/// Longest id in bytes, as everywhere in Attune.
pub const ID_BYTES_MAX: usize = 256;
/// Longest text in bytes, before truncation to what a model takes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Characters of a bad field that a reason quotes.
const QUOTED_CHARS: usize = 40;
/// The first moment of the year 10000 in Unix seconds: RFC 3339 ends there, and milliseconds taken for seconds lie
/// beyond.
const TIME_S_END: i64 = 253_402_300_800;
/// From here on a float does not tell a whole number from the next one.
const WHOLE_END: f64 = 9_007_199_254_740_992.0;
/// The first moment of the year 0.
const TIME_S_MIN: i64 = -62_167_219_200;

/// One field of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not there, null, or an empty field of CSV.
    Absent,
    /// Text.
    Text(&'a str),
    /// A whole number; wide enough for signed and unsigned 64 bits.
    Integer(i128),
    /// Another number.
    Number(f64),
    /// A moment in Unix milliseconds, from a format that has times of its own.
    TimeMs(i64),
    /// True or false.
    Flag(bool),
    /// A list, as JSON has it.
    List(&'a [Json]),
    /// What no column takes, by its name: an object.
    Other(&'static str),
}

impl Value<'_> {
    /// What it is called where something else is wanted.
    fn what(self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Text(_) => "text",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::TimeMs(_) => "a time",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(what) => what,
        }
    }

    /// The text; `None` where there is none.
    ///
    /// # Errors
    /// It is too long, or not text.
    pub fn text(self, name: &str) -> Result<Option<String>, String> {
        let text = match self {
            Self::Absent | Self::Text("") => return Ok(None),
            Self::Text(text) => text.to_owned(),
            Self::Integer(number) => number.to_string(),
            // Tables that know no whole numbers, or none beside a null, keep ids so.
            Self::Number(number) if number.fract() == 0.0 && number.abs() < WHOLE_END => (number as i64).to_string(),
            Self::Number(_) => {
                return Err(format!(
                    "{name} is a number with a fraction, or one too large to be exact: store it as text or as a \
                     whole number"
                ));
            }
            other => return Err(format!("{name} is {} where text is wanted", other.what())),
        };
        match text.len() {
            bytes if bytes > TEXT_BYTES_MAX => {
                Err(format!("{name} has {bytes} bytes, at most {TEXT_BYTES_MAX} are taken"))
            }
            _ => Ok(Some(text)),
        }
    }

    /// An id: 1 to [`ID_BYTES_MAX`] bytes without control characters; `None` where there is none.
    ///
    /// # Errors
    /// It is no id.
    pub fn id(self, name: &str) -> Result<Option<String>, String> {
        let id = self.text(name)?;
        match &id {
            Some(id) if id.len() > ID_BYTES_MAX => {
                Err(format!("{name} has {} bytes, an id has at most {ID_BYTES_MAX}", id.len()))
            }
            Some(id) if id.chars().any(char::is_control) => {
                Err(format!("{name} {} has a control character", quoted(id)))
            }
            _ => Ok(id),
        }
    }

    /// A finite number; `None` where there is none.
    ///
    /// # Errors
    /// It is no finite number.
    pub fn number(self, name: &str) -> Result<Option<f64>, String> {
        let number = match self {
            Self::Absent | Self::Text("") => return Ok(None),
            Self::Integer(number) => number as f64,
            Self::Number(number) => number,
            Self::Text(text) => text.trim().parse().map_err(|_| format!("{name} {} is not a number", quoted(text)))?,
            other => return Err(format!("{name} is {} where a number is wanted", other.what())),
        };
        if number.is_finite() { Ok(Some(number)) } else { Err(format!("{name} is not a finite number")) }
    }

    /// A moment in Unix milliseconds, from RFC 3339 or Unix seconds; `None` where there is none. The zone may be left
    /// out, and is then UTC; so may the time of day, and is then midnight.
    ///
    /// # Errors
    /// It is no time, or one outside the years 0 to 9999.
    pub fn time_ms(self, name: &str) -> Result<Option<i64>, String> {
        let ms = match self {
            Self::Absent | Self::Text("") => return Ok(None),
            Self::TimeMs(ms) => i128::from(ms),
            Self::Integer(seconds) => seconds.saturating_mul(1000),
            Self::Number(seconds) if seconds.is_finite() => (seconds * 1000.0).round() as i128,
            Self::Number(_) => return Err(format!("{name} is not a finite number")),
            Self::Text(text) => i128::from(parse_time_ms(text.trim()).ok_or_else(|| {
                format!("{name} {} is neither RFC 3339 (2026-01-31T12:00:00Z) nor Unix seconds", quoted(text))
            })?),
            other => return Err(format!("{name} is {} where a time is wanted", other.what())),
        };
        let years = i128::from(TIME_S_MIN) * 1000..i128::from(TIME_S_END) * 1000;
        let beyond =
            || format!("{name} lies outside the years 0 to 9999: Unix times are in seconds, not in milliseconds");
        if years.contains(&ms) { Ok(Some(ms as i64)) } else { Err(beyond()) }
    }
}

/// True or false as files write it: `true`, `True` of Python, `TRUE` of spreadsheets.
pub(super) fn flag(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    (is("true") || is("false")).then(|| is("true"))
}

/// `value`, which has to be there.
pub(crate) fn present<T>(name: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("{name} is missing or empty"))
}

fn parse_time_ms(text: &str) -> Option<i64> {
    if let Some(us) = time_from_text(text) {
        return Some(us.div_euclid(1_000));
    }
    // It takes what RFC 3339 only notes, such as a space for the `T`.
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let seconds: f64 = text.parse().ok()?;
    seconds.is_finite().then(|| (seconds * 1000.0).round() as i64)
}

pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_unix_seconds() {
        let ms = |value: Value<'_>| value.time_ms("timestamp").unwrap().unwrap();
        assert_eq!(ms(Value::Text("2026-01-31T12:00:00Z")), 1_769_860_800_000);
        assert_eq!(ms(Value::Text("2026-01-31T13:00:00.25+01:00")), 1_769_860_800_250);
        assert_eq!(ms(Value::Text("2026-01-31T12:00:00")), 1_769_860_800_000);
        assert_eq!(ms(Value::Text("2026-01-31")), 1_769_817_600_000);
        assert_eq!(ms(Value::Text("2026-01-31 12:00:00Z")), 1_769_860_800_000);
        assert_eq!(ms(Value::Text(" 1769860800 ")), 1_769_860_800_000);
        assert_eq!(ms(Value::Text("1769860800.5")), 1_769_860_800_500);
        assert_eq!(ms(Value::Integer(-1)), -1000);
        assert_eq!(ms(Value::Number(0.25)), 250);
        assert_eq!(ms(Value::TimeMs(7)), 7);
        for bad in [Value::Text("yesterday"), Value::Text("inf"), Value::Number(f64::NAN), Value::Other("a list")] {
            assert!(bad.time_ms("timestamp").unwrap_err().starts_with("timestamp "), "{bad:?}");
        }
        assert!(Value::Integer(1_769_860_800_000).time_ms("t").unwrap_err().contains("not in milliseconds"));
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(Value::Text(" 4.5 ").number("value"), Ok(Some(4.5)));
        assert_eq!(Value::Integer(4).number("value"), Ok(Some(4.0)));
        assert_eq!(Value::Text("").number("value"), Ok(None));
        for bad in [Value::Text("four"), Value::Text("NaN"), Value::Number(f64::INFINITY), Value::Other("a list")] {
            assert!(bad.number("value").unwrap_err().starts_with("value "), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_short_and_printable_and_may_be_numbers() {
        assert_eq!(Value::Integer(i128::from(u64::MAX)).id("id"), Ok(Some("18446744073709551615".into())));
        assert_eq!(Value::Absent.id("id"), Ok(None));
        assert!(Value::Text("a\u{7}").id("id").unwrap_err().contains("control character"));
        assert!(Value::Text(&"é".repeat(129)).id("id").unwrap_err().contains("258 bytes"));
        assert_eq!(Value::Number(1.0).id("id"), Ok(Some("1".into())));
        assert_eq!(Value::Number(9_007_199_254_740_991.0).id("id"), Ok(Some("9007199254740991".into())));
        for bad in [1.5, 9_007_199_254_740_992.0, 1e30, f64::NAN, f64::INFINITY] {
            assert!(Value::Number(bad).id("id").unwrap_err().contains("store it as text"), "{bad}");
        }
    }

    #[test]
    fn a_reason_quotes_the_beginning_only() {
        let reason = Value::Text(&"ä".repeat(1000)).number("value").unwrap_err();
        assert!(reason.len() < 200 && reason.contains("..."), "{reason}");
        assert!(Value::Text(&"a".repeat(TEXT_BYTES_MAX + 1)).text("text").unwrap_err().contains("at most 1048576"));
    }
}
