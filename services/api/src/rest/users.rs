//! `/v1/users/{id}` with its export and erasure, and `/v1/jobs/{id}`.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::log::Record;

/// A profile as it is written. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"attributes": {"country": "ch", "age": 37}, "preferences": {"genres": ["drama"]}, "consent": true}))]
pub struct ProfileBody {
    /// What is known of the user, of any shape: up to 128 names.
    #[schema(value_type = Object)]
    pub attributes: Map<String, Value>,
    /// What the user wants, of any shape: up to 128 names.
    #[schema(value_type = Object)]
    pub preferences: Map<String, Value>,
    /// Whether the user agreed to be profiled. Null: never asked. Absent: as it is. Nothing that a user does is kept
    /// while this is false.
    #[serde(deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<bool>)]
    pub consent: Option<Option<bool>>,
}

/// Null is something that was said; absence is not.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<bool>>, D::Error> {
    Option::<bool>::deserialize(deserializer).map(Some)
}

/// A profile as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// Whose it is.
    pub user_id: String,
    /// What is known of the user.
    #[schema(value_type = Object)]
    pub attributes: Map<String, Value>,
    /// What the user wants.
    #[schema(value_type = Object)]
    pub preferences: Map<String, Value>,
    /// Whether the user agreed to be profiled; null: never asked.
    pub consent: Option<bool>,
    /// When the profile was made.
    pub created: String,
    /// When it was last written.
    pub changed: String,
    /// Which state of the profile this is: its ETag.
    #[serde(skip)]
    pub version: u64,
}

/// All that is kept of somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserExport {
    /// Who.
    pub user_id: String,
    /// The profile, on the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Whether the user agreed to be profiled; null: never asked.
    pub consent: Option<bool>,
    /// Ids under which the user was seen before it was known who that is.
    pub anonymous_ids: Vec<String>,
    /// What other services keep, by what it is, on the first page.
    #[schema(value_type = Object)]
    pub others: Map<String, Value>,
    /// Records of the log, in its order, first those of the user and then those of each anonymous id: events, lists
    /// that were shown, ids that were joined.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Record>,
    /// Where the next page of events begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// It did what it should.
    Done,
    /// It did not.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

/// Long work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id, for `GET /v1/jobs/{id}`.
    pub id: String,
    /// What is done, for example `erase`.
    pub kind: String,
    /// Where it stands.
    pub status: JobStatus,
    /// How far it is; null before the first word of its worker.
    pub progress: Value,
    /// What came of it, once it has ended. Of an erasure: a line for each store.
    pub report: Value,
    /// When it was entered.
    pub created: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// What an erasure did in one place: a line of its report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Erased {
    /// The kind of store: `relational`, `documents`, `cache`, `events`, ...
    pub store: String,
    /// What of it.
    pub what: String,
    /// How many there were.
    pub deleted: u64,
    /// What there is left, why it names nobody, and when it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
