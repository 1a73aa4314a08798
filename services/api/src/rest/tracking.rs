//! `POST /v1/events`, `POST /v1/identify`, `/v1/dead-letters`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Timestamp;
use crate::error::quoted;
use crate::tracking::Given;

/// Events. Each is read by itself: one that is wrong is rejected, and the others are taken.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackRequest {
    /// 1 to 1,000.
    #[schema(value_type = Vec<EventInput>)]
    pub events: Vec<Given>,
}

/// Something that somebody did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"type": "click", "user_id": "ann", "item_id": "film-7", "event_id": "c-1"}))]
pub struct EventInput {
    /// One effect per person and id. Absent: a hash of the event and the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// `impression`, `view`, `click`, `like`, `dislike`, `share`, `purchase`, `rating`, `review`, `search`, or another
    /// name.
    #[schema(example = "click")]
    pub r#type: String,
    /// Who, if it is known. Exactly one of `user_id` and `anonymous_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The device or session of somebody who is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<String>,
    /// With what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// A rating, a price, a number of seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// When: RFC 3339 or Unix seconds, from 1970 to five minutes from now. Absent: now.
    #[serde(rename = "timestamp", serialize_with = "serialize_moment", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>, example = "2026-01-31T12:00:00Z")]
    pub timestamp_ms: Option<i64>,
    /// In which session, as the client says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The list that it happened on: `request_id` of a recommendation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where, for example `home`. It may also stand in `properties`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub properties: Map<String, Value>,
}

/// Why an event is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectCode {
    /// It is not an event, or a field is wrong.
    Invalid,
    /// It has more bytes than an event may have.
    TooLarge,
    /// Its time lies more than five minutes ahead.
    Future,
    /// Its time lies before 1970.
    TooOld,
    /// An event of that id, with other fields, is there already.
    Conflict,
}

/// An event that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedEvent {
    /// Its place in the request, from 0.
    pub index: u32,
    /// Why, to branch on.
    pub code: RejectCode,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// The answer to events: the three together are all that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tracked {
    /// Events that are kept now. Those of people who refused to be profiled are counted here and dropped.
    pub accepted: u32,
    /// Events that were kept before, as far as that was noticed.
    pub duplicates: u32,
    /// Events that are not kept, in the order of the request.
    pub rejected: Vec<RejectedEvent>,
}

/// Which user is behind an anonymous id.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifyRequest {
    /// The id that a device had so far.
    #[schema(example = "device-8")]
    pub anonymous_id: String,
    /// Whose it is.
    #[schema(example = "ann")]
    pub user_id: String,
}

/// The answer to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Identified {
    /// The anonymous id was not this user's before.
    pub is_new: bool,
}

/// Events that could not be used, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetters {
    /// Up to as many as were asked for.
    pub dead_letters: Vec<DeadLetterView>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An event that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterView {
    /// What it is called.
    pub id: String,
    /// Since when it is kept.
    pub time: String,
    /// Why it could not be used.
    pub reason: String,
    /// Where it stands in the log; absent if it was refused before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// As it came; its person is named only while somebody knows who that is.
    #[schema(value_type = Object)]
    pub event: Value,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// The partition.
    pub partition: u32,
    /// The place in it.
    pub offset: u64,
}

/// Which dead letters to send through again.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// 1 to 1,000.
    pub ids: Vec<String>,
}

/// What came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// Letters whose events are kept now, or were before.
    pub replayed: u32,
    /// Letters that stay as they are.
    pub rejected: Vec<RejectedLetter>,
    /// Ids of which there is no letter.
    pub unknown: Vec<String>,
}

/// A letter whose event still cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedLetter {
    /// The letter.
    pub id: String,
    /// Why, to branch on.
    pub code: RejectCode,
    /// What is wrong.
    pub detail: String,
}

impl RejectCode {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Future => "future",
            Self::TooOld => "too_old",
            Self::Conflict => "conflict",
        }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::read)
    }
}

/// RFC 3339, which reads better in a dead letter than a number.
fn serialize_moment<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    ms.map(|ms| Timestamp(ms).text()).serialize(serializer)
}

const FIELDS: &str = "event_id, type, user_id, anonymous_id, item_id, value, timestamp, session_id, request_id, \
                      surface, properties";

impl EventInput {
    /// Reads the fields of an event; null is the same as absent.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(json: &Value) -> Result<Self, String> {
        let Value::Object(fields) = json else { return Err("an event is a JSON object".to_owned()) };
        let mut event = Self::default();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let text = || match value {
                Value::String(text) => Ok(text.clone()),
                _ => Err(format!("`{name}` must be text")),
            };
            match name.as_str() {
                "event_id" => event.event_id = Some(text()?),
                "type" => event.r#type = text()?,
                "user_id" => event.user_id = Some(text()?),
                "anonymous_id" => event.anonymous_id = Some(text()?),
                "item_id" => event.item_id = Some(text()?),
                "session_id" => event.session_id = Some(text()?),
                "request_id" => event.request_id = Some(text()?),
                "surface" => event.surface = Some(text()?),
                "value" => event.value = Some(value.as_f64().ok_or_else(|| format!("`{name}` must be a number"))?),
                "timestamp" => {
                    let read = Timestamp::deserialize(value).map_err(|error| format!("`{name}`: {error}"))?;
                    event.timestamp_ms = Some(read.0);
                }
                "properties" => {
                    let object = value.as_object().ok_or_else(|| format!("`{name}` must be an object"))?;
                    event.properties = object.clone();
                }
                other => return Err(format!("there is no field {}: an event has {FIELDS}", quoted(other))),
            }
        }
        Ok(event)
    }
}
