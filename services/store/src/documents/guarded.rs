//! Documents behind a guard.

use async_trait::async_trait;
use serde_json::Value;

use super::{Collection, Document, Documents, Put};
use crate::guard::{Guarded, Retry};
use crate::{Expect, Health, Page, PageRequest, StoreError, Tenant, Version};

/// A write that expects a version finds another one when it is made again after it took effect, and its caller would take
/// that for a lost race.
fn retry(mut expects: impl Iterator<Item = Expect>) -> Retry {
    if expects.all(|expect| expect == Expect::Any) { Retry::Safe } else { Retry::Never }
}

#[async_trait]
impl Documents for Guarded<dyn Documents> {
    async fn put(
        &self,
        tenant: &Tenant,
        collection: Collection,
        puts: Vec<Put>,
    ) -> Result<Vec<Result<Version, StoreError>>, StoreError> {
        let retry = retry(puts.iter().map(|put| put.expect));
        self.guard.call("put", retry, || self.inner.put(tenant, collection, puts.clone())).await
    }

    async fn get(
        &self,
        tenant: &Tenant,
        collection: Collection,
        ids: &[&str],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.guard.call("get", Retry::Safe, || self.inner.get(tenant, collection, ids)).await
    }

    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        id: &str,
        patch: &Value,
        expect: Expect,
    ) -> Result<Document, StoreError> {
        let retry = retry([expect].into_iter());
        self.guard.call("patch", retry, || self.inner.patch(tenant, collection, id, patch, expect)).await
    }

    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        id: &str,
        expect: Expect,
    ) -> Result<bool, StoreError> {
        self.guard.call("delete", Retry::Never, || self.inner.delete(tenant, collection, id, expect)).await
    }

    async fn scan(
        &self,
        tenant: &Tenant,
        collection: Collection,
        page: PageRequest,
    ) -> Result<Page<Document>, StoreError> {
        self.guard.call("scan", Retry::Safe, || self.inner.scan(tenant, collection, page.clone())).await
    }

    async fn find(
        &self,
        tenant: &Tenant,
        collection: Collection,
        lookup: &'static str,
        text: &str,
        page: PageRequest,
    ) -> Result<Page<Document>, StoreError> {
        self.guard.call("find", Retry::Safe, || self.inner.find(tenant, collection, lookup, text, page.clone())).await
    }

    async fn clear(&self, tenant: &Tenant, collection: Collection) -> Result<u64, StoreError> {
        self.guard.call("clear", Retry::Never, || self.inner.clear(tenant, collection)).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        self.guard.call("health", Retry::Safe, || self.inner.health()).await
    }
}
