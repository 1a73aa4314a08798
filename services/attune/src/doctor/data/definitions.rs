//! Rules and pipelines of a tenant's own, held against the items that there are.

use std::collections::HashSet;

use attune_doctor::{PipelineFacts, RuleFacts};
use attune_ranking::attributes::{Columns, Schema};
use attune_ranking::filter::{Filter, FilterError, parse};
use attune_ranking::rerank::Effect;
use attune_recommendation::{DEFAULT, FOR_EVERYBODY, InForce, MODEL, source_names};

/// A rule whose filter was checked.
pub struct CheckedRule<'r> {
    place: String,
    filter: Result<Option<Filter>, FilterError>,
    item_ids: Option<HashSet<&'r str>>,
    effect: &'r Effect,
}

/// All rules in force: those of pipelines, and those beside them.
pub fn rules<'r>(in_force: &'r InForce, schema: &Schema) -> Vec<CheckedRule<'r>> {
    let filter = |text: &Option<String>| {
        let check = |text: &String| Filter::check(&parse(text)?, schema);
        text.as_ref().map(check).transpose()
    };
    let beside = in_force.rules.iter().map(|(name, rule)| CheckedRule {
        place: format!("/v1/rules/{name}"),
        filter: filter(&rule.filter),
        item_ids: rule.item_ids.as_ref().map(|ids| ids.iter().map(String::as_str).collect()),
        effect: &rule.effect,
    });
    let inside = in_force.pipelines.iter().flat_map(|(name, pipeline)| {
        pipeline.spec.rules.iter().map(move |rule| (format!("/v1/pipelines/{name}"), &rule.filter, &rule.effect))
    });
    let inside =
        inside.map(|(place, text, effect)| CheckedRule { place, filter: filter(text), item_ids: None, effect });
    beside.chain(inside).collect()
}

impl CheckedRule<'_> {
    /// Whether attributes of items matter to it.
    pub fn asks_attributes(&self) -> bool {
        matches!(self.filter, Ok(Some(_))) || matches!(self.effect, Effect::Quota { attribute: Some(_), .. })
    }

    /// What it does to these items, a row each.
    pub fn over(self, columns: &Columns, ids: &[String]) -> RuleFacts {
        let Self { place, filter, item_ids, effect } = self;
        let filter = match filter {
            Ok(filter) => filter,
            Err(error) => return RuleFacts { place, problem: Some(error.to_string()), ..RuleFacts::default() },
        };
        let (at_most, attribute) = match effect {
            Effect::Quota { at_most, attribute } => (*at_most, attribute.as_deref()),
            Effect::Pin { .. } | Effect::Boost { .. } | Effect::Bury => (usize::MAX, None),
        };
        // So many of each value of an attribute leave enough, unless they are none.
        if attribute.is_some() && at_most > 0 || at_most == usize::MAX {
            return RuleFacts { place, at_most: usize::MAX, ..RuleFacts::default() };
        }
        let bound = filter.as_ref().map(|filter| filter.bind(columns));
        let is_about = |row: usize, id: &String| {
            item_ids.as_ref().is_none_or(|ids| ids.contains(id.as_str()))
                && bound.as_ref().is_none_or(|bound| bound.matches(row as u32))
                && attribute.is_none_or(|attribute| columns.value(attribute, row as u32).is_some())
        };
        let items = ids.iter().enumerate().filter(|(row, id)| is_about(*row, id)).count() as u64;
        RuleFacts { place, at_most, items, problem: None }
    }
}

/// The tenant's own pipelines.
pub fn pipelines(in_force: &InForce, has_model: bool) -> Vec<PipelineFacts> {
    let is_there = |name: &String| source_names().any(|known| known == name) || has_model && name == MODEL;
    let facts = in_force.pipelines.iter().map(|(name, recipe)| {
        let sources: Vec<String> = recipe.spec.sources.iter().map(|source| source.source.clone()).collect();
        let those = |is_so: &dyn Fn(&String) -> bool| sources.iter().filter(|name| is_so(name)).cloned().collect();
        PipelineFacts {
            place: format!("/v1/pipelines/{name}"),
            is_default: name == DEFAULT,
            impersonal: those(&|name| FOR_EVERYBODY.contains(&name.as_str())),
            absent: those(&|name| !is_there(name) && !recipe.outside.contains_key(name)),
            sources,
        }
    });
    facts.collect()
}

#[cfg(test)]
mod tests {
    use attune_api::definitions::Defined;
    use attune_api::rest::specs::{self, examples};
    use attune_recommendation::{Recipe, RuleSpec};
    use serde_json::{Value, from_value, to_value};

    /// The documentation of the gateway and the types of the service know nothing of each other.
    #[test]
    fn definitions_are_documented_as_they_are_read() {
        for spec in examples::whole(Defined::Pipeline) {
            let recipe = Recipe::read(spec.clone()).unwrap_or_else(|error| panic!("{spec}: {error}"));
            let mut again = to_value(&recipe.spec).unwrap();
            again["outside"] = to_value(&recipe.outside).unwrap();
            from_value::<specs::PipelineSpec>(again.clone()).unwrap_or_else(|error| panic!("{again}: {error}"));
        }
        for spec in examples::whole(Defined::Rule) {
            let read: RuleSpec = from_value(spec.clone()).unwrap_or_else(|error| panic!("{spec}: {error}"));
            from_value::<specs::RuleSpec>(to_value(read).unwrap()).unwrap();
        }
        let documented: Value = to_value(attune_gateway::openapi()).unwrap();
        let example = |schema: &str| documented["components"]["schemas"][schema]["example"].clone();
        Recipe::read(example("PipelineSpec")).unwrap();
        from_value::<RuleSpec>(example("RuleSpec")).unwrap();
        from_value::<attune_api::experiments::ExperimentSpec>(example("ExperimentSpec")).unwrap();
    }
}
