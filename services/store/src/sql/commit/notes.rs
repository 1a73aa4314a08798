//! What is noted beside a change: the audit log, the outbox, answers.

use std::time::Duration;

use serde_json::Value;

use super::super::{Writing, now_ms, query};
use super::{Written, checked, checked_key, json};
use crate::Expect;
use crate::relational::AuditEntry;

impl Writing<'_> {
    pub(super) async fn audit(&mut self, tenant: String, entry: AuditEntry) -> Written {
        let sql = "INSERT INTO audit (tenant, at_ms, actor, action, target, detail) VALUES ($1, $2, $3, $4, $5, $6)";
        let (actor, action) = (checked(entry.actor)?, checked(entry.action)?);
        self.run(query!(sql, tenant, now_ms(), actor, action, checked(entry.target)?, json(&entry.detail)?)).await
    }

    pub(super) async fn outbox(&mut self, tenant: String, topic: String, key: String, payload: &Value) -> Written {
        let sql = "INSERT INTO outbox (topic, tenant, key, payload) VALUES ($1, $2, $3, $4)";
        self.run(query!(sql, checked_key(topic)?, tenant, checked_key(key)?, json(payload)?)).await
    }

    /// Deletes the answers whose time is over as well: there is nobody else who would.
    pub(super) async fn remember(
        &mut self,
        tenant: String,
        key: String,
        digest: String,
        answer: &Value,
        ttl: Duration,
    ) -> Written {
        self.run(query!("DELETE FROM answers WHERE until_ms <= $1", now_ms())).await?;
        let sql = "INSERT INTO answers (tenant, key, digest, answer, until_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, key) DO NOTHING RETURNING until_ms";
        let what = format!("an answer to {key:?}");
        let until_ms = now_ms().saturating_add(ttl.as_millis() as i64);
        let query = query!(sql, tenant, checked_key(key)?, checked(digest)?, json(answer)?, until_ms);
        self.put(query, Expect::Absent, &what).await?;
        Ok(None)
    }
}
