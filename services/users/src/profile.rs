//! What a profile may be, and how it lies in its document.

use attune_api::error::quoted;
use attune_api::rest::Timestamp;
use attune_api::rest::users::{Profile, ProfileBody};
use attune_api::users::{PROFILE_BYTES_MAX, PROFILE_FIELDS_MAX};
use attune_api::{ApiError, ErrorCode};
use attune_store::Version;
use attune_store::documents::{Collection, merge_patch};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Profiles by the application's id of a user.
pub(crate) const USERS: Collection = Collection { name: "users", lookups: &[] };

/// The longest id of a user, in bytes.
const ID_BYTES_MAX: usize = 256;
/// The longest name of an attribute or preference, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A profile as it lies in its document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    pub attributes: Map<String, Value>,
    pub preferences: Map<String, Value>,
    pub created_ms: i64,
    pub changed_ms: i64,
}

/// What is said of consent: nothing, or yes, no, or never asked.
pub(crate) type Consent = Option<Option<bool>>;

impl Kept {
    /// A profile as people see it.
    pub fn view(self, user_id: &str, version: Version, consent: Option<bool>) -> Profile {
        Profile {
            user_id: user_id.to_owned(),
            attributes: self.attributes,
            preferences: self.preferences,
            consent,
            created: Timestamp(self.created_ms).text(),
            changed: Timestamp(self.changed_ms).text(),
            version: version.0,
        }
    }

    /// The whole profile anew; what was there only says since when there is one.
    pub fn replaced(before: Option<&Self>, body: ProfileBody, now_ms: i64) -> Result<Self, ApiError> {
        let ProfileBody { attributes, preferences, consent: _ } = body;
        let created_ms = before.map_or(now_ms, |before| before.created_ms);
        Self { attributes, preferences, created_ms, changed_ms: now_ms }.checked()
    }

    /// The profile with a merge patch applied.
    pub fn patched(&self, patch: &Patch, now_ms: i64) -> Result<Self, ApiError> {
        let merged = |fields: &Map<String, Value>, change: &Option<Value>| {
            let mut fields = Value::Object(fields.clone());
            if let Some(change) = change {
                merge_patch(&mut fields, change);
            }
            match fields {
                Value::Object(fields) => fields,
                // Null takes all of them away.
                _ => Map::new(),
            }
        };
        let attributes = merged(&self.attributes, &patch.attributes);
        let preferences = merged(&self.preferences, &patch.preferences);
        Self { attributes, preferences, created_ms: self.created_ms, changed_ms: now_ms }.checked()
    }

    fn checked(self) -> Result<Self, ApiError> {
        for (part, fields) in [("attributes", &self.attributes), ("preferences", &self.preferences)] {
            if fields.len() > PROFILE_FIELDS_MAX {
                let detail = format!("{} names, {PROFILE_FIELDS_MAX} are allowed", fields.len());
                return Err(invalid(format!("/{part}"), detail));
            }
            let is_wrong =
                |name: &&String| name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control);
            if let Some(name) = fields.keys().find(is_wrong) {
                let detail =
                    format!("{} is no name: 1 to {NAME_BYTES_MAX} bytes without control characters", quoted(name));
                return Err(invalid(format!("/{part}"), detail));
            }
        }
        let bytes = json!([self.attributes, self.preferences]).to_string().len();
        if bytes > PROFILE_BYTES_MAX {
            let detail = format!("the profile has {bytes} bytes as JSON, {PROFILE_BYTES_MAX} are allowed");
            return Err(ApiError::at(ErrorCode::BodyTooLarge, "", detail));
        }
        Ok(self)
    }
}

/// A merge patch whose parts are what they may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Patch {
    pub attributes: Option<Value>,
    pub preferences: Option<Value>,
    pub consent: Consent,
}

impl Patch {
    /// Reads one.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn read(patch: Value) -> Result<Self, ApiError> {
        let Value::Object(fields) = patch else { return Err(invalid("", "a patch is a JSON object")) };
        let mut read = Self::default();
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("attributes", value @ (Value::Object(_) | Value::Null)) => read.attributes = Some(value),
                ("preferences", value @ (Value::Object(_) | Value::Null)) => read.preferences = Some(value),
                ("attributes" | "preferences", _) => return Err(invalid(format!("/{name}"), "an object is needed")),
                ("consent", Value::Bool(consent)) => read.consent = Some(Some(consent)),
                ("consent", Value::Null) => read.consent = Some(None),
                ("consent", _) => return Err(invalid("/consent", "true, false or null is needed")),
                (other, _) => {
                    let detail = format!("there is no field {}: attributes, preferences, consent", quoted(other));
                    return Err(invalid(format!("/{}", other.replace('~', "~0").replace('/', "~1")), detail));
                }
            }
        }
        Ok(read)
    }
}

fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> ApiError {
    ApiError::at(ErrorCode::Invalid, pointer, detail)
}

/// Whether this may be the id of a user.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_id(id: &str) -> Result<(), ApiError> {
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
        let detail = format!("{} is no id: 1 to {ID_BYTES_MAX} bytes without control characters", quoted(id));
        return Err(ApiError::new(ErrorCode::Invalid, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: Value) -> Map<String, Value> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let kept = Kept { attributes: object(json!({"a": 1, "b": {"c": 2}})), created_ms: 3, ..Kept::default() };
        let patch = Patch::read(json!({"attributes": {"a": null, "b": {"d": 4}}, "preferences": {"x": []}})).unwrap();
        let patched = kept.patched(&patch, 9).unwrap();
        assert_eq!(Value::Object(patched.attributes), json!({"b": {"c": 2, "d": 4}}));
        assert_eq!(Value::Object(patched.preferences), json!({"x": []}));
        assert_eq!((patched.created_ms, patched.changed_ms, patch.consent), (3, 9, None));
        let all = Patch::read(json!({"attributes": null, "consent": null})).unwrap();
        assert_eq!((kept.patched(&all, 9).unwrap().attributes.len(), all.consent), (0, Some(None)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (patch, pointer) in [
            (json!([]), ""),
            (json!({"atributes": {}}), "/atributes"),
            (json!({"attributes": 1}), "/attributes"),
            (json!({"consent": "yes"}), "/consent"),
        ] {
            assert_eq!(Patch::read(patch.clone()).unwrap_err().fields[0].pointer, pointer, "{patch}");
        }
        let many: Map<String, Value> = (0..=PROFILE_FIELDS_MAX).map(|n| (n.to_string(), json!(1))).collect();
        for attributes in [many, object(json!({"": 1})), object(json!({"a\n": 1}))] {
            let error = Kept { attributes, ..Kept::default() }.checked().unwrap_err();
            assert_eq!(error.fields[0].pointer, "/attributes");
        }
        let attributes = object(json!({"a": "x".repeat(PROFILE_BYTES_MAX)}));
        assert_eq!(Kept { attributes, ..Kept::default() }.checked().unwrap_err().code, ErrorCode::BodyTooLarge);
        assert!(check_id("é").is_ok() && check_id("").is_err() && check_id("\0").is_err());
    }
}
