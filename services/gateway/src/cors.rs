//! Which pages of other origins may call from a browser (the Fetch standard's CORS protocol).

use std::time::Duration;

use http::{
    HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{edge, idempotency::IDEMPOTENCY_KEY, limits};

/// How long a browser remembers what it was told.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Stands for every origin.
const ANY: &str = "*";

/// An origin that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin: give `https://host` or `https://host:port`, without a path, or `*` alone for all")]
pub struct OriginError(String);

/// Holds origins against what browsers send.
///
/// # Errors
/// The first that no browser would send.
pub fn check_origins(origins: &[String]) -> Result<(), OriginError> {
    let is_origin = |origin: &str| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/*?#@".contains(&b))
        })
    };
    let wrong = origins.iter().find(|origin| !(is_origin(origin) || (*origin == ANY && origins.len() == 1)));
    wrong.map_or(Ok(()), |origin| Err(OriginError(origin.clone())))
}

/// The layer for these origins. No cookies are spoken of: callers have keys.
pub(crate) fn layer(origins: &[String]) -> CorsLayer {
    let allowed = match origins {
        [any] if any == ANY => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            IDEMPOTENCY_KEY,
            name("x-api-key"),
            name("x-request-timeout-ms"),
            name(edge::REQUEST_ID),
        ])
        .expose_headers([
            ETAG,
            RETRY_AFTER,
            limits::RATE_LIMIT,
            limits::RATE_LIMIT_POLICY,
            name("server-timing"),
            name(edge::REQUEST_ID),
        ])
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let check = |origins: &[&str]| check_origins(&origins.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        for fine in [&[][..], &["*"], &["https://shop.example", "http://localhost:3000"]] {
            assert_eq!(check(fine), Ok(()));
        }
        for wrong in ["shop.example", "https://", "https://shop.example/", "https://*.example", "https://a b", "null"] {
            assert!(check(&[wrong]).is_err(), "{wrong}");
        }
        assert!(check(&["*", "https://shop.example"]).is_err());
    }
}
