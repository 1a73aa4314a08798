//! The experiments that a tenant has defined, and who gets what of them now.

use std::collections::BTreeMap;

use attune_api::definitions::DEFINITIONS_MAX;
use attune_api::experiments::{Allocation, ExperimentSpec};
use attune_store::relational::{Definition, DefinitionKind, Relational};
use attune_store::{PageRequest, StoreError, Tenant, Version};

/// An experiment as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Defined {
    pub spec: ExperimentSpec,
    pub is_enabled: bool,
    /// Since when it has been like this, in Unix milliseconds.
    pub since_ms: i64,
    /// Whether it was something else before.
    pub is_changed: bool,
    /// Where it is a bandit: what was written last, and which state of it that is.
    pub allocation: Option<(Allocation, Version)>,
}

impl Defined {
    /// The share of people who get an arm now.
    pub fn share(&self, arm: &str) -> Option<f64> {
        let allocated = self.allocation.as_ref().and_then(|(allocation, _)| allocation.chances.get(arm).copied());
        let declared = || self.spec.arms.iter().find(|one| one.name == arm).map(|one| one.share);
        allocated.filter(|_| self.spec.bandit.is_some()).or_else(declared)
    }
}

/// Reads them all, by name, and the names of what is allocated to no bandit any more. What a newer program wrote and
/// cannot be read here is left out.
///
/// # Errors
/// The store's own.
pub(crate) async fn defined(
    rows: &dyn Relational,
    tenant: &Tenant,
) -> Result<(BTreeMap<String, Defined>, Vec<String>), StoreError> {
    let page = |kind| rows.definitions(tenant, kind, PageRequest::first(DEFINITIONS_MAX));
    let allocations = page(DefinitionKind::Allocation).await?.rows.into_iter().filter_map(|row| {
        let allocation: Allocation = serde_json::from_value(row.spec).ok()?;
        Some((row.name, (allocation, row.version)))
    });
    let mut allocations: BTreeMap<String, _> = allocations.collect();
    let experiment = |row: Definition| {
        let spec: ExperimentSpec = serde_json::from_value(row.spec).ok()?;
        let allocation = if spec.bandit.is_some() { allocations.remove(&row.name) } else { None };
        let (since_ms, is_changed) = (row.changed_ms, row.changed_ms != row.created_ms);
        Some((row.name, Defined { spec, is_enabled: row.is_enabled, since_ms, is_changed, allocation }))
    };
    let experiments = page(DefinitionKind::Experiment).await?.rows.into_iter().filter_map(experiment).collect();
    Ok((experiments, allocations.into_keys().collect()))
}
