//! What can be changed.

use std::time::Duration;

use serde_json::Value;

use super::{ApiKey, AuditEntry, DefinitionKind};
use crate::Expect;

/// One change. A list of them is a transaction.
#[derive(Clone, Debug)]
pub enum Write {
    /// Makes or changes the tenant that the commit is for.
    PutTenant {
        /// What people call it.
        title: String,
        /// Its settings, a JSON value that the services read.
        settings: Value,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes every row of the tenant that the commit is for, itself included.
    DeleteTenant,

    /// Notes whether a user has consented to be profiled. The user must be there.
    SetConsent {
        /// The user's id.
        user: String,
        /// Yes, no, or never asked.
        consent: Option<bool>,
        /// Which version must be there.
        expect: Expect,
    },
    /// Joins an anonymous id to a user. Both are made when they are new; an id that was joined to another user goes over
    /// to this one. Gives the version of the anonymous id.
    Join {
        /// The anonymous id.
        anonymous: String,
        /// The user's id.
        user: String,
    },
    /// Deletes a user and the anonymous ids joined to him: what their subjects stand for is known to nobody afterwards.
    Forget {
        /// The user's id.
        user: String,
    },

    /// Makes or changes an API key, all but when it was last used.
    PutApiKey {
        /// The key; its tenant, version and last use are those of the store, whatever is given here.
        key: ApiKey,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes an API key.
    DeleteApiKey {
        /// Its id.
        id: String,
    },

    /// Makes or changes a definition.
    PutDefinition {
        /// What it defines.
        kind: DefinitionKind,
        /// Its name, unique in the kind.
        name: String,
        /// The definition.
        spec: Value,
        /// Whether it is in force.
        is_enabled: bool,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes a definition.
    DeleteDefinition {
        /// What it defines.
        kind: DefinitionKind,
        /// Its name.
        name: String,
        /// Which version must be there.
        expect: Expect,
    },

    /// Enters a version of a model. It is not in service by that.
    PutModelVersion {
        /// The model.
        model: String,
        /// The version.
        label: String,
        /// Where its files are.
        uri: String,
        /// How it was made and how good it is.
        metrics: Value,
        /// What must be there.
        expect: Expect,
    },
    /// Puts a version in service in place of the one that is.
    Promote {
        /// The model.
        model: String,
        /// The version, which must be entered.
        label: String,
    },

    /// Enters a job. A job of that id must not be there.
    PutJob {
        /// Its id.
        id: String,
        /// What is to be done.
        kind: String,
        /// To what.
        spec: Value,
    },
    /// Says how far a job is, and keeps it for longer. Its worker must still be the one with this fence.
    ProgressJob {
        /// Its id.
        id: String,
        /// The fence that the claim came with.
        fence: u64,
        /// How far it is.
        progress: Value,
        /// How long from now nobody else takes it.
        lease: Duration,
    },
    /// Ends a job. Its worker must still be the one with this fence.
    FinishJob {
        /// Its id.
        id: String,
        /// The fence that the claim came with.
        fence: u64,
        /// Whether it did what it should.
        is_done: bool,
        /// What came of it.
        report: Value,
    },
    /// Ends a job that has not ended. Its worker finds out at its next write.
    CancelJob {
        /// Its id.
        id: String,
    },

    /// Adds to the audit log.
    Audit(AuditEntry),
    /// Enters what is to be done elsewhere because of this commit.
    Outbox {
        /// For whom.
        topic: String,
        /// About what.
        key: String,
        /// What he needs to know.
        payload: Value,
    },
    /// Keeps the answer to a request that may be sent again. A [`Conflict`](crate::ErrorKind::Conflict) says that one is
    /// kept already: read it.
    Remember {
        /// The request's idempotency key.
        key: String,
        /// A digest of its body, by which another request with the same key is told apart.
        digest: String,
        /// The answer.
        answer: Value,
        /// How long it is kept.
        ttl: Duration,
    },
}
