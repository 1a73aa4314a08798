//! Tenants.

use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::super::{Writing, now_ms, query};
use super::{Written, checked, first, json, number};
use crate::Expect;

/// Every table that has rows of a tenant.
const TABLES: [&str; 9] =
    ["tenants", "people", "api_keys", "definitions", "model_versions", "jobs", "audit", "outbox", "answers"];

impl Writing<'_> {
    pub(super) async fn put_tenant(
        &mut self,
        tenant: String,
        title: String,
        settings: &Value,
        expect: Expect,
    ) -> Written {
        let sql = "INSERT INTO tenants AS t (tenant, title, settings, created_ms, version) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant) DO UPDATE \
             SET title = excluded.title, settings = excluded.settings, version = t.version + 1 \
             WHERE $6 < 0 OR t.version = $6 RETURNING version";
        let query = query!(sql, tenant, checked(title)?, json(settings)?, now_ms(), first(), number(expect));
        self.put(query, expect, "the tenant").await
    }

    pub(super) async fn delete_tenant(&mut self, tenant: String) -> Written {
        for table in TABLES {
            let sql = AssertSqlSafe(format!("DELETE FROM {table} WHERE tenant = $1"));
            self.run(query!(sql, tenant.clone())).await?;
        }
        Ok(None)
    }
}
