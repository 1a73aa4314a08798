//! `POST /v1/recommend`, `/v1/rank`, `/v1/similar` and `GET /v1/trending`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Timestamp;

/// Somebody wants a list. At most one of `user_id`, `anonymous_id` and `history` is given. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecommendRequest {
    /// Who it is for.
    #[schema(example = "ada")]
    pub user_id: Option<String>,
    /// Who it is for, while nobody knows who that is.
    pub anonymous_id: Option<String>,
    /// What a stranger did, oldest first; it is not kept.
    pub history: Option<Vec<HistoryEvent>>,
    /// How many items, 1 to 1,000; 10 if absent.
    #[schema(example = 10)]
    pub k: Option<usize>,
    /// What items have to fulfil.
    #[schema(example = json!(null))]
    pub filter: Option<String>,
    /// Items that shall not be in the list, at most 10,000.
    #[schema(example = json!([]))]
    pub exclude_ids: Option<Vec<String>>,
    /// Where the list will stand.
    pub context: Option<Context>,
    /// From 0, the best items, to 1, items as unlike as can be; the pipeline's own if absent.
    #[schema(example = 0.2)]
    pub diversity: Option<f32>,
    /// Whether every item says why it is there.
    #[schema(example = true)]
    pub explain: Option<bool>,
    /// The pipeline that makes the list; `default` if absent.
    #[schema(example = json!(null))]
    pub pipeline: Option<String>,
    /// `next_cursor` of the page before: no item of the pages before comes again.
    #[schema(example = json!(null))]
    pub cursor: Option<String>,
}

/// Somebody's view of the caller's own items. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RankRequest {
    /// Who it is for.
    #[schema(example = "ada")]
    pub user_id: Option<String>,
    /// Who it is for, while nobody knows who that is.
    pub anonymous_id: Option<String>,
    /// What a stranger did, oldest first; it is not kept.
    pub history: Option<Vec<HistoryEvent>>,
    /// The items, in any order, 1 to 1,000. Those that are unknown are left out, and a note says so.
    #[schema(example = json!(["film-1", "film-2"]))]
    pub item_ids: Vec<String>,
    /// How many of them; all if absent.
    #[schema(example = json!(null))]
    pub k: Option<usize>,
    /// What items have to fulfil.
    #[schema(example = json!(null))]
    pub filter: Option<String>,
    /// Where the list will stand.
    pub context: Option<Context>,
    /// From 0 to 1; the pipeline's own if absent.
    pub diversity: Option<f32>,
    /// Whether every item says why it is there.
    pub explain: Option<bool>,
    /// The pipeline that orders them; `default` if absent.
    #[schema(example = json!(null))]
    pub pipeline: Option<String>,
}

/// What is like an item. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimilarRequest {
    /// The item.
    #[schema(example = "film-1")]
    pub item_id: String,
    /// How many items, 1 to 1,000; 10 if absent.
    #[serde(default)]
    pub k: Option<usize>,
    /// What items have to fulfil.
    #[serde(default)]
    pub filter: Option<String>,
    /// Whether every item says why it is there.
    #[serde(default)]
    pub explain: Option<bool>,
}

/// What more and more people like; in the query of a URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct TrendingRequest {
    /// How many items, 1 to 1,000; 10 if absent.
    pub k: Option<usize>,
    /// What items have to fulfil.
    pub filter: Option<String>,
}

/// What somebody did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryEvent {
    /// With what.
    #[schema(example = "film-1")]
    pub item_id: String,
    /// For example `click`, which is what it is if absent.
    #[serde(default)]
    #[schema(example = "click")]
    pub r#type: Option<String>,
    /// A rating, a price, a number of seconds.
    #[serde(default)]
    pub value: Option<f64>,
    /// When; now, if absent.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
}

/// Where a list will stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Context {
    /// The item that is being looked at. It is not in the list; what is like it is.
    pub item_id: Option<String>,
    /// Items of this session, oldest first; those of the last events if there are none.
    pub session_item_ids: Option<Vec<String>>,
    /// For example `home`; exposures are counted by it.
    #[schema(example = "home")]
    pub surface: Option<String>,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecommendResponse {
    /// The server's name of this list, which events on it give along.
    pub request_id: String,
    /// Which pipeline made it.
    #[schema(example = "default")]
    pub pipeline: String,
    /// Which model scored it.
    pub model_version: String,
    /// Whether the list is worse than it would be if nothing had been late or away; `notes` say what was.
    pub degraded: bool,
    /// Best first.
    pub items: Vec<RecommendedItem>,
    /// What share of the list came from which source.
    pub sources: BTreeMap<String, f32>,
    /// Why the list is less personal, or shorter, than it could be.
    pub notes: Vec<Note>,
    /// Asks for the next page, where there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Where the time went; a header and not a part of the answer.
    #[serde(skip)]
    pub timing: ListTiming,
}

/// Where the time of a list went that was made in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListTiming {
    /// Asking sources, for all lists that were made together.
    pub retrieve: Duration,
    /// Scoring what they proposed, and ordering it.
    pub score: Duration,
}

/// An item of a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecommendedItem {
    /// Its id.
    pub item_id: String,
    /// The probability that the user acts on it where a trained blend scores, else a share of the best there could be.
    pub score: f32,
    /// From 1, over all pages.
    pub rank: usize,
    /// Why it is there, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explanation>,
}

/// Why an item is where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// What each source said that proposed it.
    pub sources: Vec<SourceReason>,
    /// What each feature, or source, adds to the score.
    pub contributions: Vec<Contribution>,
    /// Rules that are about it.
    pub rules: Vec<String>,
    /// What became of it when it was shown before, to everybody.
    pub stats: ItemStats,
}

/// What became of an item when it was shown, to everybody and everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemStats {
    /// Places on lists.
    pub exposures: u64,
    /// Times that an application saw it on a screen, where it says so.
    pub impressions: u64,
    /// Clicks.
    pub clicks: u64,
    /// Events of the types that are conversions, such as purchases.
    pub conversions: u64,
}

/// What one source said of an item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceReason {
    /// Its name.
    pub source: String,
    /// In its own unit.
    pub score: f32,
    /// From 1, in its own list.
    pub rank: usize,
    /// `taste`, `because_of`, `follows`, `alike`, `trending`, `popular`, `latest`, `model`, `outside`, ...
    #[schema(example = "because_of")]
    pub reason: String,
    /// The item that weighed most, where the reason names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// What a service of one's own said of it, where it said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What one feature, or source, adds to a score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Contribution {
    /// Its name.
    pub name: String,
    /// What it adds.
    pub value: f32,
}

/// Something to know about a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Note {
    /// For programs: `no_history`, `items_unknown`, `model_stale`, `filter_too_narrow`, `source_late`, `source_failed`, ...
    #[schema(example = "no_history")]
    pub code: String,
    /// For people.
    pub detail: String,
}
