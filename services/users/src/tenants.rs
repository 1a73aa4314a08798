//! Deleting what is kept of a tenant that was deleted: a job, as forgetting somebody is, and as safe to be begun again.
//!
//! The gateway enters the job and then deletes the tenant's rows, its keys among them, so that nobody gets at anything from
//! that moment on; if it dies in between, the job does that too. Other processes believe in a key for some seconds more,
//! and write what they had begun. So all is deleted twice: at once, and when that time is over.

use std::time::Duration;

use attune_api::moment::now_ms;
use attune_api::rest::users::Erased;
use attune_api::users::{TENANT_DELETED, TenantSpec};
use attune_api::{ApiError, Call, ErrorCode};
use attune_store::Tenant;
use attune_store::objects::PAGE_MAX;
use attune_store::relational::{AuditEntry, Job, Write};
use serde_json::json;
use tokio::sync::watch;

use crate::erase::{added, line, progress};
use crate::profile::USERS;
use crate::service::Shared;

/// After so long nobody believes in a key of the tenant any more, and nobody follows its log. Shorter than a lease.
const SETTLED: Duration = Duration::from_secs(12);

/// Carries out one job.
///
/// # Errors
/// What the stores say, and that the worker is being stopped: the next one begins again.
pub(crate) async fn erase(shared: &Shared, job: &Job, mut stopping: watch::Receiver<bool>) -> Result<(), ApiError> {
    let spec: Option<TenantSpec> = serde_json::from_value(job.spec.clone()).ok();
    let read = spec.and_then(|spec| Some((spec.tenant.parse::<Tenant>().ok()?, spec.actor)));
    let Some((tenant, actor)) = read else {
        return Err(ApiError::new(ErrorCode::Invalid, "the job names no tenant"));
    };
    rows(shared, &tenant, actor).await?;
    let first = round(shared, job, &tenant).await?;
    let age = Duration::from_millis(now_ms().saturating_sub(job.created_ms).try_into().unwrap_or_default());
    tokio::select! {
        () = tokio::time::sleep(SETTLED.saturating_sub(age)) => {}
        _ = stopping.wait_for(|stop| *stop) => {
            return Err(ApiError::new(ErrorCode::Unavailable, "the server stops: the job goes on with the next start"));
        }
    }
    let mut lines = added(first, round(shared, job, &tenant).await?);
    let note = "the rows went when the tenant was deleted; a line of the audit log says that it was, and its name is not \
                given away again";
    lines.push(line("relational", "rows", 0, Some(note.to_owned())));
    let report = json!({"tenant": tenant.as_str(), "stores": lines});
    let finish = Write::FinishJob { id: job.id.clone(), fence: job.fence, is_done: true, report };
    shared.stores.relational.commit(&job.tenant, vec![finish]).await?;
    Ok(())
}

/// Deletes the rows, where whoever entered the job did not come to it.
async fn rows(shared: &Shared, tenant: &Tenant, actor: String) -> Result<(), ApiError> {
    if shared.stores.relational.tenant(tenant).await?.is_none() {
        return Ok(());
    }
    let (action, target) = (TENANT_DELETED.to_owned(), tenant.to_string());
    let deleted = AuditEntry { actor, action, target, detail: json!({}) };
    shared.stores.relational.commit(tenant, vec![Write::DeleteTenant, Write::Audit(deleted)]).await?;
    Ok(())
}

/// Deletes all that is there now.
async fn round(shared: &Shared, job: &Job, tenant: &Tenant) -> Result<Vec<Erased>, ApiError> {
    let stores = &shared.stores;
    let mut lines = vec![line("documents", "profiles", stores.documents.clear(tenant, USERS).await?, None)];
    let call = call(job, tenant);
    for other in &stores.of_tenants {
        lines.extend(other.erase_tenant(&call).await?);
        progress(shared, job, "items").await?;
    }
    // The log before the files that are made of it.
    lines.push(line("events", "records and dead letters", stores.events.erase(tenant).await?, None));
    progress(shared, job, "events").await?;
    lines.push(line("objects", "files: assets, the event lake", files(shared, job, tenant).await?, None));
    lines.push(line("cache", "entries", stores.cache.erase(tenant).await?, None));
    progress(shared, job, "all").await?;
    Ok(lines)
}

async fn files(shared: &Shared, job: &Job, tenant: &Tenant) -> Result<u64, ApiError> {
    let (objects, mut deleted, mut after) = (&shared.stores.objects, 0, None);
    loop {
        let page = objects.list(tenant, "", after.as_deref(), PAGE_MAX).await?;
        for about in &page.objects {
            objects.delete(tenant, &about.key).await?;
        }
        deleted += page.objects.len() as u64;
        progress(shared, job, "files").await?;
        after = page.next;
        if after.is_none() {
            return Ok(deleted);
        }
    }
}

/// A call of the job's own, to whoever else keeps something.
fn call(job: &Job, tenant: &Tenant) -> Call {
    Call {
        tenant: tenant.as_str().into(),
        caller: job.kind.as_str().into(),
        request_id: job.id.as_str().into(),
        deadline: None,
        is_bulk: true,
    }
}
