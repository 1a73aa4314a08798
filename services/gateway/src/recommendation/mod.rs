//! Lists over REST; [`grpc`] has the same over gRPC. Both ask the one service.

mod grpc;
mod messages;

use attune_api::{
    recommendation::SharedRecommendation,
    rest::recommendation::{RankRequest, RecommendRequest, RecommendResponse, SimilarRequest, TrendingRequest},
    v1::recommendation_server::RecommendationServer,
};
use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use tonic::codec::CompressionEncoding;
use tower_http::decompression::RequestDecompressionLayer;

use self::grpc::Grpc;
use crate::{
    admission::Call,
    app::App,
    errors::Refusal,
    grpc as wire,
    json::{self, Json},
    query::Query,
};

/// Bytes of one item of a list in JSON, and of one that says why, for the size of an answer.
const JSON_ITEM_BYTES: (usize, usize) = (80, 600);

/// The routes, where this process has the service. Who may use them is the caller's to say.
pub(crate) fn routes(app: &App) -> Option<Router<App>> {
    let service = app.services.recommendation.clone()?;
    let rest = Router::new()
        .route("/v1/recommend", post(recommend))
        .route("/v1/rank", post(rank))
        .route("/v1/similar", post(similar))
        .route("/v1/trending", get(trending))
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(axum::Extension(service.clone()));
    let server = RecommendationServer::new(Grpc::new(app.clone(), service))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(app.config.requests.body_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let methods = ["Recommend", "RecommendBatch", "Rank", "Similar", "Trending"];
    Some(rest.merge(wire::methods(&methods, server)))
}

type Service = axum::Extension<SharedRecommendation>;

/// A list for somebody. An unknown user gets what everybody likes; `notes` say why a list is less than it could be.
#[utoipa::path(
    post, path = "/v1/recommend", tag = "Recommendation", request_body = RecommendRequest,
    responses((status = 200, body = RecommendResponse)),
)]
pub(crate) async fn recommend(
    service: Service,
    call: Call,
    Json(request): Json<RecommendRequest>,
) -> Result<Response, Refusal> {
    answer(service.recommend(&call.service(), request).await?).await
}

/// The caller's own items in the order in which somebody would like them.
#[utoipa::path(
    post, path = "/v1/rank", tag = "Recommendation", request_body = RankRequest,
    responses((status = 200, body = RecommendResponse)),
)]
pub(crate) async fn rank(service: Service, call: Call, Json(request): Json<RankRequest>) -> Result<Response, Refusal> {
    answer(service.rank(&call.service(), request).await?).await
}

/// What is like an item.
#[utoipa::path(
    post, path = "/v1/similar", tag = "Recommendation", request_body = SimilarRequest,
    responses((status = 200, body = RecommendResponse)),
)]
pub(crate) async fn similar(
    service: Service,
    call: Call,
    Json(request): Json<SimilarRequest>,
) -> Result<Response, Refusal> {
    answer(service.similar(&call.service(), request).await?).await
}

/// What more and more people like.
#[utoipa::path(
    get, path = "/v1/trending", tag = "Recommendation", params(TrendingRequest),
    responses((status = 200, body = RecommendResponse)),
)]
pub(crate) async fn trending(
    service: Service,
    call: Call,
    Query(request): Query<TrendingRequest>,
) -> Result<Response, Refusal> {
    answer(service.trending(&call.service(), request).await?).await
}

async fn answer(list: RecommendResponse) -> Result<Response, Refusal> {
    let explained = list.items.first().is_some_and(|item| item.explain.is_some());
    let bytes = list.items.len() * if explained { JSON_ITEM_BYTES.1 } else { JSON_ITEM_BYTES.0 };
    let timing = list.timing;
    let mut response = json::answer(list, bytes).await?;
    response.extensions_mut().insert(timing);
    Ok(response)
}
