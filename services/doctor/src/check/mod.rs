//! From facts to findings: a function a fault.

mod background;
mod catalogue;
mod clocks;
mod events;
mod lists;
mod people;

#[cfg(test)]
mod tests;

use crate::facts::Facts;
use crate::finding::Finding;

/// Below so many events, lists or letters a share of them says nothing.
const ENOUGH: u64 = 20;
/// Where events are seen.
const LAKE: &str = "the event lake";
/// Where items are.
const CATALOGUE: &str = "the catalogue";

/// All that is wrong, the worst first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let single = [
        events::none,
        events::items_unknown,
        events::none_positive,
        events::copies,
        events::repeated,
        events::refused,
        clocks::ahead,
        clocks::zone,
        clocks::ancient,
        clocks::at_once,
        people::busiest,
        people::once,
        lists::none,
        lists::to_strangers,
        lists::clicks_without_list,
        lists::clicks_of_unknown_lists,
        lists::no_clicks,
        catalogue::empty,
        catalogue::hidden,
        catalogue::without_vectors,
        background::model_missing,
        background::model_stale,
    ];
    let several = [
        events::without_weight,
        events::values_against,
        catalogue::rules,
        catalogue::rules_broken,
        catalogue::pipelines_broken,
        catalogue::pipelines_impersonal,
        background::lags,
    ];
    let one_each = single.into_iter().filter_map(|check: fn(&Facts) -> Option<Finding>| check(facts));
    let more = several.into_iter().flat_map(|check: fn(&Facts) -> Vec<Finding>| check(facts));
    let mut findings: Vec<Finding> = one_each.chain(more).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// A few names, as a sentence has them.
fn quoted<N: AsRef<str>>(names: &[N]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
