//! Attributes: of which kind a value is, and whether it fits the kind that its name has.

use attune_api::catalogue::AttributeKind;
use attune_ranking::attributes::{KEYWORD_BYTES_MAX, Kind, LIST_KEYWORDS_MAX, Value};
use serde_json::Value as Json;

use crate::time;

/// The kind in the words of the ranking side.
pub(crate) fn kind(kind: AttributeKind) -> Kind {
    match kind {
        AttributeKind::Keyword => Kind::Keyword,
        AttributeKind::Keywords => Kind::KeywordList,
        AttributeKind::Number => Kind::Number,
        AttributeKind::Boolean => Kind::Boolean,
        AttributeKind::Time => Kind::Time,
    }
}

fn name(kind: AttributeKind) -> &'static str {
    match kind {
        AttributeKind::Keyword => "a text",
        AttributeKind::Keywords => "a list of texts",
        AttributeKind::Number => "a number",
        AttributeKind::Boolean => "true or false",
        AttributeKind::Time => "a time (RFC 3339 or Unix seconds)",
    }
}

/// The kind that a value suggests for a name that nobody has used yet; none for null and an empty list.
///
/// # Errors
/// What is wrong with a value that is of no kind.
pub(crate) fn infer(value: &Json) -> Result<Option<AttributeKind>, String> {
    Ok(Some(match value {
        Json::Null => return Ok(None),
        Json::Bool(_) => AttributeKind::Boolean,
        Json::Number(_) => AttributeKind::Number,
        Json::String(text) if time::is_time(text) => AttributeKind::Time,
        Json::String(_) => AttributeKind::Keyword,
        Json::Array(list) if list.is_empty() => return Ok(None),
        Json::Array(_) => AttributeKind::Keywords,
        Json::Object(_) => {
            return Err("an attribute is a text, a list of texts, a number, a boolean or a time; not an object".into());
        }
    }))
}

/// A value as its kind says; none for null and an empty list.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(kind: AttributeKind, value: &Json) -> Result<Option<Value>, String> {
    let other = || format!("this attribute is {}, and here is {}", name(kind), described(value));
    Ok(Some(match (kind, value) {
        (_, Json::Null) => return Ok(None),
        (AttributeKind::Keyword, Json::String(text)) => Value::Keyword(keyword(text)?),
        // One text is a list of one: files with a column of texts cannot say it otherwise.
        (AttributeKind::Keywords, Json::String(text)) => Value::Keywords(vec![keyword(text)?]),
        (AttributeKind::Keywords, Json::Array(list)) => match keywords(list)? {
            empty if empty.is_empty() => return Ok(None),
            texts => Value::Keywords(texts),
        },
        (AttributeKind::Number, Json::Number(number)) => Value::Number(number.as_f64().ok_or_else(other)?),
        (AttributeKind::Boolean, Json::Bool(flag)) => Value::Boolean(*flag),
        (AttributeKind::Time, value) => Value::Time(time::read(value).ok_or_else(other)?),
        _ => return Err(other()),
    }))
}

fn keywords(list: &[Json]) -> Result<Vec<String>, String> {
    if list.len() > LIST_KEYWORDS_MAX {
        return Err(format!("{} texts, at most {LIST_KEYWORDS_MAX} are kept", list.len()));
    }
    let texts = list.iter().map(|one| match one {
        Json::String(text) => keyword(text),
        other => Err(format!("a list has texts only, and here is {}", described(other))),
    });
    texts.collect()
}

fn keyword(text: &str) -> Result<String, String> {
    if text.len() > KEYWORD_BYTES_MAX {
        return Err(format!("a text of {} bytes, an attribute takes {KEYWORD_BYTES_MAX}", text.len()));
    }
    Ok(text.to_owned())
}

fn described(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// A value as it is kept and shown: what [`read`] reads again as the same.
pub(crate) fn write(value: &Value) -> Json {
    match value {
        Value::Keyword(text) => Json::from(text.as_str()),
        Value::Keywords(texts) => Json::from(texts.clone()),
        Value::Number(number) => whole(*number).map_or_else(|| Json::from(*number), Json::from),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Time(micros) => Json::from(time::rfc3339(*micros)),
    }
}

/// A whole number is shown as one: 1949 and not 1949.0.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_first_value_decides_a_kind() {
        let cases = [
            (json!("noir"), Some(AttributeKind::Keyword)),
            (json!("2026-01-01"), Some(AttributeKind::Keyword)),
            (json!("2026-01-01T08:00:00Z"), Some(AttributeKind::Time)),
            (json!(["a"]), Some(AttributeKind::Keywords)),
            (json!([]), None),
            (json!(null), None),
            (json!(1.5), Some(AttributeKind::Number)),
            (json!(false), Some(AttributeKind::Boolean)),
        ];
        for (value, kind) in cases {
            assert_eq!(infer(&value), Ok(kind), "{value}");
        }
        assert!(infer(&json!({"a": 1})).is_err());
    }

    #[test]
    fn a_value_of_another_kind_is_refused_in_words() {
        let error = read(AttributeKind::Number, &json!("12")).unwrap_err();
        assert_eq!(error, "this attribute is a number, and here is a text");
        assert!(read(AttributeKind::Keywords, &json!(["a", 1])).is_err());
        assert!(read(AttributeKind::Time, &json!("yesterday")).is_err());
        assert!(read(AttributeKind::Keyword, &json!("x".repeat(KEYWORD_BYTES_MAX + 1))).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_kept_is_read_again(number: f64, seconds in -62_000_000_000_i64..253_000_000_000, texts: Vec<String>) {
            prop_assume!(number.is_finite() && texts.iter().all(|text| text.len() <= KEYWORD_BYTES_MAX));
            let values = [
                (AttributeKind::Number, Value::Number(number)),
                (AttributeKind::Time, Value::Time(seconds * 1_000_000 + 7)),
                (AttributeKind::Keywords, Value::Keywords(texts)),
            ];
            for (kind, value) in values.into_iter().filter(|(_, value)| *value != Value::Keywords(vec![])) {
                prop_assert_eq!(read(kind, &write(&value)), Ok(Some(value)));
            }
        }
    }
}
