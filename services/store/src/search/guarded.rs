//! Search behind a guard.

use std::time::Duration;

use async_trait::async_trait;
use attune_ranking::attributes::Schema;

use super::{Change, Indices, Page, Query, Search, Written};
use crate::guard::{Guarded, Retry};
use crate::{Health, StoreError, Tenant};

/// How many times longer than other calls those may take that make, move or remove whole indices, or write many entries.
const LARGE: u32 = 10;

impl Guarded<dyn Search> {
    fn large(&self) -> Duration {
        self.guard.attempt_max() * LARGE
    }
}

#[async_trait]
impl Search for Guarded<dyn Search> {
    async fn indices(&self, tenant: &Tenant) -> Result<Indices, StoreError> {
        self.guard.call("indices", Retry::Safe, || self.inner.indices(tenant)).await
    }

    async fn begin(&self, tenant: &Tenant, schema: &Schema) -> Result<(), StoreError> {
        self.guard.call_within(self.large(), "begin", Retry::Never, || self.inner.begin(tenant, schema)).await
    }

    async fn publish(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.guard.call_within(self.large(), "publish", Retry::Never, || self.inner.publish(tenant)).await
    }

    async fn abandon(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.guard.call_within(self.large(), "abandon", Retry::Safe, || self.inner.abandon(tenant)).await
    }

    async fn write(&self, tenant: &Tenant, changes: &[Change]) -> Result<Written, StoreError> {
        self.guard.call_within(self.large(), "write", Retry::Safe, || self.inner.write(tenant, changes)).await
    }

    async fn refresh(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.guard.call_within(self.large(), "refresh", Retry::Safe, || self.inner.refresh(tenant)).await
    }

    async fn search(&self, tenant: &Tenant, query: &Query) -> Result<Page, StoreError> {
        self.guard.call("search", Retry::Safe, || self.inner.search(tenant, query)).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.guard.call_within(self.large(), "erase", Retry::Safe, || self.inner.erase(tenant)).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        self.guard.call("health", Retry::Safe, || self.inner.health()).await
    }
}
