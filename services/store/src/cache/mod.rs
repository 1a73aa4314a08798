//! What may be lost: answers that can be computed again, what a client has used of his rate, the last events of a user,
//! who holds a lock.
//!
//! Nothing that was acknowledged to anyone lives here alone. Everything has a time to live. Whatever several callers
//! change at once is one call that the backend carries out as a whole: no caller reads, decides and writes.

mod gcra;
mod guarded;
mod limits;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use gcra::{Decision, RateLimit};
pub(crate) use limits::{check_entries, check_key, check_keys, check_limit, check_ttl, check_value, lost};

use crate::{Health, StoreError, Tenant};

/// The largest value, and the largest entry of a list, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The most entries of a list.
pub const LIST_ENTRIES_MAX: usize = 1_000;
/// The most keys of a call.
pub const KEYS_MAX: usize = 1_000;
/// The longest time to live. Nothing is kept for ever.
pub const TTL_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Which step of a stream an effect belongs to: a consumer that repeats a step after a crash changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Consumer and partition, as one key.
    pub stream: &'a str,
    /// The place of the last event in it. Steps of a stream grow.
    pub offset: u64,
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What is locked.
    pub name: String,
    /// The fencing token: greater than that of every earlier holder. Who writes under the lock gives it along, and what
    /// he writes to refuses a token smaller than one it has seen; a holder that slept past its time is so found out.
    pub token: u64,
}

/// Keeps what may be lost. Keys of a value, a rate, a counter, a list and a lock never meet.
#[async_trait]
pub trait Cache: Debug + Send + Sync {
    /// Values by key, at most [`KEYS_MAX`], in the order of `keys`.
    async fn get(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Keeps a value for some time.
    async fn set(&self, tenant: &Tenant, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError>;

    /// Forgets values, at most [`KEYS_MAX`].
    async fn delete(&self, tenant: &Tenant, keys: &[&str]) -> Result<(), StoreError>;

    /// Whether `cost` more may be taken of a rate now, and if so takes it (GCRA).
    async fn take(&self, tenant: &Tenant, key: &str, limit: RateLimit, cost: u32) -> Result<Decision, StoreError>;

    /// Adds to counters, at most [`KEYS_MAX`], unless the stream is at this step already. Whether it did. All counters
    /// and the step change together. Both live for `ttl` from now.
    async fn add(
        &self,
        tenant: &Tenant,
        step: Step<'_>,
        amounts: &[(&str, i64)],
        ttl: Duration,
    ) -> Result<bool, StoreError>;

    /// Counters by key, at most [`KEYS_MAX`]; 0 where there is none.
    async fn counters(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<i64>, StoreError>;

    /// Puts entries at the head of a list, the last of them foremost, and lets it keep the first `keep`, at most
    /// [`LIST_ENTRIES_MAX`]. The list lives for `ttl` from now.
    async fn push(
        &self,
        tenant: &Tenant,
        list: &str,
        entries: &[Bytes],
        keep: usize,
        ttl: Duration,
    ) -> Result<(), StoreError>;

    /// The first entries of a list, the newest foremost.
    async fn recent(&self, tenant: &Tenant, list: &str, entries: usize) -> Result<Vec<Bytes>, StoreError>;

    /// Forgets a list.
    async fn clear(&self, tenant: &Tenant, list: &str) -> Result<(), StoreError>;

    /// Takes a lock for some time, or says that somebody has it.
    async fn lock(&self, tenant: &Tenant, name: &str, ttl: Duration) -> Result<Option<Held>, StoreError>;

    /// Holds a lock for some time from now.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when it is not held any more.
    async fn renew(&self, tenant: &Tenant, held: &Held, ttl: Duration) -> Result<(), StoreError>;

    /// Gives a lock back; it is fine when it is not held any more.
    async fn unlock(&self, tenant: &Tenant, held: Held) -> Result<(), StoreError>;

    /// Removes everything of a tenant that is no more; how many entries there were, about.
    ///
    /// # Errors
    /// The store cannot be reached: some of it may be gone.
    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError>;

    /// How long ago something was lost last that had just been put here, as far as this process knows: a call failed, or
    /// it had to make room.
    fn lost_ago(&self) -> Option<Duration> {
        None
    }

    /// Asks the store how it is.
    async fn health(&self) -> Result<Health, StoreError>;
}
