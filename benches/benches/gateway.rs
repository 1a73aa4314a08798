//! What the gateway itself costs a request, and what a hop to a replica adds.
//!
//! `cargo bench --package attune-benches --bench gateway`. The request is `GET /v1/models`, whose answer is ready: what is
//! left is the gateway's own work. Without a port: request id, client address, route, key, scope, rates, headers, metrics
//! and the line of the log that nobody reads. Over loopback, one request at a time on a connection that stays open: first
//! to a replica, then to a gateway before it; the difference of the medians is what the hop adds.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_gateway::{
    DEFAULT_TENANT, Front, GatewayConfig, KeyStore, RateLimits, Role, Services, Upstreams, in_process, serve,
};
use attune_inference::testing::write_tiny_model;
use attune_inference::{Inference, InferenceConfig, ModelSpec, PrecisionChoice};
use attune_store::embedded;
use attune_store::relational::Relational;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::ServiceExt;

const WARM_UP: usize = 2_000;
const REQUESTS: usize = 20_000;
const PATH: &str = "/v1/models";

fn main() {
    // Criterion's own flags, such as --bench, are of no use here.
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = embedded::relational::open(&folder.path().join("relational.db")).await.expect("rows");
    let rows: Arc<dyn Relational> = Arc::new(rows);
    let (keys, admin) = KeyStore::in_memory(rows, &DEFAULT_TENANT.parse().expect("a tenant")).await.expect("keys");
    let front = Front { keys, tokens: None, shared: None, tables: None };
    let model = folder.path().join("model");
    write_tiny_model(&model, 1).expect("a model");
    let tiny = || Inference::start(inference(), vec![spec(&model)]).expect("an engine");

    let alone = in_process(config(), tiny(), front.clone(), Services::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let alone = alone.await.expect("routes");
    let key = format!("Bearer {}", admin.secret);
    let own = measure(async || {
        let request = Request::get(PATH).header("authorization", &key).body(Body::empty()).expect("a request");
        let answer = alone.clone().oneshot(request).await.expect("an answer");
        assert!(answer.status().is_success());
    });
    say("in process: authenticate, limit, route", &own.await);

    let replica = start(front.clone(), tiny(), Services::default()).await;
    let addresses = [(Role::Inference, vec![replica.to_string()])].into();
    let upstreams = Upstreams::new(addresses).expect("an address");
    let none = Inference::start(inference(), Vec::new()).expect("no engine");
    let gateway = start(front, none, Services { upstreams, ..Services::default() }).await;
    let direct = over_loopback(replica, &key).await;
    say("over loopback: the replica itself", &direct);
    let through = over_loopback(gateway, &key).await;
    say("over loopback: through the gateway", &through);
    let added = through[through.len() / 2].saturating_sub(direct[direct.len() / 2]);
    line(&format!("{:<40} p50 {:>7.1} us", "added by the hop", added.as_secs_f64() * 1e6));
}

fn inference() -> InferenceConfig {
    InferenceConfig { workers: Some(1), precision: PrecisionChoice::F32, ..InferenceConfig::default() }
}

fn spec(path: &std::path::Path) -> ModelSpec {
    let path = path.to_owned();
    ModelSpec { name: "tiny".into(), aliases: Vec::new(), path, adapter: None, precision: None, max_tokens: None }
}

/// The defaults, with rates that count and never refuse.
fn config() -> GatewayConfig {
    let rate = Some(RateLimits::per_second(1_000_000, 1_000_000));
    let limits = RateLimits { address: rate, key: rate, tenant: rate, ..RateLimits::default() };
    GatewayConfig { limits, ..GatewayConfig::default() }
}

async fn start(front: Front, inference: Inference, services: Services) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its number");
    tokio::spawn(serve(listener, config(), inference, front, services, std::future::pending()));
    address
}

async fn over_loopback(address: SocketAddr, key: &str) -> Vec<Duration> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let url = format!("http://{address}{PATH}");
    measure(async || {
        let request = Request::get(&url).header("authorization", key).body(Body::empty()).expect("a request");
        let answer = client.request(request).await.expect("an answer");
        assert!(answer.status().is_success());
        answer.into_body().collect().await.expect("a body");
    })
    .await
}

/// Times, the shortest first.
async fn measure(mut ask: impl AsyncFnMut()) -> Vec<Duration> {
    for _ in 0..WARM_UP {
        ask().await;
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        ask().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times
}

fn say(what: &str, times: &[Duration]) {
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    line(&format!("{what:<40} p50 {:>7.1} us   p90 {:>7.1} us   p99 {:>7.1} us", at(50), at(90), at(99)));
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
