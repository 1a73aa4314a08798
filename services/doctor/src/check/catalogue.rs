//! What there is to show, and what keeps it from being shown.

use super::{CATALOGUE, ENOUGH, quoted};
use crate::facts::Facts;
use crate::finding::{Finding, Severity, percent, severity, share};

/// Shares of items that are not to be shown.
const HIDDEN: (f64, f64) = (0.5, 0.9);
/// Shares of items that a rule keeps out.
const KEPT_OUT: (f64, f64) = (0.5, 0.9);
/// A list of usual length; a rule that allows more of its items shortens none.
const LIST: usize = 10;
/// The share of items without an embedding.
const WITHOUT_VECTORS: f64 = 0.1;

pub fn empty(facts: &Facts) -> Option<Finding> {
    (facts.catalogue.items == 0).then(|| {
        Finding::new("no_items", Severity::Error, (0, 0))
            .seen(CATALOGUE, "there is not one item: nothing can be shown")
            .remedy("`attune import items FILE`, or POST /v1/items:batch")
    })
}

pub fn hidden(facts: &Facts) -> Option<Finding> {
    let of = facts.catalogue.items;
    let count = of - facts.catalogue.shown;
    let severity = severity(share(count, of), HIDDEN.0, HIDDEN.1)?;
    let seen = format!("{count} of {of} items ({}%) are hidden, not yet published or expired", percent(count, of));
    let remedy = "look at `hidden`, `published_at` and `expires_at` of the items, and at what writes them";
    Some(Finding::new("items_hidden", severity, (count, of)).seen(CATALOGUE, seen).remedy(remedy))
}

pub fn without_vectors(facts: &Facts) -> Option<Finding> {
    let of = facts.catalogue.shown;
    let count = of - facts.catalogue.embedded;
    if of < ENOUGH || share(count, of) < WITHOUT_VECTORS {
        return None;
    }
    let seen = format!(
        "{count} of {of} items ({}%) have no embedding of their text: nobody is shown what is like what he likes",
        percent(count, of)
    );
    let remedy = match facts.catalogue.is_embedding {
        true => {
            "let a process with the role `content` run until `content` in /readyz has caught up; its log says what fails"
        }
        false => "load an embedding model: `attune models pull`, and [[models]] in the configuration",
    };
    Some(Finding::new("items_without_vectors", Severity::Warning, (count, of)).seen(CATALOGUE, seen).remedy(remedy))
}

pub fn rules(facts: &Facts) -> Vec<Finding> {
    let of = facts.catalogue.shown;
    let told = facts.rules.iter().filter(|rule| rule.problem.is_none() && rule.at_most < LIST).filter_map(|rule| {
        let severity = severity(share(rule.items, of), KEPT_OUT.0, KEPT_OUT.1)?;
        // One that allows some makes lists short, and not empty.
        let severity = if rule.at_most == 0 { severity } else { Severity::Warning };
        let allowed = if rule.at_most == 0 { "out of".to_owned() } else { format!("to {} in", rule.at_most) };
        let seen =
            format!("{} of {of} items ({}%) are kept {allowed} lists by it", rule.items, percent(rule.items, of));
        let remedy = format!("look at its filter: GET {}; it may say the opposite of what it should", rule.place);
        Some(Finding::new("filter_excludes", severity, (rule.items, of)).seen(rule.place.clone(), seen).remedy(remedy))
    });
    told.collect()
}

pub fn rules_broken(facts: &Facts) -> Vec<Finding> {
    let told = facts.rules.iter().filter_map(|rule| {
        let seen = format!("the rule is not in force: {}", rule.problem.as_ref()?);
        let finding = Finding::new("definition_broken", Severity::Warning, (1, facts.rules.len() as u64));
        Some(finding.seen(rule.place.clone(), seen).remedy(format!("PUT {} anew, or DELETE it", rule.place)))
    });
    told.collect()
}

pub fn pipelines_broken(facts: &Facts) -> Vec<Finding> {
    let told = facts.pipelines.iter().filter(|pipeline| !pipeline.absent.is_empty()).map(|pipeline| {
        let seen = format!("the pipeline is not in force, since there is no source {}", quoted(&pipeline.absent));
        let remedy =
            format!("PUT {} with other sources; `model` is there when a recommender is in service", pipeline.place);
        let finding = Finding::new("definition_broken", Severity::Warning, (1, facts.pipelines.len() as u64));
        finding.seen(pipeline.place.clone(), seen).remedy(remedy)
    });
    told.collect()
}

pub fn pipelines_impersonal(facts: &Facts) -> Vec<Finding> {
    // Of others it may well be meant: a page of what is new.
    let pipelines = facts.pipelines.iter().filter(|one| one.is_default && one.sources.len() == one.impersonal.len());
    let told = pipelines.map(|pipeline| {
        let seen = format!("it asks {} alone, which propose the same to everybody", quoted(&pipeline.sources));
        let remedy =
            format!("PUT {} with `related`, `session`, `semantic` or `model` among its sources", pipeline.place);
        let of = pipeline.sources.len() as u64;
        Finding::new("pipeline_impersonal", Severity::Error, (of, of)).seen(pipeline.place.clone(), seen).remedy(remedy)
    });
    told.collect()
}
