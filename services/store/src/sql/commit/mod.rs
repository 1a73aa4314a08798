//! Writes, carried out in their order in one transaction.

mod definitions;
mod jobs;
mod keys;
mod models;
mod notes;
mod people;
mod tenants;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::Row;

use super::read::text;
use super::{Dialect, Query, STORE, SqlRelational, Writing};
use crate::key::{self, check_bytes};
use crate::relational::{JSON_BYTES_MAX, Relational, WRITES_MAX, Write};
use crate::{ErrorKind, Expect, Health, StoreError, Tenant, Version};

const CALL: &str = "commit";

/// What a write gives: the new version of what has one.
type Written = Result<Option<Version>, StoreError>;

#[async_trait]
impl Relational for SqlRelational {
    async fn commit(&self, tenant: &Tenant, writes: Vec<Write>) -> Result<Vec<Option<Version>>, StoreError> {
        if writes.len() > WRITES_MAX {
            let detail = format!("{} writes in a commit, {WRITES_MAX} are allowed", writes.len());
            return Err(StoreError::new(STORE, CALL, ErrorKind::TooLarge, detail));
        }
        let mut writing = self.begin(CALL).await?;
        let mut versions = Vec::with_capacity(writes.len());
        for write in writes {
            versions.push(writing.carry_out(tenant.to_string(), write).await?);
        }
        writing.end().await?;
        Ok(versions)
    }

    async fn health(&self) -> Result<Health, StoreError> {
        if self.dialect == Dialect::Sqlite {
            return Ok(Health::new("SQLite", text(self, "SELECT sqlite_version()").await?));
        }
        let health = Health::new("PostgreSQL", text(self, "SHOW server_version").await?);
        let is_synced = text(self, "SHOW fsync").await? == "on" && text(self, "SHOW full_page_writes").await? == "on";
        let warning = "fsync or full_page_writes is off: a loss of power loses or damages what was acknowledged";
        Ok(if is_synced { health } else { health.warn(warning) })
    }
}

impl Writing<'_> {
    async fn carry_out(&mut self, tenant: String, write: Write) -> Written {
        match write {
            Write::PutTenant { title, settings, expect } => self.put_tenant(tenant, title, &settings, expect).await,
            Write::DeleteTenant => self.delete_tenant(tenant).await,
            Write::SetConsent { user, consent, expect } => self.set_consent(tenant, user, consent, expect).await,
            Write::Join { anonymous, user } => self.join(tenant, anonymous, user).await,
            Write::Forget { user } => self.forget(tenant, user).await,
            Write::PutApiKey { key, expect } => self.put_key(tenant, key, expect).await,
            Write::DeleteApiKey { id } => self.delete_key(tenant, id).await,
            Write::PutDefinition { kind, name, spec, is_enabled, expect } => {
                self.put_definition(tenant, kind, name, &spec, is_enabled, expect).await
            }
            Write::DeleteDefinition { kind, name, expect } => self.delete_definition(tenant, kind, name, expect).await,
            Write::PutModelVersion { model, label, uri, metrics, expect } => {
                self.put_model(tenant, model, label, uri, &metrics, expect).await
            }
            Write::Promote { model, label } => self.promote(tenant, model, label).await,
            Write::PutJob { id, kind, spec } => self.put_job(tenant, id, kind, &spec).await,
            Write::ProgressJob { id, fence, progress, lease } => {
                self.progress_job(tenant, id, fence, &progress, lease).await
            }
            Write::FinishJob { id, fence, is_done, report } => {
                self.finish_job(tenant, id, fence, is_done, &report).await
            }
            Write::CancelJob { id } => self.cancel_job(tenant, id).await,
            Write::Audit(entry) => self.audit(tenant, entry).await,
            Write::Outbox { topic, key, payload } => self.outbox(tenant, topic, key, &payload).await,
            Write::Remember { key, digest, answer, ttl } => self.remember(tenant, key, digest, &answer, ttl).await,
        }
    }

    /// Carries out a statement that says nothing of a version.
    async fn run(&mut self, query: Query) -> Written {
        self.rows(query).await.map(|_| None)
    }

    /// Inserts or updates, as expected.
    async fn put(&mut self, query: Query, expect: Expect, what: &str) -> Written {
        let version = self.written(query).await?;
        // A row that was expected and is not there was inserted just now: its version is another one than the next.
        let is_expected = match (expect, version) {
            (Expect::Version(before), Some(version)) => version.0 == before.0 + 1,
            (_, version) => version.is_some(),
        };
        if is_expected { Ok(version) } else { Err(conflict(what, expect)) }
    }

    /// Updates what is there.
    async fn change(&mut self, query: Query, expect: Expect, what: &str) -> Written {
        match (self.written(query).await?, expect) {
            (Some(version), _) => Ok(Some(version)),
            (None, Expect::Any) => {
                Err(StoreError::new(STORE, CALL, ErrorKind::NotFound, format!("{what} is not there")))
            }
            (None, expect) => Err(conflict(what, expect)),
        }
    }

    async fn written(&mut self, query: Query) -> Written {
        let row = self.row(query).await?;
        let version = row.map(|row| row.try_get::<i64, _>(0)).transpose();
        Ok(version.map_err(|error| self.dialect.fail(CALL, error))?.map(|version| Version(version as u64)))
    }
}

fn conflict(what: &str, expect: Expect) -> StoreError {
    let detail = match expect {
        Expect::Any => format!("somebody else wrote {what} at the same time: try again"),
        Expect::Absent => format!("{what} is there already"),
        Expect::Version(version) => format!("{what} is not at version {version}: read it again"),
    };
    StoreError::new(STORE, CALL, ErrorKind::Conflict, detail)
}

/// The version of a row that is inserted.
fn first() -> i64 {
    Version::first().0 as i64
}

/// What a statement compares a row's version with: any is negative, and no row has version 0.
fn number(expect: Expect) -> i64 {
    match expect {
        Expect::Any => -1,
        Expect::Absent => 0,
        Expect::Version(version) => version.0 as i64,
    }
}

fn checked_key(text: String) -> Result<String, StoreError> {
    key::check(STORE, CALL, &text).map(|()| text)
}

fn checked(text: String) -> Result<String, StoreError> {
    check_bytes(STORE, CALL, "a text", text.len(), JSON_BYTES_MAX)?;
    if text.contains('\0') {
        return Err(StoreError::new(STORE, CALL, ErrorKind::Invalid, "a text has a NUL byte"));
    }
    Ok(text)
}

fn json(value: &Value) -> Result<String, StoreError> {
    let json = value.to_string();
    check_bytes(STORE, CALL, "a JSON value", json.len(), JSON_BYTES_MAX).map(|()| json)
}
