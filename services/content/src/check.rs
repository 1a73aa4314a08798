//! What an item may be: from what a client sent to what is kept, with every fault by its place.

use attune_api::content::{ITEM_ATTRIBUTES_MAX, ITEM_ID_BYTES_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX};
use attune_api::error::quoted;
use attune_api::pointer::escaped;
use attune_api::rest::content::ItemBody;
use attune_api::{ApiError, ErrorCode, FieldError};
use serde_json::{Map, Value as Json};

use crate::document::Body;
use crate::schema::Attributes;
use crate::{attribute, time};

/// How large the attributes of an item are at most, as JSON in bytes: with title and text they fit a document.
const ATTRIBUTES_BYTES_MAX: usize = 256 << 10;

/// Checks an id of the wire contract.
///
/// # Errors
/// `Invalid` at `pointer`.
pub(crate) fn id(what: &str, pointer: &str, id: &str) -> Result<(), ApiError> {
    let fault = if id.is_empty() {
        "it is empty".to_owned()
    } else if id.len() > ITEM_ID_BYTES_MAX {
        format!("it has {} bytes", id.len())
    } else if id.chars().any(char::is_control) {
        "it has a control character".to_owned()
    } else {
        return Ok(());
    };
    let detail =
        format!("{} cannot be the id of {what}: {fault}; 1 to {ITEM_ID_BYTES_MAX} bytes are taken", quoted(id));
    Err(ApiError::at(ErrorCode::Invalid, pointer, detail))
}

/// What is kept of an item, and the schema with what it adds. Its edition and reviews are for the caller.
///
/// # Errors
/// `Invalid` with all faults.
pub(crate) fn item(body: ItemBody, schema: &mut Attributes) -> Result<Body, ApiError> {
    let mut faults = Faults::default();
    let text = body.text.filter(|text| !text.is_empty());
    faults.longest("/title", &body.title, TITLE_BYTES_MAX);
    faults.longest("/text", text.as_deref().unwrap_or_default(), TEXT_BYTES_MAX);
    if body.title.trim().is_empty() {
        faults.add("/title", "an item needs a title");
    }
    let published = faults.time("/published_at", body.published_at.as_ref());
    let expires = faults.time("/expires_at", body.expires_at.as_ref());
    if let (Some(from), Some(until)) = (published, expires)
        && until <= from
    {
        faults.add("/expires_at", "it expires before it is published");
    }
    let mut extended = schema.clone();
    let attributes = attributes(&body.attributes, &mut extended, &mut faults);
    let bytes = serde_json::to_string(&attributes).map_or(0, |json| json.len());
    if bytes > ATTRIBUTES_BYTES_MAX {
        faults.add("/attributes", format!("{bytes} bytes as JSON, an item has at most {ATTRIBUTES_BYTES_MAX}"));
    }
    faults.none()?;
    *schema = extended;
    Ok(Body { title: body.title, text, attributes, hidden: body.hidden, published, expires, ..Body::default() })
}

fn attributes(given: &Map<String, Json>, schema: &mut Attributes, faults: &mut Faults) -> Map<String, Json> {
    if given.len() > ITEM_ATTRIBUTES_MAX {
        faults.add("/attributes", format!("{} attributes, an item has at most {ITEM_ATTRIBUTES_MAX}", given.len()));
        return Map::new();
    }
    let mut kept = Map::new();
    for (name, value) in given {
        match one(name, value, schema) {
            Ok(Some(value)) => drop(kept.insert(name.clone(), value)),
            Ok(None) => {}
            Err(detail) => faults.add(format!("/attributes/{}", escaped(name)), detail),
        }
    }
    kept
}

fn one(name: &str, value: &Json, schema: &mut Attributes) -> Result<Option<Json>, String> {
    let kind = match schema.kind(name) {
        Some(kind) => kind,
        None => {
            let Some(kind) = attribute::infer(value)? else { return Ok(None) };
            // Checked before it is added: a value that cannot be decides nothing.
            attribute::read(kind, value)?;
            schema.add(name, kind)?;
            kind
        }
    };
    Ok(attribute::read(kind, value)?.as_ref().map(attribute::write))
}

/// Every fault of a body.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<FieldError>);

impl Faults {
    pub fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
    }

    pub fn longest(&mut self, pointer: &str, text: &str, bytes_max: usize) {
        if text.len() > bytes_max {
            self.add(pointer, format!("it has {} bytes, at most {bytes_max} are taken", text.len()));
        }
        // PostgreSQL and search indices cannot hold it.
        if text.contains('\0') {
            self.add(pointer, "it has a NUL character");
        }
    }

    fn time(&mut self, pointer: &str, value: Option<&Json>) -> Option<i64> {
        let value = value.filter(|value| !value.is_null())?;
        let time = time::read(value);
        if time.is_none() {
            self.add(pointer, "a time is RFC 3339 such as 2026-01-31T08:00:00Z, or Unix seconds");
        }
        time
    }

    /// # Errors
    /// `Invalid` with all of them, if there are any; the first is also the error's detail.
    pub fn none(self) -> Result<(), ApiError> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let detail = format!("{}: {}", first.pointer, first.detail);
        Err(ApiError { fields: self.0, ..ApiError::new(ErrorCode::Invalid, detail) })
    }
}

#[cfg(test)]
mod tests {
    use attune_api::catalogue::AttributeKind;
    use serde_json::json;

    use super::*;

    fn body(json: Json) -> ItemBody {
        serde_json::from_value(json).unwrap()
    }

    fn faults(json: Json, schema: &mut Attributes) -> Vec<String> {
        let error = item(body(json), schema).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid);
        error.fields.into_iter().map(|field| field.pointer).collect()
    }

    #[test]
    fn every_fault_is_told_with_its_place_and_changes_no_schema() {
        let mut schema = Attributes::default();
        schema.add("year", AttributeKind::Number).unwrap();
        let before = schema.clone();
        let bad = json!({
            "title": " ",
            "published_at": "soon",
            "attributes": {"year": "1949", "sentiment": 1, "a/b": {}, "fine": true}
        });
        assert_eq!(
            faults(bad, &mut schema),
            ["/title", "/published_at", "/attributes/a~1b", "/attributes/sentiment", "/attributes/year"]
        );
        assert_eq!(schema, before);
        let late = json!({"title": "t", "published_at": 2, "expires_at": 1});
        assert_eq!(faults(late, &mut schema), ["/expires_at"]);
    }

    #[test]
    fn a_first_use_decides_and_null_is_absent() {
        let mut schema = Attributes::default();
        let kept = item(body(json!({"title": "t", "attributes": {"year": 1949, "tags": null}})), &mut schema).unwrap();
        assert_eq!(Json::from(kept.attributes), json!({"year": 1949}));
        assert_eq!((schema.kind("year"), schema.kind("tags")), (Some(AttributeKind::Number), None));
    }

    #[test]
    fn ids_have_bounds() {
        for bad in ["", "a\nb", &"x".repeat(ITEM_ID_BYTES_MAX + 1)] {
            assert_eq!(id("an item", "/id", bad).unwrap_err().code, ErrorCode::Invalid);
        }
        assert!(id("an item", "", "ключ/é ?").is_ok());
    }
}
