//! Events in: `POST /v1/events`, `attune.v1.Tracking`, and what became of those that could not be used.

use std::sync::Arc;

use attune_api::{
    rest::tracking::{DeadLetters, Identified, IdentifyRequest, ReplayRequest, Replayed, TrackRequest, Tracked},
    tracking::{Given, Tracking},
    v1::{
        self,
        tracking_server::{self, TrackingServer},
    },
};
use axum::{
    Extension, Router,
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;
use tonic::{Request, Status, Streaming, async_trait, codec::CompressionEncoding};
use tower_http::decompression::RequestDecompressionLayer;

use crate::{
    admission::Call,
    app::App,
    errors::Refusal,
    grpc::{self, call_of, status},
    grpc_stream::{self, Answers},
    json::{self, Json},
    query::Query,
};

/// Dead letters of a page that does not say how many.
const LETTERS_DEFAULT: usize = 100;
/// Bytes of a dead letter in JSON, for the size of an answer.
const JSON_LETTER_BYTES: usize = 512;

type Service = Arc<dyn Tracking>;

/// The routes, where this process has the service. Who may use them is the caller's to say.
pub(crate) fn routes(app: &App) -> Option<Router<App>> {
    let service = app.services.tracking.clone()?;
    let rest = Router::new()
        .route("/v1/events", post(track))
        .route("/v1/identify", post(identify))
        .route("/v1/dead-letters", get(dead_letters))
        .route("/v1/dead-letters:replay", post(replay))
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(Extension(Arc::clone(&service)));
    let server = TrackingServer::new(Grpc { app: app.clone(), service })
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(app.config.requests.body_bytes_max)
        .max_encoding_message_size(usize::MAX);
    Some(rest.merge(grpc::methods(&["Track", "TrackStream", "Identify"], server)))
}

/// Takes events. When it answers, every accepted event survives a loss of power.
#[utoipa::path(
    post, path = "/v1/events", tag = "Tracking", request_body = TrackRequest,
    responses((status = 202, body = Tracked)),
)]
pub(crate) async fn track(
    Extension(service): Extension<Service>,
    call: Call,
    Json(request): Json<TrackRequest>,
) -> Result<Response, Refusal> {
    let tracked = service.track(&call.service(), request.events).await?;
    let bytes = 64 * (1 + tracked.rejected.len());
    let mut response = json::answer(tracked, bytes).await?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// Says which user is behind an anonymous id.
#[utoipa::path(
    post, path = "/v1/identify", tag = "Tracking", request_body = IdentifyRequest,
    responses((status = 200, body = Identified)),
)]
pub(crate) async fn identify(
    Extension(service): Extension<Service>,
    call: Call,
    Json(request): Json<IdentifyRequest>,
) -> Result<axum::Json<Identified>, Refusal> {
    Ok(axum::Json(service.identify(&call.service(), request).await?))
}

/// Which dead letters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct LettersQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many: 100 if absent, at most 1,000.
    limit: Option<usize>,
}

/// Events that could not be used, the oldest first.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "Tracking", params(LettersQuery),
    responses((status = 200, body = DeadLetters)),
)]
pub(crate) async fn dead_letters(
    Extension(service): Extension<Service>,
    call: Call,
    Query(query): Query<LettersQuery>,
) -> Result<Response, Refusal> {
    let limit = query.limit.unwrap_or(LETTERS_DEFAULT);
    let letters = service.dead_letters(&call.service(), query.cursor.as_deref(), limit).await?;
    let bytes = letters.dead_letters.len() * JSON_LETTER_BYTES;
    Ok(json::answer(letters, bytes).await?)
}

/// Sends dead letters through once more.
#[utoipa::path(
    post, path = "/v1/dead-letters:replay", tag = "Tracking", request_body = ReplayRequest,
    responses((status = 200, body = Replayed)),
)]
pub(crate) async fn replay(
    Extension(service): Extension<Service>,
    call: Call,
    Json(request): Json<ReplayRequest>,
) -> Result<axum::Json<Replayed>, Refusal> {
    Ok(axum::Json(service.replay(&call.service(), request).await?))
}

/// `attune.v1.Tracking`.
#[derive(Clone)]
pub(crate) struct Grpc {
    app: App,
    service: Service,
}

#[async_trait]
impl tracking_server::Tracking for Grpc {
    type TrackStreamStream = Answers<v1::TrackStreamResponse>;

    async fn track(&self, request: Request<v1::TrackRequest>) -> Result<tonic::Response<v1::TrackResponse>, Status> {
        let call = call_of(&request)?;
        let answer = self.service.track(&call.service(), given(request.into_inner())).await;
        answer.map(|tracked| tonic::Response::new(tracked.into())).map_err(|error| status(&error, &call.id))
    }

    async fn track_stream(
        &self,
        request: Request<Streaming<v1::TrackStreamRequest>>,
    ) -> Result<tonic::Response<Self::TrackStreamStream>, Status> {
        let call = call_of(&request)?;
        let (service, context) = (Arc::clone(&self.service), call.service_item());
        let answer = move |item: v1::TrackStreamRequest| {
            let (service, context) = (Arc::clone(&service), context.clone());
            let work = async move { service.track(&context, given(item.request.unwrap_or_default())).await };
            grpc_stream::settle(work, move |answer| v1::TrackStreamResponse {
                id: item.id,
                outcome: Some(match answer {
                    Ok(tracked) => v1::track_stream_response::Outcome::Response(tracked.into()),
                    Err(error) => v1::track_stream_response::Outcome::Error(v1::ItemError::from(&error)),
                }),
            })
        };
        grpc_stream::open(&self.app, &call, request.into_inner(), answer).map_err(|error| status(&error, &call.id))
    }

    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<tonic::Response<v1::IdentifyResponse>, Status> {
        let call = call_of(&request)?;
        let v1::IdentifyRequest { anonymous_id, user_id } = request.into_inner();
        let answer = self.service.identify(&call.service(), IdentifyRequest { anonymous_id, user_id }).await;
        let response = |identified: Identified| v1::IdentifyResponse { is_new: identified.is_new };
        answer.map(|one| tonic::Response::new(response(one))).map_err(|error| status(&error, &call.id))
    }
}

fn given(request: v1::TrackRequest) -> Vec<Given> {
    request.events.into_iter().map(Given::from).collect()
}
