//! What an event must be, decided without looking anywhere else.

use attune_api::error::quoted;
use attune_api::log::Event;
use attune_api::rest::Timestamp;
use attune_api::rest::tracking::{EventInput, RejectCode};
use attune_store::relational::PersonId;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How far a client's clock may run ahead.
pub const AHEAD_MS_MAX: i64 = 5 * 60 * 1_000;
/// The longest id, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// The longest name of a type, in bytes.
pub const TYPE_BYTES_MAX: usize = 64;

/// The property that is a field of its own.
const SURFACE: &str = "surface";

/// Why an event is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// To branch on.
    pub code: RejectCode,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// A sound event.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Whose it is.
    pub person: PersonId,
    /// What happened; its id is empty where the client gave none.
    pub event: Event,
    /// Whether the client said when.
    pub has_time: bool,
}

impl Refusal {
    pub(crate) fn new(code: RejectCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Whether an event that arrived at `now_ms`, in Unix milliseconds, is sound.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(input: &EventInput, now_ms: i64) -> Result<(), Refusal> {
    check_fields(input).map_err(|detail| Refusal::new(RejectCode::Invalid, detail))?;
    check_time(input.timestamp_ms, now_ms)
}

fn check_fields(input: &EventInput) -> Result<(), String> {
    match (&input.user_id, &input.anonymous_id) {
        (Some(user), None) => check_id("user_id", user)?,
        (None, Some(anonymous)) => check_id("anonymous_id", anonymous)?,
        (None, None) => return Err("give whose event it is: `user_id` or `anonymous_id`".to_owned()),
        (Some(_), Some(_)) => {
            let detail = "give `user_id` or `anonymous_id`, not both; POST /v1/identify says that they belong together";
            return Err(detail.to_owned());
        }
    }
    check_type(&input.r#type)?;
    for (name, id) in [
        ("event_id", &input.event_id),
        ("item_id", &input.item_id),
        ("session_id", &input.session_id),
        ("request_id", &input.request_id),
        ("surface", &input.surface),
    ] {
        id.as_deref().map_or(Ok(()), |id| check_id(name, id))?;
    }
    if input.value.is_some_and(|value| !value.is_finite()) {
        return Err("`value` must be a finite number".to_owned());
    }
    if input.r#type == "rating" && input.value.is_none() {
        return Err("a rating needs a `value`".to_owned());
    }
    check_surface(input)
}

/// Makes the event of one that is sound.
pub fn take(input: EventInput, now_ms: i64) -> Checked {
    let mut properties = input.properties;
    let inner = match properties.remove(SURFACE) {
        Some(Value::String(inner)) => Some(inner),
        _ => None,
    };
    let person = match (input.user_id, input.anonymous_id) {
        (Some(user), _) => PersonId::User(user),
        (None, anonymous) => PersonId::Anonymous(anonymous.unwrap_or_default()),
    };
    let event = Event {
        event_id: input.event_id.unwrap_or_default(),
        r#type: input.r#type,
        item_id: input.item_id,
        value: input.value,
        time_ms: input.timestamp_ms.unwrap_or(now_ms),
        received_ms: now_ms,
        session_id: input.session_id,
        request_id: input.request_id,
        surface: input.surface.or(inner),
        properties,
    };
    Checked { person, event, has_time: input.timestamp_ms.is_some() }
}

/// Whether this may be an id: 1 to [`ID_BYTES_MAX`] bytes without control characters.
///
/// # Errors
/// Why not, with the name of the field.
pub fn check_id(name: &str, id: &str) -> Result<(), String> {
    match id {
        "" => Err(format!("`{name}` is empty: an id has 1 to {ID_BYTES_MAX} bytes")),
        id if id.len() > ID_BYTES_MAX => {
            Err(format!("`{name}` has {} bytes, an id has at most {ID_BYTES_MAX}", id.len()))
        }
        id if id.chars().any(char::is_control) => Err(format!("`{name}` {} has a control character", quoted(id))),
        _ => Ok(()),
    }
}

fn check_type(name: &str) -> Result<(), String> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    let is_name = name.len() <= TYPE_BYTES_MAX
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(is_part);
    let what = "1 to 64 lower-case letters, digits, `_`, `-` and `.`, the first of them a letter";
    if is_name { Ok(()) } else { Err(format!("`type` is {}: a type has {what}", quoted(name))) }
}

fn check_time(time_ms: Option<i64>, now_ms: i64) -> Result<(), Refusal> {
    let Some(time_ms) = time_ms else { return Ok(()) };
    let said = Timestamp(time_ms).text();
    if time_ms > now_ms + AHEAD_MS_MAX {
        let detail = format!("`timestamp` {said} lies more than five minutes ahead of this server's clock");
        return Err(Refusal::new(RejectCode::Future, detail));
    }
    if time_ms < 0 {
        return Err(Refusal::new(RejectCode::TooOld, format!("`timestamp` {said} lies before 1970")));
    }
    Ok(())
}

/// A surface may stand in its field or among the properties, not in both with two meanings.
fn check_surface(input: &EventInput) -> Result<(), String> {
    match (&input.surface, input.properties.get(SURFACE)) {
        (_, None) => Ok(()),
        (None, Some(Value::String(inner))) => check_id("properties.surface", inner),
        (Some(outer), Some(Value::String(inner))) if outer == inner => Ok(()),
        (Some(_), Some(_)) => Err("`surface` and `properties.surface` differ: give one of them".to_owned()),
        (None, Some(_)) => Err("`properties.surface` must be text".to_owned()),
    }
}

/// What two events have in common exactly if they say the same: all but whose they are, their id, and when they
/// arrived. A moment that the client did not give is no part of it unless `with_time`.
pub(crate) fn digest(checked: &Checked, with_time: bool) -> [u8; 32] {
    let Event { r#type, item_id, value, time_ms, session_id, request_id, surface, properties, .. } = &checked.event;
    let mut hash = Sha256::new();
    // A length before each part, so that no two lists of parts have the same bytes.
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(r#type.as_bytes());
    for text in [item_id, session_id, request_id, surface] {
        part(&[u8::from(text.is_some())]);
        part(text.as_deref().unwrap_or_default().as_bytes());
    }
    part(&value.map(f64::to_le_bytes).map_or(Vec::new(), Vec::from));
    part(&if checked.has_time || with_time { time_ms.to_le_bytes().to_vec() } else { Vec::new() });
    part(&if properties.is_empty() { Vec::new() } else { serde_json::to_vec(properties).unwrap_or_default() });
    hash.finalize().into()
}

/// A hash of parts, each with its length, cut to 128 bits.
pub(crate) fn hash128(parts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let bytes: [u8; 32] = hash.finalize().into();
    u128::from_le_bytes(bytes[..16].try_into().expect("half of 32 is 16"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_MS: i64 = 1_769_860_800_000;

    fn checked(json: Value) -> Result<Checked, Refusal> {
        let input = EventInput::read(&json).unwrap();
        check(&input, NOW_MS).map(|()| take(input, NOW_MS))
    }

    #[test]
    fn a_sound_event_is_taken() {
        let found =
            checked(json!({"type": "click", "user_id": "ann", "item_id": "i", "properties": {"surface": "home"}}));
        let found = found.unwrap();
        assert_eq!(found.person, PersonId::User("ann".to_owned()));
        assert_eq!((found.event.time_ms, found.event.received_ms, found.has_time), (NOW_MS, NOW_MS, false));
        assert_eq!((found.event.surface.as_deref(), found.event.properties.len()), (Some("home"), 0));
        for name in ["x", "a.b-c_d9", &"z".repeat(TYPE_BYTES_MAX)] {
            assert!(checked(json!({"type": name, "anonymous_id": "é", "timestamp": 0})).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use RejectCode::{Future, Invalid, TooOld};
        let long = "x".repeat(ID_BYTES_MAX + 1);
        let soon = (NOW_MS + AHEAD_MS_MAX) / 1_000 + 1;
        for (json, code, part) in [
            (json!({"type": "click"}), Invalid, "`user_id` or `anonymous_id`"),
            (json!({"type": "click", "user_id": "a", "anonymous_id": "b"}), Invalid, "not both"),
            (json!({"type": "click", "user_id": ""}), Invalid, "`user_id` is empty"),
            (json!({"type": "click", "user_id": long}), Invalid, "257 bytes"),
            (json!({"type": "click", "user_id": "a", "item_id": "a\u{7}b"}), Invalid, "control character"),
            (json!({"type": "Click", "user_id": "a"}), Invalid, "`type` is `Click`"),
            (json!({"type": "", "user_id": "a"}), Invalid, "`type` is ``"),
            (json!({"type": "rating", "user_id": "a"}), Invalid, "needs a `value`"),
            (json!({"type": "a", "user_id": "a", "timestamp": soon}), Future, "five minutes ahead"),
            (json!({"type": "a", "user_id": "a", "timestamp": -1}), TooOld, "before 1970"),
            (json!({"type": "a", "user_id": "a", "surface": "x", "properties": {"surface": "y"}}), Invalid, "differ"),
            (json!({"type": "a", "user_id": "a", "properties": {"surface": 1}}), Invalid, "must be text"),
        ] {
            let refusal = checked(json.clone()).unwrap_err();
            assert_eq!(refusal.code, code, "{json}");
            assert!(refusal.detail.contains(part), "{json}: {}", refusal.detail);
        }
    }

    #[test]
    fn a_digest_tells_whether_two_events_say_the_same() {
        let of = |json: Value| digest(&checked(json).unwrap(), false);
        let event = json!({"type": "click", "user_id": "a", "item_id": "i", "timestamp": 5});
        let other_person = json!({"type": "click", "user_id": "b", "item_id": "i", "timestamp": 5, "event_id": "e"});
        assert_eq!(of(event.clone()), of(other_person));
        for (field, value) in [
            ("item_id", json!("j")),
            ("session_id", json!("i")),
            ("value", json!(0)),
            ("timestamp", json!(6)),
            ("properties", json!({"a": 1})),
        ] {
            let mut other = event.clone();
            other[field] = value;
            assert_ne!(of(event.clone()), of(other), "{field}");
        }
        // An empty item and none, and a text that moves to the next field, are different things.
        let at = |field: &str| of(json!({"type": "click", "user_id": "a", field: "i"}));
        assert_ne!(at("session_id"), at("request_id"));
    }
}
