//! Every error that a client can meet, in one table.
//!
//! A handler says what went wrong once, as an [`ApiError`]; [`ErrorCode::row`] says what that is called in each
//! protocol and [`crate::dialect`] writes it down. The alternative, one error type for each protocol, lets the same
//! fault be a 422 here and a 400 there without anyone having decided so.

use std::{fmt, time::Duration};

use tonic::Code as Grpc;

/// Longest piece of a client's own input that an error repeats, in characters.
const ECHO_CHARS_MAX: usize = 100;

/// What went wrong, by the name that clients may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request could not be read: broken JSON or protobuf, a header that does not parse.
    Malformed,
    /// No key, or one that this server does not know.
    Unauthenticated,
    /// The key lacks the scope.
    Forbidden,
    /// A signed address that is no address of ours, is over, or allows something else.
    SignedAddress,
    /// No such route.
    NotFound,
    /// No such model.
    ModelNotFound,
    /// The route exists, for another method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The body exceeds the limit, as sent or decompressed.
    BodyTooLarge,
    /// One text exceeds the limit.
    TextTooLarge,
    /// The body is of a type or encoding that is not spoken here.
    UnsupportedMediaType,
    /// Well-formed, but not valid; the fields say where.
    Invalid,
    /// A text has more tokens than the model takes. Apart from [`Invalid`](Self::Invalid) because OpenAI sets it apart.
    TooManyTokens,
    /// No input at all. Apart from [`Invalid`](Self::Invalid) because text-embeddings-inference sets it apart.
    Empty,
    /// A queue is full; try again later.
    Overloaded,
    /// A fault of the server. The cause is in its log.
    Internal,
    /// Starting or draining; try another replica, or later.
    Unavailable,
    /// The caller's deadline passed first.
    DeadlineExceeded,
    /// The caller gave up.
    Cancelled,
    /// No such thing, or it is another tenant's.
    Absent,
    /// Something else is there than the caller expects.
    Conflict,
    /// `If-Match` or `If-None-Match` names a version that is not the present one.
    PreconditionFailed,
    /// The caller has used up his rate.
    RateLimited,
    /// A disk is full: nothing was kept.
    StorageFull,
}

/// What one error is called in each protocol.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The stable name in JSON, for example `model_not_found`.
    pub code: &'static str,
    /// The same for every occurrence, in words.
    pub title: &'static str,
    /// HTTP status on Attune's own routes.
    pub status: u16,
    /// Canonical gRPC status.
    pub grpc: Grpc,
    /// HTTP status, `type` and `code` of OpenAI's error body.
    pub openai: (u16, &'static str, Option<&'static str>),
    /// HTTP status and `error_type` of text-embeddings-inference's error body.
    pub tei: (u16, &'static str),
}

impl ErrorCode {
    /// Every code, for tests and documentation.
    pub const ALL: [Self; 24] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::SignedAddress,
        Self::NotFound,
        Self::ModelNotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::TextTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyTokens,
        Self::Empty,
        Self::Overloaded,
        Self::Internal,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Absent,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::RateLimited,
        Self::StorageFull,
    ];

    /// The table.
    #[rustfmt::skip]
    pub const fn row(self) -> Row {
        const BAD: &str = "invalid_request_error";
        const OURS: &str = "server_error";
        const LIMIT: &str = "rate_limit_error";
        let (code, title, status, grpc, openai, tei) = match self {
            Self::Malformed => ("malformed", "The request could not be read",
                400, Grpc::InvalidArgument, (400, BAD, None), (400, "Validation")),
            Self::Unauthenticated => ("unauthenticated", "A valid API key is needed",
                401, Grpc::Unauthenticated, (401, BAD, Some("invalid_api_key")), (401, "Unauthorized")),
            Self::Forbidden => ("forbidden", "The API key lacks a scope",
                403, Grpc::PermissionDenied, (403, BAD, Some("insufficient_permissions")), (403, "Forbidden")),
            Self::SignedAddress => ("signed_address", "The signed address does not allow this",
                403, Grpc::PermissionDenied, (403, BAD, None), (403, "Forbidden")),
            Self::NotFound => ("not_found", "There is no such route",
                404, Grpc::Unimplemented, (404, BAD, None), (404, "NotFound")),
            Self::ModelNotFound => ("model_not_found", "No such model",
                404, Grpc::NotFound, (404, BAD, Some("model_not_found")), (404, "NotFound")),
            Self::MethodNotAllowed => ("method_not_allowed", "This route takes another method",
                405, Grpc::Unimplemented, (405, BAD, None), (405, "Validation")),
            Self::RequestTimeout => ("request_timeout", "The body did not arrive in time",
                408, Grpc::DeadlineExceeded, (408, BAD, None), (408, "Validation")),
            Self::BodyTooLarge => ("body_too_large", "The body is too large",
                413, Grpc::ResourceExhausted, (413, BAD, None), (413, "Validation")),
            Self::TextTooLarge => ("text_too_large", "A text is too large",
                413, Grpc::InvalidArgument, (400, BAD, Some("context_length_exceeded")), (413, "Validation")),
            Self::UnsupportedMediaType => ("unsupported_media_type", "The body is of an unknown type",
                415, Grpc::InvalidArgument, (415, BAD, None), (415, "Validation")),
            Self::Invalid => ("invalid", "The request is not valid",
                422, Grpc::InvalidArgument, (400, BAD, None), (413, "Validation")),
            Self::TooManyTokens => ("invalid", "The request is not valid",
                422, Grpc::InvalidArgument, (400, BAD, Some("context_length_exceeded")), (413, "Validation")),
            Self::Empty => ("invalid", "The request is not valid",
                422, Grpc::InvalidArgument, (400, BAD, None), (400, "Empty")),
            Self::Overloaded => ("overloaded", "The server is overloaded",
                429, Grpc::ResourceExhausted, (429, LIMIT, Some("rate_limit_exceeded")), (429, "Overloaded")),
            Self::Internal => ("internal", "The server failed",
                500, Grpc::Internal, (500, OURS, None), (424, "Backend")),
            Self::Unavailable => ("unavailable", "The server takes no requests now",
                503, Grpc::Unavailable, (503, OURS, None), (503, "Unhealthy")),
            Self::DeadlineExceeded => ("deadline_exceeded", "The deadline passed",
                504, Grpc::DeadlineExceeded, (504, OURS, None), (504, "Backend")),
            Self::Cancelled => ("cancelled", "The caller gave up",
                499, Grpc::Cancelled, (499, BAD, None), (499, "Backend")),
            Self::Absent => ("not_found", "There is no such thing",
                404, Grpc::NotFound, (404, BAD, None), (404, "NotFound")),
            Self::Conflict => ("conflict", "Something else is there",
                409, Grpc::Aborted, (409, BAD, None), (409, "Validation")),
            Self::PreconditionFailed => ("precondition_failed", "It has changed meanwhile",
                412, Grpc::FailedPrecondition, (412, BAD, None), (412, "Validation")),
            Self::RateLimited => ("rate_limited", "Too many requests",
                429, Grpc::ResourceExhausted, (429, LIMIT, Some("rate_limit_exceeded")), (429, "Overloaded")),
            Self::StorageFull => ("storage_full", "There is no space left",
                507, Grpc::ResourceExhausted, (507, OURS, None), (507, "Backend")),
        };
        Row { code, title, status, grpc, openai, tei }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().code)
    }
}

/// One field at fault.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request body; the empty string is the whole body.
    #[schema(example = "/inputs/3")]
    pub pointer: String,
    /// What is wrong there, and what would be right.
    pub detail: String,
}

/// What a handler answers instead of a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct ApiError {
    /// What went wrong.
    pub code: ErrorCode,
    /// This occurrence, in plain English. Never an internal cause.
    pub detail: String,
    /// Where, for faults of the body.
    pub fields: Vec<FieldError>,
    /// When to try again, for refusals that pass.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// An error without fields.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), fields: Vec::new(), retry_after: None }
    }

    /// One field is at fault; its detail is also the error's.
    pub fn at(code: ErrorCode, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        Self { code, detail: detail.clone(), fields: vec![FieldError { pointer, detail }], retry_after: None }
    }

    /// The same request may succeed after this long.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// A fault of the server, without its cause.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "An unexpected fault; the server's log has the cause under this request id.")
    }
}

/// A client's own word, in backquotes, cut to a length that fits an error and a header.
pub fn quoted(word: &str) -> String {
    let mut echo: String =
        word.chars().take(ECHO_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if word.chars().nth(ECHO_CHARS_MAX).is_some() {
        echo.push_str("...");
    }
    format!("`{echo}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_failure_in_every_protocol() {
        for code in ErrorCode::ALL {
            let row = code.row();
            for status in [row.status, row.openai.0, row.tei.0] {
                assert!((400..600).contains(&status), "{code}: {status}");
            }
            assert_ne!(row.grpc, Grpc::Ok, "{code}");
            assert!(row.code.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{code}");
        }
    }

    #[test]
    fn an_echo_is_short_and_printable() {
        assert_eq!(quoted("a\nb"), "`a\u{fffd}b`");
        assert_eq!(quoted(&"x".repeat(1_000)).len(), ECHO_CHARS_MAX + "``...".len());
    }
}
