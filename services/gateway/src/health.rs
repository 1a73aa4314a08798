//! Whether the server lives, and whether requests should be sent to it.
//!
//! These answers need no model, no lock that model work holds and no place in a queue.

use attune_api::{
    FILE_DESCRIPTOR_SET, progress,
    rest::operations::{Liveness, QueueDepth, Readiness, ReadinessStatus, ReadyBackground, ReadyGpu, ReadyModel},
    v1::{content_server, inference_server, recommendation_server, tracking_server, users_server},
};
use attune_inference::CardState;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body as _, Frame};
use tonic::Code;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    app::App,
    grpc,
    grpc_stream::{cut, drained},
    upstream::Role,
};

/// The process runs.
#[utoipa::path(get, path = "/livez", tag = "Operations", security(()), responses((status = 200, body = Liveness)))]
pub(crate) async fn livez() -> axum::Json<Liveness> {
    axum::Json(Liveness { status: "alive".to_owned() })
}

/// Requests may be sent here. Also `/healthz`.
#[utoipa::path(
    get, path = "/readyz", tag = "Operations", security(()),
    responses(
        (status = 200, body = Readiness),
        (status = 503, description = "Starting or draining", body = Readiness),
    ),
)]
pub(crate) async fn readyz(State(app): State<App>) -> (StatusCode, axum::Json<Readiness>) {
    let status = match (app.is_draining(), app.inference.is_ready()) {
        (true, _) => ReadinessStatus::Draining,
        (false, true) => ReadinessStatus::Ready,
        (false, false) => ReadinessStatus::Starting,
    };
    let http = if status == ReadinessStatus::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let waiting = app.inference.stats().waiting;
    let models = app.inference.models();
    let readiness = Readiness {
        status,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        models: models.into_iter().map(|model| ReadyModel { name: model.name, version: model.version }).collect(),
        queue: QueueDepth {
            texts: waiting.iter().map(|depth| depth.texts).sum(),
            tokens: waiting.iter().map(|depth| depth.tokens).sum(),
        },
        gpus: app.inference.cards().into_iter().map(gpu).collect(),
        tables: app.card_tables(),
        background: progress::board().into_iter().map(background).collect(),
    };
    (http, axum::Json(readiness))
}

fn gpu(state: CardState) -> ReadyGpu {
    ReadyGpu { card: state.card, in_use: state.in_use, reason: state.reason }
}

fn background(line: progress::Line) -> ReadyBackground {
    let (name, lag_s) = (line.name.to_owned(), line.lag.as_secs_f64());
    ReadyBackground { name, lag_s, starting: line.is_starting, records: line.records, note: line.note }
}

/// The gRPC services that are answered here, whether by this process or by replicas.
fn served(app: &App) -> Vec<&'static str> {
    let here = &app.services;
    let all = [
        (Role::Inference, true, inference_server::SERVICE_NAME),
        (Role::Recommendation, here.recommendation.is_some(), recommendation_server::SERVICE_NAME),
        (Role::Tracking, here.tracking.is_some(), tracking_server::SERVICE_NAME),
        (Role::Content, here.content.is_some(), content_server::SERVICE_NAME),
        (Role::Users, here.users.is_some(), users_server::SERVICE_NAME),
    ];
    let is_served = |(role, is_here, _): &(Role, bool, &str)| *is_here || here.upstreams.pool(*role).is_some();
    all.into_iter().filter(is_served).map(|(.., name)| name).collect()
}

/// `grpc.health.v1` and reflection (v1 and v1alpha), and the switch of the former.
pub(crate) async fn grpc_routes(app: &App) -> Result<(Router, HealthReporter), tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in served(app) {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Router::new()
        .route_service("/grpc.health.v1.Health/{method}", health)
        .route_service("/grpc.reflection.v1.ServerReflection/{method}", reflection().build_v1()?)
        .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", reflection().build_v1alpha()?)
        .route_layer(middleware::from_fn_with_state(app.clone(), end_when_draining))
        .route_layer(middleware::from_fn(grpc::require_grpc));
    Ok((routes, reporter))
}

/// `Watch` and reflection streams last as long as their clients like: a drain must not wait for them.
async fn end_when_draining(State(app): State<App>, request: Request, next: Next) -> Response {
    let drained = drained(app.draining.clone()).map(|()| {
        let status = [(HeaderName::from_static("grpc-status"), HeaderValue::from(Code::Unavailable as i32))];
        Ok(Frame::trailers(HeaderMap::from_iter(status)))
    });
    next.run(request).await.map(|body| match body.is_end_stream() {
        // A status without messages has to end with its head, which a stream around it would not.
        true => body,
        false => Body::new(StreamBody::new(cut(BodyStream::new(body), drained))),
    })
}

/// Tells gRPC health clients to look elsewhere.
pub(crate) async fn stop_serving(app: &App, reporter: &HealthReporter) {
    for name in served(app).into_iter().chain([""]) {
        reporter.set_service_status(name, ServingStatus::NotServing).await;
    }
}
