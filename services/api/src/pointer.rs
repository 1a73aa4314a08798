//! Where in a JSON text something does not fit.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::{ApiError, ErrorCode};

/// The longest name of a member that a pointer repeats, in characters.
const MEMBER_CHARS_MAX: usize = 100;

/// Reads a value.
///
/// # Errors
/// `Invalid` at the member that does not fit.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        ApiError::at(ErrorCode::Invalid, pointer(error.path(), &message), message)
    })
}

/// RFC 6901. serde reports a missing member at its parent; a client wants to know the member.
pub fn pointer(path: &Path, message: &str) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => pointer.push_str(&format!("/{}", escaped(key))),
            Segment::Unknown => {}
        }
    }
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        pointer.push_str(&format!("/{}", escaped(name)));
    }
    pointer
}

/// A member's name within a pointer.
pub fn escaped(member: &str) -> String {
    let member: String = member.chars().take(MEMBER_CHARS_MAX).collect();
    member.replace('~', "~0").replace('/', "~1")
}
