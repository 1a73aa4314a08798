//! Keys as they are kept: made, listed, revoked, rotated. Each change and its line of the audit log are one commit.

use std::{net::IpAddr, time::Duration};

use attune_api::{ApiError, ErrorCode, error::quoted};
use attune_store::{
    Expect, Page, PageRequest, Tenant, Version, clock,
    relational::{ApiKey, AuditEntry, KeyHash, Write},
};
use serde_json::{Value, json};

use super::{KeyStore, NewKey, text};
use crate::auth::Scope;

/// The longest name of a key, in bytes.
const TITLE_BYTES_MAX: usize = 256;
/// How long an old key may go on beside the one that replaces it.
pub(crate) const OVERLAP_MAX: Duration = Duration::from_secs(90 * 24 * 3_600);

/// What is wanted of a new key.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// What people call it.
    pub title: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it ceases to be valid, in Unix milliseconds.
    pub expires_ms: Option<i64>,
}

impl KeySpec {
    /// One without an end.
    pub fn new(title: &str, scopes: &[Scope]) -> Self {
        Self { title: title.to_owned(), scopes: scopes.to_vec(), expires_ms: None }
    }

    fn check(&self) -> Result<(), ApiError> {
        if self.title.is_empty() || self.title.len() > TITLE_BYTES_MAX {
            let detail = format!("a key needs a title of 1 to {TITLE_BYTES_MAX} bytes");
            return Err(ApiError::at(ErrorCode::Invalid, "/title", detail));
        }
        if self.scopes.is_empty() {
            let detail = "a key needs at least one scope: read, write, infer, admin";
            return Err(ApiError::at(ErrorCode::Invalid, "/scopes", detail));
        }
        if self.expires_ms.is_some_and(|expires_ms| expires_ms <= clock::latest_ms()) {
            return Err(ApiError::at(
                ErrorCode::Invalid,
                "/expires_at",
                "that time is over: the key could not be used",
            ));
        }
        Ok(())
    }
}

/// A row that the store has not seen.
pub(super) fn new_key(id: String, title: String, scopes: &[Scope], hash: KeyHash) -> ApiKey {
    ApiKey {
        // The store puts in the tenant of the commit.
        tenant: super::default_tenant(),
        id,
        title,
        hash,
        scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        created_ms: clock::wall_ms(),
        expires_ms: None,
        revoked_ms: None,
        used_ms: None,
        version: Version(0),
    }
}

/// Who does something that is noted.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// The id of a key, the subject of a token, or the program itself.
    pub id: &'a str,
    /// Where the request came from, if it was one.
    pub address: Option<IpAddr>,
}

impl<'a> From<&'a str> for Actor<'a> {
    fn from(id: &'a str) -> Self {
        Self { id, address: None }
    }
}

/// A line of the audit log. `detail` is an object.
pub(crate) fn audit(actor: Actor<'_>, action: &str, target: &str, mut detail: Value) -> Write {
    if let Some(address) = actor.address {
        detail["address"] = address.to_string().into();
    }
    let (action, target) = (action.to_owned(), target.to_owned());
    Write::Audit(AuditEntry { actor: actor.id.to_owned(), action, target, detail })
}

impl KeyStore {
    /// Makes and keeps a key of a tenant. `actor` is who asked for it, for the audit log.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`] with the field, [`ErrorCode::Absent`] when there is no such tenant; what the store says.
    pub async fn create(
        &self,
        actor: impl Into<Actor<'_>>,
        tenant: &Tenant,
        spec: KeySpec,
    ) -> Result<NewKey, ApiError> {
        let actor = actor.into();
        spec.check()?;
        if self.rows().tenant(tenant).await?.is_none() {
            let detail = format!("there is no tenant {}", quoted(tenant.as_str()));
            return Err(ApiError::new(ErrorCode::Absent, detail));
        }
        let (new, writes) = self.draft(actor, spec)?;
        self.rows().commit(tenant, writes).await?;
        Ok(new)
    }

    /// A key, and what makes it one.
    pub(super) fn draft(&self, actor: Actor<'_>, spec: KeySpec) -> Result<(NewKey, Vec<Write>), ApiError> {
        let (secret, id) = text::new_key().and_then(|secret| Ok((secret, text::new_id()?))).map_err(|error| {
            tracing::error!(%error, "the operating system gave no random numbers");
            ApiError::internal()
        })?;
        let hash = self.hash(&secret);
        let key = ApiKey { expires_ms: spec.expires_ms, ..new_key(id.clone(), spec.title, &spec.scopes, hash) };
        let entry = audit(actor, "key.create", &id, json!({"title": key.title, "scopes": key.scopes}));
        Ok((NewKey { id, secret }, vec![Write::PutApiKey { key, expect: Expect::Absent }, entry]))
    }

    /// A tenant's key.
    ///
    /// # Errors
    /// [`ErrorCode::Absent`]; what the store says.
    pub async fn key(&self, tenant: &Tenant, id: &str) -> Result<ApiKey, ApiError> {
        let key = self.rows().key(tenant, id).await?;
        key.ok_or_else(|| ApiError::new(ErrorCode::Absent, format!("there is no key {}", quoted(id))))
    }

    /// A tenant's keys by id, the revoked ones among them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn keys(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<ApiKey>, ApiError> {
        Ok(self.rows().keys(tenant, page).await?)
    }

    /// Revokes a key: in this process at once, in others of the installation within five seconds. It stays in the list.
    /// One that is revoked already is left as it is.
    ///
    /// # Errors
    /// [`ErrorCode::Absent`], [`ErrorCode::Conflict`]; what the store says.
    pub async fn revoke(&self, actor: impl Into<Actor<'_>>, tenant: &Tenant, id: &str) -> Result<(), ApiError> {
        let actor = actor.into();
        let key = self.key(tenant, id).await?;
        if key.revoked_ms.is_some() {
            return Ok(());
        }
        let (hash, expect) = (key.hash, Expect::Version(key.version));
        let key = ApiKey { revoked_ms: Some(clock::wall_ms()), ..key };
        let writes = vec![Write::PutApiKey { key, expect }, audit(actor, "key.revoke", id, json!({}))];
        let committed = self.rows().commit(tenant, writes).await;
        // Whatever the store says, it may have happened.
        self.forget(&hash);
        committed?;
        Ok(())
    }

    /// Makes a key with the rights of another, which ends after `overlap` if it would not end sooner. The new one has as
    /// long to live as the old one had when it was made. Gives the new one.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke); [`ErrorCode::Conflict`] also for a key that has ended.
    pub async fn rotate(
        &self,
        actor: impl Into<Actor<'_>>,
        tenant: &Tenant,
        id: &str,
        overlap: Duration,
    ) -> Result<NewKey, ApiError> {
        let actor = actor.into();
        if overlap > OVERLAP_MAX {
            let detail = format!("the overlap may be at most {} s", OVERLAP_MAX.as_secs());
            return Err(ApiError::at(ErrorCode::Invalid, "/overlap_s", detail));
        }
        let old = self.key(tenant, id).await?;
        let now_ms = clock::latest_ms();
        if old.revoked_ms.is_some() || old.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            let detail = format!("the key {} has ended: make a new one", quoted(id));
            return Err(ApiError::new(ErrorCode::Conflict, detail));
        }
        let scopes = old.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        let expires_ms = old.expires_ms.map(|expires_ms| now_ms.saturating_add(expires_ms - old.created_ms));
        let (new, mut writes) = self.draft(actor, KeySpec { title: old.title.clone(), scopes, expires_ms })?;
        let ends_ms = now_ms.saturating_add(overlap.as_millis() as i64);
        let ends_ms = old.expires_ms.map_or(ends_ms, |expires_ms| expires_ms.min(ends_ms));
        let (hash, expect) = (old.hash, Expect::Version(old.version));
        let old = ApiKey { expires_ms: Some(ends_ms), ..old };
        writes.push(Write::PutApiKey { key: old, expect });
        writes.push(audit(actor, "key.rotate", id, json!({"new": new.id, "overlap_s": overlap.as_secs()})));
        let committed = self.rows().commit(tenant, writes).await;
        self.forget(&hash);
        committed?;
        Ok(new)
    }
}
