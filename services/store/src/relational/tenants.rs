//! The customers of this installation.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Page, PageRequest, StoreError, Tenant, Version};

/// A tenant as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantRecord {
    /// Its name in every key.
    pub tenant: Tenant,
    /// What people call it.
    pub title: String,
    /// Its settings.
    pub settings: Value,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// Which state of it this is.
    pub version: Version,
}

/// Reads tenants.
#[async_trait]
pub trait Tenants {
    /// The tenant of that name.
    async fn tenant(&self, tenant: &Tenant) -> Result<Option<TenantRecord>, StoreError>;

    /// All tenants by name, for who runs the installation.
    async fn tenants(&self, page: PageRequest) -> Result<Page<TenantRecord>, StoreError>;
}
