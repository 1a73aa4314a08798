//! Who there is and what is defined: tenants, people, keys, experiments, rules, model versions, jobs, the audit log.
//!
//! Reads are one trait per entity. All that changes something is a [`Write`], and [`Relational::commit`] takes a list of
//! them and carries out all or none: a transaction is a value. That keeps the seam object-safe and lets nothing of a
//! backend through, and no transaction is ever held open across a wait of its caller. What a transaction with reads in it
//! would be for is done by versions instead: read, decide, and commit with what was read as
//! [`Expect::Version`](crate::Expect); a [`Conflict`](crate::ErrorKind::Conflict) means read again.
//!
//! What must happen elsewhere because of a change, such as a tombstone in the event log, is an [`Outbox`] row of the same
//! commit.

mod answers;
mod audit;
mod definitions;
mod guarded;
mod jobs;
mod keys;
mod models;
mod outbox;
mod people;
mod tenants;
mod write;

use std::fmt::Debug;

use async_trait::async_trait;

pub use answers::{Answer, Answers};
pub use audit::{Audit, AuditEntry, AuditRecord};
pub use definitions::{Definition, DefinitionKind, Definitions};
pub use jobs::{Job, JobState, Jobs};
pub use keys::{ApiKey, ApiKeys, KEY_HASH_BYTES, KeyHash};
pub use models::{ModelVersion, Models};
pub use outbox::{Outbox, OutboxRow};
pub use people::{People, Person, PersonId, Subject};
pub use tenants::{TenantRecord, Tenants, all_tenants};
pub use write::Write;

use crate::{Health, StoreError, Tenant, Version};

/// The largest JSON value of a row, in bytes.
pub const JSON_BYTES_MAX: usize = 1 << 20;
/// The most writes of a commit.
pub const WRITES_MAX: usize = 1_000;
/// The most people whose subjects are asked for at once.
pub const PEOPLE_MAX: usize = 1_000;

/// Keeps what the services own in rows.
#[async_trait]
pub trait Relational:
    Tenants + People + ApiKeys + Definitions + Models + Jobs + Audit + Outbox + Answers + Debug + Send + Sync
{
    /// Carries out all writes or none, at most [`WRITES_MAX`], in their order, within one tenant. The answer has the new
    /// version of what each of them wrote, and none for a write of something that has no version or is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when something else is there than a write expects,
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when what is to be changed is not there: nothing was written.
    /// After [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) and
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) everything may have been.
    async fn commit(&self, tenant: &Tenant, writes: Vec<Write>) -> Result<Vec<Option<Version>>, StoreError>;

    /// Asks the store how it is.
    async fn health(&self) -> Result<Health, StoreError>;
}
