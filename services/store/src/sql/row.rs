//! Rows into what they stand for.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, ColumnIndex, Decode, Row, SqlSafeStr, SqlStr, Type};

use super::STORE;
use crate::relational::{
    ApiKey, AuditEntry, AuditRecord, Definition, DefinitionKind, Job, JobState, ModelVersion, OutboxRow, Person,
    PersonId, TenantRecord,
};
use crate::{ErrorKind, StoreError, Tenant, Version};

/// A row, whose columns are read from left to right.
pub(super) struct Columns<'r> {
    call: &'static str,
    row: &'r AnyRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(call: &'static str, row: &'r AnyRow) -> Self {
        Self { call, row, next: 0 }
    }

    pub(super) fn get<T: Decode<'r, Any> + Type<Any>>(&mut self) -> Result<T, StoreError>
    where
        usize: ColumnIndex<AnyRow>,
    {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| self.damaged(&error.to_string()))
    }

    fn text(&mut self) -> Result<String, StoreError> {
        self.get()
    }

    fn json(&mut self) -> Result<Value, StoreError> {
        let text: String = self.get()?;
        serde_json::from_str(&text).map_err(|error| self.damaged(&error.to_string()))
    }

    fn tenant(&mut self) -> Result<Tenant, StoreError> {
        self.text()?.parse().map_err(|error: crate::TenantError| self.damaged(&error.to_string()))
    }

    pub(super) fn version(&mut self) -> Result<Version, StoreError> {
        self.get::<i64>().map(|number| Version(number as u64))
    }

    fn one_of<T: Copy>(&mut self, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, StoreError> {
        let found = self.text()?;
        all.iter()
            .copied()
            .find(|one| name(*one) == found)
            .ok_or_else(|| self.damaged(&format!("{found:?} is unknown")))
    }

    fn damaged(&self, why: &str) -> StoreError {
        let detail = format!("column {} of a row cannot be read: {why}", self.next.saturating_sub(1));
        StoreError::new(STORE, self.call, ErrorKind::Corrupt, detail)
    }
}

/// What a row stands for, and the columns that say so.
pub(super) trait Entity: Sized {
    const COLUMNS: &'static str;

    fn read(columns: &mut Columns<'_>) -> Result<Self, StoreError>;

    fn of(call: &'static str, row: &AnyRow) -> Result<Self, StoreError> {
        Self::read(&mut Columns::of(call, row))
    }
}

/// The statement that selects entities, with what follows its columns.
pub(super) fn select<E: Entity>(rest: &str) -> SqlStr {
    AssertSqlSafe(format!("SELECT {} {rest}", E::COLUMNS)).into_sql_str()
}

impl Entity for TenantRecord {
    const COLUMNS: &'static str = "tenant, title, settings, created_ms, version";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: row.tenant()?,
            title: row.get()?,
            settings: row.json()?,
            created_ms: row.get()?,
            version: row.version()?,
        })
    }
}

impl Entity for Person {
    const COLUMNS: &'static str = "kind, id, subject, user_id, consent, created_ms, version";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        let kind = row.text()?;
        let id = row.text()?;
        let subject = row.text()?.parse().map_err(|_| row.damaged("it is no subject"))?;
        Ok(Self {
            id: if kind == "u" { PersonId::User(id) } else { PersonId::Anonymous(id) },
            subject,
            user: row.get()?,
            consent: row.get::<Option<i64>>()?.map(|consent| consent != 0),
            created_ms: row.get()?,
            version: row.version()?,
        })
    }
}

impl Entity for ApiKey {
    const COLUMNS: &'static str =
        "tenant, id, title, hash, scopes, created_ms, expires_ms, revoked_ms, used_ms, version";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: row.tenant()?,
            id: row.get()?,
            title: row.get()?,
            hash: row.get::<Vec<u8>>()?.try_into().map_err(|_| row.damaged("a hash of another size"))?,
            scopes: row.text()?.split_ascii_whitespace().map(str::to_owned).collect(),
            created_ms: row.get()?,
            expires_ms: row.get()?,
            revoked_ms: row.get()?,
            used_ms: row.get()?,
            version: row.version()?,
        })
    }
}

impl Entity for Definition {
    const COLUMNS: &'static str = "kind, name, spec, is_enabled, created_ms, changed_ms, version";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            kind: row.one_of(&DefinitionKind::ALL, DefinitionKind::name)?,
            name: row.get()?,
            spec: row.json()?,
            is_enabled: row.get::<i64>()? != 0,
            created_ms: row.get()?,
            changed_ms: row.get()?,
            version: row.version()?,
        })
    }
}

impl Entity for ModelVersion {
    const COLUMNS: &'static str = "model, label, uri, metrics, is_live, created_ms, promoted_ms, version";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            model: row.get()?,
            label: row.get()?,
            uri: row.get()?,
            metrics: row.json()?,
            is_live: row.get::<i64>()? != 0,
            created_ms: row.get()?,
            promoted_ms: row.get()?,
            version: row.version()?,
        })
    }
}

impl Entity for Job {
    const COLUMNS: &'static str = "tenant, id, kind, spec, state, progress, report, worker, fence, lease_until_ms, \
                                   created_ms, ended_ms, version";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: row.tenant()?,
            id: row.get()?,
            kind: row.get()?,
            spec: row.json()?,
            state: row.one_of(&JobState::ALL, JobState::name)?,
            progress: row.json()?,
            report: row.json()?,
            worker: row.get()?,
            fence: row.get::<i64>()? as u64,
            lease_until_ms: row.get()?,
            created_ms: row.get()?,
            ended_ms: row.get()?,
            version: row.version()?,
        })
    }
}

impl Entity for AuditRecord {
    const COLUMNS: &'static str = "actor, action, target, detail, at_ms, number";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        let entry = AuditEntry { actor: row.get()?, action: row.get()?, target: row.get()?, detail: row.json()? };
        Ok(Self { entry, at_ms: row.get()?, number: row.get::<i64>()? as u64 })
    }
}

impl Entity for OutboxRow {
    const COLUMNS: &'static str = "number, tenant, key, payload";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self { number: row.get::<i64>()? as u64, tenant: row.tenant()?, key: row.get()?, payload: row.json()? })
    }
}

impl Entity for crate::relational::Answer {
    const COLUMNS: &'static str = "digest, answer";

    fn read(row: &mut Columns<'_>) -> Result<Self, StoreError> {
        Ok(Self { digest: row.get()?, answer: row.json()? })
    }
}
