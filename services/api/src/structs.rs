//! JSON in protocol buffers: `google.protobuf.Struct` and `Value`, there and back.
//!
//! A `Value` has one kind of number, a double. Whole ones become JSON's whole numbers, so that 1949 sent over one protocol
//! is 1949 read over the other.

use prost_types::{ListValue, Struct, Value as Proto, value::Kind};
use serde_json::{Map, Number, Value};

/// Whole numbers up to here are exact as doubles.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// As JSON. `None` where a number is not finite, which JSON cannot say.
pub fn to_json(of: Struct) -> Option<Map<String, Value>> {
    of.fields.into_iter().map(|(name, value)| Some((name, value_to_json(value)?))).collect()
}

/// As a message.
pub fn from_json(of: Map<String, Value>) -> Struct {
    Struct { fields: of.into_iter().map(|(name, value)| (name, value_from_json(value))).collect() }
}

fn value_to_json(value: Proto) -> Option<Value> {
    Some(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => Value::Number(number_to_json(number)?),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(value_to_json).collect::<Option<_>>()?),
        Some(Kind::StructValue(fields)) => Value::Object(to_json(fields)?),
    })
}

fn number_to_json(number: f64) -> Option<Number> {
    let is_whole = number.fract() == 0.0 && number.abs() <= WHOLE_MAX;
    if is_whole { Some((number as i64).into()) } else { Number::from_f64(number) }
}

/// Any JSON as a message.
pub fn value_from_json(value: Value) -> Proto {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::String(text) => Kind::StringValue(text),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::Array(list) => Kind::ListValue(ListValue { values: list.into_iter().map(value_from_json).collect() }),
        Value::Object(fields) => Kind::StructValue(from_json(fields)),
    };
    Proto { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_the_same_after_both_ways() {
        let json = json!({"year": 1949, "stars": 4.5, "below": -7, "most": 9_007_199_254_740_992_u64, "none": null,
            "words": ["a", {"deep": [true, []]}], "": {}});
        let Value::Object(fields) = json.clone() else { unreachable!() };
        assert_eq!(to_json(from_json(fields)).map(Value::Object), Some(json));
    }

    #[test]
    fn what_json_cannot_say_is_none_of_it() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let value = Proto { kind: Some(Kind::NumberValue(number)) };
            assert_eq!(to_json(Struct { fields: [("n".to_owned(), value)].into() }), None);
        }
        let vast = Proto { kind: Some(Kind::NumberValue(1e300)) };
        assert_eq!(value_to_json(vast), Some(json!(1e300)));
    }
}
