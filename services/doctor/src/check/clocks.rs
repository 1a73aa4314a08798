//! When things happened, as clients say.

use super::{ENOUGH, LAKE};
use crate::facts::Facts;
use crate::finding::{Finding, Severity, percent, severity, share};

/// Shares of events that happened after they arrived.
const AHEAD: (f64, f64) = (0.1, 2.0);
/// The share of events that arrive late by one and the same number of half hours.
const ZONE: f64 = 0.5;
/// Shares of events that are older than any log of clicks.
const ANCIENT: (f64, f64) = (0.05, 0.5);
/// The share of events that are of one minute, and how many events that has to be.
const AT_ONCE: (f64, u64) = (0.9, 100);

pub fn ahead(facts: &Facts) -> Option<Finding> {
    let clocks = &facts.events.clocks;
    let (count, of) = (clocks.ahead, facts.events.total);
    let severity = severity(share(count, of), AHEAD.0, AHEAD.1).filter(|_| count >= ENOUGH)?;
    let seen = format!(
        "{count} of {of} events ({}%) happened after they arrived, up to {} s",
        percent(count, of),
        clocks.ahead_ms_max / 1_000
    );
    let remedy =
        "set the clocks of clients (or of this server), or leave `timestamp` out: then it is the time of arrival";
    Some(Finding::new("clocks_ahead", severity, (count, of)).seen(LAKE, seen).remedy(remedy))
}

/// A local time that is sent as UTC is late by a time zone, to the minute.
pub fn zone(facts: &Facts) -> Option<Finding> {
    let clocks = &facts.events.clocks;
    let (zone, count) = clocks.by_zone.iter().copied().enumerate().skip(1).max_by_key(|(_, count)| *count)?;
    if count < ENOUGH || share(count, clocks.own) < ZONE {
        return None;
    }
    let seen = format!(
        "{count} of {} events ({}%) arrived {} hours after they happened, to two minutes",
        clocks.own,
        percent(count, clocks.own),
        zone as f64 / 2.0
    );
    let remedy = "send `timestamp` with its time zone (`2026-01-31T12:00:00+02:00`) or in Unix seconds: without one it is \
                  UTC";
    let finding = Finding::new("clocks_behind", Severity::Warning, (count, clocks.own));
    Some(finding.seen(LAKE, seen).remedy(remedy))
}

pub fn ancient(facts: &Facts) -> Option<Finding> {
    let (count, of) = (facts.events.clocks.ancient, facts.events.total);
    let severity = severity(share(count, of), ANCIENT.0, ANCIENT.1).filter(|_| count >= ENOUGH)?;
    let seen = format!("{count} of {of} events ({}%) are of before 1990", percent(count, of));
    let remedy = "send `timestamp` as RFC 3339 or in Unix seconds; 0 is 1970, so leave it out where it is not known";
    Some(Finding::new("times_ancient", severity, (count, of)).seen(LAKE, seen).remedy(remedy))
}

pub fn at_once(facts: &Facts) -> Option<Finding> {
    let (count, of) = (facts.events.clocks.densest_minute, facts.events.total);
    if count < AT_ONCE.1 || share(count, of) < AT_ONCE.0 {
        return None;
    }
    let seen = format!("{count} of {of} events ({}%) are of one and the same minute", percent(count, of));
    let remedy = "nothing rises and nobody has a last event then: send `timestamp`, or name its column with \
                  `attune import events FILE --map timestamp=THEIRS`";
    Some(Finding::new("times_equal", Severity::Warning, (count, of)).seen(LAKE, seen).remedy(remedy))
}
