//! The path of a URL: ids stand in it percent-encoded, as UTF-8.

use attune_api::{ApiError, ErrorCode, error::quoted};
use axum::{extract::Request, middleware::Next, response::Response};
use percent_encoding::percent_decode_str;

use crate::errors::Refusal;

/// Refuses a path that is no text, which the framework would do with the status alone.
pub(crate) async fn require_text(request: Request, next: Next) -> Result<Response, Refusal> {
    check(request.uri().path())?;
    Ok(next.run(request).await)
}

fn check(path: &str) -> Result<(), ApiError> {
    // A percent sign without two digits of hexadecimal stands for itself.
    if percent_decode_str(path).decode_utf8().is_ok() {
        return Ok(());
    }
    let detail = format!(
        "the path {} is not UTF-8 once its percent signs are decoded: ids are encoded as UTF-8, so that é is %C3%A9",
        quoted(path)
    );
    Err(ApiError::new(ErrorCode::Malformed, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf_8_is_said_to_be_none() {
        for path in ["/v1/items/a", "/v1/items/%C3%A9", "/v1/items/100%", "/v1/items/%zz", "/v1/items/%25ff"] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
        for path in ["/v1/items/%ff", "/v1/items/a%C3", "/v1/items/%e9/reviews"] {
            let error = check(path).unwrap_err();
            assert!(error.code == ErrorCode::Malformed && error.detail.contains("not UTF-8"), "{error}");
        }
    }
}
