//! What people did: whether it is there, once, about items that there are, and worth anything.

use super::{ENOUGH, LAKE, quoted};
use crate::facts::Facts;
use crate::finding::{Finding, Severity, percent, severity, share};

/// Shares of events with an item, from which it is said that the item is unknown.
const UNKNOWN: (f64, f64) = (0.05, 0.5);
/// The share of all events from which a type without a weight is said.
const UNNAMED: f64 = 0.01;
/// The share of values that speak against their items from which the scale is in doubt.
const AGAINST: f64 = 0.9;
/// Shares of copies among what was sent.
const COPIES: (f64, f64) = (0.1, 0.5);
/// Shares of events that say again what another says.
const REPEATED: (f64, f64) = (0.1, 0.4);
/// Shares of events that were refused.
const REFUSED: (f64, f64) = (0.01, 0.5);

/// Where the log could not be read, the first events may not be in the lake yet.
pub fn none(facts: &Facts) -> Option<Finding> {
    (facts.events.total == 0).then(|| {
        let (severity, seen) = match facts.has_log {
            true => (Severity::Error, "there is not one event: nobody's lists can be his own"),
            false => {
                (Severity::Warning, "there is not one event: those of the last lake.flush_s seconds are not there yet")
            }
        };
        let remedy = "send events to POST /v1/events, or `attune import events FILE`";
        Finding::new("no_events", severity, (0, 0)).seen(LAKE, seen).remedy(remedy)
    })
}

pub fn items_unknown(facts: &Facts) -> Option<Finding> {
    let events = &facts.events;
    let (count, of) = (events.unknown_items, events.with_item);
    if of < ENOUGH || facts.catalogue.items == 0 {
        return None;
    }
    let severity = severity(share(count, of), UNKNOWN.0, UNKNOWN.1)?;
    let nearly = events.nearly_known;
    let (hint, remedy) = if share(nearly, count) >= 0.5 {
        let hint = format!("; {nearly} of these would be known if upper and lower case and spaces did not count");
        (hint, "write ids of items in events exactly as in the catalogue")
    } else {
        let remedy = "`attune import items FILE` with the missing ones, or send as `item_id` the ids of the catalogue";
        (String::new(), remedy)
    };
    let seen = format!(
        "{count} of {of} events ({}%) are about items that are not in the catalogue, such as {}{hint}",
        percent(count, of),
        quoted(&events.examples)
    );
    Some(Finding::new("items_unknown", severity, (count, of)).seen(LAKE, seen).remedy(remedy))
}

pub fn without_weight(facts: &Facts) -> Vec<Finding> {
    let of = facts.events.total;
    let kinds = facts.events.kinds.iter().filter(|(_, kind)| !kind.is_named && share(kind.events, of) >= UNNAMED);
    let told = kinds.filter(|_| of >= ENOUGH).map(|(name, kind)| {
        let seen = format!(
            "{} of {of} events ({}%) are of the type `{name}`, which no weight names: it counts as `other`",
            kind.events,
            percent(kind.events, of)
        );
        let remedy = format!(
            "set `weight` (and `sign`) in [worth.kinds.{name}] of the configuration, or send a type that is named there"
        );
        let finding = Finding::new("type_without_weight", Severity::Warning, (kind.events, of));
        finding.seen(format!("{LAKE}, [worth]"), seen).remedy(remedy)
    });
    told.collect()
}

/// Nothing that anybody did speaks for an item. Where it would, and the items are not there, that is said already.
pub fn none_positive(facts: &Facts) -> Option<Finding> {
    let events = &facts.events;
    let liked: u64 = events.kinds.values().map(|kind| kind.liked).sum();
    if events.total < ENOUGH || liked > 0 {
        return None;
    }
    let types: Vec<&String> = events.kinds.keys().take(5).collect();
    let seen = format!("none of {} events speaks for an item: the types are {}", events.total, quoted(&types));
    let remedy = "send what people choose (click, purchase, rating ...), or give such a type a `weight` above 0 in \
                  [worth.kinds] of the configuration";
    Some(Finding::new("no_positive_events", Severity::Error, (0, events.total)).seen(LAKE, seen).remedy(remedy))
}

/// Ratings from 0 to 1 where stars are expected all speak against their items.
pub fn values_against(facts: &Facts) -> Vec<Finding> {
    let kinds = facts
        .events
        .kinds
        .iter()
        .filter(|(_, kind)| kind.is_named && kind.valued >= ENOUGH && share(kind.disliked, kind.valued) >= AGAINST);
    let told = kinds.filter_map(|(name, kind)| {
        let (low, high) = kind.values?;
        let seen = format!(
            "{} of {} events of the type `{name}` speak against their item: their values are {low} to {high}",
            kind.disliked, kind.valued
        );
        let remedy =
            format!("set the value that is neither good nor bad: `midpoint` in [worth.kinds.{name}.value.centred]");
        let finding = Finding::new("values_off_scale", Severity::Warning, (kind.disliked, kind.valued));
        Some(finding.seen(format!("{LAKE}, [worth]"), seen).remedy(remedy))
    });
    told.collect()
}

pub fn copies(facts: &Facts) -> Option<Finding> {
    let (count, of) = facts.copies;
    let severity = severity(share(count, of), COPIES.0, COPIES.1).filter(|_| of >= ENOUGH)?;
    let seen = format!("{count} of {of} events ({}%) came again with an id that was there", percent(count, of));
    let remedy =
        "each counts once; but whoever sends does so too often: send again only what was not answered with 202";
    Some(Finding::new("duplicates", severity, (count, of)).seen(LAKE, seen).remedy(remedy))
}

pub fn repeated(facts: &Facts) -> Option<Finding> {
    let (count, of) = (facts.events.repeated, facts.events.total);
    let severity = severity(share(count, of), REPEATED.0, REPEATED.1).filter(|_| of >= ENOUGH)?;
    let seen = format!(
        "{count} of {of} events ({}%) say what another says, of the same person at the same moment, under an id of their own",
        percent(count, of)
    );
    let remedy = "each of them counts: give an event its `event_id` once, where it happens, and keep it in retries and \
                  imports";
    Some(Finding::new("repeated_events", severity, (count, of)).seen(LAKE, seen).remedy(remedy))
}

pub fn refused(facts: &Facts) -> Option<Finding> {
    let letters = facts.letters.as_ref()?;
    let (count, of) = (letters.total, letters.total + facts.events.total);
    let severity = severity(share(count, of), REFUSED.0, REFUSED.1).filter(|_| count >= ENOUGH)?;
    let clocks = match letters.future + letters.ancient {
        0 => String::new(),
        _ => format!("; {} lie ahead of the server's clock and {} before 1970", letters.future, letters.ancient),
    };
    let seen = format!(
        "{count} of {of} events ({}%) were refused{clocks}; the last one since {}",
        percent(count, of),
        letters.reason
    );
    let remedy = if letters.future + letters.ancient > count / 2 {
        "set the clocks of clients, and send `timestamp` as RFC 3339 or in Unix seconds, not milliseconds"
    } else {
        "GET /v1/dead-letters says why; put right what sends them, then POST /v1/dead-letters:replay"
    };
    let code = if letters.future + letters.ancient > count / 2 { "clocks_refused" } else { "events_refused" };
    Some(Finding::new(code, severity, (count, of)).seen("the dead letters", seen).remedy(remedy))
}
