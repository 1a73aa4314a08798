//! Traces: a collector gets the spans of a gateway and of the replica behind it, under the caller's own.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::http;
use crate::server::{Server, config};
use crate::split::Split;

/// Far more than a span takes to its collector on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Of `opentelemetry/proto/collector/trace/v1/trace_service.proto`, what is looked at here.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "bytes", tag = "1")]
    trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    span_id: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    parent_span_id: Bytes,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    whole: Option<i64>,
}

impl Span {
    fn text(&self, key: &str) -> Option<&str> {
        self.attribute(key)?.text.as_deref()
    }

    fn whole(&self, key: &str) -> Option<i64> {
        self.attribute(key)?.whole
    }

    fn attribute(&self, key: &str) -> Option<&AnyValue> {
        self.attributes.iter().find(|one| one.key == key)?.value.as_ref()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps what it gets, as it came.
struct Collector {
    url: String,
    got: Arc<Mutex<Vec<Bytes>>>,
    _runtime: Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let got = Arc::<Mutex<Vec<Bytes>>>::default();
        let kept = Arc::clone(&got);
        let export = move |body: Body| async move {
            let frame = body.collect().await.unwrap().to_bytes();
            // A byte that says whether it is compressed, and four with its length.
            kept.lock().unwrap().push(frame.slice(5..));
            let done = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            let empty = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(done)) });
            Response::builder().header("content-type", "application/grpc").body(Body::new(empty)).unwrap()
        };
        let routes = Router::new().route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(export));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { url, got, _runtime: runtime }
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let exports = got.iter().map(|bytes| Export::decode(bytes.clone()).unwrap());
        exports.flat_map(|export| export.resources).flat_map(|one| one.scopes).flat_map(|one| one.spans).collect()
    }

    /// The spans of requests on a route, once there are so many.
    fn requests(&self, route: &str, count: usize) -> Vec<Span> {
        let begun = Instant::now();
        loop {
            let mut spans = self.spans();
            spans.retain(|span| span.text("http.route") == Some(route));
            if spans.len() >= count {
                return spans;
            }
            assert!(begun.elapsed() < PATIENCE, "{spans:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn contains(&self, text: &str) -> bool {
        self.got.lock().unwrap().iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

#[test]
fn a_callers_trace_goes_through_a_gateway_to_its_replica() {
    let collector = Collector::start();
    let further = format!("[telemetry]\notlp = {:?}\nsampling_ratio = 0.0\n", collector.url);
    let split = Split::start(1, "inference", &further, |_, to| to);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let embed = |headers: &[(&str, &str)]| {
        let body = r#"{"model":"mini","input":"a sentence that is nobody's business"}"#;
        let answer =
            http::call_with(split.gateway.address, "POST", "/v1/embeddings", Some(&split.key), headers, body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    embed(&[("traceparent", &traceparent), ("x-request-id", "traced-1")]);
    // Neither is recorded: one without a trace, of which none is begun here, and one whose caller does not record it.
    embed(&[]);
    embed(&[("traceparent", &format!("00-{}-{PARENT}-00", TRACE.replace('4', "5")))]);
    embed(&[("traceparent", "00-nonsense-01")]);

    let spans = collector.requests("/v1/embeddings", 2);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
    let of_gateway = spans.iter().find(|span| hex(&span.parent_span_id) == PARENT).expect("the caller's own");
    let of_replica = spans.iter().find(|span| span.parent_span_id == of_gateway.span_id).expect("the gateway's own");
    for span in [of_gateway, of_replica] {
        assert_eq!(span.name, "POST /v1/embeddings");
        assert_eq!((span.whole("http.response.status_code"), span.text("attune.tenant")), (Some(200), Some("default")));
        assert_eq!(span.text("id"), Some("traced-1"), "the name of the request in logs");
    }
    // What is left when a server stops goes to the collector too.
    let Split { mut gateway, replicas, .. } = split;
    gateway.terminate();
    assert!(gateway.wait().success());
    drop(replicas.into_iter().next().unwrap().stop());
    assert_eq!(collector.requests("/v1/embeddings", 2).len(), 2, "{:?}", collector.spans());
    for secret in [split.key.as_str(), "nobody's business"] {
        assert!(!collector.contains(secret), "a trace holds no secrets and no bodies");
    }
}

#[test]
fn what_is_left_at_a_stop_is_sent() {
    let collector = Collector::start();
    let mut server = traced(&collector.url);
    for _ in 0..10 {
        assert_eq!(http::call(server.address, "GET", "/v1/models", Some(server.key()), "").unwrap().status, 200);
    }
    server.terminate();
    assert!(server.wait().success());
    let spans = collector.spans();
    assert_eq!(spans.iter().filter(|span| span.text("http.route") == Some("/v1/models")).count(), 10, "{spans:?}");
}

#[test]
fn a_collector_that_is_away_costs_a_warning() {
    let mut server = traced("http://127.0.0.1:9");
    for _ in 0..20 {
        assert_eq!(http::call(server.address, "GET", "/v1/models", Some(server.key()), "").unwrap().status, 200);
    }
    let begun = Instant::now();
    while !server.log().contains("the collector of traces is away") {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        thread::sleep(Duration::from_millis(50));
    }
    server.terminate();
    assert!(server.wait().success(), "it stops as ever");
    assert_eq!(server.log().matches("the collector of traces is away").count(), 1, "{}", server.log());
}

fn traced(url: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let text = std::fs::read_to_string(&path).unwrap() + &format!("[telemetry]\notlp = {url:?}\n");
    std::fs::write(&path, text).unwrap();
    Server::start_in(folder, &[])
}
