//! Rules as plain data, and made ready for lists.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attributes::{Kind, Schema};
use crate::filter::{Filter, FilterError, parse};

/// Rules that a list may have.
pub const RULES_MAX: usize = 256;

/// What shall happen to some items. A rule without `filter` and `items` is about all of them; with both, about those
/// that are in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What explanations and errors call it.
    pub name: String,
    /// A condition in the language of [`filter`](crate::filter).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Rows of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<u32>>,
    /// What happens to them.
    pub effect: Effect,
}

/// What happens to the items of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// The best of them that may stand there stands at this position, from 1. Lists that end before have no use for it.
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

/// What is wrong with a rule.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("rule {name:?}: {problem}")]
pub struct RuleError {
    /// Name of the rule.
    pub name: String,
    /// What is wrong with it.
    pub problem: RuleProblem,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RuleProblem {
    /// Explanations could not tell them apart.
    #[error("there is another rule of this name, or the name is empty: give each its own")]
    Name,
    /// The condition is none.
    #[error("its filter, {0}")]
    Filter(#[from] FilterError),
    /// Positions are counted from 1.
    #[error("position 0 does not exist: the first is 1")]
    Position,
    /// Two pins for one position.
    #[error("rule {other:?} pins position {position} too: move one of them")]
    PinnedTwice {
        /// The other rule.
        other: String,
        /// From 1.
        position: usize,
    },
    /// A pin of anything.
    #[error("it pins any item: say which by `filter` or `items`")]
    PinsAnything,
    /// A factor that is not above 0.
    #[error("its factor is {0}: a finite number above 0 is needed, and `bury` puts items last")]
    Factor(f32),
    /// An attribute that has no groups.
    #[error("{attribute:?} is no keyword, keyword list or boolean of the items")]
    Attribute {
        /// The attribute.
        attribute: String,
    },
    /// More rules than a list may have.
    #[error("it is one of more than {RULES_MAX}")]
    TooMany,
}

/// Rules that fit the attributes and each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    pub(super) rules: Vec<Compiled>,
}

/// A rule whose condition is checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    pub name: String,
    pub filter: Option<Filter>,
    /// Sorted.
    pub items: Option<Vec<u32>>,
    pub effect: Effect,
}

impl Rules {
    /// Holds rules against the attributes and against each other.
    ///
    /// # Errors
    /// [`RuleError`] names the first that does not fit.
    pub fn compile(rules: &[Rule], schema: &Schema) -> Result<Self, RuleError> {
        let (mut names, mut compiled) = (BTreeSet::new(), Vec::<Compiled>::with_capacity(rules.len()));
        for (number, rule) in rules.iter().enumerate() {
            let error = |problem| RuleError { name: rule.name.clone(), problem };
            if number >= RULES_MAX {
                return Err(error(RuleProblem::TooMany));
            }
            if rule.name.is_empty() || !names.insert(&rule.name) {
                return Err(error(RuleProblem::Name));
            }
            let rule = compile(rule, schema).map_err(error)?;
            if let Effect::Pin { position } = rule.effect
                && let Some(other) = compiled.iter().find(|other| other.effect == rule.effect)
            {
                return Err(error(RuleProblem::PinnedTwice { other: other.name.clone(), position }));
            }
            compiled.push(rule);
        }
        Ok(Self { rules: compiled })
    }

    /// Name of a rule, by its number.
    ///
    /// # Panics
    /// If there is no such rule.
    pub fn name(&self, rule: usize) -> &str {
        &self.rules[rule].name
    }

    /// Items that pins name, within lists of `k`: they take part even if no source proposes them.
    pub fn pinned_items(&self, k: usize) -> impl Iterator<Item = u32> {
        let pins =
            self.rules.iter().filter(move |rule| matches!(rule.effect, Effect::Pin { position } if position <= k));
        pins.filter_map(|rule| rule.items.as_deref()).flatten().copied()
    }
}

fn compile(rule: &Rule, schema: &Schema) -> Result<Compiled, RuleProblem> {
    match &rule.effect {
        Effect::Pin { position: 0 } => return Err(RuleProblem::Position),
        Effect::Pin { .. } if rule.filter.is_none() && rule.items.is_none() => return Err(RuleProblem::PinsAnything),
        Effect::Boost { factor } if !(factor.is_finite() && *factor > 0.0) => {
            return Err(RuleProblem::Factor(*factor));
        }
        Effect::Quota { attribute: Some(attribute), .. } => match schema.kind(attribute) {
            Some(Kind::Keyword | Kind::KeywordList | Kind::Boolean) => {}
            _ => return Err(RuleProblem::Attribute { attribute: attribute.clone() }),
        },
        _ => {}
    }
    let filter = rule.filter.as_deref().map(|text| Filter::check(&parse(text)?, schema)).transpose()?;
    let mut items = rule.items.clone();
    items.iter_mut().for_each(|items| items.sort_unstable());
    Ok(Compiled { name: rule.name.clone(), filter, items, effect: rule.effect.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::new([("brand", Kind::Keyword), ("price", Kind::Number)]).unwrap()
    }

    fn problem(text: &str) -> RuleProblem {
        let rules: Vec<Rule> = serde_json::from_str(text).unwrap();
        Rules::compile(&rules, &schema()).unwrap_err().problem
    }

    #[test]
    fn rules_are_plain_data() {
        let text = r#"[
            {"name": "news first", "filter": "brand == \"a\"", "effect": {"pin": {"position": 1}}},
            {"name": "cheap", "filter": "price < 3", "items": [4, 2], "effect": {"boost": {"factor": 2.0}}},
            {"name": "old", "items": [1], "effect": "bury"},
            {"name": "two of a brand", "effect": {"quota": {"attribute": "brand", "at_most": 2}}}
        ]"#;
        let rules: Vec<Rule> = serde_json::from_str(text).unwrap();
        let again: Vec<Rule> = serde_json::from_str(&serde_json::to_string(&rules).unwrap()).unwrap();
        assert_eq!(again, rules);
        let compiled = Rules::compile(&rules, &schema()).unwrap();
        assert_eq!((compiled.name(1), compiled.rules[1].items.as_deref()), ("cheap", Some(&[2, 4][..])));
        assert!(serde_json::from_str::<Rule>(r#"{"name": "x", "effect": {"pin": {"place": 1}}}"#).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let pin = |name: &str| format!(r#"{{"name": "{name}", "items": [1], "effect": {{"pin": {{"position": 2}}}}}}"#);
        let twice = RuleProblem::PinnedTwice { other: "a".into(), position: 2 };
        assert_eq!(problem(&format!("[{}, {}]", pin("a"), pin("b"))), twice);
        assert_eq!(problem(&format!("[{}, {}]", pin("a"), pin("a"))), RuleProblem::Name);
        assert_eq!(problem(r#"[{"name": "a", "effect": {"pin": {"position": 1}}}]"#), RuleProblem::PinsAnything);
        assert_eq!(
            problem(r#"[{"name": "a", "items": [], "effect": {"pin": {"position": 0}}}]"#),
            RuleProblem::Position
        );
        assert_eq!(problem(r#"[{"name": "a", "effect": {"boost": {"factor": 0}}}]"#), RuleProblem::Factor(0.0));
        let error = problem(r#"[{"name": "a", "filter": "brand <", "effect": "bury"}]"#);
        assert!(matches!(&error, RuleProblem::Filter(error) if error.at.column == 8), "{error}");
        let quota = problem(r#"[{"name": "a", "effect": {"quota": {"attribute": "price", "at_most": 1}}}]"#);
        assert_eq!(quota, RuleProblem::Attribute { attribute: "price".into() });
    }
}
