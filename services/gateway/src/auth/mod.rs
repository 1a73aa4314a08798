//! Who calls, and whether he may: one layer before every route, which asks the table of [`routes`](crate::routes).

mod scope;

use std::sync::Arc;

use attune_api::{ApiError, ErrorCode};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method,
    header::{ALLOW, AUTHORIZATION},
};

pub(crate) use self::scope::{Scope, Scopes};
use crate::{
    address::ClientAddress,
    app::App,
    errors::{self, Refusal},
    idempotency::{self, IDEMPOTENCY_KEY},
    routes::{self, Access, Once},
    tokens::Tokens,
};

const API_KEY: &str = "x-api-key";

/// Who was found to be calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The key's id, not the key: safe in logs, and what fairness between callers goes by.
    pub id: Arc<str>,
    /// Whose data it is about.
    pub tenant: Arc<str>,
    /// What he may do.
    pub scopes: Scopes,
}

/// Lets a request pass whose route is in the table, whose caller may go there and whose rate is not used up, and says who
/// it was. What is not in the table is not there for anybody.
pub(crate) async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let Some(line) = path.and_then(|path| routes::find(path.as_str())) else {
        return Refusal(errors::no_route(&app, request.uri().path())).into_response();
    };
    let Some(access) = line.access(request.method()) else { return other_method(line.methods()) };
    let Access::Needs(any_of) = access else { return next.run(request).await };
    let once = line.once(request.method());
    let address = request.extensions().get::<ClientAddress>().copied();
    let caller = match identify(&app, address, request.headers()).await.and_then(|caller| authorize(caller, any_of)) {
        Ok(caller) => caller,
        Err(error) => return Refusal(error).into_response(),
    };
    let (mut response, left) = match app.limiter.caller(&caller).await {
        Ok(left) => {
            request.extensions_mut().insert(caller.clone());
            let response = match once {
                Once::Kept => idempotency::once(&app, &caller, request, next).await,
                Once::Refused if request.headers().contains_key(IDEMPOTENCY_KEY) => idempotency::refused(),
                Once::Refused | Once::Ignored => next.run(request).await,
            };
            (response, left)
        }
        Err((error, left)) => (Refusal(error).into_response(), Some(left)),
    };
    app.limiter.show(left, response.headers_mut());
    response.extensions_mut().insert(caller);
    response
}

/// Who calls. Asking costs the address that asks, and asking with a key that is refused costs it more.
async fn identify(app: &App, address: Option<ClientAddress>, headers: &HeaderMap) -> Result<Caller, ApiError> {
    app.limiter.address(address)?;
    let caller = authenticate(app, headers).await;
    if caller.as_ref().is_err_and(|error| error.code == ErrorCode::Unauthenticated) {
        app.limiter.failed(address);
    }
    caller
}

async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let presented = presented(headers)?;
    match &app.tokens {
        Some(tokens) if Tokens::is_token(presented) => tokens.verify(presented).await,
        _ => app.keys.verify(presented).await,
    }
}

fn authorize(caller: Caller, any_of: Scopes) -> Result<Caller, ApiError> {
    if caller.scopes.allow(any_of) {
        return Ok(caller);
    }
    Err(ApiError::new(ErrorCode::Forbidden, format!("the API key or token lacks the scope {}", any_of.named())))
}

/// The key or token of a request: `authorization` if there is one, else `x-api-key`.
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

/// The route takes others (RFC 9110, section 15.5.6).
fn other_method(methods: impl Iterator<Item = Method>) -> Response {
    let mut response = Refusal(errors::from_status(http::StatusCode::METHOD_NOT_ALLOWED)).into_response();
    let allow = methods.map(|method| if method == Method::GET { "GET,HEAD".to_owned() } else { method.to_string() });
    let allow = allow.collect::<Vec<_>>().join(",");
    response.headers_mut().insert(ALLOW, HeaderValue::from_str(&allow).expect("methods are header values"));
    response
}
