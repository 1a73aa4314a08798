//! The event log behind a guard. A consumer waits by nature, and is not guarded.

use async_trait::async_trait;

use super::{Bounds, Consumer, Damage, DeadLetterPage, EventLog, NewDeadLetter, NewEvent, Position};
use crate::guard::{Guarded, Retry};
use crate::{Health, StoreError, Tenant};

#[async_trait]
impl EventLog for Guarded<dyn EventLog> {
    /// Never made again: whether an event of the first try was kept is for its sender's `event_id` to tell.
    async fn append(&self, tenant: &Tenant, events: Vec<NewEvent>) -> Result<Vec<Position>, StoreError> {
        let mut events = Some(events);
        let append = || self.inner.append(tenant, events.take().unwrap_or_default());
        self.guard.call("append", Retry::Never, append).await
    }

    async fn join(&self, tenant: &Tenant, group: &str) -> Result<Box<dyn Consumer>, StoreError> {
        self.guard.call("join", Retry::Safe, || self.inner.join(tenant, group)).await
    }

    async fn read(&self, tenant: &Tenant, from: &[Position]) -> Result<Box<dyn Consumer>, StoreError> {
        self.guard.call("read", Retry::Safe, || self.inner.read(tenant, from)).await
    }

    async fn bounds(&self, tenant: &Tenant) -> Result<Vec<Bounds>, StoreError> {
        self.guard.call("bounds", Retry::Safe, || self.inner.bounds(tenant)).await
    }

    async fn committed(&self, tenant: &Tenant, group: &str) -> Result<Vec<Position>, StoreError> {
        self.guard.call("committed", Retry::Safe, || self.inner.committed(tenant, group)).await
    }

    async fn bury(&self, tenant: &Tenant, letters: Vec<NewDeadLetter>) -> Result<Vec<String>, StoreError> {
        let mut letters = Some(letters);
        let bury = || self.inner.bury(tenant, letters.take().unwrap_or_default());
        self.guard.call("bury", Retry::Never, bury).await
    }

    async fn dead_letters(&self, tenant: &Tenant, from: u64, limit: usize) -> Result<DeadLetterPage, StoreError> {
        self.guard.call("dead_letters", Retry::Safe, || self.inner.dead_letters(tenant, from, limit)).await
    }

    async fn forget(&self, tenant: &Tenant, ids: &[String]) -> Result<(), StoreError> {
        self.guard.call("forget", Retry::Safe, || self.inner.forget(tenant, ids)).await
    }

    async fn reserve(&self, tenant: &Tenant, reached: &[Position]) -> Result<(), StoreError> {
        self.guard.call("reserve", Retry::Safe, || self.inner.reserve(tenant, reached)).await
    }

    async fn damage(&self, tenant: &Tenant) -> Result<Vec<Damage>, StoreError> {
        self.guard.call("damage", Retry::Safe, || self.inner.damage(tenant)).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        self.guard.call("erase", Retry::Safe, || self.inner.erase(tenant)).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        self.guard.call("health", Retry::Safe, || self.inner.health()).await
    }
}
