//! What people do, as the tracking service takes it.

use async_trait::async_trait;
use serde_json::Value;

use crate::rest::Timestamp;
use crate::rest::tracking::{
    DeadLetters, EventInput, Identified, IdentifyRequest, RejectedEvent, ReplayRequest, Replayed, Tracked,
};
use crate::{ApiError, Call, structs, v1};

/// The most events of a call.
pub const EVENTS_MAX: usize = 1_000;
/// The most bytes of a call's events, as JSON.
pub const CALL_BYTES_MAX: usize = 1 << 20;
/// The largest event, as JSON, in bytes.
pub const EVENT_BYTES_MAX: usize = 32 << 10;
/// The most dead letters of a page, and of a replay.
pub const LETTERS_MAX: usize = 1_000;

/// An event of a call: read, or what it is instead and why it cannot be read as one.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// It has the fields of an event. What they say is not looked at yet.
    Event(Box<EventInput>),
    /// It has not.
    Unreadable {
        /// As it came.
        json: Value,
        /// What is wrong with it.
        why: String,
    },
}

/// Takes events, and knows what could not be used.
#[async_trait]
pub trait Tracking: Send + Sync {
    /// Takes events, 1 to [`EVENTS_MAX`] and up to [`CALL_BYTES_MAX`]. Bad ones cost themselves and are kept as dead
    /// letters. When it answers, what is accepted survives a loss of power.
    ///
    /// # Errors
    /// `Empty`, `Invalid`, `BodyTooLarge` where the call breaks a limit; `StorageFull` and `Unavailable` where the log
    /// cannot keep them: nothing is acknowledged, and the call is to be sent again.
    async fn track(&self, call: &Call, events: Vec<Given>) -> Result<Tracked, ApiError>;

    /// Joins an anonymous id to a user. An id that was another user's goes over to this one; what was counted before
    /// stays with whom it was counted for.
    ///
    /// # Errors
    /// `Invalid` for what is no id; the stores cannot be reached.
    async fn identify(&self, call: &Call, request: IdentifyRequest) -> Result<Identified, ApiError>;

    /// Up to `limit` dead letters, the oldest first, from where a page before ended.
    ///
    /// # Errors
    /// `Invalid` for a cursor that no page came with.
    async fn dead_letters(&self, call: &Call, cursor: Option<&str>, limit: usize) -> Result<DeadLetters, ApiError>;

    /// Sends dead letters through once more. Those that are accepted now are letters no longer.
    ///
    /// # Errors
    /// `Invalid` for no or too many ids; as [`Tracking::track`].
    async fn replay(&self, call: &Call, request: ReplayRequest) -> Result<Replayed, ApiError>;
}

impl Given {
    /// Reads an event out of JSON.
    pub fn read(json: Value) -> Self {
        match EventInput::read(&json) {
            Ok(event) => Self::Event(Box::new(event)),
            Err(why) => Self::Unreadable { json, why },
        }
    }

    /// As JSON, for whoever keeps it.
    pub fn json(&self) -> Value {
        match self {
            Self::Event(event) => serde_json::to_value(event).unwrap_or_default(),
            Self::Unreadable { json, .. } => json.clone(),
        }
    }
}

impl From<v1::Event> for Given {
    fn from(event: v1::Event) -> Self {
        let mut why = None;
        let timestamp_ms = event.timestamp.and_then(|time| {
            let ms = Timestamp::from_proto(&time);
            if ms.is_none() {
                why = Some("`timestamp` lies outside the years 1 to 9999, or its nanoseconds are none".to_owned());
            }
            ms.map(|ms| ms.0)
        });
        let properties = event.properties.and_then(|properties| {
            structs::to_json(properties).or_else(|| {
                why = Some("`properties` hold a number that is not finite".to_owned());
                None
            })
        });
        let input = EventInput {
            event_id: event.event_id,
            r#type: event.r#type,
            user_id: event.user_id,
            anonymous_id: event.anonymous_id,
            item_id: event.item_id,
            value: event.value,
            timestamp_ms,
            session_id: event.session_id,
            request_id: event.request_id,
            surface: event.surface,
            properties: properties.unwrap_or_default(),
        };
        match why {
            Some(why) => Self::Unreadable { json: serde_json::to_value(&input).unwrap_or_default(), why },
            None => Self::Event(Box::new(input)),
        }
    }
}

impl From<Tracked> for v1::TrackResponse {
    fn from(tracked: Tracked) -> Self {
        let rejected = tracked.rejected.into_iter().map(|RejectedEvent { index, code, detail }| v1::RejectedEvent {
            index,
            code: code.name().to_owned(),
            detail,
        });
        Self { accepted: tracked.accepted, duplicates: tracked.duplicates, rejected: rejected.collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(json: Value) -> String {
        match Given::read(json) {
            Given::Unreadable { why, .. } => why,
            Given::Event(event) => panic!("{event:?}"),
        }
    }

    #[test]
    fn an_event_is_read_and_written_the_same() {
        let json = json!({"event_id": "e", "type": "click", "user_id": "ann", "item_id": "i", "value": 2.5,
            "timestamp": "2026-01-31T12:00:00.000Z", "session_id": "s", "request_id": "r", "surface": "home",
            "properties": {"a": [1, {"b": null}]}});
        assert_eq!(Given::read(json.clone()).json(), json);
        let sparse = json!({"type": "view", "anonymous_id": "x", "timestamp": 1, "value": null});
        let expected = json!({"type": "view", "anonymous_id": "x", "timestamp": "1970-01-01T00:00:01.000Z"});
        assert_eq!(Given::read(sparse).json(), expected);
    }

    #[test]
    fn what_is_no_event_says_why() {
        for (json, part) in [
            (json!(1), "JSON object"),
            (json!({"type": "click", "user": "ann"}), "`user`"),
            (json!({"type": 1}), "`type` must be text"),
            (json!({"type": "a", "value": "1"}), "`value` must be a number"),
            (json!({"type": "a", "timestamp": "soon"}), "`timestamp`: invalid value"),
            (json!({"type": "a", "properties": []}), "`properties` must be an object"),
        ] {
            assert!(why(json.clone()).contains(part), "{json}: {}", why(json.clone()));
        }
    }

    #[test]
    fn both_protocols_give_the_same_event() {
        let number = |number| prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number)) };
        let event = |x| v1::Event {
            r#type: "rating".to_owned(),
            user_id: Some("ann".to_owned()),
            value: Some(4.0),
            timestamp: Some(prost_types::Timestamp { seconds: 1_769_860_800, nanos: 250_000_000 }),
            properties: Some(prost_types::Struct { fields: [("n".to_owned(), number(x))].into() }),
            ..Default::default()
        };
        let json = json!({"type": "rating", "user_id": "ann", "value": 4.0, "timestamp": 1_769_860_800.25,
            "properties": {"n": 15}});
        assert_eq!(Given::from(event(15.0)), Given::read(json));
        assert!(matches!(Given::from(event(f64::NAN)), Given::Unreadable { .. }));
    }
}
