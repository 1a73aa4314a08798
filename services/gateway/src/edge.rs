//! The outermost layer: what every request and every answer has, whatever lies between.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use attune_api::{ApiError, Dialect, ErrorCode, dialect, rest::recommendation::ListTiming};
use attune_inference::Timing;
use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tonic::Status;
use tracing::{Instrument, Span};

use crate::{
    address::ClientAddress,
    auth::Caller,
    errors,
    limits::{RATE_LIMIT, rate_limit},
    metrics,
    trace::{self, End},
    unread,
    upstream::Forwarded,
};

pub(crate) const REQUEST_ID: &str = "x-request-id";
const SERVER_TIMING: &str = "server-timing";
/// The part of it that every answer has.
const TOTAL: &str = "total";
const REQUEST_ID_CHARS_MAX: usize = 128;
/// nginx's status for a client that went away before its answer.
const CLIENT_GONE: u16 = 499;

/// The name of a request in logs and answers.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub Arc<str>);

impl RequestId {
    /// The caller's own, if it is sane; else 128 random bits.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
        Self(given.map_or_else(|| format!("{:032x}", rand::random::<u128>()).into(), Into::into))
    }
}

fn is_sane(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b);
    !id.is_empty() && id.len() <= REQUEST_ID_CHARS_MAX && id.bytes().all(plain)
}

/// The protocol in which this request's errors are written.
fn dialect_of(request: &Request) -> Dialect {
    if is_grpc(request.headers()) {
        return Dialect::Grpc;
    }
    dialect_of_path(request.uri().path())
}

/// The protocol of a REST route.
pub(crate) fn dialect_of_path(path: &str) -> Dialect {
    match path {
        "/v1/embeddings" | "/v1/models" => Dialect::OpenAi,
        path if path.starts_with("/v1/models/") => Dialect::OpenAi,
        "/embed" | "/info" => Dialect::Tei,
        _ => Dialect::Native,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Gives the request its id, runs it, and makes of whatever comes back an answer of its protocol.
pub(crate) async fn edge(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let dialect = dialect_of(&request);
    let record = Record::new(&request, dialect, &id);
    request.extensions_mut().insert(id.clone());
    let (request, unread) = unread::lend(request);

    let span = trace::begin(request.headers(), &id.0, record.method.as_str(), &record.route);
    let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let response = outcome.unwrap_or_else(|panic| answer_panic(&id, &*panic));
    let refused = response.status().is_client_error() || response.status().is_server_error();
    // A body that did not come in time is not worth more waiting.
    if refused && response.status() != StatusCode::REQUEST_TIMEOUT {
        unread.discard();
    }
    finish(render(response, dialect, &id), &id, record, &span)
}

fn answer_panic(id: &RequestId, panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let cause = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(request_id = &*id.0, %cause, "a handler panicked");
    errors::Refusal(ApiError::internal()).into_response()
}

/// Writes an error for the protocol of its route: ours, or one that the framework made up by itself.
fn render(response: Response, dialect: Dialect, id: &RequestId) -> Response {
    let own = response.extensions().get::<ApiError>().cloned();
    let tonics = || Status::from_header_map(response.headers()).as_ref().and_then(errors::from_grpc);
    let error = match own.or_else(tonics) {
        Some(error) => error,
        None if is_written(&response) => return response,
        None => errors::from_status(response.status()),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    add_error_headers(&mut parts.headers, &error);
    if dialect == Dialect::Grpc {
        let (written, body) = dialect::grpc_status(&error, Some(&id.0)).into_http::<Body>().into_parts();
        parts.status = written.status;
        parts.headers.extend(written.headers);
        return Response::from_parts(parts, body);
    }
    let written = dialect.http(&error, &id.0);
    parts.status = written.status;
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(written.content_type));
    Response::from_parts(parts, Body::from(written.body))
}

/// Success, or a refusal whose author has written it himself.
fn is_written(response: &Response) -> bool {
    let is_json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
    let is_refusal = response.status().is_client_error() || response.status().is_server_error();
    let is_forwarded = response.extensions().get::<Forwarded>().is_some();
    !is_refusal
        || is_forwarded
        || is_grpc(response.headers())
        || response.headers().get(CONTENT_TYPE).is_some_and(is_json)
}

fn add_error_headers(headers: &mut HeaderMap, error: &ApiError) {
    if let Some(delay) = error.retry_after {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, seconds.into());
        if error.code == ErrorCode::Overloaded {
            headers.insert(RATE_LIMIT, rate_limit("queue", 0, delay));
        }
    }
    if error.code == ErrorCode::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"attune\""));
    }
}

/// What is logged and counted about a request. Dropped before its answer, it says that the client went away.
struct Record {
    started: Instant,
    method: Method,
    route: String,
    protocol: &'static str,
    request_id: RequestId,
    /// Empty where there is no connection, as in tests of a router alone.
    address: String,
    is_finished: bool,
}

impl Record {
    fn new(request: &Request, dialect: Dialect, id: &RequestId) -> Self {
        metrics::request_started();
        Self {
            started: Instant::now(),
            method: request.method().clone(),
            route: route_of(request),
            protocol: if dialect == Dialect::Grpc { "grpc" } else { "http" },
            request_id: id.clone(),
            address: request.extensions().get::<ClientAddress>().map_or_else(String::new, |one| one.0.to_string()),
            is_finished: false,
        }
    }

    fn finish(mut self, response: &Response, total: Duration, span: &Span) {
        self.is_finished = true;
        let grpc = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
        let status = match (self.protocol, grpc) {
            ("grpc", code) => code.unwrap_or("0").to_owned(),
            _ => response.status().as_u16().to_string(),
        };
        let caller = response.extensions().get::<Caller>();
        trace::end(
            span,
            End {
                route: &self.route,
                protocol: self.protocol,
                status: &status,
                tenant: caller.map(|caller| &*caller.tenant),
                is_fault: response.status().is_server_error(),
            },
        );
        let caller = caller.map_or("-", |caller| &caller.id);
        self.log(&status, caller, total);
    }

    fn log(&self, status: &str, caller: &str, total: Duration) {
        metrics::request_finished(self.protocol, &self.route, status, total);
        let total_ms = milliseconds(total);
        let (request_id, method, route) = (&*self.request_id.0, self.method.as_str(), self.route.as_str());
        let address = self.address.as_str();
        if metrics::is_operational(route) {
            tracing::debug!(request_id, method, route, status, address, total_ms, "request");
        } else {
            tracing::info!(request_id, method, route, status, caller, address, total_ms, "request");
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_finished {
            self.log(&CLIENT_GONE.to_string(), "-", self.started.elapsed());
        }
    }
}

/// A label from a bounded set: the pattern of the route, never the path that was sent.
fn route_of(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned())
}

fn finish(mut response: Response, id: &RequestId, record: Record, span: &Span) -> Response {
    let total = record.started.elapsed();
    let timing = server_timing(&response, total);
    record.finish(&response, total, span);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.0.parse().expect("sane ids are header values"));
    headers.insert(SERVER_TIMING, timing.parse().expect("names and numbers"));
    response
}

/// The `Server-Timing` header (W3C): where the time went, in milliseconds. What a replica behind this process said of it stays.
fn server_timing(response: &Response, total: Duration) -> String {
    let (calls, lists) = (response.extensions().get::<Timing>(), response.extensions().get::<ListTiming>());
    let calls = calls.map(|call| [("queue", call.queue), ("tokenize", call.tokenize), ("infer", call.infer)]);
    let lists = lists.map(|list| [("retrieve", list.retrieve), ("score", list.score)]);
    let parts = calls.into_iter().flatten().chain(lists.into_iter().flatten()).chain([(TOTAL, total)]);
    let said = response.headers().get(SERVER_TIMING).and_then(|said| said.to_str().ok()).unwrap_or_default();
    let theirs = said.split(", ").filter(|part| !part.is_empty() && !part.starts_with(TOTAL)).map(str::to_owned);
    let ours = parts.map(|(name, time)| format!("{name};dur={:.3}", milliseconds(time)));
    theirs.chain(ours).collect::<Vec<_>>().join(", ")
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware, routing::get};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, id: &str) -> (u16, HeaderMap, serde_json::Value) {
        let routes = Router::new().route(
            "/v1/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        );
        let request = Request::get(path).header(REQUEST_ID, id).body(Body::empty()).unwrap();
        let response = routes.layer(middleware::from_fn(edge)).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_500_with_its_request_id() {
        let (status, headers, problem) = ask("/v1/panic", "given-1").await;
        assert_eq!((status, &headers[REQUEST_ID]), (500, &HeaderValue::from_static("given-1")));
        assert_eq!((&problem["code"], &problem["request_id"]), (&"internal".into(), &"given-1".into()));
        assert!(!problem.to_string().contains("on purpose"), "a cause stays inside");
    }

    #[tokio::test]
    async fn an_insane_request_id_is_replaced() {
        for id in ["", "a b", "<x>", &"x".repeat(REQUEST_ID_CHARS_MAX + 1)] {
            let (status, headers, problem) = ask("/nowhere", id).await;
            assert_eq!((status, &problem["code"]), (404, &"not_found".into()));
            assert_ne!(headers[REQUEST_ID], id);
            assert_eq!(headers[REQUEST_ID].len(), 32);
        }
    }

    #[test]
    fn timing_is_in_milliseconds() {
        let ms = Duration::from_millis;
        let answer = |timing: Option<Timing>, list: Option<ListTiming>, theirs: Option<&'static str>| {
            let mut response = Response::new(Body::empty());
            timing.map(|timing| response.extensions_mut().insert(timing));
            list.map(|list| response.extensions_mut().insert(list));
            theirs.map(|said| response.headers_mut().insert(SERVER_TIMING, HeaderValue::from_static(said)));
            server_timing(&response, ms(7))
        };
        let timing = Timing { tokenize: ms(1), queue: ms(2), infer: ms(3) };
        let list = ListTiming { retrieve: ms(4), score: ms(1) };
        let header = answer(Some(timing), None, None);
        assert_eq!(header, "queue;dur=2.000, tokenize;dur=1.000, infer;dur=3.000, total;dur=7.000");
        assert_eq!(answer(None, Some(list), None), "retrieve;dur=4.000, score;dur=1.000, total;dur=7.000");
        assert_eq!(answer(None, None, None), "total;dur=7.000");
        let behind = answer(None, None, Some("retrieve;dur=4.000, total;dur=5.000"));
        assert_eq!(behind, "retrieve;dur=4.000, total;dur=7.000", "of a replica, and our own total");
    }
}
