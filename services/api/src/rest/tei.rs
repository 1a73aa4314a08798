//! text-embeddings-inference's `/embed` and `/info`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Inputs;

/// `POST /embed`. Unknown fields are ignored. The answer is a list with one list of numbers for each input.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EmbedRequest {
    /// What to embed.
    pub inputs: Inputs,
    /// Cut off what the model cannot take instead of refusing it; `false` if absent.
    #[serde(default)]
    pub truncate: Option<bool>,
    /// Which end is cut off; only `Right` is offered.
    #[serde(default)]
    pub truncation_direction: Option<TruncationDirection>,
    /// Scale to unit length; `true` if absent.
    #[serde(default)]
    pub normalize: Option<bool>,
    /// Keep this many leading dimensions and scale to unit length again.
    #[serde(default)]
    pub dimensions: Option<u32>,
}

/// Which end of a long text is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum TruncationDirection {
    /// The beginning.
    #[serde(alias = "left")]
    Left,
    /// The end.
    #[serde(alias = "right")]
    Right,
}

/// `GET /info`: the default embedding model and the server's limits.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// The default embedding model.
    pub model_id: String,
    /// Its version.
    pub model_sha: Option<String>,
    /// Number format of its arithmetic.
    pub model_dtype: String,
    /// What it computes.
    pub model_type: ModelType,
    /// Requests in work at once, over all connections.
    pub max_concurrent_requests: usize,
    /// The longest text, in tokens.
    pub max_input_length: usize,
    /// The largest batch, in tokens.
    pub max_batch_tokens: usize,
    /// The largest batch, in texts.
    pub max_batch_requests: Option<usize>,
    /// The most texts in one request.
    pub max_client_batch_size: usize,
    /// Whether long texts are cut off without being asked to; they are not.
    pub auto_truncate: bool,
    /// Version of the server.
    pub version: String,
}

/// What the model computes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
    /// Embeddings, with how tokens are pooled.
    Embedding {
        /// `mean`, `cls` or `last_token`.
        pooling: String,
    },
}
