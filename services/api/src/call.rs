//! Who calls a service, for whom, and until when.

use std::sync::Arc;
use std::time::Instant;

/// Everything about a call except what it asks: what the gateway found out, and every service may rely on.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose data it is about: the name of a tenant, from the key or token that was shown.
    pub tenant: Arc<str>,
    /// The id of the key, or the subject of the token: safe in logs, and what fairness between callers goes by.
    pub caller: Arc<str>,
    /// Its name in logs and answers.
    pub request_id: Arc<str>,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Instant>,
    /// Work that gives way to everybody else's: imports, scoring, streams.
    pub is_bulk: bool,
}
