//! What can go wrong with a store, and whether trying again may help.

use std::error::Error as StdError;
use std::fmt;

use thiserror::Error;

type Source = Box<dyn StdError + Send + Sync>;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// Tenants, users, keys, rules, jobs.
    Relational,
    /// What may be lost.
    Cache,
    /// Full text and facets.
    Search,
    /// Documents of free shape.
    Documents,
    /// Events.
    Events,
    /// Files.
    Objects,
}

/// What went wrong, as far as a caller needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store cannot be reached, or says that it is not ready.
    Unavailable,
    /// No answer within the time that the call has. A write may have happened.
    Timeout,
    /// Somebody else was first: a version that is no longer current, a key that exists, a lock or fence that was lost.
    Conflict,
    /// What the call is about is not there.
    NotFound,
    /// What was asked makes no sense to this store.
    Invalid,
    /// A key, value or batch above its limit.
    TooLarge,
    /// No space is left, or a quota is used up.
    Full,
    /// Wrong or missing credentials, or rights.
    Denied,
    /// What is stored cannot be read.
    Corrupt,
    /// What is stored was written by a newer version of Attune.
    TooNew,
    /// Anything else: a defect of ours or of the store.
    Internal,
}

/// A call that failed: which store, which call, what kind of fault, and a sentence for whoever reads the log.
#[derive(Debug, Error)]
#[error("{store}: {call}: {detail}")]
pub struct StoreError {
    /// The kind of store.
    pub store: StoreKind,
    /// The call, for example `append`.
    pub call: &'static str,
    /// What callers branch on.
    pub kind: ErrorKind,
    /// What was wrong, where, and what to do; without credentials.
    pub detail: String,
    /// The backend's own error. It is logged and never sent to a client.
    #[source]
    pub source: Option<Source>,
}

impl StoreError {
    /// An error without a cause of its own.
    pub fn new(store: StoreKind, call: &'static str, kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { store, call, kind, detail: detail.into(), source: None }
    }

    /// The same error, caused by `source`.
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether the same call may succeed when it is made again unchanged. Whether that is safe is for the call to say.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }
}

impl StoreKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Relational, Self::Cache, Self::Search, Self::Documents, Self::Events, Self::Objects];

    /// As in configuration, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relational => "relational",
            Self::Cache => "cache",
            Self::Search => "search",
            Self::Documents => "documents",
            Self::Events => "events",
            Self::Objects => "objects",
        }
    }
}

impl ErrorKind {
    /// As in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Full => "full",
            Self::Denied => "denied",
            Self::Corrupt => "corrupt",
            Self::TooNew => "too_new",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
