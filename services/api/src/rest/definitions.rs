//! `/v1/pipelines`, `/v1/rules` and `/v1/experiments`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// What a pipeline, a rule or an experiment shall be. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionBody {
    /// The definition itself, as [`specs`](super::specs) describes it.
    pub spec: Value,
    /// Whether it is in force; it is, if absent.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// A pipeline, a rule or an experiment. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Definition {
    /// Its name.
    #[schema(example = "home")]
    pub name: String,
    /// The definition itself: a `PipelineSpec`, `RuleSpec` or `ExperimentSpec`.
    #[schema(value_type = Object)]
    pub spec: Value,
    /// Whether it is in force.
    pub enabled: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    pub changed_at: String,
    /// Which state of it this is; it is the ETag, too.
    pub version: u64,
}

/// A page of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DefinitionList {
    /// By name.
    pub definitions: Vec<Definition>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which of them.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DefinitionQuery {
    /// Where the page before ended: its `next_cursor`.
    pub cursor: Option<String>,
    /// How many, 1 to 1,000; 100 if absent.
    pub limit: Option<usize>,
}
