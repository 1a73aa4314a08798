//! What all requests of a moment share, made anew every so often and never changed: sources, pipelines, items.

use std::collections::BTreeMap;
use std::sync::Arc;

use attune_api::{ApiError, ErrorCode, error::quoted};
use attune_ranking::attributes::Schema;
use attune_ranking::index::{Allowed, View};
use attune_ranking::pipeline::{BlendSpec, DiversitySpec, Models, Pipeline, PipelineSpec, SourceSpec};
use attune_ranking::rerank::{Exploration, Likeness};
use attune_ranking::retrieve::{
    Batch, Latest, Proposals, Ranked, Related, RelatedOptions, Scratch, Semantic, SemanticOptions, Source, SourceError,
};
use attune_ranking::train::Popular;

use crate::RecommendationConfig;
use crate::features;
use crate::fold::State;
use crate::shelf::Shelf;

/// The pipeline of requests that name none.
pub const DEFAULT: &str = "default";
/// What is like an item.
pub const SIMILAR: &str = "similar";
/// What is rising.
pub const TRENDING: &str = "trending";

/// Sources by name, with what their ranks weigh in the default pipeline: what fits the user before what fits everybody.
const SOURCES: [(&str, f32); 6] =
    [("related", 1.0), ("session", 0.8), ("semantic", 0.8), ("popular", 0.3), ("trending", 0.3), ("latest", 0.15)];
/// How unlike the items of a list are made, where nobody says.
const DIVERSITY: f32 = 0.05;

/// One moment of one tenant.
pub struct World {
    /// Every item that may be shown.
    pub catalogue: View,
    /// Their attributes.
    pub schema: Schema,
    /// Their rows.
    pub visible: Allowed,
    /// How many they are.
    pub items: usize,
    /// The trained model that is in service, if there is one.
    pub model: Option<String>,
    pipelines: BTreeMap<String, Arc<Pipeline>>,
}

/// What a world is made of, taken from the state in one look.
pub struct Counted {
    popular: Vec<f32>,
    trends: attune_ranking::retrieve::Trends,
    visits: crate::fold::VisitsView,
}

impl Counted {
    /// As it is now.
    pub fn of(state: &State) -> Self {
        Self { popular: state.popular(), trends: state.trends().clone(), visits: state.visits() }
    }
}

/// Sources that a tenant has besides the built-in ones, with what their ranks weigh by default.
#[derive(Clone, Default)]
pub struct MoreSources {
    /// By name.
    pub sources: BTreeMap<String, (Arc<dyn Source>, f32)>,
    /// The version of the trained model among them.
    pub model: Option<String>,
}

impl World {
    /// Makes the sources and pipelines. A pipeline of the tenant's own that does not fit is left out, with a line in the
    /// log: those that ask for it are told that it is not there.
    pub fn make(
        counted: Counted,
        shelf: &Shelf,
        config: &RecommendationConfig,
        specs: &BTreeMap<String, PipelineSpec>,
        more: &MoreSources,
    ) -> Self {
        let catalogue = shelf.view();
        let visits = Arc::new(counted.visits);
        let session = RelatedOptions { events_max: 20, half_life: 5.0, session: true };
        let related = |options| Related::over(visits.clone(), options).expect("half-lives above 0");
        let latest = Latest::new(shelf.published(), config.latest_half_life_days);
        let mut sources: BTreeMap<String, Arc<dyn Source>> = BTreeMap::from([
            ("related".to_owned(), Arc::new(related(RelatedOptions::default())) as Arc<dyn Source>),
            ("session".to_owned(), Arc::new(related(session)) as _),
            ("semantic".to_owned(), Arc::new(Alike(Semantic::new(catalogue.clone(), SemanticOptions::default()))) as _),
            ("popular".to_owned(), Arc::new(Ranked::popular(&Popular::from_scores(counted.popular))) as _),
            ("trending".to_owned(), Arc::new(Ranked::trending(&counted.trends)) as _),
            ("latest".to_owned(), Arc::new(latest) as _),
        ]);
        let mut weights: Vec<(&str, f32)> = SOURCES.to_vec();
        for (name, (source, weight)) in &more.sources {
            sources.insert(name.clone(), source.clone());
            weights.push((name, *weight));
        }
        let models = Models { sources: &sources, blends: &BTreeMap::new(), schema: shelf.schema() };
        let built_in = [
            (DEFAULT, spec(&weights, DIVERSITY)),
            (SIMILAR, spec(&[("related", 1.0), ("semantic", 1.0)], 0.0)),
            (TRENDING, spec(&[("trending", 1.0)], 0.0)),
        ];
        let mut pipelines = BTreeMap::new();
        for (name, spec) in built_in.iter().map(|(name, spec)| (*name, spec)).chain(named(specs)) {
            if let Some(feature) = features::unknown(spec) {
                tracing::warn!(
                    pipeline = name,
                    feature,
                    "a pipeline names a feature that is not there and is not served"
                );
                continue;
            }
            match Pipeline::new(spec, &models) {
                Ok(pipeline) => _ = pipelines.insert(name.to_owned(), Arc::new(pipeline)),
                Err(error) => tracing::warn!(pipeline = name, %error, "a pipeline does not fit and is not served"),
            }
        }
        let (visible, items) = (catalogue.rows(None), catalogue.items());
        let model = more.model.clone();
        Self { schema: shelf.schema().clone(), visible, items, model, catalogue, pipelines }
    }

    /// The pipeline of that name.
    ///
    /// # Errors
    /// `Invalid` names those that there are.
    pub fn pipeline(&self, name: &str) -> Result<&Arc<Pipeline>, ApiError> {
        self.pipelines.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.pipelines.keys().map(String::as_str).collect();
            let detail = format!("there is no pipeline {}; there are {}", quoted(name), known.join(", "));
            ApiError::at(ErrorCode::Invalid, "/pipeline", detail)
        })
    }
}

fn named(specs: &BTreeMap<String, PipelineSpec>) -> impl Iterator<Item = (&str, &PipelineSpec)> {
    specs.iter().map(|(name, spec)| (name.as_str(), spec))
}

fn spec(sources: &[(&str, f32)], diversity: f32) -> PipelineSpec {
    let source = |(name, _): &(&str, f32)| SourceSpec { source: (*name).to_owned(), candidates: 100 };
    let weights = sources.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
    PipelineSpec {
        sources: sources.iter().map(source).collect(),
        features: features::NAMES.map(str::to_owned).to_vec(),
        blend: BlendSpec::Ranks { weights },
        rules: Vec::new(),
        diversity: DiversitySpec { amount: diversity, by: Likeness::Vectors },
        exploration: Exploration::Off,
    }
}

/// What reads alike, without what is not alike at all: items without a vector among them.
struct Alike(Semantic);

impl Source for Alike {
    fn propose(&self, batch: &Batch<'_>, scratch: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let mut found = self.0.propose(batch, scratch)?;
        found.iter_mut().flatten().for_each(|proposals| proposals.retain(|proposal| proposal.score > 0.0));
        Ok(found)
    }
}
