//! `POST /v1/sentiment`: the labels are the model's own, so whichever classifier is asked answers here.

use attune_api::rest::sentiment::{SentimentRequest, SentimentResponse, SentimentResult};
use attune_inference::{Classifications, ClassifyRequest, Input, Truncate};
use axum::{extract::State, response::Response};

use crate::{
    admission::Call,
    app::App,
    errors::{InputField, Refusal},
    json::{self, Json},
    openai::truncate,
};

/// Bytes of one result in JSON, for the size of an answer.
const JSON_RESULT_BYTES: usize = 160;

/// The sentiment of each text.
#[utoipa::path(
    post, path = "/v1/sentiment", tag = "Attune", request_body = SentimentRequest,
    responses(
        (status = 200, body = SentimentResponse)
    ),
)]
pub(crate) async fn sentiment(
    State(app): State<App>,
    call: Call,
    Json(request): Json<SentimentRequest>,
) -> Result<Response, Refusal> {
    let classify = ClassifyRequest {
        model: request.model.unwrap_or_default(),
        inputs: request.inputs.into_iter().map(Input::Text).collect(),
        truncate: truncate(request.truncate, Truncate::End),
    };
    let answer = app.classify(classify, call.unary(), InputField::list("inputs")).await?;
    let timing = answer.timing;
    let bytes = answer.tokens.len() * JSON_RESULT_BYTES;
    let mut response = json::answer(response(&answer), bytes).await?;
    response.extensions_mut().insert(timing);
    Ok(response)
}

fn response(answer: &Classifications) -> SentimentResponse {
    let rows = answer.probabilities.chunks_exact(answer.labels.len()).zip(&answer.truncated);
    let results = rows.map(|(probabilities, &truncated)| {
        let (best, score) = most_probable(probabilities);
        SentimentResult {
            label: answer.labels[best].clone(),
            score,
            scores: answer.labels.iter().cloned().zip(probabilities.iter().copied()).collect(),
            truncated,
        }
    });
    SentimentResponse { model: answer.model.clone(), version: answer.version.clone(), results: results.collect() }
}

/// The first of the largest.
pub(crate) fn most_probable(probabilities: &[f32]) -> (usize, f32) {
    let first = (0, probabilities.first().copied().unwrap_or_default());
    let rest = probabilities.iter().copied().enumerate().skip(1);
    rest.fold(first, |best, candidate| if candidate.1 > best.1 { candidate } else { best })
}
