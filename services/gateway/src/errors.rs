//! From what the layers below say to what a client is told.

use attune_api::{ApiError, ErrorCode, error::quoted};
use attune_inference::InferenceError;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::time::Duration;
use tonic::{Code, Status};

use crate::{app::App, upstream::Role};

/// After how long a request refused by a full gateway, or by one that drains, may come again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An [`ApiError`] on its way out of a handler. It travels as an extension of the response, and [`crate::edge`] writes
/// it for the protocol of the route.
#[derive(Debug)]
pub(crate) struct Refusal(pub ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// What tonic itself says of a message that it cannot read, in the table's terms: it calls most of that an internal fault,
/// and gives no details, by which it is told from a status of ours.
pub(crate) fn from_grpc(status: &Status) -> Option<ApiError> {
    if !status.details().is_empty() {
        return None;
    }
    let code = match status.code() {
        Code::Internal => ErrorCode::Malformed,
        Code::OutOfRange | Code::ResourceExhausted => ErrorCode::BodyTooLarge,
        _ => return None,
    };
    Some(ApiError::new(code, status.message()))
}

/// Where a call's texts were in its request, for pointers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputField {
    /// Name of the member: `input` or `inputs` or `token_ids`.
    pub name: &'static str,
    /// The member is the text itself and not a list.
    pub is_single: bool,
}

impl InputField {
    /// A list of texts.
    pub fn list(name: &'static str) -> Self {
        Self { name, is_single: false }
    }

    fn pointer(self, index: usize) -> String {
        if self.is_single { format!("/{}", self.name) } else { format!("/{}/{index}", self.name) }
    }
}

/// Names the fault of a call in the caller's terms.
pub(crate) fn from_inference(error: InferenceError, field: InputField) -> ApiError {
    let list = format!("/{}", field.name);
    let detail = error.to_string();
    match error {
        InferenceError::UnknownModel { name, known } => ApiError::at(
            ErrorCode::ModelNotFound,
            "/model",
            format!("there is no model {}; loaded are {}", quoted(&name), known.join(", ")),
        ),
        InferenceError::WrongTask { .. } => ApiError::at(ErrorCode::Invalid, "/model", detail),
        InferenceError::NoInputs => {
            ApiError::at(ErrorCode::Empty, list, "the list is empty; give at least one text (an empty text is fine)")
        }
        InferenceError::TooManyInputs { .. } | InferenceError::TooLarge(_) => {
            ApiError::at(ErrorCode::Invalid, list, detail)
        }
        InferenceError::TextTooLarge { index, .. } => {
            ApiError::at(ErrorCode::TextTooLarge, field.pointer(index), detail)
        }
        InferenceError::TooManyTokens { index, .. } => {
            ApiError::at(ErrorCode::TooManyTokens, field.pointer(index), detail)
        }
        InferenceError::NoTokens { index }
        | InferenceError::UnknownToken { index, .. }
        | InferenceError::Untokenisable { index, .. } => ApiError::at(ErrorCode::Invalid, field.pointer(index), detail),
        InferenceError::BadDimensions { .. } => ApiError::at(ErrorCode::Invalid, "/dimensions", detail),
        InferenceError::DeadlinePassed => deadline_passed(),
        InferenceError::Overloaded { retry_after } => {
            ApiError::new(ErrorCode::Overloaded, "the queue is full; try again later").retry_after(retry_after)
        }
        InferenceError::Draining => draining(),
        InferenceError::Engine(cause) => {
            tracing::error!(%cause, "an engine failed");
            ApiError::internal()
        }
    }
}

/// The caller's deadline is over.
pub(crate) fn deadline_passed() -> ApiError {
    ApiError::new(ErrorCode::DeadlineExceeded, "the deadline passed before the answer was ready")
}

/// The server is on its way out.
pub(crate) fn draining() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "the server is shutting down; use another replica, or try again later")
        .retry_after(RETRY_AFTER)
}

/// A header that cannot be read.
pub(crate) fn bad_header(name: &str, value: &str, wanted: &str) -> ApiError {
    let detail = format!("header `{name}` is {}; it must be {wanted}", quoted(value));
    ApiError::new(ErrorCode::Malformed, detail)
}

/// Nothing is at that path, or nothing is there in this process.
pub(crate) fn no_route(app: &App, path: &str) -> ApiError {
    match Role::of(path).filter(|role| app.lacks(*role)) {
        None => from_status(StatusCode::NOT_FOUND),
        Some(role) => {
            let detail = format!("no such route here: this server has no service {role}, and knows no replica of it");
            ApiError::new(ErrorCode::NotFound, detail)
        }
    }
}

/// What the framework answered by itself (no route, another method) as one of ours.
pub(crate) fn from_status(status: StatusCode) -> ApiError {
    let (code, detail) = match status {
        StatusCode::UNAUTHORIZED => (ErrorCode::Unauthenticated, "a valid API key is needed"),
        StatusCode::NOT_FOUND => (ErrorCode::NotFound, "no such route; /openapi.json and /docs name those that exist"),
        StatusCode::METHOD_NOT_ALLOWED => {
            (ErrorCode::MethodNotAllowed, "the header `allow` names the methods of this route")
        }
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::BodyTooLarge, "the body is larger than this server takes"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (ErrorCode::UnsupportedMediaType, "send `content-type: application/json`")
        }
        status if status.is_client_error() => (ErrorCode::Malformed, "the request could not be read"),
        _ => return ApiError::internal(),
    };
    ApiError::new(code, detail)
}

#[cfg(test)]
mod tests {
    use attune_api::{Dialect, dialect::OpenAiErrorBody};

    use super::*;

    #[test]
    fn openai_is_told_of_a_text_that_is_too_long_by_its_own_code() {
        let error = InferenceError::TooManyTokens { index: 1, tokens: 300, max: 256 };
        let error = from_inference(error, InputField::list("input"));
        let written = Dialect::OpenAi.http(&error, "");
        let OpenAiErrorBody { error: body } = serde_json::from_slice(&written.body).unwrap();
        assert_eq!((written.status, body.code.as_deref()), (StatusCode::BAD_REQUEST, Some("context_length_exceeded")));
        assert_eq!(body.param.as_deref(), Some("input[1]"));
        assert_eq!(error.code.row().status, 422);
    }
}
