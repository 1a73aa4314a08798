//! The query of a URL, parsed; what is wrong with it is told as of a body, with the parameter for a member.

use std::{error::Error, iter::successors};

use attune_api::{ApiError, ErrorCode, pointer};
use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::{DeserializeOwned, value};

use crate::errors::Refusal;

/// The parameters after the question mark.
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let parsed = axum::extract::Query::try_from_uri(&parts.uri);
        let axum::extract::Query(parameters) = parsed.map_err(|rejection| fault(&rejection))?;
        Ok(Self(parameters))
    }
}

/// What serde said of which parameter, from within what the framework says around it.
fn fault(rejection: &(dyn Error + 'static)) -> ApiError {
    let mut causes = successors(Some(rejection), |&error| error.source());
    let found = causes.find_map(|cause| cause.downcast_ref::<serde_path_to_error::Error<value::Error>>());
    let Some(found) = found else {
        return ApiError::at(ErrorCode::Invalid, "", format!("the query of the URL cannot be read: {rejection}"));
    };
    let ApiError { detail, fields, .. } = pointer::fault(found.path(), &found.inner().to_string());
    let place = fields.into_iter().next().map(|field| field.pointer).unwrap_or_default();
    let said = detail.replacen(" field `", " parameter `", 1);
    ApiError::at(
        ErrorCode::Invalid,
        place.as_str(),
        format!("`{}` in the query of the URL: {said}", place.trim_start_matches('/')),
    )
}

#[cfg(test)]
mod tests {
    use attune_api::rest::content::SearchRequest;

    use super::*;

    #[test]
    fn a_fault_names_its_parameter() {
        let told = |query: &str| {
            let uri = format!("/v1/items:search?{query}").parse().unwrap();
            let error = fault(&axum::extract::Query::<SearchRequest>::try_from_uri(&uri).err().unwrap());
            (error.code, error.fields[0].pointer.clone(), error.detail)
        };
        for (query, place, said) in [
            ("k=abc", "/k", "expected a whole number from 0"),
            ("k=", "/k", "expected a whole number from 0"),
            ("k=-1", "/k", "expected a whole number from 0"),
            ("k=99999999999999999999", "/k", "the number is too large"),
            ("q=x&sort=price", "/sort", "unknown parameter `sort`, expected one of `q`"),
            ("q=x&q=y", "/q", "duplicate parameter `q`"),
            ("mode=fast", "/mode", "expected one of `text`, `semantic`, `hybrid`"),
        ] {
            let (code, pointer, detail) = told(query);
            assert_eq!((code, pointer.as_str()), (ErrorCode::Invalid, place), "{query}: {detail}");
            assert!(detail.contains(said), "{query}: {detail}");
        }
    }
}
