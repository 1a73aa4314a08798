//! Pipelines, rules and experiments of a tenant's own: what they may say, and which of them are in force.
//!
//! They are rows that are read anew every few seconds, so that every replica serves the same without a word between them.
//! What is wrong with one is told to whoever writes it ([`check`]); what no longer fits later, since a model went or an
//! attribute did, is left out with a line in the log, and what can be served without it is.

pub mod check;
mod keep;
mod reach;
mod recipe;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use attune_api::experiments::{Allocation, ArmSpec, ExperimentSpec};
use attune_ranking::experiment::{Split, SplitError};
use attune_ranking::rerank::{Effect, Rule};
use attune_store::relational::{DefinitionKind, Relational};
use attune_store::{PAGE_ROWS_MAX, PageRequest, StoreError, Tenant};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use reach::Reach;
pub use recipe::Recipe;

/// A rule of the tenant's own. Without `filter` and `item_ids` it is about all items; with both, about those in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// A condition on attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Items by their ids; one that is not there yet counts from when it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_ids: Option<Vec<String>>,
    /// In whose lists; in all, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<Vec<String>>,
    /// What happens to the items.
    pub effect: Effect,
}

/// An experiment that gives arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its name, which is in the hash that gives arms.
    pub name: String,
    /// As it was defined.
    pub spec: ExperimentSpec,
    split: Split,
}

impl Experiment {
    /// Puts it into force. A bandit has the shares of its allocation, if there is one for the arms that it has now.
    ///
    /// # Errors
    /// [`SplitError`] where the arms make no sense.
    pub fn new(name: &str, spec: ExperimentSpec, allocation: Option<&Allocation>) -> Result<Self, SplitError> {
        let allocation = allocation.filter(|allocation| {
            let has = |arm: &ArmSpec| allocation.chances.contains_key(&arm.name);
            spec.bandit.is_some() && allocation.chances.len() == spec.arms.len() && spec.arms.iter().all(has)
        });
        let share = |arm: &ArmSpec| allocation.map_or(arm.share, |allocation| allocation.chances[&arm.name]);
        let arms: Vec<(&str, f64)> = spec.arms.iter().map(|arm| (arm.name.as_str(), share(arm))).collect();
        let split = Split::new(name, &arms)?;
        Ok(Self { name: name.to_owned(), spec, split })
    }

    /// The arm of somebody, and how likely it was.
    pub fn arm_of(&self, subject: &str) -> (&ArmSpec, f64) {
        let arm = self.split.arm_of(subject);
        (&self.spec.arms[arm], self.split.chance_of(arm))
    }
}

impl RuleSpec {
    /// Whether it counts in the lists of a pipeline.
    pub fn is_about(&self, pipeline: &str) -> bool {
        self.pipelines.as_ref().is_none_or(|pipelines| pipelines.iter().any(|name| name == pipeline))
    }

    /// The same in rows; items that nobody has heard of have none.
    pub fn rule(&self, name: &str, row: impl Fn(&str) -> Option<u32>) -> Rule {
        let items = self.item_ids.as_ref().map(|ids| ids.iter().filter_map(|id| row(id)).collect());
        Rule { name: name.to_owned(), filter: self.filter.clone(), items, effect: self.effect.clone() }
    }
}

/// What is in force, by kind and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InForce {
    /// How lists are made.
    pub pipelines: BTreeMap<String, Recipe>,
    /// What happens to some items in them.
    pub rules: BTreeMap<String, RuleSpec>,
    /// Who gets which pipeline.
    pub experiments: BTreeMap<String, Experiment>,
}

impl InForce {
    /// Reads what is enabled. What cannot be read, since a newer program wrote it, is left out with a line in the log.
    ///
    /// # Errors
    /// The store's own.
    pub async fn read(rows: &dyn Relational, tenant: &Tenant) -> Result<Self, StoreError> {
        let experiments = enabled::<ExperimentSpec>(rows, tenant, DefinitionKind::Experiment).await?;
        let allocations = match experiments.values().any(|spec| spec.bandit.is_some()) {
            true => enabled::<Allocation>(rows, tenant, DefinitionKind::Allocation).await?,
            false => BTreeMap::new(),
        };
        let experiment =
            |(name, spec): (String, ExperimentSpec)| match Experiment::new(&name, spec, allocations.get(&name)) {
                Ok(experiment) => Some((name, experiment)),
                Err(error) => {
                    tracing::warn!(experiment = name, %error, "an experiment makes no sense and is not carried out");
                    None
                }
            };
        Ok(Self {
            pipelines: enabled(rows, tenant, DefinitionKind::Pipeline).await?,
            rules: enabled(rows, tenant, DefinitionKind::Rule).await?,
            experiments: experiments.into_iter().filter_map(experiment).collect(),
        })
    }

    /// The rules, in rows, by name.
    pub fn rules_in_rows(&self, row: impl Fn(&str) -> Option<u32>) -> BTreeMap<String, Rule> {
        self.rules.iter().map(|(name, spec)| (name.clone(), spec.rule(name, &row))).collect()
    }
}

/// The definitions of a kind that are enabled.
async fn enabled<T: DeserializeOwned>(
    rows: &dyn Relational,
    tenant: &Tenant,
    kind: DefinitionKind,
) -> Result<BTreeMap<String, T>, StoreError> {
    let (mut found, mut after) = (BTreeMap::new(), None);
    loop {
        let page = rows.definitions(tenant, kind, PageRequest { after, rows: PAGE_ROWS_MAX }).await?;
        for definition in page.rows.into_iter().filter(|definition| definition.is_enabled) {
            let name = definition.name;
            match serde_json::from_value::<T>(definition.spec) {
                Ok(spec) => _ = found.insert(name, spec),
                Err(error) => tracing::warn!(kind = kind.name(), name, %error, "a definition cannot be read"),
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}
