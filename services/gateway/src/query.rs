//! The query of a URL, parsed; what is wrong with it is told as of a body.

use attune_api::{ApiError, ErrorCode};
use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::errors::Refusal;

/// The parameters after the question mark.
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let parsed = axum::extract::Query::try_from_uri(&parts.uri);
        let axum::extract::Query(parameters) = parsed.map_err(|rejection| {
            let detail = format!("the query of the URL cannot be read: {}", cause(&rejection));
            ApiError::at(ErrorCode::Invalid, "", detail)
        })?;
        Ok(Self(parameters))
    }
}

/// What serde said, without what the framework says around it.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
