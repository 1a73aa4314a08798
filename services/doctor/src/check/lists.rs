//! What was shown, and whether anybody can tell what came of it.

use super::{ENOUGH, LAKE};
use crate::facts::{Facts, KindFacts};
use crate::finding::{Finding, Severity, percent, severity, share};

/// The type of events that is held against what was shown.
const CLICK: &str = "click";
/// Shares of lists that go to people of whom nothing is known.
const STRANGERS: (f64, f64) = (0.8, 0.95);
/// The share of clicks that should name a list.
const WITH_LIST: f64 = 0.1;
/// The fewest lists of which somebody should have clicked on one.
const UNCLICKED: u64 = 100;

pub fn none(facts: &Facts) -> Option<Finding> {
    let is_missing = facts.lists.lists == 0 && facts.events.total >= ENOUGH;
    is_missing.then(|| {
        let seen = format!("there are {} events, and no list was ever served", facts.events.total);
        let remedy = "ask POST /v1/recommend for what is shown: Attune notes itself what it served";
        Finding::new("no_exposures", Severity::Warning, (0, facts.events.total)).seen(LAKE, seen).remedy(remedy)
    })
}

/// Whoever asks for lists should go by the ids of whoever sends events.
pub fn to_strangers(facts: &Facts) -> Option<Finding> {
    let (count, of) = (facts.lists.to_strangers, facts.lists.lists);
    // Where nobody likes anything, that is said already.
    let is_new = of >= ENOUGH && facts.events.subjects_liking > 0;
    let severity = severity(share(count, of), STRANGERS.0, STRANGERS.1).filter(|_| is_new)?;
    let seen = format!(
        "{count} of {of} lists ({}%) went to people of whom nothing speaks for an item, though {} such people are known",
        percent(count, of),
        facts.events.subjects_liking
    );
    let remedy = "ask for lists with the `user_id` or `anonymous_id` that events are sent with; for people without \
                  events, give `history` or `context`";
    Some(Finding::new("lists_to_strangers", severity, (count, of)).seen(LAKE, seen).remedy(remedy))
}

fn clicks(facts: &Facts) -> Option<&KindFacts> {
    let clicks = facts.events.kinds.get(CLICK)?;
    (clicks.events >= ENOUGH && facts.lists.lists >= ENOUGH).then_some(clicks)
}

pub fn clicks_without_list(facts: &Facts) -> Option<Finding> {
    let clicks = clicks(facts)?;
    let (count, of) = (clicks.events - clicks.with_list, clicks.events);
    if share(clicks.with_list, of) >= WITH_LIST {
        return None;
    }
    let seen = format!("{count} of {of} clicks ({}%) do not say on which list they were", percent(count, of));
    let remedy = "send the `request_id` of the list along with what happens on it: without it nobody can tell which lists \
                  are good";
    Some(Finding::new("clicks_without_list", Severity::Warning, (count, of)).seen(LAKE, seen).remedy(remedy))
}

pub fn clicks_of_unknown_lists(facts: &Facts) -> Option<Finding> {
    let clicks = clicks(facts)?;
    let (count, of) = (clicks.with_list - clicks.with_known_list, clicks.with_list);
    if of < ENOUGH || share(clicks.with_known_list, of) >= WITH_LIST {
        return None;
    }
    let seen = format!("{count} of {of} clicks ({}%) name a list that was never served", percent(count, of));
    let remedy = "send as `request_id` the one in the answer of POST /v1/recommend, not one of your own";
    Some(Finding::new("clicks_of_unknown_lists", Severity::Warning, (count, of)).seen(LAKE, seen).remedy(remedy))
}

pub fn no_clicks(facts: &Facts) -> Option<Finding> {
    let (lists, clicks) = (facts.lists.lists, facts.events.kinds.get(CLICK).map_or(0, |kind| kind.events));
    (lists >= UNCLICKED && clicks == 0).then(|| {
        let seen = format!("{lists} lists were served, and there is no event of the type `{CLICK}`");
        let remedy =
            "send a `click` with the `request_id` of its list: what was shown is learned from by what is clicked";
        Finding::new("no_clicks", Severity::Warning, (0, lists)).seen(LAKE, seen).remedy(remedy)
    })
}
