//! Answers to requests that may be sent again.

use async_trait::async_trait;
use serde_json::Value;

use crate::{StoreError, Tenant};

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The digest of the request's body.
    pub digest: String,
    /// What was answered.
    pub answer: Value,
}

/// Reads answers.
#[async_trait]
pub trait Answers {
    /// The answer to the request of that idempotency key, while it is kept.
    async fn answer(&self, tenant: &Tenant, key: &str) -> Result<Option<Answer>, StoreError>;
}
