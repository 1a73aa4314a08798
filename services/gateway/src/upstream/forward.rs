//! One request on its way to a replica, and its answer on the way back.

use std::sync::Arc;

use attune_api::{ApiError, ErrorCode};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    middleware,
    response::Response,
    routing::{MethodFilter, on},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};

use super::{Role, balance::Outcome, pool::Pool};
use crate::{
    address,
    admission::{self, Call},
    app::App,
    deadline,
    edge::REQUEST_ID,
    errors::{self, Refusal},
    json,
    routes::ROUTES,
    trace,
};

/// The most replicas that are asked for one request.
const ATTEMPTS_MAX: usize = 3;
/// What concerns one connection and not the request (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// What the names of gRPC methods begin with that are to REST what GET, PUT and DELETE are.
const REPEATABLE_VERBS: [&str; 6] = ["Get", "List", "Search", "Export", "Put", "Delete"];
const KEEP_ALIVE: &str = "keep-alive";

/// An answer that a replica has written: nothing of it is written anew here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded;

/// The routes whose services are elsewhere.
pub(crate) fn routes(app: &App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let pool = Role::of(route.path).and_then(|role| app.services.upstreams.pool(role));
        let (Some(pool), Ok(method)) = (pool, MethodFilter::try_from(route.method.clone())) else { continue };
        let (app, pool) = (app.clone(), Arc::clone(pool));
        router = router.route(route.path, on(method, forward).with_state((app, pool)));
    }
    // A layer over no routes is refused.
    if !router.has_routes() {
        return router;
    }
    router.route_layer(middleware::from_fn_with_state(app.clone(), admission::admit))
}

/// Sends a request to a replica, and to another one where that changes nothing but the outcome.
async fn forward(
    State((app, pool)): State<(App, Arc<Pool>)>,
    matched: MatchedPath,
    call: Call,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let head = Head::new(parts, &call)?;
    pool.called();
    if is_stream(matched.as_str()) {
        return Ok(once(&pool, head.with(body)).await?);
    }
    let limits = &app.config.requests;
    let body = json::read(body, limits.body_bytes_max, limits.body_read_max).await?;
    Ok(some_times(&pool, &head, &body, is_repeatable(&head.parts.method, matched.as_str())).await?)
}

/// Methods that read one message after the other: what was sent is gone.
fn is_stream(matched: &str) -> bool {
    matched.starts_with("/attune.v1.") && (matched.ends_with("Stream") || matched.ends_with("Batch"))
}

/// Whether the same request may be made twice. POSTs that only ask may; of those that change something a replica may have
/// done the work before it failed, and whoever sent an `Idempotency-Key` or event ids repeats them himself.
fn is_repeatable(method: &Method, matched: &str) -> bool {
    let asks = matches!(Role::of(matched), Some(Role::Inference | Role::Recommendation | Role::Analytics));
    if let Some((_, method)) = matched.strip_prefix("/attune.v1.").and_then(|rest| rest.split_once('/')) {
        return asks || REPEATABLE_VERBS.iter().any(|verb| method.starts_with(verb));
    }
    asks || matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE)
}

async fn once(pool: &Pool, request: Request) -> Result<Response, ApiError> {
    let attempt = pool.begin(&[]).ok_or_else(|| nobody(pool))?;
    match attempt.send(request).await {
        Ok(answer) => {
            let outcome = outcome(&answer);
            attempt.finish(outcome);
            Ok(written(answer))
        }
        Err(_) => {
            attempt.finish(Outcome::Failed);
            Err(nobody(pool))
        }
    }
}

async fn some_times(pool: &Pool, head: &Head, body: &Bytes, is_repeatable: bool) -> Result<Response, ApiError> {
    let mut tried = Vec::with_capacity(ATTEMPTS_MAX);
    let mut last = Err(nobody(pool));
    while tried.len() < ATTEMPTS_MAX {
        if !tried.is_empty() && !pool.may_retry() {
            break;
        }
        let Some(attempt) = pool.begin(&tried) else { break };
        tried.push(attempt.replica);
        match attempt.send(head.with(Body::from(body.clone()))).await {
            Ok(answer) => {
                let outcome = outcome(&answer);
                attempt.finish(outcome);
                last = Ok(written(answer));
                if outcome == Outcome::Answered || !is_repeatable {
                    break;
                }
            }
            Err(error) => {
                attempt.finish(Outcome::Failed);
                // One that was never reached has done nothing.
                if !is_repeatable && !error.is_connect() {
                    break;
                }
            }
        }
    }
    last
}

/// What an answer says of the replica, not of the request.
fn outcome<B>(answer: &http::Response<B>) -> Outcome {
    const UNAVAILABLE: &[u8] = b"14";
    let status = answer.headers().get("grpc-status").map(HeaderValue::as_bytes);
    let is_ill = matches!(
        answer.status(),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE
    );
    if is_ill || status == Some(UNAVAILABLE) { Outcome::Failed } else { Outcome::Answered }
}

fn nobody(pool: &Pool) -> ApiError {
    let detail = format!("no replica of {} answers; try again", pool.role);
    ApiError::new(ErrorCode::Unavailable, detail).retry_after(errors::RETRY_AFTER)
}

fn written(answer: http::Response<hyper::body::Incoming>) -> Response {
    let mut answer = answer.map(Body::new);
    remove_hop_by_hop(answer.headers_mut());
    answer.extensions_mut().insert(Forwarded);
    answer
}

/// A request without its body, as replicas get it.
struct Head {
    parts: Parts,
}

impl Head {
    fn new(mut parts: Parts, call: &Call) -> Result<Self, ApiError> {
        let is_grpc = parts.headers.contains_key(TE);
        remove_hop_by_hop(&mut parts.headers);
        parts.headers.remove(HOST);
        parts.headers.remove(EXPECT);
        if is_grpc {
            parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let id = HeaderValue::from_str(&call.id.0).map_err(|_| ApiError::internal())?;
        parts.headers.insert(REQUEST_ID, id);
        address::pass_on(&mut parts.headers, call.address);
        deadline::pass_on(&mut parts.headers, call.callers_deadline());
        trace::pass_on(&mut parts.headers);
        parts.extensions.clear();
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map_or_else(|| "/".parse(), |path| path.as_str().parse()).map_err(|_| ApiError::internal())?;
        Ok(Self { parts })
    }

    fn with(&self, body: Body) -> Request {
        Request::from_parts(self.parts.clone(), body)
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = (headers.get_all(CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    named.iter().for_each(|name| drop(headers.remove(name)));
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
    headers.remove(KEEP_ALIVE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "x-private, keep-alive"), ("x-private", "1"), ("te", "trailers"), ("x-other", "2")]
        {
            headers.insert(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }

    #[test]
    fn what_only_asks_may_be_asked_twice() {
        assert!(is_repeatable(&Method::POST, "/v1/recommend"));
        assert!(is_repeatable(&Method::POST, "/v1/analytics/ctr"));
        assert!(is_repeatable(&Method::POST, "/attune.v1.Inference/Embed"));
        assert!(is_repeatable(&Method::PUT, "/v1/items/{id}"));
        assert!(!is_repeatable(&Method::POST, "/v1/events") && !is_repeatable(&Method::POST, "/v1/items:batch"));
        for (method, is_so) in
            [("GetItem", true), ("Search", true), ("PutItems", true), ("PatchItem", false), ("AddReview", false)]
        {
            assert_eq!(is_repeatable(&Method::POST, &format!("/attune.v1.Content/{method}")), is_so, "{method}");
        }
        assert!(!is_repeatable(&Method::POST, "/attune.v1.Tracking/Track"));
        assert!(is_stream("/attune.v1.Tracking/TrackStream") && !is_stream("/v1/items:batch"));
    }
}
