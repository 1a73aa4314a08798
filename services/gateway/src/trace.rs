//! A request's place in a trace (W3C Trace Context): taken over from who calls, passed on to replicas.
//!
//! Where nothing collects traces, all of this does nothing, and a `traceparent` goes on to replicas as it came.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    global,
    propagation::{Extractor, Injector},
    trace::{Status, TraceContextExt},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The span of a request, under the one that its caller names.
pub(crate) fn begin(headers: &HeaderMap, id: &str, method: &str, route: &str) -> Span {
    let span = tracing::info_span!("request", id, otel.name = %format_args!("{method} {route}"), otel.kind = "server");
    if headers.contains_key(TRACEPARENT) {
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
        let _not_collected = span.set_parent(parent);
    }
    span
}

/// How a request ended.
pub(crate) struct End<'a> {
    pub route: &'a str,
    pub protocol: &'static str,
    /// Of HTTP or gRPC, as the access log has it.
    pub status: &'a str,
    pub tenant: Option<&'a str>,
    pub is_fault: bool,
}

/// Writes the end of a request into its span.
pub(crate) fn end(span: &Span, end: End<'_>) {
    if span.is_disabled() {
        return;
    }
    let status = match end.protocol {
        "grpc" => "rpc.grpc.status_code",
        _ => "http.response.status_code",
    };
    span.set_attribute("http.route", end.route.to_owned());
    span.set_attribute(status, end.status.parse::<i64>().unwrap_or_default());
    if let Some(tenant) = end.tenant {
        span.set_attribute("attune.tenant", tenant.to_owned());
    }
    if end.is_fault {
        span.set_status(Status::error(""));
    }
}

/// Makes what is sent on a part of the present span.
pub(crate) fn pass_on(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() {
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut HeadersMut(headers)));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}
