//! `GET /v1/audit`.

use attune_api::{
    ApiError,
    rest::{
        Timestamp,
        admin::{AdminQuery, AuditEntry, AuditList},
    },
};
use attune_store::relational::AuditRecord;
use axum::{extract::State, response::Response};
use http::StatusCode;

use super::{answer, page_of, shown, tenant_of};
use crate::{admission::Call, app::App, errors::Refusal, query::Query};

/// What admins did, the newest first. Nothing in it is ever changed.
#[utoipa::path(
    get, path = "/v1/audit", tag = "Administration", params(AdminQuery),
    responses((status = 200, body = AuditList)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    call: Call,
    Query(query): Query<AdminQuery>,
) -> Result<Response, Refusal> {
    let tenant = tenant_of(&call, query.tenant.as_deref())?;
    let page = page_of(query.cursor.as_deref(), query.limit)?;
    let page = app.keys.rows().audit(&tenant, page).await.map_err(ApiError::from)?;
    let (entries, next_cursor) = shown(page, show);
    let rows = entries.len();
    Ok(answer(StatusCode::OK, AuditList { entries, next_cursor }, rows).await?)
}

fn show(record: AuditRecord) -> AuditEntry {
    let AuditRecord { entry, at_ms, number } = record;
    AuditEntry {
        number,
        at: Timestamp(at_ms).text(),
        actor: entry.actor,
        action: entry.action,
        target: entry.target,
        detail: entry.detail,
    }
}
