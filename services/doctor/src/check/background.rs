//! What should go on by itself: training, and following the log.

use crate::facts::{Facts, LiveModel};
use crate::finding::{Finding, Severity};

const MODEL: &str = "the recommender in service";
/// After so many turns without a new version, the one in service is stale.
const TURNS: u64 = 3;
/// It is worse than that where there are so many times as many events as it has learned from.
const GROWN: u64 = 2;
/// Without a trainer a version is stale after so many seconds.
const BY_HAND_S: u64 = 30 * 86_400;

pub fn model_missing(facts: &Facts) -> Option<Finding> {
    let model = &facts.model;
    let is_missing = model.is_trained && model.live.is_none() && model.lake_events >= model.events_min.max(1);
    is_missing.then(|| {
        let said = facts.model.runs.first().map(|run| format!("; the last run: {}", run.detail)).unwrap_or_default();
        let seen =
            format!("there are {} events to learn from, and no recommender is in service{said}", model.lake_events);
        let remedy = "run a process with the role `trainer` ([trainer] in the configuration), or \
                      `attune train ease --lake && attune recommenders promote ease`";
        Finding::new("model_missing", Severity::Warning, (0, model.lake_events)).seen(MODEL, seen).remedy(remedy)
    })
}

pub fn model_stale(facts: &Facts) -> Option<Finding> {
    let model = &facts.model;
    let LiveModel { label, promoted_ms, lake_events } = model.live.as_ref()?;
    let age_s = (facts.now_ms - promoted_ms).max(0) as u64 / 1_000;
    let age_s_max = if model.is_trained { TURNS * model.every_s } else { BY_HAND_S };
    let known = lake_events.unwrap_or(0);
    let new = model.lake_events.saturating_sub(known);
    if age_s <= age_s_max || new == 0 {
        return None;
    }
    let refused = model.runs.iter().take_while(|run| !run.is_good).count();
    let said = match (refused, model.runs.first()) {
        (1.., Some(run)) => format!("; the last {refused} runs came to nothing: {}", run.detail),
        _ => String::new(),
    };
    let seen = format!(
        "{label} is {:.1} days in service, and {new} of {} events came since it was trained{said}",
        age_s as f64 / 86_400.0,
        model.lake_events
    );
    let remedy = match model.is_trained {
        true => "see that a process with the role `trainer` runs: `trainer` in /readyz; its log says what fails",
        false => "`attune train ease --lake && attune recommenders promote ease`, or set trainer.model",
    };
    let severity = if model.lake_events >= known.saturating_mul(GROWN) { Severity::Error } else { Severity::Warning };
    Some(Finding::new("model_stale", severity, (new, model.lake_events)).seen(MODEL, seen).remedy(remedy))
}

pub fn lags(facts: &Facts) -> Vec<Finding> {
    let told = facts.lags.iter().filter(|lag| lag.lag_s > lag.lag_s_max).map(|lag| {
        let seen = format!("`{}` is {:.0} s behind, where {:.0} s are usual", lag.name, lag.lag_s, lag.lag_s_max);
        let by = lag.role.as_ref().map(|role| format!(" (`roles` with {role})")).unwrap_or_default();
        let remedy = format!("see that a process does it{by}, and what its log says");
        let counts = (lag.lag_s as u64, lag.lag_s_max as u64);
        Finding::new("consumer_lags", Severity::Error, counts).seen(lag.place.clone(), seen).remedy(remedy)
    });
    told.collect()
}
