//! One error, written down as each protocol writes errors.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use tonic::{Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};
use utoipa::ToSchema;

use crate::{
    error::{ApiError, FieldError},
    v1,
};

/// The domain of `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "attune";

/// The protocol that a client speaks on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Attune's own routes: RFC 9457 problem details.
    #[default]
    Native,
    /// OpenAI's API.
    OpenAi,
    /// text-embeddings-inference's API.
    Tei,
    /// gRPC.
    Grpc,
}

/// RFC 9457 problem details.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Identifies the kind of problem.
    #[schema(example = "urn:attune:error:model_not_found")]
    pub r#type: String,
    /// The same for every occurrence of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This occurrence.
    pub detail: String,
    /// The name to branch on.
    #[schema(example = "model_not_found")]
    pub code: String,
    /// The same as the header `x-request-id`.
    pub request_id: String,
    /// The fields at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// OpenAI's error body.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiErrorBody {
    /// The error.
    pub error: OpenAiError,
}

/// The inside of OpenAI's error body.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiError {
    /// What went wrong.
    pub message: String,
    /// The family of errors.
    #[schema(example = "invalid_request_error")]
    pub r#type: String,
    /// The parameter at fault.
    pub param: Option<String>,
    /// The name to branch on.
    pub code: Option<String>,
}

/// text-embeddings-inference's error body.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TeiErrorBody {
    /// What went wrong.
    pub error: String,
    /// `Validation`, `Empty`, `Overloaded`, `Backend`, ...
    #[schema(example = "Validation")]
    pub error_type: String,
}

/// An error as an HTTP answer.
#[derive(Debug)]
pub struct HttpError {
    /// The status line.
    pub status: StatusCode,
    /// Of the body.
    pub content_type: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

impl Dialect {
    /// Writes `error` for this dialect. gRPC has no body: see [`grpc_status`].
    pub fn http(self, error: &ApiError, request_id: &str) -> HttpError {
        let row = error.code.row();
        match self {
            Self::Native | Self::Grpc => json(row.status, "application/problem+json", &problem(error, request_id)),
            Self::OpenAi => json(row.openai.0, "application/json", &openai(error)),
            Self::Tei => {
                let body = TeiErrorBody { error: error.detail.clone(), error_type: row.tei.1.to_owned() };
                json(row.tei.0, "application/json", &body)
            }
        }
    }
}

fn json(status: u16, content_type: &'static str, body: &impl Serialize) -> HttpError {
    HttpError {
        status: StatusCode::from_u16(status).expect("the table holds HTTP statuses"),
        content_type,
        body: serde_json::to_vec(body).expect("strings and numbers always serialise"),
    }
}

fn problem(error: &ApiError, request_id: &str) -> Problem {
    let row = error.code.row();
    Problem {
        r#type: format!("urn:attune:error:{}", row.code),
        title: row.title.to_owned(),
        status: row.status,
        detail: error.detail.clone(),
        code: row.code.to_owned(),
        request_id: request_id.to_owned(),
        errors: error.fields.clone(),
    }
}

fn openai(error: &ApiError) -> OpenAiErrorBody {
    let (_, kind, code) = error.code.row().openai;
    OpenAiErrorBody {
        error: OpenAiError {
            message: error.detail.clone(),
            r#type: kind.to_owned(),
            param: error.fields.first().map(|field| dotted(&field.pointer)).filter(|param| !param.is_empty()),
            code: code.map(str::to_owned),
        },
    }
}

/// The canonical status with `google.rpc` details: `ErrorInfo`, `BadRequest`, `RetryInfo`, `RequestInfo`.
pub fn grpc_status(error: &ApiError, request_id: Option<&str>) -> Status {
    let row = error.code.row();
    let mut details = ErrorDetails::with_error_info(row.code.to_uppercase(), ERROR_DOMAIN, []);
    if !error.fields.is_empty() {
        for field in &error.fields {
            details.add_bad_request_violation(dotted(&field.pointer), &field.detail);
        }
    }
    if let Some(delay) = error.retry_after {
        details.set_retry_info(Some(delay));
    }
    if let Some(id) = request_id {
        details.set_request_info(id, "");
    }
    Status::with_error_details_and_metadata(row.grpc, &error.detail, details, MetadataMap::new())
}

impl From<&ApiError> for v1::ItemError {
    fn from(error: &ApiError) -> Self {
        let row = error.code.row();
        let fields =
            error.fields.iter().map(|f| v1::FieldError { pointer: f.pointer.clone(), detail: f.detail.clone() });
        Self {
            status: row.grpc as i32,
            code: row.code.to_owned(),
            detail: error.detail.clone(),
            fields: fields.collect(),
            retry_after_ms: error.retry_after.map(|delay| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}

/// `/inputs/3/text` as `inputs[3].text`, the way that gRPC and OpenAI name a field.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&segment);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorCode;

    fn sample() -> ApiError {
        ApiError::at(ErrorCode::Invalid, "/inputs/3", "too long").retry_after(Duration::from_millis(1_500))
    }

    #[test]
    fn fields_are_named_as_each_protocol_names_them() {
        assert_eq!(dotted("/inputs/3/a~1b"), "inputs[3].a/b");
        assert_eq!(dotted(""), "");
        let native: Problem = serde_json::from_slice(&Dialect::Native.http(&sample(), "r").body).unwrap();
        assert_eq!((native.status, native.errors[0].pointer.as_str()), (422, "/inputs/3"));
        let openai: OpenAiErrorBody = serde_json::from_slice(&Dialect::OpenAi.http(&sample(), "r").body).unwrap();
        assert_eq!(openai.error.param.as_deref(), Some("inputs[3]"));
        let tei: TeiErrorBody = serde_json::from_slice(&Dialect::Tei.http(&sample(), "r").body).unwrap();
        assert_eq!(tei.error_type, "Validation");
    }

    #[test]
    fn a_status_carries_every_detail() {
        let status = grpc_status(&sample(), Some("r-1"));
        let details = status.get_error_details();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "inputs[3]");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(1_500)));
        assert_eq!(details.request_info().unwrap().request_id, "r-1");
        assert_eq!(details.error_info().unwrap().reason, "INVALID");
    }

    #[test]
    fn an_item_of_a_stream_says_the_same_as_a_status() {
        let item = v1::ItemError::from(&sample());
        assert_eq!((item.status, item.retry_after_ms), (tonic::Code::InvalidArgument as i32, Some(1_500)));
        assert_eq!(item.fields[0].pointer, "/inputs/3");
    }
}
