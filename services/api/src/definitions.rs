//! Pipelines, rules and experiments, as the gateway sees who keeps them.

use std::sync::Arc;

use async_trait::async_trait;

use crate::content::Condition;
use crate::rest::definitions::{Definition, DefinitionBody, DefinitionList};
use crate::{ApiError, Call};

/// The longest name of one, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The most of a kind that a tenant has.
pub const DEFINITIONS_MAX: usize = 256;
/// The most items that a rule names.
pub const RULE_ITEMS_MAX: usize = 1_000;

/// What is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defined {
    /// How lists are made.
    Pipeline,
    /// What happens to some items in them.
    Rule,
    /// Who gets which pipeline.
    Experiment,
}

impl Defined {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Rule => "rule",
            Self::Experiment => "experiment",
        }
    }
}

/// A definition as a write left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// What is there now.
    pub definition: Definition,
    /// There was none before.
    pub is_new: bool,
}

/// Keeps what lists are made by. What is written is checked first, and served on every replica within seconds; what is
/// refused leaves what was there in force.
///
/// # Errors
/// `Invalid` with the place of the fault, `Absent`, `PreconditionFailed` where a condition does not hold, `Conflict` where
/// something else needs what is to go.
#[async_trait]
pub trait Definitions: Send + Sync {
    /// Those of a kind by name, `limit` of them from `cursor` on.
    async fn list(
        &self,
        call: &Call,
        kind: Defined,
        cursor: Option<&str>,
        limit: Option<usize>,
    ) -> Result<DefinitionList, ApiError>;

    /// One of them.
    async fn definition(&self, call: &Call, kind: Defined, name: &str) -> Result<Definition, ApiError>;

    /// Makes one, or replaces it as a whole.
    async fn define(
        &self,
        call: &Call,
        kind: Defined,
        name: &str,
        body: DefinitionBody,
        condition: Condition,
    ) -> Result<Saved, ApiError>;

    /// Deletes one.
    async fn undefine(&self, call: &Call, kind: Defined, name: &str, condition: Condition) -> Result<(), ApiError>;
}

/// Who keeps them, shared.
pub type SharedDefinitions = Arc<dyn Definitions>;
