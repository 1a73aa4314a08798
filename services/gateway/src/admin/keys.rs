//! `/v1/api-keys`.

use std::time::Duration;

use attune_api::rest::{
    Timestamp,
    admin::{
        AdminQuery, Key, KeyList, NewKey, NewKeyRequest, OVERLAP_S_DEFAULT, RotateRequest, RotatedKey, TenantQuery,
    },
};
use attune_store::relational::ApiKey;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;

use super::{answer, page_of, shown, tenant_of};
use crate::{admission::Call, app::App, errors::Refusal, json::Json, keys::KeySpec, query::Query};

/// Makes a key. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "Administration", params(TenantQuery), request_body = NewKeyRequest,
    responses((status = 201, body = NewKey)),
)]
pub(crate) async fn create(
    State(app): State<App>,
    call: Call,
    Query(query): Query<TenantQuery>,
    Json(wanted): Json<NewKeyRequest>,
) -> Result<Response, Refusal> {
    let tenant = tenant_of(&call, query.tenant.as_deref())?;
    let expires_ms = wanted.expires_at.map(|at| at.0);
    let spec = KeySpec { title: wanted.title, scopes: wanted.scopes, expires_ms };
    let new = app.keys.create(call.actor(), &tenant, spec).await?;
    let key = show(app.keys.key(&tenant, &new.id).await?);
    Ok(answer(StatusCode::CREATED, NewKey { key, secret: new.secret }, 1).await?)
}

/// The keys by id, without their secrets.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "Administration", params(AdminQuery),
    responses((status = 200, body = KeyList)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    call: Call,
    Query(query): Query<AdminQuery>,
) -> Result<Response, Refusal> {
    let tenant = tenant_of(&call, query.tenant.as_deref())?;
    let page = app.keys.keys(&tenant, page_of(query.cursor.as_deref(), query.limit)?).await?;
    let (keys, next_cursor) = shown(page, show);
    let rows = keys.len();
    Ok(answer(StatusCode::OK, KeyList { keys, next_cursor }, rows).await?)
}

/// One key, without its secret.
#[utoipa::path(
    get, path = "/v1/api-keys/{id}", tag = "Administration",
    params(("id" = String, Path, description = "The key's id"), TenantQuery),
    responses((status = 200, body = Key)),
)]
pub(crate) async fn get(
    State(app): State<App>,
    call: Call,
    Path(id): Path<String>,
    Query(query): Query<TenantQuery>,
) -> Result<Response, Refusal> {
    let tenant = tenant_of(&call, query.tenant.as_deref())?;
    Ok(answer(StatusCode::OK, show(app.keys.key(&tenant, &id).await?), 1).await?)
}

/// Revokes a key: on this server at once, on others of the installation within five seconds. It stays in the list.
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "Administration",
    params(("id" = String, Path, description = "The key's id"), TenantQuery),
    responses((status = 204, description = "It is revoked")),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    call: Call,
    Path(id): Path<String>,
    Query(query): Query<TenantQuery>,
) -> Result<Response, Refusal> {
    let tenant = tenant_of(&call, query.tenant.as_deref())?;
    app.keys.revoke(call.actor(), &tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes a key in place of another, which goes on for the overlap so that nobody is locked out meanwhile.
#[utoipa::path(
    post, path = "/v1/api-keys/{id}/rotate", tag = "Administration",
    params(("id" = String, Path, description = "The old key's id"), TenantQuery), request_body = RotateRequest,
    responses((status = 201, body = RotatedKey)),
)]
pub(crate) async fn rotate(
    State(app): State<App>,
    call: Call,
    Path(id): Path<String>,
    Query(query): Query<TenantQuery>,
    Json(wanted): Json<RotateRequest>,
) -> Result<Response, Refusal> {
    let tenant = tenant_of(&call, query.tenant.as_deref())?;
    let overlap = Duration::from_secs(wanted.overlap_s.unwrap_or(OVERLAP_S_DEFAULT));
    let new = app.keys.rotate(call.actor(), &tenant, &id, overlap).await?;
    let (key, old) = (show(app.keys.key(&tenant, &new.id).await?), show(app.keys.key(&tenant, &id).await?));
    let rotated = RotatedKey { new: NewKey { key, secret: new.secret }, old };
    Ok(answer(StatusCode::CREATED, rotated, 2).await?)
}

fn show(key: ApiKey) -> Key {
    let text = |ms: i64| Timestamp(ms).text();
    Key {
        id: key.id,
        title: key.title,
        scopes: key.scopes,
        created_at: text(key.created_ms),
        expires_at: key.expires_ms.map(text),
        revoked_at: key.revoked_ms.map(text),
        used_at: key.used_ms.map(text),
    }
}
