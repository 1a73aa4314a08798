//! What a document may be, and what it is found by.

use serde_json::Value;

use super::{Collection, DEPTH_MAX, DOCUMENT_BYTES_MAX, DOCUMENTS_MAX, Put};
use crate::key::{self, KEY_BYTES_MAX};
use crate::{ErrorKind, Expect, StoreError, StoreKind, Version};

const STORE: StoreKind = StoreKind::Documents;

/// The body as JSON, when it is an object within the limits.
pub(crate) fn check_body(call: &'static str, id: &str, body: &Value) -> Result<String, StoreError> {
    let invalid = |detail| Err(StoreError::new(STORE, call, ErrorKind::Invalid, detail));
    if !body.is_object() {
        return invalid(format!("the document {id:?} is not a JSON object"));
    }
    if depth(body) > DEPTH_MAX {
        return invalid(format!("the document {id:?} is nested more than {DEPTH_MAX} deep"));
    }
    let json = body.to_string();
    key::check_bytes(STORE, call, &format!("the document {id:?}"), json.len(), DOCUMENT_BYTES_MAX)?;
    Ok(json)
}

/// How deep it is nested. It recurses no deeper than the parser of JSON lets a text be (128).
fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or(0)
}

/// The bodies of all that is to be put as JSON, when each of them and their number are within the limits.
pub(crate) fn check_puts(puts: &[Put]) -> Result<Vec<String>, StoreError> {
    check_count("put", puts.len())?;
    let body = |put: &Put| {
        key::check(STORE, "put", &put.id)?;
        check_body("put", &put.id, &put.body)
    };
    puts.iter().map(body).collect()
}

/// Checks that documents of the collection can be found by this text in this field.
pub(crate) fn check_find(collection: Collection, lookup: &str, text: &str) -> Result<(), StoreError> {
    if collection.lookups.contains(&lookup) {
        return key::check(STORE, "find", text);
    }
    let detail = format!("{} are found by {:?}, not by {lookup:?}", collection.name, collection.lookups);
    Err(StoreError::new(STORE, "find", ErrorKind::Invalid, detail))
}

/// Checks the number of documents of a call.
pub(crate) fn check_count(call: &'static str, documents: usize) -> Result<(), StoreError> {
    if documents <= DOCUMENTS_MAX {
        return Ok(());
    }
    let detail = format!("{documents} documents in a call, {DOCUMENTS_MAX} are allowed");
    Err(StoreError::new(STORE, call, ErrorKind::TooLarge, detail))
}

/// Whether a document of this version is what is expected.
pub(crate) fn fits(expect: Expect, version: Version) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => false,
        Expect::Version(expected) => version == expected,
    }
}

/// Something else is there than expected.
pub(crate) fn conflict(call: &'static str, id: &str, expect: Expect) -> StoreError {
    let detail = match expect {
        Expect::Any => format!("others write the document {id:?} all the time: try again"),
        Expect::Absent => format!("the document {id:?} is there already"),
        Expect::Version(version) => format!("the document {id:?} is not at version {version}: read it again"),
    };
    StoreError::new(STORE, call, ErrorKind::Conflict, detail)
}

/// Nothing is there.
pub(crate) fn absent(call: &'static str, id: &str) -> StoreError {
    StoreError::new(STORE, call, ErrorKind::NotFound, format!("there is no document {id:?}"))
}
/// The fields a document is found by, with their texts.
pub(crate) fn lookups<'b>(
    collection: Collection,
    body: &'b Value,
) -> impl Iterator<Item = (&'static str, &'b str)> + use<'b> {
    let is_key = |text: &&str| (1..=KEY_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    collection
        .lookups
        .iter()
        .filter_map(move |name| body.get(*name).and_then(Value::as_str).filter(is_key).map(|text| (*name, text)))
}
