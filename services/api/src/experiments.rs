//! Experiments, as one service carries them out and another one counts them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The pipeline of requests that name none.
pub const DEFAULT_PIPELINE: &str = "default";

/// An experiment of the tenant's own: whose lists, and who makes them instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "pipeline": "home",
    "arms": [{"name": "as it is", "share": 0.5, "pipeline": "home"}, {"name": "new", "share": 0.5, "pipeline": "home-new"}]
}))]
pub struct ExperimentSpec {
    /// The requests that it is about are those for this pipeline; `default` if absent.
    #[serde(default = "default_pipeline")]
    #[schema(default = "default")]
    pub pipeline: String,
    /// Who gets what instead.
    pub arms: Vec<ArmSpec>,
    /// The better an arm does, the more people get it; if absent, shares stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandit: Option<BanditSpec>,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmSpec {
    /// What results call it.
    pub name: String,
    /// The share of people in it, 0 to 1; of a bandit's arm, what it begins with.
    pub share: f64,
    /// The pipeline that makes their lists.
    pub pipeline: String,
}

/// How people are shared out by what came of the arms: each arm gets the chance that it is the best (Thompson sampling).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BanditSpec {
    /// The share that no arm falls below, 0 to 1 / arms: one that nobody is shown is never known better. 0.05 if
    /// absent.
    #[serde(default = "floor")]
    #[schema(default = 0.05)]
    pub floor: f64,
}

/// Who gets what of a bandit now. Whoever counts writes it, whoever makes lists reads it, so that all replicas share people
/// out alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// The chance of each arm, by its name. Together they are 1.
    pub chances: BTreeMap<String, f64>,
}

fn default_pipeline() -> String {
    DEFAULT_PIPELINE.to_owned()
}

fn floor() -> f64 {
    0.05
}
