//! What serde says of a value that does not fit, in the terms of JSON: it names Rust's types, which who sends JSON has
//! never heard of.

/// Between what was found and what would have been right.
const EXPECTED: &str = ", expected ";
/// The most of a client's own value that an error repeats, in characters.
const FOUND_CHARS_MAX: usize = 200;
/// Faults of shape begin with one of these: something is of another kind, or missing, or there and not known.
const SHAPE: [&str; 6] =
    ["invalid type", "invalid value", "invalid length", "unknown variant", "unknown field", "missing field"];

/// Whether it says that a value has the wrong shape, and not that it makes no sense.
pub fn is_of_shape(told: &str) -> bool {
    SHAPE.iter().any(|kind| told.starts_with(kind))
}

/// The same without Rust's names, and without the line and column, since a pointer says where.
pub fn told(said: &str) -> String {
    let said = without_place(said);
    match said.rsplit_once(EXPECTED) {
        Some((found, expected)) => format!("{}{EXPECTED}{}", found_in_json(found), expected_in_json(expected)),
        None => cut(parse_fault(said)),
    }
}

/// Without ` at line 1 column 31`, which serde_json adds.
fn without_place(said: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let place = said.rsplit_once(" at line ").filter(|(_, place)| {
        place.split_once(" column ").is_some_and(|(line, column)| is_number(line) && is_number(column))
    });
    place.map_or(said, |(said, _)| said)
}

/// What was sent instead.
fn found_in_json(found: &str) -> String {
    let Some((kind, value)) = found.split_once(": ").filter(|(kind, _)| is_of_shape(kind)) else { return cut(found) };
    let value = match value {
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" | "Option value" => "null".to_owned(),
        "unit variant" => "a name alone".to_owned(),
        "newtype variant" | "tuple variant" | "struct variant" => "a name with a value".to_owned(),
        other => cut(other).replacen("floating point ", "number ", 1),
    };
    format!("{kind}: {value}")
}

/// What would have been right.
fn expected_in_json(expected: &str) -> String {
    let name = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number from 0",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" | "struct variant" => "an object",
        "map with a single key" => "an object with one member",
        "string or map" => "a name, or an object with one member",
        "field identifier" | "variant identifier" => "a name",
        "unit" | "unit variant" => "null",
        other => match other.split(' ').next() {
            Some("struct") => "an object",
            Some("enum") => "a name",
            Some("tuple") => "a list",
            _ => other,
        },
    };
    name.to_owned()
}

/// What the standard library says of a text that is no number, or neither true nor false.
fn parse_fault(said: &str) -> &str {
    match said {
        "invalid digit found in string" | "cannot parse integer from empty string" => "expected a whole number from 0",
        "number too large to fit in target type" => "the number is too large",
        "number too small to fit in target type" => "the number is too small",
        "invalid float literal" | "cannot parse float from empty string" => "expected a number",
        "provided string was not `true` or `false`" => "expected `true` or `false`",
        other => other,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(FOUND_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_rust_is_left() {
        for (said, right) in [
            (
                "invalid value: integer `-1`, expected usize at line 1 column 7",
                "integer `-1`, expected a whole number from 0",
            ),
            ("invalid type: string \"p1\", expected struct HistoryEvent", "string \"p1\", expected an object"),
            ("invalid length 1, expected struct HistoryEvent with 4 elements", "invalid length 1, expected an object"),
            ("invalid type: string \"5\", expected f64", "string \"5\", expected a number"),
            (
                "invalid type: floating point `1.5`, expected u32",
                "number `1.5`, expected a whole number from 0 to 4294967295",
            ),
            ("invalid type: map, expected a sequence", "an object, expected a list"),
            ("invalid type: sequence, expected a map", "a list, expected an object"),
            ("invalid type: unit variant, expected struct variant", "a name alone, expected an object"),
            ("unknown variant `x, expected u8`, expected `end` or `refuse`", "u8`, expected `end` or `refuse`"),
            ("missing field `inputs` at line 1 column 2", "missing field `inputs`"),
            ("invalid digit found in string", "expected a whole number from 0"),
        ] {
            let told = told(said);
            assert!(told.ends_with(right) && !told.contains(" line "), "{told}");
        }
    }

    #[test]
    fn a_long_value_is_not_repeated() {
        let said = format!("invalid type: string \"{}\", expected u8", "ä".repeat(1_000_000));
        assert!(told(&said).len() < 1_000 && told(&said).ends_with("expected a whole number from 0 to 255"));
        assert!(told(&format!("unknown field `{0}`, expected `{0}`", "x".repeat(9_000))).len() < 10_000);
    }

    #[test]
    fn shape_and_sense_are_told_apart() {
        assert!(is_of_shape(&told("invalid type: map, expected a sequence")) && is_of_shape("missing field `x`"));
        assert!(!is_of_shape("position 0 does not exist: the first is 1"));
    }
}
