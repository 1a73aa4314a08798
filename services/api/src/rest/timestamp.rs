//! A moment as clients write it.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{PartialSchema, ToSchema, openapi};

/// The end of the year 9999 in Unix milliseconds, which is as far as RFC 3339 goes.
const MS_MAX: i64 = 253_402_300_799_999;
/// The start of the year 0.
const MS_MIN: i64 = -62_167_219_200_000;

/// A moment in Unix milliseconds. JSON has it as RFC 3339, in UTC where it names no zone, or as a number of Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads RFC 3339; the zone may be left out, and so may the time of day. `None` is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
        let time =
            parse(text).or_else(|| parse(&format!("{text}Z"))).or_else(|| parse(&format!("{text}T00:00:00Z")))?;
        Self::checked((time.unix_timestamp_nanos().div_euclid(1_000_000)) as f64)
    }

    /// RFC 3339 in UTC, to the millisecond; what is before the year 0 or after 9999 is told as their ends.
    pub fn text(self) -> String {
        let nanoseconds = i128::from(self.0.clamp(MS_MIN, MS_MAX)) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        let (hour, minute, second, ms) = (time.hour(), time.minute(), time.second(), time.millisecond());
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }

    /// Of the years 1 to 9999, as protocol buffers allow them. `None` is anything else.
    pub fn from_proto(time: &prost_types::Timestamp) -> Option<Self> {
        let fits =
            (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
        fits.then(|| Self(time.seconds * 1_000 + i64::from(time.nanos / 1_000_000)))
    }

    /// The same, for an answer.
    pub fn to_proto(self) -> prost_types::Timestamp {
        let nanos = self.0.rem_euclid(1_000) as i32 * 1_000_000;
        prost_types::Timestamp { seconds: self.0.div_euclid(1_000), nanos }
    }

    fn checked(ms: f64) -> Option<Self> {
        (MS_MIN as f64..=MS_MAX as f64).contains(&ms).then_some(Self(ms.round() as i64))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e3)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time like \"2026-01-31T12:00:00Z\" or Unix seconds, of the years 0 to 9999")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timestamp, E> {
        Timestamp::checked(seconds * 1e3).ok_or_else(|| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
        self.visit_f64(seconds as f64)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
        self.visit_f64(seconds as f64)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        let text = openapi::ObjectBuilder::new().schema_type(openapi::schema::Type::String);
        let text = text.format(Some(openapi::SchemaFormat::KnownFormat(openapi::KnownFormat::DateTime)));
        let seconds = openapi::ObjectBuilder::new().schema_type(openapi::schema::Type::Number);
        let either = openapi::schema::OneOfBuilder::new().item(text).item(seconds);
        either.description(Some("RFC 3339, or Unix seconds.")).into()
    }
}

impl ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_text_or_a_number() {
        let read = |text: &str| serde_json::from_str::<Timestamp>(text).map_err(|error| error.to_string());
        for text in
            ["1.5", "\"1970-01-01T00:00:01.5Z\"", "\"1970-01-01T02:00:01.5+02:00\"", "\"1970-01-01T00:00:01.5\""]
        {
            assert_eq!(read(text), Ok(Timestamp(1_500)), "{text}");
        }
        assert_eq!(read("\"2026-01-31\""), Ok(Timestamp(1_769_817_600_000)));
        assert_eq!(serde_json::to_string(&Timestamp(1_500)).unwrap(), "1.5");
        for ms in [0, 1_500, 1_769_817_600_001, -1, MS_MIN, MS_MAX] {
            assert_eq!(Timestamp::parse(&Timestamp(ms).text()), Some(Timestamp(ms)));
            assert_eq!(Timestamp::from_proto(&Timestamp(ms).to_proto()), (ms > MS_MIN).then_some(Timestamp(ms)));
        }
        assert_eq!(Timestamp(1_769_817_600_001).text(), "2026-01-31T00:00:00.001Z");
        for text in ["\"yesterday\"", "1e300", "true", "null", "\"2026-02-30\""] {
            let error = read(text).unwrap_err();
            assert!(error.contains("2026-01-31T12:00:00Z"), "{text}: {error}");
        }
    }
}
