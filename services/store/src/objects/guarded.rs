//! Objects behind a guard. What streams has the time limit for its beginning alone.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{About, Access, Condition, Grant, Objects, Page, Presigned, Reading, Upload};
use crate::guard::{Guarded, Retry};
use crate::{Health, StoreError, Tenant};

#[async_trait]
impl Objects for Guarded<dyn Objects> {
    async fn put(&self, tenant: &Tenant, key: &str, body: Bytes, condition: Condition) -> Result<About, StoreError> {
        // Made again after it took effect, a put with a condition finds its own object in the way.
        let retry = if condition == Condition::None { Retry::Safe } else { Retry::Never };
        let put = || self.inner.put(tenant, key, body.clone(), condition.clone());
        self.guard.call("put", retry, put).await
    }

    async fn upload(&self, tenant: &Tenant, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.guard.call("upload", Retry::Never, || self.inner.upload(tenant, key)).await
    }

    async fn get(&self, tenant: &Tenant, key: &str, range: Option<Range<u64>>) -> Result<Reading, StoreError> {
        self.guard.call("get", Retry::Safe, || self.inner.get(tenant, key, range.clone())).await
    }

    async fn head(&self, tenant: &Tenant, key: &str) -> Result<About, StoreError> {
        self.guard.call("head", Retry::Safe, || self.inner.head(tenant, key)).await
    }

    async fn list(&self, tenant: &Tenant, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.guard.call("list", Retry::Safe, || self.inner.list(tenant, prefix, after, limit)).await
    }

    async fn delete(&self, tenant: &Tenant, key: &str) -> Result<(), StoreError> {
        self.guard.call("delete", Retry::Safe, || self.inner.delete(tenant, key)).await
    }

    async fn presign(
        &self,
        tenant: &Tenant,
        key: &str,
        access: Access,
        good_for: Duration,
    ) -> Result<Presigned, StoreError> {
        self.guard.call("presign", Retry::Safe, || self.inner.presign(tenant, key, access, good_for)).await
    }

    fn grant(&self, token: &str) -> Result<Grant, StoreError> {
        self.inner.grant(token)
    }

    async fn health(&self) -> Result<Health, StoreError> {
        self.guard.call("health", Retry::Safe, || self.inner.health()).await
    }
}
