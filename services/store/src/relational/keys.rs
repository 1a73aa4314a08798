//! API keys.

use async_trait::async_trait;

use crate::{Page, PageRequest, StoreError, Tenant, Version};

/// The size of a key's hash.
pub const KEY_HASH_BYTES: usize = 32;

/// What is kept of a key's secret: a keyed hash, computed by who authenticates.
pub type KeyHash = [u8; KEY_HASH_BYTES];

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its id, which may be shown.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// The keyed hash of its secret, unique in the installation.
    pub hash: KeyHash,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When it ceases to be valid.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// When it was last used.
    pub used_ms: Option<i64>,
    /// Which state of it this is.
    pub version: Version,
}

/// Reads API keys.
#[async_trait]
pub trait ApiKeys {
    /// The key of that hash, whoever's it is: this is how a call finds out its tenant.
    async fn key_of(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError>;

    /// The key of that id.
    async fn key(&self, tenant: &Tenant, id: &str) -> Result<Option<ApiKey>, StoreError>;

    /// All keys by id.
    async fn keys(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<ApiKey>, StoreError>;

    /// Notes that a key was used. The time of its last use never goes back, and its version stays.
    async fn used(&self, tenant: &Tenant, id: &str, used_ms: i64) -> Result<(), StoreError>;
}
