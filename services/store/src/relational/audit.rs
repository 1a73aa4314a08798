//! Who changed what. Rows are added and never changed.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Page, PageRequest, StoreError, Tenant};

/// What is to be noted.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Who did it: the id of a key, the subject of a token, or the program itself.
    pub actor: String,
    /// What was done, for example `key.revoke`.
    pub action: String,
    /// To what.
    pub target: String,
    /// With which particulars; no secrets.
    pub detail: Value,
}

/// What was noted.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// What.
    pub entry: AuditEntry,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Its number; later ones are greater.
    pub number: u64,
}

/// Reads the audit log.
#[async_trait]
pub trait Audit {
    /// The log, the newest first.
    async fn audit(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<AuditRecord>, StoreError>;
}
