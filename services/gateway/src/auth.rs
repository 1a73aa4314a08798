//! Who calls, and whether he may.

use std::sync::Arc;

use attune_api::{ApiError, ErrorCode};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, header::AUTHORIZATION};
use serde::{Deserialize, Serialize};

use crate::{app::App, errors::Refusal};

const API_KEY: &str = "x-api-key";

/// What a key allows. `admin` includes the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reading what is stored.
    Read,
    /// Changing what is stored.
    Write,
    /// Running models.
    Infer,
    /// Everything.
    Admin,
}

impl Scope {
    /// The name in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Infer => "infer",
            Self::Admin => "admin",
        }
    }
}

/// The holder of a valid key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The key's id, not the key: safe in logs, and what fairness between callers goes by.
    pub id: Arc<str>,
    /// Whose data it is about.
    pub tenant: Arc<str>,
    /// What the key allows.
    pub scopes: Arc<[Scope]>,
}

impl Caller {
    fn may(&self, any_of: &[Scope]) -> bool {
        self.scopes.iter().any(|scope| *scope == Scope::Admin || any_of.contains(scope))
    }
}

/// Lets a request pass whose key has one of `any_of`, and says who it was.
pub(crate) async fn require(
    State((app, any_of)): State<(App, &'static [Scope])>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let caller = authenticate(&app, request.headers(), any_of)?;
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(caller);
    Ok(response)
}

fn authenticate(app: &App, headers: &HeaderMap, any_of: &[Scope]) -> Result<Caller, ApiError> {
    let key = presented(headers)?;
    let caller = app.keys.verify(key).ok_or_else(|| {
        ApiError::new(ErrorCode::Unauthenticated, "this server does not know the API key that was sent")
    })?;
    if caller.may(any_of) {
        return Ok(caller);
    }
    let wanted = any_of.iter().map(|scope| format!("`{}`", scope.name())).collect::<Vec<_>>().join(" or ");
    Err(ApiError::new(ErrorCode::Forbidden, format!("the API key lacks the scope {wanted}")))
}

/// The key of a request: `authorization` if there is one, else `x-api-key`.
fn presented(headers: &HeaderMap) -> Result<&str, ApiError> {
    let unauthenticated = |detail: &str| ApiError::new(ErrorCode::Unauthenticated, detail);
    if let Some(value) = headers.get(AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        return match text.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(key.trim()),
            _ => Err(unauthenticated("the header `authorization` must be `Bearer KEY`")),
        };
    }
    match headers.get(API_KEY) {
        Some(value) => Ok(value.to_str().unwrap_or_default()),
        None => Err(unauthenticated("an API key is needed: send `authorization: Bearer KEY` or `x-api-key: KEY`")),
    }
}
