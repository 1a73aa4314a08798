//! OpenAI's embeddings, as its clients send and read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Inputs, Truncate};

/// `POST /v1/embeddings`. Unknown fields are ignored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EmbeddingsRequest {
    /// What to embed: a text, a list of texts, token ids, or a list of token ids.
    pub input: Inputs,
    /// Name or alias of an embedding model.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub model: String,
    /// Numbers, or base64 of little-endian 32-bit floats; numbers if absent.
    #[serde(default)]
    pub encoding_format: Option<EncodingFormat>,
    /// Keep this many leading dimensions and scale to unit length again.
    #[serde(default)]
    pub dimensions: Option<u32>,
    /// Attune's extension: what happens to a text that is too long. As OpenAI, `refuse` if absent.
    #[serde(default)]
    pub truncate: Option<Truncate>,
    /// Taken, and not used.
    #[serde(default)]
    pub user: Option<String>,
}

/// How an embedding is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// Base64 of little-endian 32-bit floats.
    Base64,
}

/// The answer of `POST /v1/embeddings`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EmbeddingsResponse {
    /// Always `list`.
    #[schema(example = "list")]
    pub object: String,
    /// One for each input, in its order.
    pub data: Vec<EmbeddingObject>,
    /// Canonical name of the model that answered.
    pub model: String,
    /// Tokens used.
    pub usage: Usage,
}

/// One embedding.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EmbeddingObject {
    /// Always `embedding`.
    #[schema(example = "embedding")]
    pub object: String,
    /// Its input's place in the request.
    pub index: usize,
    /// Numbers or base64, as asked for.
    pub embedding: EmbeddingValue,
}

/// An embedding as numbers or as base64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingValue {
    /// A list of numbers.
    Float(Vec<f32>),
    /// Base64 of little-endian 32-bit floats.
    Base64(String),
}

/// Tokens used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Of the inputs, special tokens included.
    pub prompt_tokens: usize,
    /// The same: an embedding writes no tokens.
    pub total_tokens: usize,
}
