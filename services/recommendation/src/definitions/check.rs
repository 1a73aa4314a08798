//! What is wrong with a definition, told at its place: what it says, and what it names.

use attune_api::definitions::{NAME_BYTES_MAX, RULE_ITEMS_MAX};
use attune_api::error::quoted;
use attune_api::experiments::ExperimentSpec;
use attune_api::pointer::{escaped, from_value};
use attune_api::{ApiError, ErrorCode};
use attune_ranking::experiment::{SplitError, with_floor};
use attune_ranking::pipeline::{PipelineError, PipelineSpec, SourceSpec};
use attune_ranking::rerank::{RuleError, RuleProblem, Rules};
use attune_ranking::score::ScoreError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Experiment, InForce, Reach, Recipe, RuleSpec};
use crate::features;
use crate::world::{SIMILAR, TRENDING, World};

/// What a definition is held against: the sources and attributes that there are, and the other definitions in force.
#[derive(Clone, Copy)]
pub struct Against<'a> {
    pub world: &'a World,
    pub others: &'a InForce,
    pub reach: Reach<'a>,
}

fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> ApiError {
    ApiError::at(ErrorCode::Invalid, pointer, detail)
}

/// Whether this may be a name.
///
/// # Errors
/// `Invalid`.
pub fn name(name: &str) -> Result<(), ApiError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    let detail = format!("{} is no name: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.` are", quoted(name));
    Err(ApiError::new(ErrorCode::Invalid, detail))
}

/// Reads the definition itself.
///
/// # Errors
/// `Invalid`, at the member that does not fit.
pub fn read<T: DeserializeOwned>(spec: Value) -> Result<T, ApiError> {
    from_value(spec).map_err(|error| within("/spec", error))
}

/// Reads a pipeline.
///
/// # Errors
/// `Invalid`, at the member that does not fit.
pub fn recipe(spec: Value) -> Result<Recipe, ApiError> {
    Recipe::read(spec).map_err(|error| within("/spec", error))
}

/// The same error of a member of something larger.
pub fn within(place: &str, mut error: ApiError) -> ApiError {
    error.fields.iter_mut().for_each(|field| field.pointer.insert_str(0, place));
    error
}

impl Against<'_> {
    /// Holds a pipeline against the sources, the attributes, the rules, and the services that may be asked.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn pipeline(&self, name: &str, recipe: &Recipe) -> Result<(), ApiError> {
        let spec = &recipe.spec;
        if let Some(unknown) = features::unknown(spec) {
            let place = spec.features.iter().position(|name| name == unknown).unwrap_or(0);
            let known = features::NAMES.join(", ");
            let detail = format!("there is no feature {} of items; there are {known}", quoted(unknown));
            return Err(invalid(format!("/spec/features/{place}"), detail));
        }
        if let Some(rule) = spec.rules.iter().position(|rule| rule.items.is_some()) {
            let detail = "rows of items are the server's own: name items by `item_ids` of a rule in /v1/rules";
            return Err(invalid(format!("/spec/rules/{rule}/items"), detail));
        }
        self.reach.check(recipe)?;
        let alone = self.world.fits(recipe);
        alone.map_err(|error| invalid(pointer(spec, &error), error.to_string()))?;
        let with_rules = self.world.fits(&with_rules(name, recipe, self.others));
        with_rules.map_err(|error| invalid("/spec", format!("together with the rules in /v1/rules, {error}")))
    }

    /// Holds a rule against the attributes, and against the others of each pipeline that it is about.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn rule(&self, name: &str, spec: &RuleSpec) -> Result<(), ApiError> {
        let ids = spec.item_ids.as_deref().unwrap_or_default();
        if ids.len() > RULE_ITEMS_MAX {
            let detail = format!("there are {} ids, at most {RULE_ITEMS_MAX} are taken", ids.len());
            return Err(invalid("/spec/item_ids", detail));
        }
        for (place, pipeline) in spec.pipelines.iter().flatten().enumerate() {
            self.known(&format!("/spec/pipelines/{place}"), pipeline)?;
        }
        // Alone first, so that a fault of its own is told even where no list has it.
        let own = spec.rule(name, |_| None);
        let told = |error: RuleError| invalid(format!("/spec{}", place(&error.problem)), error.to_string());
        Rules::compile(std::slice::from_ref(&own), &self.world.stock.schema).map_err(told)?;
        for (pipeline, described) in self.pipelines().filter(|(pipeline, _)| spec.is_about(pipeline)) {
            let mut rules = with_rules(pipeline, described, self.others).spec.rules;
            if Rules::compile(&rules, &self.world.stock.schema).is_ok() {
                rules.push(own.clone());
                Rules::compile(&rules, &self.world.stock.schema).map_err(|error| {
                    let detail = format!("in the lists of pipeline {pipeline}, {error}");
                    invalid(format!("/spec{}", place(&error.problem)), detail)
                })?;
            }
        }
        Ok(())
    }

    /// Holds an experiment against the pipelines and the other experiments.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn experiment(&self, name: &str, spec: &ExperimentSpec, is_enabled: bool) -> Result<(), ApiError> {
        Experiment::new(name, spec.clone(), None).map_err(|error| invalid(arm(&error), error.to_string()))?;
        if let Some(bandit) = spec.bandit {
            let shares: Vec<f64> = spec.arms.iter().map(|arm| arm.share).collect();
            with_floor(&shares, bandit.floor).map_err(|error| invalid("/spec/bandit/floor", error.to_string()))?;
        }
        self.known("/spec/pipeline", &spec.pipeline)?;
        if [SIMILAR, TRENDING].contains(&spec.pipeline.as_str()) {
            let detail = format!("lists of {} are for nobody in particular, who is in no arm", spec.pipeline);
            return Err(invalid("/spec/pipeline", detail));
        }
        for (place, arm) in spec.arms.iter().enumerate() {
            self.known(&format!("/spec/arms/{place}/pipeline"), &arm.pipeline)?;
        }
        let other = self.others.experiments.values().find(|other| other.spec.pipeline == spec.pipeline);
        match other.filter(|_| is_enabled) {
            Some(other) => {
                let detail =
                    format!("experiment {} has this pipeline already: end it, or wait for its end", other.name);
                Err(invalid("/spec/pipeline", detail))
            }
            None => Ok(()),
        }
    }

    /// Whether a pipeline of that name can go: one that is built in takes its place, or nothing needs it.
    ///
    /// # Errors
    /// `Conflict`, with what needs it.
    pub fn may_go(&self, pipeline: &str) -> Result<(), ApiError> {
        if self.world.built_in().contains_key(pipeline) {
            return Ok(());
        }
        let conflict = |what: &str, name: &str| {
            Err(ApiError::new(ErrorCode::Conflict, format!("{what} {name} names this pipeline: change it first")))
        };
        let has =
            |spec: &ExperimentSpec| spec.pipeline == pipeline || spec.arms.iter().any(|arm| arm.pipeline == pipeline);
        if let Some(experiment) = self.others.experiments.values().find(|experiment| has(&experiment.spec)) {
            return conflict("experiment", &experiment.name);
        }
        let names = |rule: &RuleSpec| rule.pipelines.iter().flatten().any(|name| name == pipeline);
        match self.others.rules.iter().find(|(_, rule)| names(rule)) {
            Some((name, _)) => conflict("rule", name),
            None => Ok(()),
        }
    }

    /// All pipelines: those that are built in, less those that others stand for.
    fn pipelines(&self) -> impl Iterator<Item = (&str, &Recipe)> {
        let own = &self.others.pipelines;
        let built_in = self.world.built_in().iter().filter(|(name, _)| !own.contains_key(*name));
        built_in.chain(own).map(|(name, recipe)| (name.as_str(), recipe))
    }

    fn known(&self, pointer: &str, pipeline: &str) -> Result<(), ApiError> {
        if self.pipelines().any(|(name, _)| name == pipeline) {
            return Ok(());
        }
        let known: Vec<&str> = self.pipelines().map(|(name, _)| name).collect();
        let detail = format!("there is no pipeline {}; there are {}", quoted(pipeline), known.join(", "));
        Err(invalid(pointer, detail))
    }
}

/// A pipeline with the rules that are about it. Which items they name does not matter here.
fn with_rules(name: &str, recipe: &Recipe, others: &InForce) -> Recipe {
    let mut recipe = recipe.clone();
    let rules = others.rules.iter().filter(|(_, rule)| rule.is_about(name));
    recipe.spec.rules.extend(rules.map(|(name, rule)| rule.rule(name, |_| None)));
    recipe
}

/// Where in a pipeline a fault is.
fn pointer(spec: &PipelineSpec, error: &PipelineError) -> String {
    let source = |name: &str, last: bool| {
        let is_it = |source: &SourceSpec| source.source == name;
        if last { spec.sources.iter().rposition(is_it) } else { spec.sources.iter().position(is_it) }.unwrap_or(0)
    };
    let inside = match error {
        PipelineError::Sources { .. } => "/sources".to_owned(),
        PipelineError::UnknownSource { name, .. } => format!("/sources/{}/source", source(name, false)),
        PipelineError::Twice { name } => format!("/sources/{}/source", source(name, true)),
        PipelineError::Candidates { name, .. } => format!("/sources/{}/candidates", source(name, false)),
        PipelineError::UnknownBlend { .. } => "/blend/model/name".to_owned(),
        PipelineError::Blend(ScoreError::SourceWeight { source_name, .. }) => {
            format!("/blend/ranks/weights/{}", escaped(source_name))
        }
        PipelineError::Blend(_) => "/blend".to_owned(),
        PipelineError::Rule(RuleError { name, problem }) => {
            let rule = spec.rules.iter().rposition(|rule| rule.name == *name).unwrap_or(0);
            format!("/rules/{rule}{}", place(problem))
        }
        PipelineError::Diversity { .. } => "/diversity/amount".to_owned(),
        PipelineError::Attribute { .. } => "/diversity/by/attribute".to_owned(),
        PipelineError::Exploration(_) | PipelineError::Unsure => "/exploration".to_owned(),
    };
    format!("/spec{inside}")
}

/// Where in a rule a fault is.
fn place(problem: &RuleProblem) -> &'static str {
    match problem {
        RuleProblem::Filter(_) => "/filter",
        RuleProblem::Position | RuleProblem::PinnedTwice { .. } => "/effect/pin/position",
        RuleProblem::Factor(_) => "/effect/boost/factor",
        RuleProblem::Attribute { .. } => "/effect/quota/attribute",
        RuleProblem::Name | RuleProblem::PinsAnything | RuleProblem::TooMany => "",
    }
}

/// Where among arms a fault is.
fn arm(error: &SplitError) -> String {
    match error {
        SplitError::Arms { .. } | SplitError::Sum { .. } => "/spec/arms".to_owned(),
        SplitError::Name { arm } => format!("/spec/arms/{arm}/name"),
        SplitError::Share { arm, .. } => format!("/spec/arms/{arm}/share"),
    }
}
