//! `POST /v1/embeddings`.

use attune_api::{
    ApiError, ErrorCode,
    rest::{
        self, Inputs,
        openai::{EmbeddingObject, EmbeddingValue, EmbeddingsRequest, EmbeddingsResponse, EncodingFormat, Usage},
    },
};
use attune_inference::{EmbedRequest, Embeddings, Input, Truncate};
use axum::{extract::State, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    admission::Call,
    app::App,
    errors::{InputField, Refusal},
    json::{self, Json},
};

/// Characters of a float in JSON, with its comma, for the size of an answer.
const JSON_FLOAT_BYTES: usize = 12;

/// Embeddings, as OpenAI's API has them.
#[utoipa::path(
    post, path = "/v1/embeddings", tag = "OpenAI", request_body = EmbeddingsRequest,
    responses(
        (status = 200, body = EmbeddingsResponse)
    ),
)]
pub(crate) async fn embeddings(
    State(app): State<App>,
    call: Call,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Refusal> {
    if request.model.is_empty() {
        let detail = "is empty; name a model, `GET /v1/models` lists them";
        return Err(ApiError::at(ErrorCode::Invalid, "/model", detail).into());
    }
    let field = InputField { name: "input", is_single: request.input.is_single() };
    let format = request.encoding_format.unwrap_or_default();
    let embed = EmbedRequest {
        model: request.model,
        inputs: inputs(request.input),
        truncate: truncate(request.truncate, Truncate::Refuse),
        dimensions: request.dimensions.map(|dimensions| dimensions as usize),
        normalize: true,
    };
    let embeddings = app.embed(embed, call.unary(), field).await?;
    let timing = embeddings.timing;
    let bytes = embeddings.values.len() * JSON_FLOAT_BYTES;
    let body = json::off_thread(bytes, move || response(&embeddings, format)).await?;
    let mut response = json::answer(body, bytes).await?;
    response.extensions_mut().insert(timing);
    Ok(response)
}

fn response(embeddings: &Embeddings, format: EncodingFormat) -> EmbeddingsResponse {
    let tokens = embeddings.tokens.iter().sum();
    let rows = embeddings.values.chunks_exact(embeddings.dimensions).enumerate();
    EmbeddingsResponse {
        object: "list".to_owned(),
        data: rows
            .map(|(index, row)| EmbeddingObject {
                object: "embedding".to_owned(),
                index,
                embedding: match format {
                    EncodingFormat::Float => EmbeddingValue::Float(row.to_vec()),
                    EncodingFormat::Base64 => EmbeddingValue::Base64(base64(row)),
                },
            })
            .collect(),
        model: embeddings.model.clone(),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    }
}

/// Little-endian 32-bit floats.
fn base64(row: &[f32]) -> String {
    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

/// The texts of a request, whichever of its four shapes it has.
pub(crate) fn inputs(inputs: Inputs) -> Vec<Input> {
    match inputs {
        Inputs::Text(text) => vec![Input::Text(text)],
        Inputs::Texts(texts) => texts.into_iter().map(Input::Text).collect(),
        Inputs::Tokens(ids) => vec![Input::Tokens(ids)],
        Inputs::ManyTokens(lists) => lists.into_iter().map(Input::Tokens).collect(),
    }
}

/// A caller's choice, or what his protocol does without one.
pub(crate) fn truncate(asked: Option<rest::Truncate>, default: Truncate) -> Truncate {
    match asked {
        Some(rest::Truncate::End) => Truncate::End,
        Some(rest::Truncate::Refuse) => Truncate::Refuse,
        None => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_little_endian() {
        assert_eq!(base64(&[1.0]), BASE64_STANDARD.encode([0, 0, 0x80, 0x3f]));
    }
}
