//! The cache behind a guard.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Cache, Decision, Held, RateLimit, Step};
use crate::guard::{Guarded, Retry};
use crate::{Health, StoreError, Tenant};

#[async_trait]
impl Cache for Guarded<dyn Cache> {
    async fn get(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.guard.call("get", Retry::Safe, || self.inner.get(tenant, keys)).await
    }

    async fn set(&self, tenant: &Tenant, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.guard.call("set", Retry::Safe, || self.inner.set(tenant, key, value.clone(), ttl)).await
    }

    async fn delete(&self, tenant: &Tenant, keys: &[&str]) -> Result<(), StoreError> {
        self.guard.call("delete", Retry::Safe, || self.inner.delete(tenant, keys)).await
    }

    async fn take(&self, tenant: &Tenant, key: &str, limit: RateLimit, cost: u32) -> Result<Decision, StoreError> {
        self.guard.call("take", Retry::Never, || self.inner.take(tenant, key, limit, cost)).await
    }

    async fn add(
        &self,
        tenant: &Tenant,
        step: Step<'_>,
        amounts: &[(&str, i64)],
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.guard.call("add", Retry::Safe, || self.inner.add(tenant, step, amounts, ttl)).await
    }

    async fn counters(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<i64>, StoreError> {
        self.guard.call("counters", Retry::Safe, || self.inner.counters(tenant, keys)).await
    }

    async fn push(
        &self,
        tenant: &Tenant,
        list: &str,
        entries: &[Bytes],
        keep: usize,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        self.guard.call("push", Retry::Never, || self.inner.push(tenant, list, entries, keep, ttl)).await
    }

    async fn recent(&self, tenant: &Tenant, list: &str, entries: usize) -> Result<Vec<Bytes>, StoreError> {
        self.guard.call("recent", Retry::Safe, || self.inner.recent(tenant, list, entries)).await
    }

    async fn clear(&self, tenant: &Tenant, list: &str) -> Result<(), StoreError> {
        self.guard.call("clear", Retry::Safe, || self.inner.clear(tenant, list)).await
    }

    async fn lock(&self, tenant: &Tenant, name: &str, ttl: Duration) -> Result<Option<Held>, StoreError> {
        self.guard.call("lock", Retry::Never, || self.inner.lock(tenant, name, ttl)).await
    }

    async fn renew(&self, tenant: &Tenant, held: &Held, ttl: Duration) -> Result<(), StoreError> {
        self.guard.call("renew", Retry::Safe, || self.inner.renew(tenant, held, ttl)).await
    }

    async fn unlock(&self, tenant: &Tenant, held: Held) -> Result<(), StoreError> {
        self.guard.call("unlock", Retry::Safe, || self.inner.unlock(tenant, held.clone())).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        self.guard.call("erase", Retry::Safe, || self.inner.erase(tenant)).await
    }

    fn lost_ago(&self) -> Option<Duration> {
        self.guard.failed_ago().into_iter().chain(self.inner.lost_ago()).min()
    }

    async fn health(&self) -> Result<Health, StoreError> {
        self.guard.call("health", Retry::Safe, || self.inner.health()).await
    }
}
