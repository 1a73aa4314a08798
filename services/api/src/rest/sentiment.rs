//! `POST /v1/sentiment`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Truncate;

/// Texts to judge. Unknown fields are refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SentimentRequest {
    /// The texts.
    #[schema(example = json!(["What a lovely day.", "My flight was cancelled again."]))]
    pub inputs: Vec<String>,
    /// Name or alias of a classifier; the server's default sentiment model if absent.
    #[serde(default)]
    pub model: Option<String>,
    /// What happens to a text that is too long; `end` if absent.
    #[serde(default)]
    pub truncate: Option<Truncate>,
}

/// The answer of `POST /v1/sentiment`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SentimentResponse {
    /// Canonical name of the model that answered.
    pub model: String,
    /// Its version.
    pub version: String,
    /// One for each text, in its order.
    pub results: Vec<SentimentResult>,
}

/// What the model makes of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SentimentResult {
    /// The most probable label.
    #[schema(example = "positive")]
    pub label: String,
    /// Its probability.
    pub score: f32,
    /// The probability of every label; they add up to 1.
    #[schema(example = json!({"negative": 0.02, "neutral": 0.07, "positive": 0.91}))]
    pub scores: BTreeMap<String, f32>,
    /// The text was longer than the model takes, and its end was cut off.
    pub truncated: bool,
}
