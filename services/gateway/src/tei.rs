//! text-embeddings-inference's `/embed` and `/info`, for its clients.

use attune_api::{
    ApiError, ErrorCode,
    rest::tei::{EmbedRequest as TeiRequest, Info, ModelType, TruncationDirection},
};
use attune_inference::{EmbedRequest, Truncate, model::Pooling};
use axum::{extract::State, response::Response};

use crate::{
    admission::Call,
    app::App,
    calls::Kind,
    errors::{InputField, Refusal},
    json::{self, Json},
    openai::inputs,
};

const JSON_FLOAT_BYTES: usize = 12;

/// Embeddings of the default embedding model, as text-embeddings-inference has them.
#[utoipa::path(
    post, path = "/embed", tag = "text-embeddings-inference", request_body = TeiRequest,
    responses(
        (status = 200, description = "A list of numbers for each input", body = Vec<Vec<f32>>)
    ),
)]
pub(crate) async fn embed(
    State(app): State<App>,
    call: Call,
    Json(request): Json<TeiRequest>,
) -> Result<Response, Refusal> {
    if request.truncation_direction == Some(TruncationDirection::Left) {
        let detail = "only the end of a text can be cut off: use `Right`";
        return Err(ApiError::at(ErrorCode::Invalid, "/truncation_direction", detail).into());
    }
    let field = InputField { name: "inputs", is_single: request.inputs.is_single() };
    let embed = EmbedRequest {
        model: String::new(),
        inputs: inputs(request.inputs),
        truncate: if request.truncate == Some(true) { Truncate::End } else { Truncate::Refuse },
        dimensions: request.dimensions.map(|dimensions| dimensions as usize),
        normalize: request.normalize.unwrap_or(true),
    };
    let embeddings = app.embed(embed, call.unary(), field).await?;
    let rows: Vec<Vec<f32>> = embeddings.values.chunks_exact(embeddings.dimensions).map(<[f32]>::to_vec).collect();
    let mut response = json::answer(rows, embeddings.values.len() * JSON_FLOAT_BYTES).await?;
    response.extensions_mut().insert(embeddings.timing);
    Ok(response)
}

/// The default embedding model and the server's limits.
#[utoipa::path(
    get, path = "/info", tag = "text-embeddings-inference",
    responses((status = 200, body = Info)),
)]
pub(crate) async fn info(State(app): State<App>) -> Result<axum::Json<Info>, Refusal> {
    let model = app.default_model(Kind::Embedder)?;
    let (texts, queue) = (app.inference.text_limits(), app.inference.queue_limits());
    Ok(axum::Json(Info {
        model_id: model.name,
        model_sha: Some(model.version),
        model_dtype: model.engine.precision.to_string(),
        model_type: ModelType::Embedding { pooling: pooling(model.pooling).to_owned() },
        max_concurrent_requests: app.config.requests.in_flight_max,
        max_input_length: model.max_tokens,
        max_batch_tokens: queue.batch_tokens_max,
        max_batch_requests: Some(queue.batch_texts_max),
        max_client_batch_size: texts.texts_max,
        auto_truncate: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

/// text-embeddings-inference's names.
fn pooling(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Mean => "mean",
        Pooling::First => "cls",
        Pooling::Last => "last_token",
    }
}
