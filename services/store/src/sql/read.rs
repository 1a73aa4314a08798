//! The reads, and the few writes whose answer is what they are for.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::json;
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};

use super::row::{Entity, select};
use super::{Query, STORE, SqlRelational, now_ms, query};
use crate::relational::{
    Answer, Answers, ApiKey, ApiKeys, Audit, AuditRecord, Definition, DefinitionKind, Definitions, Job, Jobs, KeyHash,
    ModelVersion, Models, Outbox, OutboxRow, PEOPLE_MAX, People, Person, PersonId, Subject, TenantRecord, Tenants,
};
use crate::{ErrorKind, PAGE_ROWS_MAX, Page, PageRequest, StoreError, Tenant, Version};

impl SqlRelational {
    async fn one<E: Entity>(&self, call: &'static str, query: Query) -> Result<Option<E>, StoreError> {
        self.row(call, query).await?.map(|row| E::of(call, &row)).transpose()
    }

    async fn all<E: Entity>(&self, call: &'static str, query: Query) -> Result<Vec<E>, StoreError> {
        self.rows(call, query).await?.iter().map(|row| E::of(call, row)).collect()
    }

    /// A page of rows that have one text as their key: `query` gets the key of the row before, which is before all keys
    /// on the first page, and how many rows to read. `of` tells the lists of one call apart.
    async fn page<E: Entity, K: Serialize>(
        &self,
        call: &'static str,
        of: &str,
        page: &PageRequest,
        query: impl FnOnce(String, i64) -> Query,
        key: impl Fn(&E) -> K,
    ) -> Result<Page<E>, StoreError> {
        let list = [call, of];
        let after = page.key::<String>(STORE, call, &list)?;
        let rows = self.all(call, query(after.unwrap_or_default(), page.limit() as i64 + 1)).await?;
        Ok(Page::cut(&list, rows, page.limit(), key))
    }
}

#[async_trait]
impl Tenants for SqlRelational {
    async fn tenant(&self, tenant: &Tenant) -> Result<Option<TenantRecord>, StoreError> {
        let sql = select::<TenantRecord>("FROM tenants WHERE tenant = $1");
        self.one("tenant", query!(sql, tenant.to_string())).await
    }

    async fn tenants(&self, page: PageRequest) -> Result<Page<TenantRecord>, StoreError> {
        let sql = select::<TenantRecord>("FROM tenants WHERE tenant > $1 ORDER BY tenant LIMIT $2");
        let query = |after, rows| query!(sql, after, rows);
        self.page("tenants", "", &page, query, |row: &TenantRecord| row.tenant.to_string()).await
    }
}

/// What a person's kind is called in its row.
pub(super) fn kind_of(id: &PersonId) -> &'static str {
    match id {
        PersonId::User(_) => "u",
        PersonId::Anonymous(_) => "a",
    }
}

impl SqlRelational {
    async fn people(&self, tenant: &Tenant, ids: &[PersonId]) -> Result<HashMap<PersonId, Person>, StoreError> {
        let (given, columns) = self.dialect.given("$2", 2);
        let keys = columns.join(", ");
        let sql =
            select::<Person>(&format!("FROM people WHERE tenant = $1 AND (kind, id) IN (SELECT {keys} FROM {given})"));
        let keys: Vec<[&str; 2]> = ids.iter().map(|id| [kind_of(id), id.as_str()]).collect();
        let found: Vec<Person> = self.all("resolve", query!(sql, tenant.to_string(), json!(keys).to_string())).await?;
        Ok(found.into_iter().map(|person| (person.id.clone(), person)).collect())
    }

    async fn add_people(&self, tenant: &Tenant, ids: &[&PersonId]) -> Result<(), StoreError> {
        let (given, columns) = self.dialect.given("$2", 3);
        let columns = columns.join(", ");
        // SQLite takes ON for a part of the join unless there is a WHERE before it.
        let sql = AssertSqlSafe(format!(
            "INSERT INTO people (tenant, kind, id, subject, created_ms, version) \
             SELECT $1, {columns}, $3, $4 FROM {given} WHERE true ON CONFLICT (tenant, kind, id) DO NOTHING"
        ));
        let row = |id: &&PersonId| [kind_of(id).to_owned(), id.as_str().to_owned(), Subject::random().to_string()];
        let rows: Vec<[String; 3]> = ids.iter().map(row).collect();
        let (now_ms, version) = (now_ms(), Version::first().0 as i64);
        let mut writing = self.begin("resolve").await?;
        writing.rows(query!(sql, tenant.to_string(), json!(rows).to_string(), now_ms, version)).await?;
        writing.end().await
    }
}

#[async_trait]
impl People for SqlRelational {
    async fn resolve(&self, tenant: &Tenant, ids: &[PersonId]) -> Result<Vec<Person>, StoreError> {
        if ids.len() > PEOPLE_MAX {
            let detail = format!("{} people are asked for, {PEOPLE_MAX} are allowed at once", ids.len());
            return Err(StoreError::new(STORE, "resolve", ErrorKind::TooLarge, detail));
        }
        ids.iter().try_for_each(|id| crate::key::check(STORE, "resolve", id.as_str()))?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut people = self.people(tenant, ids).await?;
        // Sorted, so that two callers who add the same people wait for one another in the same order.
        let mut missing: Vec<&PersonId> = ids.iter().filter(|id| !people.contains_key(*id)).collect();
        missing.sort();
        missing.dedup();
        if !missing.is_empty() {
            self.add_people(tenant, &missing).await?;
            people = self.people(tenant, ids).await?;
        }
        let gone = |id: &PersonId| {
            let detail = format!("{id:?} was forgotten while it was made: try again");
            StoreError::new(STORE, "resolve", ErrorKind::Conflict, detail)
        };
        ids.iter().map(|id| people.get(id).cloned().ok_or_else(|| gone(id))).collect()
    }

    async fn person(&self, tenant: &Tenant, id: &PersonId) -> Result<Option<Person>, StoreError> {
        let sql = select::<Person>("FROM people WHERE tenant = $1 AND kind = $2 AND id = $3");
        self.one("person", query!(sql, tenant.to_string(), kind_of(id), id.as_str().to_owned())).await
    }

    async fn person_of(&self, tenant: &Tenant, subject: Subject) -> Result<Option<Person>, StoreError> {
        let sql = select::<Person>("FROM people WHERE tenant = $1 AND subject = $2");
        self.one("person_of", query!(sql, tenant.to_string(), subject.to_string())).await
    }

    async fn joined(&self, tenant: &Tenant, user: &str) -> Result<Vec<Person>, StoreError> {
        let sql = select::<Person>("FROM people WHERE tenant = $1 AND user_id = $2 ORDER BY id");
        self.all("joined", query!(sql, tenant.to_string(), user.to_owned())).await
    }

    async fn users(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<Person>, StoreError> {
        let sql = select::<Person>("FROM people WHERE tenant = $1 AND kind = 'u' AND id > $2 ORDER BY id LIMIT $3");
        let query = |after, rows| query!(sql, tenant.to_string(), after, rows);
        self.page("users", "", &page, query, |person: &Person| person.id.as_str().to_owned()).await
    }
}

#[async_trait]
impl ApiKeys for SqlRelational {
    async fn key_of(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        let sql = select::<ApiKey>("FROM api_keys WHERE hash = $1");
        self.one("key_of", query!(sql, hash.to_vec())).await
    }

    async fn key(&self, tenant: &Tenant, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let sql = select::<ApiKey>("FROM api_keys WHERE tenant = $1 AND id = $2");
        self.one("key", query!(sql, tenant.to_string(), id.to_owned())).await
    }

    async fn keys(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<ApiKey>, StoreError> {
        let sql = select::<ApiKey>("FROM api_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3");
        let query = |after, rows| query!(sql, tenant.to_string(), after, rows);
        self.page("keys", "", &page, query, |key: &ApiKey| key.id.clone()).await
    }

    async fn used(&self, tenant: &Tenant, id: &str, used_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE api_keys SET used_ms = $3 WHERE tenant = $1 AND id = $2 AND COALESCE(used_ms, $3 - 1) < $3";
        let mut writing = self.begin("used").await?;
        writing.rows(query!(sql, tenant.to_string(), id.to_owned(), used_ms)).await?;
        writing.end().await
    }
}

#[async_trait]
impl Definitions for SqlRelational {
    async fn definition(
        &self,
        tenant: &Tenant,
        kind: DefinitionKind,
        name: &str,
    ) -> Result<Option<Definition>, StoreError> {
        let sql = select::<Definition>("FROM definitions WHERE tenant = $1 AND kind = $2 AND name = $3");
        self.one("definition", query!(sql, tenant.to_string(), kind.name(), name.to_owned())).await
    }

    async fn definitions(
        &self,
        tenant: &Tenant,
        kind: DefinitionKind,
        page: PageRequest,
    ) -> Result<Page<Definition>, StoreError> {
        let sql = select::<Definition>(
            "FROM definitions WHERE tenant = $1 AND kind = $2 AND name > $3 ORDER BY name LIMIT $4",
        );
        let query = |after, rows| query!(sql, tenant.to_string(), kind.name(), after, rows);
        self.page("definitions", kind.name(), &page, query, |row: &Definition| row.name.clone()).await
    }
}

#[async_trait]
impl Models for SqlRelational {
    async fn live_model(&self, tenant: &Tenant, model: &str) -> Result<Option<ModelVersion>, StoreError> {
        let sql = select::<ModelVersion>("FROM model_versions WHERE tenant = $1 AND model = $2 AND is_live = 1");
        self.one("live_model", query!(sql, tenant.to_string(), model.to_owned())).await
    }

    async fn model_version(
        &self,
        tenant: &Tenant,
        model: &str,
        label: &str,
    ) -> Result<Option<ModelVersion>, StoreError> {
        let sql = select::<ModelVersion>("FROM model_versions WHERE tenant = $1 AND model = $2 AND label = $3");
        self.one("model_version", query!(sql, tenant.to_string(), model.to_owned(), label.to_owned())).await
    }

    async fn model_versions(
        &self,
        tenant: &Tenant,
        model: &str,
        page: PageRequest,
    ) -> Result<Page<ModelVersion>, StoreError> {
        let sql = select::<ModelVersion>(
            "FROM model_versions WHERE tenant = $1 AND model = $2 AND label > $3 ORDER BY label LIMIT $4",
        );
        let query = |after, rows| query!(sql, tenant.to_string(), model.to_owned(), after, rows);
        self.page("model_versions", model, &page, query, |row: &ModelVersion| row.label.clone()).await
    }
}

#[async_trait]
impl Jobs for SqlRelational {
    async fn job(&self, tenant: &Tenant, id: &str) -> Result<Option<Job>, StoreError> {
        let sql = select::<Job>("FROM jobs WHERE tenant = $1 AND id = $2");
        self.one("job", query!(sql, tenant.to_string(), id.to_owned())).await
    }

    async fn jobs(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<Job>, StoreError> {
        let sql = select::<Job>("FROM jobs WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3");
        let query = |after, rows| query!(sql, tenant.to_string(), after, rows);
        self.page("jobs", "", &page, query, |job: &Job| job.id.clone()).await
    }

    /// The condition stands in the statement twice: a worker that waited for another one's claim of the same row looks at
    /// the outer one again, finds it taken, and looks for the next job.
    async fn claim(&self, kind: &str, worker: &str, lease: Duration) -> Result<Option<Job>, StoreError> {
        const FREE: &str = "kind = $1 AND (state = 'queued' OR (state = 'running' AND lease_until_ms <= $2))";
        crate::key::check(STORE, "claim", worker)?;
        let next = AssertSqlSafe(format!("SELECT 1 FROM jobs WHERE {FREE} LIMIT 1")).into_sql_str();
        let claim = AssertSqlSafe(format!(
            "UPDATE jobs SET state = 'running', worker = $3, lease_until_ms = $4, fence = fence + 1, \
             version = version + 1 WHERE {FREE} AND (tenant, id) = \
             (SELECT tenant, id FROM jobs WHERE {FREE} ORDER BY created_ms, tenant, id LIMIT 1) RETURNING {}",
            Job::COLUMNS
        ))
        .into_sql_str();
        loop {
            let now_ms = now_ms();
            let until_ms = now_ms.saturating_add(lease.as_millis() as i64);
            if self.row("claim", query!(next.clone(), kind.to_owned(), now_ms)).await?.is_none() {
                return Ok(None);
            }
            let claim = query!(claim.clone(), kind.to_owned(), now_ms, worker.to_owned(), until_ms);
            let mut writing = self.begin("claim").await?;
            let claimed = writing.row(claim).await?;
            writing.end().await?;
            if let Some(row) = claimed {
                return Job::of("claim", &row).map(Some);
            }
        }
    }
}

#[async_trait]
impl Audit for SqlRelational {
    async fn audit(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<AuditRecord>, StoreError> {
        let sql = select::<AuditRecord>("FROM audit WHERE tenant = $1 AND number < $2 ORDER BY number DESC LIMIT $3");
        let list = ["audit"];
        let before = page.key::<i64>(STORE, "audit", &list)?;
        let query = query!(sql, tenant.to_string(), before.unwrap_or(i64::MAX), page.limit() as i64 + 1);
        Ok(Page::cut(&list, self.all("audit", query).await?, page.limit(), |row: &AuditRecord| row.number))
    }
}

#[async_trait]
impl Outbox for SqlRelational {
    async fn pending(&self, topic: &str, rows: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = select::<OutboxRow>("FROM outbox WHERE topic = $1 ORDER BY number LIMIT $2");
        self.all("pending", query!(sql, topic.to_owned(), rows.min(PAGE_ROWS_MAX) as i64)).await
    }

    async fn done(&self, rows: &[OutboxRow]) -> Result<(), StoreError> {
        let mut writing = self.begin("done").await?;
        for row in rows {
            writing.rows(query!("DELETE FROM outbox WHERE number = $1", row.number as i64)).await?;
        }
        writing.end().await
    }
}

#[async_trait]
impl Answers for SqlRelational {
    async fn answer(&self, tenant: &Tenant, key: &str) -> Result<Option<Answer>, StoreError> {
        let sql = select::<Answer>("FROM answers WHERE tenant = $1 AND key = $2 AND until_ms > $3");
        self.one("answer", query!(sql, tenant.to_string(), key.to_owned(), now_ms())).await
    }
}

/// The first column of the first row, a text.
pub(super) async fn text(store: &SqlRelational, sql: &'static str) -> Result<String, StoreError> {
    let row = store.row("health", query!(sql)).await?;
    let text = row.map(|row| row.try_get(0)).transpose().map_err(|error| store.dialect.fail("health", error))?;
    Ok(text.unwrap_or_default())
}
