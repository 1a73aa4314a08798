//! What somebody defines and a service carries out: experiments, rules, pipelines, schemas.
//!
//! They differ in what they say, which their service reads and checks, and not in how they are kept.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Page, PageRequest, StoreError, Tenant, Version};

/// What is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefinitionKind {
    /// Arms and who gets which.
    Experiment,
    /// What is pinned, boosted, buried.
    Rule,
    /// Sources, blend, rules, exploration.
    Pipeline,
    /// The attributes of a tenant's items.
    Schema,
    /// What an event of a type is worth.
    Weights,
    /// Who gets which arm of an experiment now, where that follows what came of them.
    Allocation,
}

/// A definition as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// What it defines.
    pub kind: DefinitionKind,
    /// Its name, unique in the kind.
    pub name: String,
    /// The definition.
    pub spec: Value,
    /// Whether it is in force.
    pub is_enabled: bool,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When it was last changed.
    pub changed_ms: i64,
    /// Which state of it this is.
    pub version: Version,
}

/// Reads definitions.
#[async_trait]
pub trait Definitions {
    /// The definition of that name.
    async fn definition(
        &self,
        tenant: &Tenant,
        kind: DefinitionKind,
        name: &str,
    ) -> Result<Option<Definition>, StoreError>;

    /// All definitions of a kind by name.
    async fn definitions(
        &self,
        tenant: &Tenant,
        kind: DefinitionKind,
        page: PageRequest,
    ) -> Result<Page<Definition>, StoreError>;
}

impl DefinitionKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Experiment, Self::Rule, Self::Pipeline, Self::Schema, Self::Weights, Self::Allocation];

    /// As it is kept and logged.
    pub fn name(self) -> &'static str {
        match self {
            Self::Experiment => "experiment",
            Self::Rule => "rule",
            Self::Pipeline => "pipeline",
            Self::Schema => "schema",
            Self::Weights => "weights",
            Self::Allocation => "allocation",
        }
    }
}
