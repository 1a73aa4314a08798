//! What all requests of a moment share, made anew every so often and never changed: sources, pipelines, items.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use attune_api::experiments::DEFAULT_PIPELINE;
use attune_api::log::Arm;
use attune_api::{ApiError, ErrorCode, error::quoted};
use attune_ranking::pipeline::{BlendSpec, DiversitySpec, Models, Pipeline, PipelineError, PipelineSpec, SourceSpec};
use attune_ranking::rerank::{Exploration, Likeness, Rule};
use attune_ranking::retrieve::{Ranked, Related, RelatedOptions, Source};
use attune_ranking::score::RankBand;
use attune_ranking::train::Popular;

use crate::definitions::{Experiment, InForce, Recipe};
use crate::features;
use crate::fold::State;
use crate::outside::{Elsewhere, Outsider};
use crate::stock::Stock;

/// The pipeline of requests that name none.
pub const DEFAULT: &str = DEFAULT_PIPELINE;
/// What is like an item.
pub const SIMILAR: &str = "similar";
/// What is rising.
pub const TRENDING: &str = "trending";

/// Sources by name, with what their ranks weigh in the default pipeline: what fits the user before what fits everybody.
const SOURCES: [(&str, f32); 6] =
    [("related", 1.0), ("session", 0.8), ("semantic", 0.8), ("popular", 0.3), ("trending", 0.3), ("latest", 0.15)];
/// What they weigh where a trained model is in service and nothing was learned of how good each is beside it, in parts of
/// that: so little that they order only what the model says nothing about.
const BESIDE_MODEL: f32 = 5e-4;
/// Those of them that know nobody.
pub const FOR_EVERYBODY: [&str; 3] = ["popular", "trending", "latest"];
/// How unlike the items of a list are made, where nobody says.
const DIVERSITY: f32 = 0.05;

/// The sources that every tenant has.
pub fn source_names() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|(name, _)| *name)
}

/// One moment of one tenant.
pub struct World {
    /// The items that may be shown.
    pub stock: Arc<Stock>,
    /// The trained model that is in service, if there is one.
    pub model: Option<String>,
    sources: Sources,
    built_in: BTreeMap<String, Recipe>,
    pipelines: BTreeMap<String, Served>,
    /// By the pipeline whose requests they are about.
    experiments: BTreeMap<String, Experiment>,
    complaints: Vec<String>,
}

/// By name.
type Sources = BTreeMap<String, Arc<dyn Source>>;

/// A pipeline that makes lists.
#[derive(Clone)]
struct Served {
    pipeline: Arc<Pipeline>,
    outside: Arc<[Outsider]>,
}

/// Which pipeline makes a list.
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Its sources that are services of the user's own.
    pub outside: Arc<[Outsider]>,
    /// The experiment that chose it, where one did.
    pub arm: Option<Arm>,
}

/// What a world is made of, taken from the state in one look.
pub struct Counted {
    popular: Vec<f32>,
    trends: attune_ranking::retrieve::Trends,
    visits: crate::fold::VisitsView,
    rules: BTreeMap<String, Rule>,
}

impl Counted {
    /// As it is now, with the rules in its rows.
    pub fn of(state: &State, in_force: &InForce) -> Self {
        let rules = in_force.rules_in_rows(|item_id| state.items().row(item_id));
        Self { popular: state.popular(), trends: state.trends().clone(), visits: state.visits(), rules }
    }
}

/// Sources that a tenant has besides the built-in ones, with what their ranks weigh by default.
#[derive(Clone, Default)]
pub struct MoreSources {
    /// By name.
    pub sources: BTreeMap<String, (Arc<dyn Source>, f32)>,
    /// The version of the trained model among them.
    pub model: Option<String>,
    /// What was learned of how much the sources, and features of items, weigh beside it, by how much is known of a user.
    pub blend: Vec<RankBand>,
}

impl World {
    /// Makes the sources and pipelines. What was defined and does not fit any more is left out, with a complaint: those
    /// that ask for such a pipeline are told that it is not there, unless one of its name is built in.
    pub fn make(counted: Counted, stock: Arc<Stock>, in_force: &InForce, more: &MoreSources) -> Self {
        let visits = Arc::new(counted.visits);
        let session = RelatedOptions { events_max: 20, half_life: 5.0, session: true };
        let related = |options| Related::over(visits.clone(), options).expect("half-lives above 0");
        let mut sources: Sources = BTreeMap::from([
            ("related".to_owned(), Arc::new(related(RelatedOptions::default())) as Arc<dyn Source>),
            ("session".to_owned(), Arc::new(related(session)) as _),
            ("semantic".to_owned(), Arc::clone(&stock.semantic)),
            ("popular".to_owned(), Arc::new(Ranked::popular(&Popular::from_scores(counted.popular))) as _),
            ("trending".to_owned(), Arc::new(Ranked::trending(&counted.trends)) as _),
            ("latest".to_owned(), Arc::clone(&stock.latest)),
        ]);
        let share = if more.model.is_some() { BESIDE_MODEL } else { 1.0 };
        let mut weights: Vec<(&str, f32)> = SOURCES.iter().map(|(name, weight)| (*name, share * weight)).collect();
        for (name, (source, weight)) in &more.sources {
            sources.insert(name.clone(), source.clone());
            weights.push((name, *weight));
        }
        let praise = features::WEIGHED.map(|(name, weight)| (name, share * weight));
        let built_in = BTreeMap::from([
            (DEFAULT.to_owned(), spec(&weights, &praise, learned(&weights, &more.blend), DIVERSITY).into()),
            (SIMILAR.to_owned(), spec(&[("related", 1.0), ("semantic", 1.0)], &[], Vec::new(), 0.0).into()),
            (TRENDING.to_owned(), spec(&[("trending", 1.0)], &[], Vec::new(), 0.0).into()),
        ]);
        let (mut pipelines, mut complaints) = (BTreeMap::new(), Vec::new());
        for (name, recipe) in built_in.iter().chain(&in_force.pipelines) {
            if let Some(feature) = features::unknown(&recipe.spec) {
                complaints
                    .push(format!("pipeline {name} names a feature {feature} that is not there: it is not served"));
                continue;
            }
            let rules = counted.rules.iter().filter(|(rule, _)| in_force.rules[*rule].is_about(name));
            let sources = with_services(&sources, recipe);
            let models = Models { sources: &sources, blends: &BTreeMap::new(), schema: &stock.schema };
            match with_rules(name, &recipe.spec, rules.map(|(_, rule)| rule), &models, &mut complaints) {
                Ok(pipeline) => _ = pipelines.insert(name.clone(), Served::new(pipeline, recipe)),
                Err(error) => complaints.push(format!("pipeline {name} does not fit and is not served: {error}")),
            }
        }
        let mut experiments = BTreeMap::new();
        for Experiment { name, spec, .. } in in_force.experiments.values() {
            // One that lacks an arm would show the others to more people than it says.
            match spec.arms.iter().find(|arm| !pipelines.contains_key(&arm.pipeline)) {
                None => _ = experiments.insert(spec.pipeline.clone(), in_force.experiments[name].clone()),
                Some(arm) => {
                    let lacks = format!("arm {} has no pipeline {} any more", arm.name, arm.pipeline);
                    complaints.push(format!("experiment {name} is not carried out: {lacks}"));
                }
            }
        }
        let model = more.model.clone();
        Self { stock, model, sources, built_in, pipelines, experiments, complaints }
    }

    /// The pipeline of that name, or the one that an experiment has somebody get instead.
    ///
    /// # Errors
    /// `Invalid` names those that there are.
    pub fn choose(&self, name: &str, who: Option<&str>) -> Result<Chosen, ApiError> {
        if let Some((experiment, who)) = self.experiments.get(name).zip(who) {
            let (arm, chance) = experiment.arm_of(who);
            if let Some(served) = self.pipelines.get(&arm.pipeline) {
                let given = Arm { experiment: experiment.name.clone(), arm: arm.name.clone(), chance };
                return Ok(served.chosen(&arm.pipeline, Some(given)));
            }
        }
        let Some(served) = self.pipelines.get(name) else {
            let known: Vec<&str> = self.pipelines.keys().map(String::as_str).collect();
            let detail = format!("there is no pipeline {}; there are {}", quoted(name), known.join(", "));
            return Err(ApiError::at(ErrorCode::Invalid, "/pipeline", detail));
        };
        Ok(served.chosen(name, None))
    }

    /// Whether this could be served now.
    ///
    /// # Errors
    /// [`PipelineError`] names what does not fit.
    pub fn fits(&self, recipe: &Recipe) -> Result<(), PipelineError> {
        let sources = with_services(&self.sources, recipe);
        let models = Models { sources: &sources, blends: &BTreeMap::new(), schema: &self.stock.schema };
        Pipeline::new(&recipe.spec, &models).map(drop)
    }

    /// What was defined and does not fit any more, in words.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The pipelines that are there without anybody's doing.
    pub fn built_in(&self) -> &BTreeMap<String, Recipe> {
        &self.built_in
    }
}

impl Served {
    fn new(pipeline: Pipeline, recipe: &Recipe) -> Self {
        let outsider = |(place, source): (usize, &SourceSpec)| {
            let (name, candidates) = (source.source.clone(), source.candidates);
            let spec = recipe.outside.get(&name)?.clone();
            Some(Outsider { place, name, candidates, spec })
        };
        let outside = recipe.spec.sources.iter().enumerate().filter_map(outsider).collect();
        Self { pipeline: Arc::new(pipeline), outside }
    }

    fn chosen(&self, name: &str, arm: Option<Arm>) -> Chosen {
        let Self { pipeline, outside } = self.clone();
        Chosen { name: name.to_owned(), pipeline, outside, arm }
    }
}

/// The sources that there are, and a place for each service that a pipeline names.
fn with_services<'s>(sources: &'s Sources, recipe: &Recipe) -> Cow<'s, Sources> {
    if recipe.outside.is_empty() {
        return Cow::Borrowed(sources);
    }
    let elsewhere = Arc::new(Elsewhere) as Arc<dyn Source>;
    let services = recipe.outside.keys().map(|name| (name.clone(), elsewhere.clone()));
    Cow::Owned(sources.clone().into_iter().chain(services).collect())
}

/// A pipeline with the rules that are about it; without them where they do not fit.
fn with_rules<'r>(
    name: &str,
    spec: &PipelineSpec,
    rules: impl Iterator<Item = &'r Rule>,
    models: &Models<'_>,
    complaints: &mut Vec<String>,
) -> Result<Pipeline, PipelineError> {
    let mut ruled = spec.clone();
    ruled.rules.extend(rules.cloned());
    Pipeline::new(&ruled, models).or_else(|error| {
        let pipeline = Pipeline::new(spec, models)?;
        complaints.push(format!("pipeline {name} is served without the tenant's rules, which do not fit: {error}"));
        Ok(pipeline)
    })
}

/// Learned weights of the sources and features that there are, relative to the largest; each source weighs at least so much
/// that it orders what the others say nothing about. What an older or newer program has learned of others is left out.
fn learned(sources: &[(&str, f32)], bands: &[RankBand]) -> Vec<RankBand> {
    let band = |band: &RankBand| {
        let learned = |name: &str| band.weights.get(name).copied().unwrap_or(0.0);
        let least = sources.iter().map(|(name, least)| (*name, least.min(BESIDE_MODEL)));
        let least: Vec<(&str, f32)> = least.chain(features::WEIGHED.map(|(name, _)| (name, 0.0))).collect();
        let largest = least.iter().map(|(name, _)| learned(name)).fold(0.0, f32::max);
        let weight = |(name, least): &(&str, f32)| ((*name).to_owned(), (learned(name) / largest).max(*least));
        let weights = least.iter().map(weight).collect();
        (largest > 0.0).then_some(RankBand { events_min: band.events_min, weights })
    };
    let mut rising: Vec<RankBand> = Vec::new();
    for band in bands.iter().filter_map(band) {
        if rising.last().is_none_or(|last| last.events_min < band.events_min) {
            rising.push(band);
        }
    }
    rising
}

fn spec(sources: &[(&str, f32)], item_features: &[(&str, f32)], bands: Vec<RankBand>, diversity: f32) -> PipelineSpec {
    let source = |(name, _): &(&str, f32)| SourceSpec { source: (*name).to_owned(), candidates: 100 };
    let weights = sources.iter().chain(item_features).map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
    PipelineSpec {
        sources: sources.iter().map(source).collect(),
        features: features::NAMES.map(str::to_owned).to_vec(),
        blend: BlendSpec::Ranks { weights, bands },
        rules: Vec::new(),
        diversity: DiversitySpec { amount: diversity, by: Likeness::Vectors },
        exploration: Exploration::Off,
    }
}
