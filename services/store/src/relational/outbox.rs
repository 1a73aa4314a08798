//! What is to be done elsewhere because of a commit.

use async_trait::async_trait;
use serde_json::Value;

use crate::{StoreError, Tenant};

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// Its number. Of two rows about the same thing that two commits entered after changing it, the later has the greater.
    pub number: u64,
    /// Whose it is.
    pub tenant: Tenant,
    /// About what.
    pub key: String,
    /// What the topic's reader needs to know.
    pub payload: Value,
}

/// Reads the outbox. A row stays until it is said to be done: it is handled at least once, and by two readers twice.
///
/// There is no place to go on from, because the numbers of two commits may become visible in the other order, and a
/// reader that went by them would pass over a row.
#[async_trait]
pub trait Outbox {
    /// The oldest rows of a topic, at most [`PAGE_ROWS_MAX`](crate::PAGE_ROWS_MAX), of all tenants.
    async fn pending(&self, topic: &str, rows: usize) -> Result<Vec<OutboxRow>, StoreError>;

    /// Deletes rows, which is safe to repeat.
    async fn done(&self, rows: &[OutboxRow]) -> Result<(), StoreError>;
}
