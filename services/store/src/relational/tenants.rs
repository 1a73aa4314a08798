//! The customers of this installation.

use async_trait::async_trait;
use serde_json::Value;

use super::Relational;
use crate::{PAGE_ROWS_MAX, Page, PageRequest, StoreError, Tenant, Version};

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

/// The names of all tenants in their order, and `first`, which may have no row of its own.
///
/// # Errors
/// The store's own.
pub async fn all_tenants(rows: &dyn Relational, first: Option<Tenant>) -> Result<Vec<Tenant>, StoreError> {
    let (mut tenants, mut page) = (Vec::from_iter(first), PageRequest::first(PAGE_ROWS_MAX));
    loop {
        let found = rows.tenants(page).await?;
        tenants.extend(found.rows.into_iter().map(|row| row.tenant));
        match found.next {
            Some(next) => page = PageRequest { after: Some(next), rows: PAGE_ROWS_MAX },
            None => break,
        }
    }
    tenants.sort_unstable();
    tenants.dedup();
    Ok(tenants)
}
