//! Definitions written, read and deleted. A write is checked against what is kept now, not against what this replica
//! serves: who makes a pipeline and then an experiment on it does not have to wait in between.

use attune_api::content::Condition;
use attune_api::definitions::{DEFINITIONS_MAX, Defined, Definitions, Saved};
use attune_api::experiments::ExperimentSpec;
use attune_api::rest::Timestamp;
use attune_api::rest::definitions::{Definition, DefinitionBody, DefinitionList};
use attune_api::{ApiError, Call, ErrorCode};
use attune_store::relational::{self, AuditEntry, DefinitionKind, Write};
use attune_store::{Cursor, Expect, PAGE_ROWS_MAX, PageRequest, Tenant};
use serde_json::{Value, json};

use super::check::{self, Against};
use super::{InForce, Reach, Recipe, RuleSpec};
use crate::service::{Recommender, tenant};

/// Rows of a page that names no number.
const PAGE_ROWS_DEFAULT: usize = 100;

fn kept_as(kind: Defined) -> DefinitionKind {
    match kind {
        Defined::Pipeline => DefinitionKind::Pipeline,
        Defined::Rule => DefinitionKind::Rule,
        Defined::Experiment => DefinitionKind::Experiment,
    }
}

/// A definition that can be read, whatever it names.
enum Spec {
    Pipeline(Recipe),
    Rule(RuleSpec),
    Experiment(ExperimentSpec),
}

impl Spec {
    fn read(kind: Defined, spec: Value) -> Result<Self, ApiError> {
        Ok(match kind {
            Defined::Pipeline => Self::Pipeline(check::recipe(spec)?),
            Defined::Rule => Self::Rule(check::read(spec)?),
            Defined::Experiment => Self::Experiment(check::read(spec)?),
        })
    }

    /// Holds it against what else there is. One that is switched off must not be needed.
    fn check(&self, name: &str, is_enabled: bool, against: Against<'_>) -> Result<(), ApiError> {
        match self {
            Self::Pipeline(recipe) => {
                against.pipeline(name, recipe)?;
                if is_enabled { Ok(()) } else { against.may_go(name) }
            }
            Self::Rule(spec) => against.rule(name, spec),
            Self::Experiment(spec) => against.experiment(name, spec, is_enabled),
        }
    }
}

impl InForce {
    /// The others, as one of this kind and name sees them.
    fn without(mut self, kind: Defined, name: &str) -> Self {
        match kind {
            Defined::Pipeline => _ = self.pipelines.remove(name),
            Defined::Rule => _ = self.rules.remove(name),
            Defined::Experiment => _ = self.experiments.remove(name),
        }
        self
    }
}

fn absent(kind: Defined) -> ApiError {
    ApiError::new(ErrorCode::Absent, format!("there is no such {}", kind.name()))
}

fn shown(kept: relational::Definition) -> Definition {
    Definition {
        name: kept.name,
        spec: kept.spec,
        enabled: kept.is_enabled,
        created_at: Timestamp(kept.created_ms).text(),
        changed_at: Timestamp(kept.changed_ms).text(),
        version: kept.version.0,
    }
}

fn audit(call: &Call, kind: Defined, what: &str, name: &str, detail: Value) -> Write {
    Write::Audit(AuditEntry {
        actor: call.caller.to_string(),
        action: format!("{}.{what}", kind.name()),
        target: name.to_owned(),
        detail,
    })
}

impl Recommender {
    async fn kept(
        &self,
        tenant: &Tenant,
        kind: Defined,
        name: &str,
    ) -> Result<Option<relational::Definition>, ApiError> {
        if check::name(name).is_err() {
            return Ok(None);
        }
        Ok(self.relational().definition(tenant, kept_as(kind), name).await?)
    }

    /// Which services a tenant's pipelines may have asked.
    fn reach<'a>(&'a self, tenant: &'a Tenant) -> Reach<'a> {
        Reach { tenant: tenant.as_str(), outside: self.outside(), wait_max: self.sources_wait() }
    }

    /// Refuses one more where there are as many as may be.
    async fn has_room(&self, tenant: &Tenant, kind: Defined) -> Result<(), ApiError> {
        let page = PageRequest { after: None, rows: DEFINITIONS_MAX };
        let there = self.relational().definitions(tenant, kept_as(kind), page).await?.rows.len();
        if there < DEFINITIONS_MAX {
            return Ok(());
        }
        let detail = format!("there are {DEFINITIONS_MAX} {}s, which is the limit: delete some", kind.name());
        Err(ApiError::new(ErrorCode::Conflict, detail))
    }
}

#[async_trait::async_trait]
impl Definitions for Recommender {
    async fn list(
        &self,
        call: &Call,
        kind: Defined,
        cursor: Option<&str>,
        limit: Option<usize>,
    ) -> Result<DefinitionList, ApiError> {
        let rows = limit.unwrap_or(PAGE_ROWS_DEFAULT);
        if !(1..=PAGE_ROWS_MAX).contains(&rows) {
            let detail = format!("`limit` is {rows}, it must be 1 to {PAGE_ROWS_MAX}");
            return Err(ApiError::at(ErrorCode::Invalid, "/limit", detail));
        }
        let after = cursor.map(str::parse::<Cursor>).transpose();
        let after = after.map_err(|error| ApiError::at(ErrorCode::Invalid, "/cursor", error.to_string()))?;
        let page = self.relational().definitions(&tenant(call)?, kept_as(kind), PageRequest { after, rows }).await?;
        let definitions = page.rows.into_iter().map(shown).collect();
        Ok(DefinitionList { definitions, next_cursor: page.next.map(|cursor| cursor.to_string()) })
    }

    async fn definition(&self, call: &Call, kind: Defined, name: &str) -> Result<Definition, ApiError> {
        self.kept(&tenant(call)?, kind, name).await?.map(shown).ok_or_else(|| absent(kind))
    }

    async fn define(
        &self,
        call: &Call,
        kind: Defined,
        name: &str,
        body: DefinitionBody,
        condition: Condition,
    ) -> Result<Saved, ApiError> {
        let tenant = tenant(call)?;
        check::name(name)?;
        let DefinitionBody { spec: value, enabled: is_enabled } = body;
        let spec = Spec::read(kind, value.clone())?;
        let found = self.kept(&tenant, kind, name).await?.map(|kept| kept.version);
        condition.check(kind.name(), found.map(|version| version.0))?;
        if found.is_none() {
            self.has_room(&tenant, kind).await?;
        }
        let replica = self.ready(call).await?;
        let others = InForce::read(self.relational(), &tenant).await?.without(kind, name);
        spec.check(name, is_enabled, Against { world: &replica.world(), others: &others, reach: self.reach(&tenant) })?;
        let detail = json!({ "spec": value, "enabled": is_enabled });
        let put = Write::PutDefinition {
            kind: kept_as(kind),
            name: name.to_owned(),
            spec: value,
            is_enabled,
            expect: found.into(),
        };
        self.relational().commit(&tenant, vec![put, audit(call, kind, "put", name, detail)]).await?;
        replica.look_now();
        let definition = self.kept(&tenant, kind, name).await?.map(shown).ok_or_else(|| absent(kind))?;
        Ok(Saved { definition, is_new: found.is_none() })
    }

    async fn undefine(&self, call: &Call, kind: Defined, name: &str, condition: Condition) -> Result<(), ApiError> {
        let tenant = tenant(call)?;
        let found = self.kept(&tenant, kind, name).await?.ok_or_else(|| absent(kind))?;
        condition.check(kind.name(), Some(found.version.0))?;
        let replica = self.ready(call).await?;
        if kind == Defined::Pipeline {
            let others = InForce::read(self.relational(), &tenant).await?;
            Against { world: &replica.world(), others: &others, reach: self.reach(&tenant) }.may_go(name)?;
        }
        let delete = Write::DeleteDefinition {
            kind: kept_as(kind),
            name: name.to_owned(),
            expect: Expect::Version(found.version),
        };
        self.relational().commit(&tenant, vec![delete, audit(call, kind, "delete", name, json!({}))]).await?;
        replica.look_now();
        Ok(())
    }
}
