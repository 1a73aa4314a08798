//! `/v1/tenants`: for the operator, who is an admin of the tenant `default`. Other admins see their own tenant.

use attune_api::{
    ApiError, ErrorCode,
    error::quoted,
    rest::{
        Timestamp,
        admin::{PageQuery, Tenant as Shown, TenantBody, TenantList},
        users::JobView,
    },
    users::{ERASE_TENANT, TENANT_DELETED, TenantSpec},
};
use attune_store::{
    Expect, PageRequest, Tenant,
    relational::{TenantRecord, Write},
};
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header::ETAG};
use serde_json::json;

use super::{answer, is_operator, no_tenant, page_of, shown, tenant_of};
use crate::{
    admission::Call,
    app::App,
    errors::Refusal,
    etag,
    json::Json,
    keys::{DEFAULT_TENANT, audit},
    query::Query,
};

const TITLE_BYTES_MAX: usize = 256;

/// The tenants by name.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "Administration", params(PageQuery),
    responses((status = 200, body = TenantList)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    call: Call,
    Query(query): Query<PageQuery>,
) -> Result<Response, Refusal> {
    let page = page_of(query.cursor.as_deref(), query.limit)?;
    let (tenants, next_cursor) = if is_operator(&call) {
        shown(app.keys.rows().tenants(page).await.map_err(ApiError::from)?, show)
    } else {
        (vec![show(record(&app, &tenant_of(&call, None)?).await?)], None)
    };
    let rows = tenants.len();
    Ok(answer(StatusCode::OK, TenantList { tenants, next_cursor }, rows).await?)
}

/// One tenant.
#[utoipa::path(
    get, path = "/v1/tenants/{id}", tag = "Administration",
    params(("id" = String, Path, description = "The tenant's name")),
    responses((status = 200, body = Shown), (status = 304, description = "It is still what `if-none-match` names")),
)]
pub(crate) async fn get(
    State(app): State<App>,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let record = record(&app, &tenant_of(&call, Some(&id))?).await?;
    let tag = etag::of(record.version.0);
    if let Some(unchanged) = etag::unchanged(&headers, &tag) {
        return Ok(unchanged);
    }
    tagged(record, StatusCode::OK).await
}

/// Makes or changes a tenant. A new one has no keys: `POST /v1/api-keys?tenant=NAME` makes its first.
#[utoipa::path(
    put, path = "/v1/tenants/{id}", tag = "Administration",
    params(
        ("id" = String, Path, description = "The tenant's name"),
        ("if-match" = Option<String>, Header, description = "The ETag that must be there, or `*` for any"),
        ("if-none-match" = Option<String>, Header, description = "`*`: there must be none"),
    ),
    request_body = TenantBody,
    responses((status = 200, body = Shown), (status = 201, body = Shown)),
)]
pub(crate) async fn put(
    State(app): State<App>,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<TenantBody>,
) -> Result<Response, Refusal> {
    let (tenant, condition) = (operated(&call, &id)?, etag::condition(&headers)?);
    let settings = body.settings.unwrap_or_else(|| json!({}));
    if !settings.is_object() {
        return Err(ApiError::at(ErrorCode::Invalid, "/settings", "`settings` must be an object").into());
    }
    if body.title.len() > TITLE_BYTES_MAX {
        let detail = format!("`title` may have at most {TITLE_BYTES_MAX} bytes");
        return Err(ApiError::at(ErrorCode::Invalid, "/title", detail).into());
    }
    let rows = app.keys.rows();
    let there = rows.tenant(&tenant).await.map_err(ApiError::from)?;
    condition.check("tenant", there.as_ref().map(|there| there.version.0))?;
    if there.is_none() && was_deleted(&app, &tenant).await? {
        let detail = format!(
            "there was a tenant {} that was deleted, and what services kept for it would be the new one's: choose \
             another name",
            quoted(&id)
        );
        return Err(ApiError::new(ErrorCode::Conflict, detail).into());
    }
    let (status, expect) = match &there {
        Some(there) => (StatusCode::OK, Expect::Version(there.version)),
        None => (StatusCode::CREATED, Expect::Absent),
    };
    let entry = audit(call.actor(), "tenant.put", &id, json!({"title": body.title}));
    let writes = vec![Write::PutTenant { title: body.title, settings, expect }, entry];
    rows.commit(&tenant, writes).await.map_err(ApiError::from)?;
    tagged(record(&app, &tenant).await?, status).await
}

/// A tenant with its ETag.
async fn tagged(record: TenantRecord, status: StatusCode) -> Result<Response, Refusal> {
    let tag = etag::of(record.version.0);
    let mut response = answer(status, show(record), 1).await?;
    response.headers_mut().insert(ETAG, tag);
    Ok(response)
}

/// Deletes a tenant: its keys end and nothing of it can be reached any more. A job deletes what is kept of it in every
/// store; its report is at `/v1/jobs/{id}`. The name is not given away again.
#[utoipa::path(
    delete, path = "/v1/tenants/{id}", tag = "Administration",
    params(("id" = String, Path, description = "The tenant's name")),
    responses((status = 202, body = JobView, description = "Nobody gets at it any more")),
)]
pub(crate) async fn delete(State(app): State<App>, call: Call, Path(id): Path<String>) -> Result<Response, Refusal> {
    let tenant = operated(&call, &id)?;
    if tenant.as_str() == DEFAULT_TENANT {
        let detail = "the tenant `default` runs the installation and cannot be deleted";
        return Err(ApiError::new(ErrorCode::Conflict, detail).into());
    }
    record(&app, &tenant).await?;
    let job = enter_job(&app, &call, &id).await?;
    // In this order: the log of the tenant goes too, and begins again with its end.
    let writes = vec![Write::DeleteTenant, audit(call.actor(), TENANT_DELETED, &id, json!({}))];
    let committed = app.keys.rows().commit(&tenant, writes).await;
    app.keys.forget_tenant(&tenant);
    if let Some(tokens) = &app.tokens {
        tokens.forget_tenant(&tenant);
    }
    committed.map_err(ApiError::from)?;
    Ok(answer(StatusCode::ACCEPTED, job, 1).await?)
}

/// Enters the job that deletes what is kept of a tenant, as one of the operator's own: those of the tenant end with it.
async fn enter_job(app: &App, call: &Call, tenant: &str) -> Result<JobView, ApiError> {
    let operator = tenant_of(call, None)?;
    let job = format!("{:032x}", rand::random::<u128>());
    let spec = TenantSpec { tenant: tenant.to_owned(), actor: call.caller.id.to_string() };
    let spec = serde_json::to_value(spec).map_err(|_| ApiError::internal())?;
    let rows = app.keys.rows();
    rows.commit(&operator, vec![Write::PutJob { id: job.clone(), kind: ERASE_TENANT.to_owned(), spec }]).await?;
    rows.job(&operator, &job).await?.map(JobView::from).ok_or_else(ApiError::internal)
}

/// A tenant that the caller may change.
fn operated(call: &Call, id: &str) -> Result<Tenant, ApiError> {
    if is_operator(call) {
        return id
            .parse()
            .map_err(|error: attune_store::TenantError| ApiError::at(ErrorCode::Invalid, "/id", error.to_string()));
    }
    tenant_of(call, Some(id))?;
    Err(ApiError::new(ErrorCode::Forbidden, "only admins of the tenant `default` may make, change and delete tenants"))
}

async fn record(app: &App, tenant: &Tenant) -> Result<TenantRecord, ApiError> {
    app.keys.rows().tenant(tenant).await?.ok_or_else(|| no_tenant(tenant.as_str()))
}

async fn was_deleted(app: &App, tenant: &Tenant) -> Result<bool, ApiError> {
    let last = app.keys.rows().audit(tenant, PageRequest::first(1)).await?;
    Ok(last.rows.first().is_some_and(|last| last.entry.action == TENANT_DELETED))
}

fn show(record: TenantRecord) -> Shown {
    Shown {
        id: record.tenant.to_string(),
        title: record.title,
        settings: record.settings,
        created_at: Timestamp(record.created_ms).text(),
        version: record.version.0,
    }
}
