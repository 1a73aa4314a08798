//! Jobs.

use std::time::Duration;

use serde_json::Value;

use super::super::{Query, STORE, Writing, now_ms, query};
use super::{CALL, Written, checked_key, first, json};
use crate::{ErrorKind, Expect, StoreError};

impl Writing<'_> {
    pub(super) async fn put_job(&mut self, tenant: String, id: String, kind: String, spec: &Value) -> Written {
        let sql = "INSERT INTO jobs (tenant, id, kind, spec, state, progress, report, fence, lease_until_ms, \
             created_ms, version) VALUES ($1, $2, $3, $4, 'queued', 'null', 'null', 0, 0, $5, $6) \
             ON CONFLICT (tenant, id) DO NOTHING RETURNING version";
        let what = format!("the job {id:?}");
        let query = query!(sql, tenant, checked_key(id)?, checked_key(kind)?, json(spec)?, now_ms(), first());
        self.put(query, Expect::Absent, &what).await
    }

    pub(super) async fn progress_job(
        &mut self,
        tenant: String,
        id: String,
        fence: u64,
        progress: &Value,
        lease: Duration,
    ) -> Written {
        let sql = "UPDATE jobs SET progress = $4, lease_until_ms = $5, version = version + 1 \
             WHERE tenant = $1 AND id = $2 AND fence = $3 AND state = 'running' RETURNING version";
        let until_ms = now_ms().saturating_add(lease.as_millis() as i64);
        let query = query!(sql, tenant, checked_key(id.clone())?, fence as i64, json(progress)?, until_ms);
        self.change_job(query, &id).await
    }

    pub(super) async fn finish_job(
        &mut self,
        tenant: String,
        id: String,
        fence: u64,
        is_done: bool,
        report: &Value,
    ) -> Written {
        let sql = "UPDATE jobs SET state = $4, report = $5, ended_ms = $6, version = version + 1 \
             WHERE tenant = $1 AND id = $2 AND fence = $3 AND state = 'running' RETURNING version";
        let state = if is_done { "done" } else { "failed" };
        let query = query!(sql, tenant, checked_key(id.clone())?, fence as i64, state, json(report)?, now_ms());
        self.change_job(query, &id).await
    }

    pub(super) async fn cancel_job(&mut self, tenant: String, id: String) -> Written {
        let sql = "UPDATE jobs SET state = 'cancelled', ended_ms = $3, version = version + 1 \
             WHERE tenant = $1 AND id = $2 AND state IN ('queued', 'running') RETURNING version";
        self.change_job(query!(sql, tenant, checked_key(id.clone())?, now_ms()), &id).await
    }

    async fn change_job(&mut self, query: Query, id: &str) -> Written {
        let lost = || {
            let detail = format!("the job {id:?} has ended, went over to another worker, or never was");
            StoreError::new(STORE, CALL, ErrorKind::Conflict, detail)
        };
        self.written(query).await?.ok_or_else(lost).map(Some)
    }
}
