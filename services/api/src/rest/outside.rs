//! What a service of the user's own is asked while a list is made, and what it answers.
//!
//! One contract serves both tasks: without `item_ids` the service proposes items, with them it says what it thinks of
//! those. Fields may be added to the request; a service has to pass over what it does not know. What an answer has besides
//! is passed over here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::recommendation::HistoryEvent;

/// What is wanted of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutsideTask {
    /// Items that should be in the list. Where the caller has candidates of his own (`/v1/rank`), `item_ids` has those.
    #[default]
    Propose,
    /// Scores for the items of `item_ids`, which the other sources have proposed.
    Score,
}

/// The body of the `POST` that a service is sent: a list is being made. Absent is what is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OutsideRequest {
    /// The list: the same `request_id` is in its answer, in the log of exposures, and in the events that come of it.
    pub request_id: String,
    /// Whose installation it is.
    #[schema(example = "default")]
    pub tenant: String,
    /// The pipeline that makes the list.
    #[schema(example = "home")]
    pub pipeline: String,
    /// What the service is called in the pipeline.
    #[schema(example = "ours")]
    pub source: String,
    /// What is wanted.
    pub task: OutsideTask,
    /// For whom; none of the three for nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ada")]
    pub user_id: Option<String>,
    /// For whom, while nobody knows who that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<String>,
    /// The last events, at most 100, of a stranger who came with them, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<HistoryEvent>>,
    /// How many items; what is more is not looked at. What was seen, hidden, or does not fulfil the list's filter is left
    /// out afterwards, so that more than a list is long is a good answer.
    #[schema(example = 100)]
    pub k: usize,
    /// Where the list will stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "home")]
    pub surface: Option<String>,
    /// The item that is being looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// Items of this session, at most the last 100, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub session_item_ids: Vec<String>,
    /// The only items that count, at most 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_ids: Option<Vec<String>>,
}

/// The answer: status 200 and this as JSON, at most 1 MiB. No items is an answer, too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutsideAnswer {
    /// In any order, each once, at most 1,000.
    pub items: Vec<OutsideItem>,
}

/// An item as a service sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutsideItem {
    /// Its id. One that is unknown here is left out and counted.
    #[schema(example = "film-1")]
    pub item_id: String,
    /// Higher is better, in any unit: how items are ordered counts, and the number is logged. It has to be finite.
    #[schema(example = 0.71)]
    pub score: f64,
    /// Why, in words that `explain` repeats; the first 256 bytes of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "you liked the book")]
    pub reason: Option<String>,
}
