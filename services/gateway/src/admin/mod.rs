//! What admins do: keys, tenants, the audit log.
//!
//! An admin of the tenant [`DEFAULT_TENANT`] is the operator of the installation, and may name another tenant; to
//! everybody else other tenants do not exist. These routes have places of their own, so that they answer while models
//! have all the work that they can do.

pub(crate) mod audit;
pub(crate) mod keys;
pub(crate) mod tenants;

use attune_api::{ApiError, ErrorCode, error::quoted};
use attune_store::{Cursor, Page, PageRequest, Tenant};
use axum::{
    Router, middleware,
    response::Response,
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde::Serialize;

use crate::{
    admission::{self, Call},
    app::App,
    json,
    keys::DEFAULT_TENANT,
};

/// Rows of a page that names no number.
const PAGE_ROWS_DEFAULT: usize = 100;
/// Bytes of a row in JSON, for the size of an answer.
const ROW_BYTES: usize = 300;

pub(crate) fn routes(app: &App) -> Router {
    Router::new()
        .route("/v1/api-keys", get(keys::list).post(keys::create))
        .route("/v1/api-keys/{id}", get(keys::get).delete(keys::revoke))
        .route("/v1/api-keys/{id}/rotate", post(keys::rotate))
        .route("/v1/tenants", get(tenants::list))
        .route("/v1/tenants/{id}", get(tenants::get).put(tenants::put).delete(tenants::delete))
        .route("/v1/audit", get(audit::list))
        .route_layer(middleware::from_fn_with_state(app.clone(), admission::admit_admin))
        .with_state(app.clone())
}

/// Whether the caller runs the installation.
fn is_operator(call: &Call) -> bool {
    &*call.caller.tenant == DEFAULT_TENANT
}

/// The tenant that a call is about: the caller's own, or the one that he may name.
fn tenant_of(call: &Call, named: Option<&str>) -> Result<Tenant, ApiError> {
    let own = || call.caller.tenant.parse().map_err(|_| ApiError::internal());
    match named {
        Some(name) if name != &*call.caller.tenant => {
            let tenant = name.parse::<Tenant>().ok().filter(|_| is_operator(call));
            tenant.ok_or_else(|| no_tenant(name))
        }
        _ => own(),
    }
}

fn no_tenant(name: &str) -> ApiError {
    ApiError::new(ErrorCode::Absent, format!("there is no tenant {}", quoted(name)))
}

fn page_of(cursor: Option<&str>, limit: Option<usize>) -> Result<PageRequest, ApiError> {
    let rows = limit.unwrap_or(PAGE_ROWS_DEFAULT);
    if !(1..=attune_store::PAGE_ROWS_MAX).contains(&rows) {
        let detail = format!("`limit` is {rows}, it must be 1 to {}", attune_store::PAGE_ROWS_MAX);
        return Err(ApiError::at(ErrorCode::Invalid, "/limit", detail));
    }
    let after = cursor.map(str::parse::<Cursor>).transpose();
    let after = after.map_err(|error| ApiError::at(ErrorCode::Invalid, "/cursor", error.to_string()))?;
    Ok(PageRequest { after, rows })
}

/// The rows of a page as they are shown, and where it goes on.
fn shown<T, S>(page: Page<T>, show: impl Fn(T) -> S) -> (Vec<S>, Option<String>) {
    (page.rows.into_iter().map(show).collect(), page.next.map(|cursor| cursor.to_string()))
}

async fn answer<T: Serialize + Send + 'static>(
    status: StatusCode,
    value: T,
    rows: usize,
) -> Result<Response, ApiError> {
    let mut response = json::answer(value, rows * ROW_BYTES).await?;
    *response.status_mut() = status;
    // Secrets, and what an admin sees, are for nobody on the way.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
