//! People over REST: profiles, export, erasure, and the jobs that long work is; [`grpc`] has the same over gRPC.

mod grpc;
mod messages;

use attune_api::{
    rest::users::{JobView, Profile, ProfileBody, UserExport},
    users::SharedUsers,
    v1::users_server::UsersServer,
};
use axum::{
    Extension, Router,
    extract::Path,
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use tonic::codec::CompressionEncoding;
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::IntoParams;

use crate::{
    admission::Call,
    app::App,
    errors::Refusal,
    etag, grpc as wire,
    json::{self, Json},
    query::Query,
};

/// Bytes of a profile, and of an event of an export, in JSON, for the size of an answer.
const JSON_PROFILE_BYTES: usize = 1_000;
const JSON_EVENT_BYTES: usize = 300;

/// The methods of `attune.v1.Users`.
const METHODS: [&str; 7] = ["PutUser", "GetUser", "PatchUser", "DeleteUser", "ExportUser", "EraseUser", "GetJob"];

type Service = Extension<SharedUsers>;

/// The routes, where this process has the service. Who may use them is the caller's to say.
pub(crate) fn routes(app: &App) -> Option<Router<App>> {
    let service = app.services.users.clone()?;
    let server = UsersServer::new(grpc::Grpc::new(service.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(app.config.requests.body_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let rest = Router::new()
        .route("/v1/users/{id}", get(profile).put(put).patch(change).delete(remove))
        .route("/v1/users/{id}/export", get(export))
        .route("/v1/users/{id}/erase", post(erase))
        .route("/v1/jobs/{id}", get(job))
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(Extension(service));
    Some(rest.merge(wire::methods(&METHODS, server)))
}

/// A profile with its ETag.
#[utoipa::path(
    get, path = "/v1/users/{id}", tag = "Users", params(("id" = String, Path, description = "The user")),
    responses((status = 200, body = Profile), (status = 304, description = "It is still what `if-none-match` names")),
)]
pub(crate) async fn profile(
    Extension(service): Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let profile = service.profile(&call.service(), &id).await?;
    let tag = etag::of(profile.version);
    if let Some(unchanged) = etag::unchanged(&headers, &tag) {
        return Ok(unchanged);
    }
    answer(profile, StatusCode::OK).await
}

/// Makes a profile, or replaces it as a whole. Consent that is not named stays as it is.
#[utoipa::path(
    put, path = "/v1/users/{id}", tag = "Users", params(("id" = String, Path, description = "The user")),
    request_body = ProfileBody,
    responses((status = 200, body = Profile), (status = 201, body = Profile)),
)]
pub(crate) async fn put(
    Extension(service): Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<ProfileBody>,
) -> Result<Response, Refusal> {
    let saved = service.put(&call.service(), &id, body, etag::condition(&headers)?).await?;
    let status = if saved.is_new { StatusCode::CREATED } else { StatusCode::OK };
    answer(saved.profile, status).await
}

/// Changes a profile by a JSON merge patch (RFC 7396).
#[utoipa::path(
    patch, path = "/v1/users/{id}", tag = "Users", params(("id" = String, Path, description = "The user")),
    request_body = ProfileBody, responses((status = 200, body = Profile)),
)]
pub(crate) async fn change(
    Extension(service): Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(patch): Json<Value>,
) -> Result<Response, Refusal> {
    let profile = service.patch(&call.service(), &id, patch, etag::condition(&headers)?).await?;
    answer(profile, StatusCode::OK).await
}

/// Deletes a profile. Events, and whether the user consented, stay: `erase` forgets somebody.
#[utoipa::path(
    delete, path = "/v1/users/{id}", tag = "Users", params(("id" = String, Path, description = "The user")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn remove(
    Extension(service): Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    service.delete(&call.service(), &id, etag::condition(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which page of an export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// All that is kept of somebody, the events in pages of up to 10,000.
#[utoipa::path(
    get, path = "/v1/users/{id}/export", tag = "Users",
    params(("id" = String, Path, description = "The user"), ExportQuery),
    responses((status = 200, body = UserExport)),
)]
pub(crate) async fn export(
    Extension(service): Service,
    call: Call,
    Path(id): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Refusal> {
    let export = service.export(&call.service(), &id, query.cursor.as_deref()).await?;
    let bytes = JSON_PROFILE_BYTES + export.events.len() * JSON_EVENT_BYTES;
    Ok(json::answer(export, bytes).await?)
}

/// Forgets somebody, in a job whose report names every store.
#[utoipa::path(
    post, path = "/v1/users/{id}/erase", tag = "Users", params(("id" = String, Path, description = "The user")),
    responses((status = 202, body = JobView)),
)]
pub(crate) async fn erase(
    Extension(service): Service,
    call: Call,
    Path(id): Path<String>,
) -> Result<(StatusCode, axum::Json<JobView>), Refusal> {
    let job = service.erase(&call.service(), &id).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(job)))
}

/// A job: where it stands, and what came of it.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "Users", params(("id" = String, Path, description = "The job")),
    responses((status = 200, body = JobView)),
)]
pub(crate) async fn job(
    Extension(service): Service,
    call: Call,
    Path(id): Path<String>,
) -> Result<axum::Json<JobView>, Refusal> {
    Ok(axum::Json(service.job(&call.service(), &id).await?))
}

async fn answer(profile: Profile, status: StatusCode) -> Result<Response, Refusal> {
    let tag = etag::of(profile.version);
    let mut response = json::answer(profile, JSON_PROFILE_BYTES).await?;
    *response.status_mut() = status;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}
