//! Where in a JSON text something does not fit.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::{ApiError, ErrorCode, words};

pub use crate::words::is_of_shape;

/// The longest name of a member that a pointer repeats, in characters.
const MEMBER_CHARS_MAX: usize = 100;

/// What serde_json says where the name of a choice should be, without the choice.
const NAMELESS: [&str; 2] = [", expected string or map", ", expected map with a single key"];
/// No choice is called so.
const NO_NAME: &str = "?";

/// Reads a value.
///
/// # Errors
/// `Invalid` at the member that does not fit.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let said = error.inner().to_string();
        let found = NAMELESS.iter().find_map(|end| said.strip_suffix(end));
        let names = found.and_then(|found| Some((found, names::<T>(value, &pointer(error.path(), ""))?)));
        match names {
            Some((found, names)) => fault(error.path(), &format!("{found}, expected {names}")),
            None => fault(error.path(), &said),
        }
    })
}

/// A value does not fit, as serde says.
pub fn fault(path: &Path, said: &str) -> ApiError {
    ApiError::at(ErrorCode::Invalid, pointer(path, said), words::told(said))
}

/// The names of a choice. Only what serde says of one that there is not has them.
fn names<T: DeserializeOwned>(mut value: Value, place: &str) -> Option<String> {
    *value.pointer_mut(place)? = NO_NAME.into();
    let said = serde_path_to_error::deserialize::<_, T>(&value).err()?.inner().to_string();
    let (found, names) = said.rsplit_once(", expected ")?;
    found.starts_with("unknown variant").then(|| names.to_owned())
}

/// RFC 6901. serde reports a missing member, and one that is there twice, at its parent; a client wants to know the
/// member.
fn pointer(path: &Path, message: &str) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => pointer.push_str(&format!("/{}", escaped(key))),
            Segment::Unknown => {}
        }
    }
    let of_parent = ["missing field `", "duplicate field `"].iter().find_map(|kind| message.strip_prefix(kind));
    if let Some(name) = of_parent.and_then(|rest| rest.split('`').next()) {
        pointer.push_str(&format!("/{}", escaped(name)));
    }
    pointer
}

/// A member's name within a pointer.
pub fn escaped(member: &str) -> String {
    let member: String = member.chars().take(MEMBER_CHARS_MAX).collect();
    member.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rest::content::BatchItem;
    use crate::rest::recommendation::RecommendRequest;
    use crate::rest::sentiment::SentimentRequest;

    fn told<T: DeserializeOwned + std::fmt::Debug>(value: Value) -> (String, String) {
        let error = from_value::<T>(value).unwrap_err();
        (error.fields[0].pointer.clone(), error.detail)
    }

    #[test]
    fn a_fault_is_told_in_the_terms_of_json() {
        let (place, detail) = told::<BatchItem>(json!(5));
        assert_eq!((place.as_str(), detail.as_str()), ("", "invalid type: integer `5`, expected an object"));
        let (place, detail) = told::<RecommendRequest>(json!({"history": ["p1"]}));
        assert!(place == "/history/0" && detail.ends_with("expected an object"), "{place} {detail}");
    }

    #[test]
    fn a_choice_is_told_with_its_names() {
        for wrong in [json!(true), json!({}), json!({"end": 1, "refuse": 2}), json!("middle")] {
            let (place, detail) = told::<SentimentRequest>(json!({"inputs": ["x"], "truncate": wrong}));
            assert!(place == "/truncate" && detail.ends_with("expected `end` or `refuse`"), "{place} {detail}");
        }
    }
}
