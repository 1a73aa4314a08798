//! `GET /v1/models`: OpenAI's list, with what Attune knows besides.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The models that are loaded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ModelList {
    /// Always `list`.
    #[schema(example = "list")]
    pub object: String,
    /// In the order of the configuration.
    pub data: Vec<Model>,
}

/// One model. `id`, `object`, `created` and `owned_by` are OpenAI's, the rest is Attune's.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// The name to ask for.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub id: String,
    /// Always `model`.
    #[schema(example = "model")]
    pub object: String,
    /// When it was loaded, in Unix seconds.
    pub created: u64,
    /// Always `attune`.
    #[schema(example = "attune")]
    pub owned_by: String,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// Changes whenever answers may change.
    pub version: String,
    /// What it computes.
    pub task: Task,
    /// Width of an embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Labels of a classifier, by class number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// The longest text, in tokens with the special ones.
    pub max_tokens: usize,
    /// `cpu` or `reference`.
    pub engine: String,
    /// For example `avx512`.
    pub instruction_set: String,
    /// `f32`, `bf16` or `int8`.
    pub precision: String,
    /// The model that an adapter was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// The server's choice where a request names no model.
    pub is_default: bool,
}

/// What a model computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Embeddings.
    Embed,
    /// Class probabilities.
    Classify,
}
