//! How pipelines, rules and experiments are written. Their service reads them with types of its own, which check more
//! than a shape; these are what the documentation shows, and a test of the whole program holds the two together.

pub mod examples;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::outside::OutsideTask;
use crate::experiments::ExperimentSpec;

/// `PUT /v1/pipelines/{name}`. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineBody {
    /// How lists are made.
    pub spec: PipelineSpec,
    /// Whether it is in force; it is, if absent.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
}

/// `PUT /v1/rules/{name}`. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleBody {
    /// What shall happen to which items.
    pub spec: RuleSpec,
    /// Whether it is in force; it is, if absent.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
}

/// `PUT /v1/experiments/{name}`. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExperimentBody {
    /// Whose lists are made by what else.
    pub spec: ExperimentSpec,
    /// Whether it is in force; it is, if absent.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// How lists are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "sources": [{"source": "related"}, {"source": "popular", "candidates": 50}],
    "blend": {"ranks": {"weights": {"related": 1.0, "popular": 0.3}}},
    "diversity": {"amount": 0.2},
    "exploration": {"epsilon": {"epsilon": 0.05, "pool": 20}}
}))]
pub struct PipelineSpec {
    /// Where candidates come from. A refusal names the sources that there are.
    pub sources: Vec<SourceSpec>,
    /// Services of one's own, by the names that they have among `sources`. Only hosts may be asked that the server's
    /// configuration names. A service gets an `OutsideRequest` by `POST` and answers an `OutsideAnswer`; one that
    /// `propose`s does so beside the other sources, one that `score`s is asked about the first `candidates` of what
    /// they proposed, and its scores make it one more source. A service that is late, away or wrong has no say: the
    /// list is then `degraded`, and `notes` have `source_late` or `source_failed`. There is always a source of the
    /// server's own beside them.
    #[serde(default)]
    pub outside: BTreeMap<String, OutsideSpec>,
    /// Features of items that the blend may weigh. A refusal names those that there are.
    #[serde(default)]
    #[schema(example = json!(["sentiment"]))]
    pub features: Vec<String>,
    /// How candidates are scored; by ranks that all count alike, if absent.
    #[serde(default)]
    pub blend: BlendSpec,
    /// Rules of this pipeline alone. Those of `/v1/rules` come in addition.
    #[serde(default)]
    pub rules: Vec<PipelineRule>,
    /// How unlike the items of a list shall be.
    #[serde(default)]
    pub diversity: DiversitySpec,
    /// How often something else than the best is shown.
    #[serde(default)]
    pub exploration: ExplorationSpec,
}

/// A source, and how much is asked of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// Its name.
    #[schema(example = "related")]
    pub source: String,
    /// Candidates it gives, or as many as the list is long, if that is more; 100 if absent.
    #[serde(default = "candidates")]
    #[schema(default = 100)]
    pub candidates: usize,
}

fn candidates() -> usize {
    100
}

/// A service of one's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutsideSpec {
    /// Where it is.
    #[schema(example = "https://models.example.com/items")]
    pub url: String,
    /// What it does; `propose` if absent.
    #[serde(default)]
    pub task: OutsideTask,
    /// How long it is waited for, in milliseconds; 50 if absent.
    #[serde(default = "timeout_ms")]
    #[schema(default = 50)]
    pub timeout_ms: u64,
}

fn timeout_ms() -> u64 {
    50
}

/// How candidates are scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BlendSpec {
    /// By the ranks that the sources gave, and features of the items that are from -1 to 1.
    Ranks {
        /// By source, or feature; without any all sources count alike.
        #[serde(default)]
        weights: BTreeMap<String, f32>,
        /// Other weights for those of whom more is known, by rising numbers of events.
        #[serde(default)]
        bands: Vec<BandSpec>,
    },
    /// By a trained blend.
    Model {
        /// Its name.
        name: String,
    },
}

impl Default for BlendSpec {
    fn default() -> Self {
        Self::Ranks { weights: BTreeMap::new(), bands: Vec::new() }
    }
}

/// Weights for users of whom so many events are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BandSpec {
    /// From so many events on.
    #[schema(example = 20)]
    pub events_min: usize,
    /// By source, or feature; those that have none weigh 0.
    #[schema(example = json!({"related": 1.0}))]
    pub weights: BTreeMap<String, f32>,
}

/// A rule of one pipeline. Without `filter` it is about all items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "new first", "filter": "year > 2020", "effect": {"boost": {"factor": 2.0}}}))]
pub struct PipelineRule {
    /// What explanations and errors call it.
    pub name: String,
    /// A condition on attributes of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What happens to them.
    pub effect: EffectSpec,
}

/// What shall happen to some items. Without `filter` and `item_ids` it is about all items; with both, about those in
/// both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"item_ids": ["film-9"], "pipelines": ["home"], "effect": {"pin": {"position": 1}}}))]
pub struct RuleSpec {
    /// A condition on attributes of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Items by their ids, at most 1,000; one that is not there yet counts from when it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_ids: Option<Vec<String>>,
    /// In whose lists; in all, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<Vec<String>>,
    /// What happens to the items.
    pub effect: EffectSpec,
}

/// What happens to the items of a rule: `{"pin": {"position": 1}}`, `{"boost": {"factor": 2}}`, `"bury"`, or
/// `{"quota": {"attribute": "brand", "at_most": 2}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(example = json!({"pin": {"position": 1}}))]
pub enum EffectSpec {
    /// The best of them that may stand there stands at this position. Lists that end before have no use for it.
    Pin {
        /// From 1.
        position: usize,
    },
    /// The odds of their scores are multiplied.
    Boost {
        /// Above 0; below 1 it lowers them.
        factor: f32,
    },
    /// They come after all others.
    Bury,
    /// At most so many are in a list; with an attribute, so many of each of its values.
    Quota {
        /// A keyword, keyword list or boolean. An item without a value is in no group; one of a list is in several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attribute: Option<String>,
        /// From 0, which keeps them out.
        at_most: usize,
    },
}

/// How unlike the items of a list shall be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"amount": 0.2, "by": {"attribute": "genres"}}))]
pub struct DiversitySpec {
    /// From 0, the best items, to 1, items as unlike as can be, where the request does not say.
    pub amount: f32,
    /// What is looked at.
    pub by: LikenessSpec,
}

/// What diversity looks at: `"vectors"`, or `{"attribute": "genres"}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LikenessSpec {
    /// The embeddings of the items.
    #[default]
    Vectors,
    /// The share of the values of one attribute that two items have in common.
    Attribute(String),
}

/// How a position is filled: `"off"`, `{"epsilon": {"epsilon": 0.05, "pool": 20}}`, or `{"thompson": {"pool": 20}}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExplorationSpec {
    /// With the best.
    #[default]
    Off,
    /// With the best, or, `epsilon` of the time, with any of the best `pool`, the best included.
    Epsilon {
        /// 0 to 1.
        epsilon: f64,
        /// From 1.
        pool: usize,
    },
    /// With each of the best `pool` as often as it is the best, by what is known of it: for trained blends.
    Thompson {
        /// From 1.
        pool: usize,
    },
}
