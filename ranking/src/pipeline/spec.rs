//! The description, and the pipeline that it makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{PipelineError, SOURCES_MAX};
use crate::attributes::Schema;
use crate::index::K_MAX;
use crate::rerank::{Exploration, Likeness, Rule, Rules};
use crate::retrieve::Source;
use crate::score::{Blend, FeatureLayout, LogisticBlend, RankBand, RankFusion};

/// What a pipeline is; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// Where candidates come from.
    pub sources: Vec<SourceSpec>,
    /// Features of items that the caller adds, by name.
    #[serde(default)]
    pub features: Vec<String>,
    /// How they are scored.
    #[serde(default)]
    pub blend: BlendSpec,
    /// What shall happen to some items.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How unlike the items of a list shall be.
    #[serde(default)]
    pub diversity: DiversitySpec,
    /// How often something else than the best is shown.
    #[serde(default)]
    pub exploration: Exploration,
}

/// A source, and how much is asked of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// Its name.
    pub source: String,
    /// Candidates it gives, or as many as the list is long, if that is more.
    #[serde(default = "candidates")]
    pub candidates: usize,
}

fn candidates() -> usize {
    100
}

/// How candidates are scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BlendSpec {
    /// By the ranks that the sources gave, and features of the items that are from -1 to 1.
    Ranks {
        /// By source, or feature; without any all sources count alike.
        #[serde(default)]
        weights: BTreeMap<String, f32>,
        /// Other weights for those of whom more is known, by rising numbers of events.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bands: Vec<RankBand>,
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

/// How unlike the items of a list shall be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiversitySpec {
    /// 0 to 1, where the request does not say.
    pub amount: f32,
    /// What is looked at.
    pub by: Likeness,
}

/// What a description may name.
#[derive(Clone, Copy)]
pub struct Models<'a> {
    /// Sources by name.
    pub sources: &'a BTreeMap<String, Arc<dyn Source>>,
    /// Trained blends by name.
    pub blends: &'a BTreeMap<String, Arc<LogisticBlend>>,
    /// The attributes of the items.
    pub schema: &'a Schema,
}

/// A description with its models, ready to run.
#[derive(Clone)]
pub struct Pipeline {
    pub(super) names: Vec<String>,
    pub(super) sources: Vec<(Arc<dyn Source>, usize)>,
    pub(super) features: Vec<String>,
    pub(super) layout: FeatureLayout,
    pub(super) blend: Blend,
    pub(super) rules: Rules,
    pub(super) diversity: DiversitySpec,
    pub(super) exploration: Exploration,
}

impl Pipeline {
    /// Puts the models in place.
    ///
    /// # Errors
    /// [`PipelineError`] names what does not fit.
    pub fn new(spec: &PipelineSpec, models: &Models<'_>) -> Result<Self, PipelineError> {
        if !(1..=SOURCES_MAX).contains(&spec.sources.len()) {
            return Err(PipelineError::Sources { count: spec.sources.len() });
        }
        let (mut names, mut sources) = (Vec::new(), Vec::new());
        for SourceSpec { source: name, candidates } in &spec.sources {
            let (name, candidates) = (name.clone(), *candidates);
            let Some(source) = models.sources.get(&name) else {
                return Err(PipelineError::UnknownSource { name, known: listed(models.sources.keys()) });
            };
            if names.contains(&name) {
                return Err(PipelineError::Twice { name });
            }
            if !(1..=K_MAX).contains(&candidates) {
                return Err(PipelineError::Candidates { name, candidates });
            }
            names.push(name);
            sources.push((source.clone(), candidates));
        }
        let layout = FeatureLayout::new(names.iter().map(String::as_str), spec.features.iter().map(String::as_str));
        let blend = blend(&spec.blend, (&names, &spec.features), &layout, models)?;
        let rules = Rules::compile(&spec.rules, models.schema)?;
        check_diversity(&spec.diversity, models.schema)?;
        spec.exploration.check()?;
        if matches!(spec.exploration, Exploration::Thompson { .. }) && !blend.is_calibrated() {
            return Err(PipelineError::Unsure);
        }
        let (features, diversity, exploration) = (spec.features.clone(), spec.diversity.clone(), spec.exploration);
        Ok(Self { names, sources, features, layout, blend, rules, diversity, exploration })
    }

    /// Names of the sources, in their order.
    pub fn sources(&self) -> &[String] {
        &self.names
    }

    /// Names of all features, in their order: what an exposure is logged with.
    pub fn features(&self) -> &[String] {
        self.layout.names()
    }

    /// Names of the features that the caller adds, in their order.
    pub fn item_features(&self) -> &[String] {
        &self.features
    }

    /// The version of the blend.
    pub fn model_version(&self) -> &str {
        self.blend.version()
    }

    /// Whether a source, by its number, answers those of whom nothing is known.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn is_for_everyone(&self, source: usize) -> bool {
        self.sources[source].0.serves_everyone()
    }

    /// Whether those of whom nothing is known get a list.
    pub fn serves_everyone(&self) -> bool {
        self.sources.iter().any(|(source, _)| source.serves_everyone())
    }
}

fn blend(
    spec: &BlendSpec,
    (sources, features): (&[String], &[String]),
    layout: &FeatureLayout,
    models: &Models<'_>,
) -> Result<Blend, PipelineError> {
    match spec {
        BlendSpec::Ranks { weights, bands } => {
            let weights = weights.iter().map(|(name, weight)| (name.as_str(), *weight));
            Ok(Blend::Ranks(RankFusion::new(sources, features, weights)?.with_bands(bands)?))
        }
        BlendSpec::Model { name } => match models.blends.get(name) {
            Some(model) => Ok(Blend::logistic(model.clone(), layout)?),
            None => Err(PipelineError::UnknownBlend { name: name.clone(), known: listed(models.blends.keys()) }),
        },
    }
}

fn check_diversity(spec: &DiversitySpec, schema: &Schema) -> Result<(), PipelineError> {
    if !(0.0..=1.0).contains(&spec.amount) {
        return Err(PipelineError::Diversity { amount: spec.amount });
    }
    match &spec.by {
        Likeness::Attribute(attribute) if schema.kind(attribute).is_none() => {
            Err(PipelineError::Attribute { attribute: attribute.clone() })
        }
        _ => Ok(()),
    }
}

/// Names as they stand in an error.
fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
