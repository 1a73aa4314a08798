//! Rows behind a guard.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Answer, Answers, ApiKey, ApiKeys, Audit, AuditRecord, Definition, DefinitionKind, Definitions, Job, Jobs, KeyHash,
    ModelVersion, Models, Outbox, OutboxRow, People, Person, PersonId, Relational, Subject, TenantRecord, Tenants,
    Write,
};
use crate::guard::{Guarded, Retry};
use crate::{Health, Page, PageRequest, StoreError, Tenant, Version};

type Rows = Guarded<dyn Relational>;

#[async_trait]
impl Relational for Rows {
    /// Never made again: a second try would find the versions of the first.
    async fn commit(&self, tenant: &Tenant, writes: Vec<Write>) -> Result<Vec<Option<Version>>, StoreError> {
        let mut writes = Some(writes);
        let commit = || self.inner.commit(tenant, writes.take().unwrap_or_default());
        self.guard.call("commit", Retry::Never, commit).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        self.guard.call("health", Retry::Safe, || self.inner.health()).await
    }
}

#[async_trait]
impl Tenants for Rows {
    async fn tenant(&self, tenant: &Tenant) -> Result<Option<TenantRecord>, StoreError> {
        self.guard.call("tenant", Retry::Safe, || self.inner.tenant(tenant)).await
    }

    async fn tenants(&self, page: PageRequest) -> Result<Page<TenantRecord>, StoreError> {
        self.guard.call("tenants", Retry::Safe, || self.inner.tenants(page.clone())).await
    }
}

#[async_trait]
impl People for Rows {
    async fn resolve(&self, tenant: &Tenant, ids: &[PersonId]) -> Result<Vec<Person>, StoreError> {
        self.guard.call("resolve", Retry::Safe, || self.inner.resolve(tenant, ids)).await
    }

    async fn person(&self, tenant: &Tenant, id: &PersonId) -> Result<Option<Person>, StoreError> {
        self.guard.call("person", Retry::Safe, || self.inner.person(tenant, id)).await
    }

    async fn person_of(&self, tenant: &Tenant, subject: Subject) -> Result<Option<Person>, StoreError> {
        self.guard.call("person_of", Retry::Safe, || self.inner.person_of(tenant, subject)).await
    }

    async fn joined(&self, tenant: &Tenant, user: &str) -> Result<Vec<Person>, StoreError> {
        self.guard.call("joined", Retry::Safe, || self.inner.joined(tenant, user)).await
    }

    async fn users(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<Person>, StoreError> {
        self.guard.call("users", Retry::Safe, || self.inner.users(tenant, page.clone())).await
    }
}

#[async_trait]
impl ApiKeys for Rows {
    async fn key_of(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        self.guard.call("key_of", Retry::Safe, || self.inner.key_of(hash)).await
    }

    async fn key(&self, tenant: &Tenant, id: &str) -> Result<Option<ApiKey>, StoreError> {
        self.guard.call("key", Retry::Safe, || self.inner.key(tenant, id)).await
    }

    async fn keys(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<ApiKey>, StoreError> {
        self.guard.call("keys", Retry::Safe, || self.inner.keys(tenant, page.clone())).await
    }

    async fn used(&self, tenant: &Tenant, id: &str, used_ms: i64) -> Result<(), StoreError> {
        self.guard.call("used", Retry::Safe, || self.inner.used(tenant, id, used_ms)).await
    }
}

#[async_trait]
impl Definitions for Rows {
    async fn definition(
        &self,
        tenant: &Tenant,
        kind: DefinitionKind,
        name: &str,
    ) -> Result<Option<Definition>, StoreError> {
        self.guard.call("definition", Retry::Safe, || self.inner.definition(tenant, kind, name)).await
    }

    async fn definitions(
        &self,
        tenant: &Tenant,
        kind: DefinitionKind,
        page: PageRequest,
    ) -> Result<Page<Definition>, StoreError> {
        self.guard.call("definitions", Retry::Safe, || self.inner.definitions(tenant, kind, page.clone())).await
    }
}

#[async_trait]
impl Models for Rows {
    async fn live_model(&self, tenant: &Tenant, model: &str) -> Result<Option<ModelVersion>, StoreError> {
        self.guard.call("live_model", Retry::Safe, || self.inner.live_model(tenant, model)).await
    }

    async fn model_version(
        &self,
        tenant: &Tenant,
        model: &str,
        label: &str,
    ) -> Result<Option<ModelVersion>, StoreError> {
        self.guard.call("model_version", Retry::Safe, || self.inner.model_version(tenant, model, label)).await
    }

    async fn model_versions(
        &self,
        tenant: &Tenant,
        model: &str,
        page: PageRequest,
    ) -> Result<Page<ModelVersion>, StoreError> {
        self.guard.call("model_versions", Retry::Safe, || self.inner.model_versions(tenant, model, page.clone())).await
    }
}

#[async_trait]
impl Jobs for Rows {
    async fn job(&self, tenant: &Tenant, id: &str) -> Result<Option<Job>, StoreError> {
        self.guard.call("job", Retry::Safe, || self.inner.job(tenant, id)).await
    }

    async fn jobs(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<Job>, StoreError> {
        self.guard.call("jobs", Retry::Safe, || self.inner.jobs(tenant, page.clone())).await
    }

    /// Never made again: the first try may have got a job, whose lease would have to run out.
    async fn claim(&self, kind: &str, worker: &str, lease: Duration) -> Result<Option<Job>, StoreError> {
        self.guard.call("claim", Retry::Never, || self.inner.claim(kind, worker, lease)).await
    }
}

#[async_trait]
impl Audit for Rows {
    async fn audit(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<AuditRecord>, StoreError> {
        self.guard.call("audit", Retry::Safe, || self.inner.audit(tenant, page.clone())).await
    }
}

#[async_trait]
impl Outbox for Rows {
    async fn pending(&self, topic: &str, rows: usize) -> Result<Vec<OutboxRow>, StoreError> {
        self.guard.call("pending", Retry::Safe, || self.inner.pending(topic, rows)).await
    }

    async fn done(&self, rows: &[OutboxRow]) -> Result<(), StoreError> {
        self.guard.call("done", Retry::Safe, || self.inner.done(rows)).await
    }
}

#[async_trait]
impl Answers for Rows {
    async fn answer(&self, tenant: &Tenant, key: &str) -> Result<Option<Answer>, StoreError> {
        self.guard.call("answer", Retry::Safe, || self.inner.answer(tenant, key)).await
    }
}
