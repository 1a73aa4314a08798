//! The path of a URL: ids stand in it percent-encoded, as UTF-8.

use attune_api::{ApiError, ErrorCode, error::quoted};
use axum::{extract::Request, middleware::Next, response::Response};

use crate::errors::Refusal;

/// Refuses a path that is no text, which the framework would do with the status alone.
pub(crate) async fn require_text(request: Request, next: Next) -> Result<Response, Refusal> {
    check(request.uri().path())?;
    Ok(next.run(request).await)
}

fn check(path: &str) -> Result<(), ApiError> {
    if std::str::from_utf8(&decoded(path)).is_ok() {
        return Ok(());
    }
    let detail = format!(
        "the path {} is not UTF-8 once its percent signs are decoded: ids are encoded as UTF-8, so that é is %C3%A9",
        quoted(path)
    );
    Err(ApiError::new(ErrorCode::Malformed, detail))
}

/// A percent sign without two digits of hexadecimal stands for itself.
fn decoded(path: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let byte = match after {
            [high, low, ..] if first == b'%' => digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
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
