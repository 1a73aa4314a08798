//! JSON bodies, in and out, within limits and off the async threads when they are large.

use std::{fmt::Display, time::Duration};

use attune_api::{ApiError, ErrorCode, pointer};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use crate::{app::App, errors::Refusal};

/// Bodies up to this are parsed and written where they are; larger ones on a thread that may block.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The body of a request, read within the limits and parsed.
pub(crate) struct Json<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<App> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let limits = &app.config.requests;
        require_json(request.method(), request.headers())?;
        refuse_announced(request.headers(), limits.body_bytes_max)?;
        let body = read(request.into_body(), limits.body_bytes_max, limits.body_read_max).await?;
        let parsed = off_thread(body.len(), move || parse(&body)).await?;
        Ok(Self(parsed?))
    }
}

/// A body is JSON, and a patch may say which kind of patch it is; other types that are JSON too, such as
/// `application/json-patch+json`, mean something else by it.
fn require_json(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let unsupported = |detail: &str| Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail));
    // The layer below has removed the encodings that it decodes.
    if headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return unsupported("the body's `content-encoding` must be `gzip` or absent");
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (kind.as_str(), method) {
        ("application/json", _) | ("application/merge-patch+json", &Method::PATCH) => Ok(()),
        (_, &Method::PATCH) => unsupported("send `content-type: application/merge-patch+json` (RFC 7396)"),
        _ => unsupported("send `content-type: application/json`"),
    }
}

fn refuse_announced(headers: &HeaderMap, bytes_max: usize) -> Result<(), ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) { Err(too_large(bytes_max)) } else { Ok(()) }
}

/// Reads a body within its limits.
pub(crate) async fn read(body: Body, bytes_max: usize, time_max: Duration) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(time_max, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(bytes_max)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a body could not be read");
            Err(ApiError::new(ErrorCode::Malformed, "the body ended early, or is not what its headers say it is"))
        }
        Err(_) => Err(ApiError::new(
            ErrorCode::RequestTimeout,
            format!("the body did not arrive within {} s", time_max.as_secs_f64()),
        )),
    }
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(ErrorCode::BodyTooLarge, format!("the body may have at most {bytes_max} bytes, after decompression"))
}

/// Broken JSON is malformed; JSON of another shape is invalid, with a pointer to where.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let malformed =
        |error: &dyn Display| ApiError::new(ErrorCode::Malformed, format!("the body is not valid JSON: {error}"));
    // serde would take a list for a struct, member by member.
    if body.trim_ascii_start().first() != Some(&b'{') {
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| malformed(&error))?;
        return Err(ApiError::at(ErrorCode::Invalid, "", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let fault = || pointer::fault(error.path(), &error.inner().to_string());
        if error.inner().is_data() {
            return fault();
        }
        // serde_json also calls it a fault of syntax when, say, a number stands where an enum's name should.
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => pointer::from_value::<T>(value).err().unwrap_or_else(fault),
            Err(_) => malformed(error.inner()),
        }
    })?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Writes an answer of about `bytes` bytes.
pub(crate) async fn answer<T: Serialize + Send + 'static>(value: T, bytes: usize) -> Result<Response, ApiError> {
    let json = off_thread(bytes, move || serde_json::to_vec(&value)).await?.map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        ApiError::internal()
    })?;
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Runs `work` here if it is small, else where it holds nobody up.
pub(crate) async fn off_thread<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "reading or writing a body failed");
        ApiError::internal()
    })
}

#[cfg(test)]
mod tests {
    use attune_api::rest::{
        content::ReviewBody, openai::EmbeddingsRequest, recommendation::RecommendRequest, sentiment::SentimentRequest,
    };

    use super::*;

    fn fault<T: DeserializeOwned>(body: &[u8]) -> (ErrorCode, String) {
        let error = parse::<T>(body).err().expect("a fault");
        (error.code, error.fields.first().map(|field| field.pointer.clone()).unwrap_or_default())
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        use ErrorCode::Invalid;
        let at = |body: &str| fault::<SentimentRequest>(body.as_bytes());
        assert_eq!(at(r#"{"inputs":["a", 1]}"#), (Invalid, "/inputs/1".into()));
        assert_eq!(at(r#"{"inputs":["a"],"trunkate":"end"}"#), (Invalid, "/trunkate".into()));
        assert_eq!(at(r#"{"inputs":["a"],"truncate":"middle"}"#), (Invalid, "/truncate".into()));
        assert_eq!(at("{}"), (Invalid, "/inputs".into()));
        assert_eq!(at("[]"), (Invalid, String::new()));
        assert_eq!(at(r#"[["a"], null, null]"#), (Invalid, String::new()));
        let openai = fault::<EmbeddingsRequest>(br#"{"model":"m","input":[[1,2],[3,-4]]}"#);
        assert_eq!(openai, (Invalid, "/input/1/1".into()));
    }

    #[test]
    fn a_fault_names_no_type_of_rust() {
        fn said<T: DeserializeOwned>(body: &str) -> String {
            parse::<T>(body.as_bytes()).err().expect("a fault").detail
        }
        let told = [
            (said::<RecommendRequest>(r#"{"k":-1}"#), "a whole number from 0"),
            (said::<RecommendRequest>(r#"{"history":["p1"]}"#), "an object"),
            (said::<ReviewBody>(r#"{"rating":"5"}"#), "a number"),
            (said::<SentimentRequest>(r#"{"inputs":["x"],"truncate":true}"#), "`end` or `refuse`"),
        ];
        for (said, right) in told {
            assert!(said.ends_with(&format!("expected {right}")), "{said}");
        }
        let twice = fault::<SentimentRequest>(br#"{"inputs":["a"],"inputs":["b"]}"#);
        assert_eq!(twice, (ErrorCode::Invalid, "/inputs".into()));
    }

    #[test]
    fn a_body_is_json_and_a_patch_is_a_merge_patch() {
        let fits = |method: Method, kind: &'static str| {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
            require_json(&method, &headers).is_ok()
        };
        for method in [Method::PUT, Method::POST, Method::PATCH] {
            assert!(
                fits(method.clone(), "application/json; charset=utf-8") && fits(method.clone(), "Application/JSON")
            );
            for other in ["application/json-patch+json", "application/vnd.foo+json", "text/json", "application/jsonl"] {
                assert!(!fits(method.clone(), other), "{method} {other}");
            }
            assert_eq!(fits(method.clone(), "application/merge-patch+json"), method == Method::PATCH);
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = "[".repeat(100_000);
        for body in [
            &b"{"[..],
            b"",
            b"{\"inputs\":[\"\\ud800\"]}",
            b"{\"inputs\":[\"\xff\"]}",
            b"{\"inputs\":[]} x",
            deep.as_bytes(),
        ] {
            let (code, _) = fault::<SentimentRequest>(body);
            assert!(matches!(code, ErrorCode::Malformed | ErrorCode::Invalid));
        }
        assert_eq!(fault::<SentimentRequest>(b"{\"inputs\":[\"\\ud800\"]}").0, ErrorCode::Malformed);
        assert_eq!(fault::<SentimentRequest>(b"{\"inputs\":[\"\xff\"]}").0, ErrorCode::Malformed);
    }
}
