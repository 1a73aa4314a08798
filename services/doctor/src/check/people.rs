//! Whose events they are.

use super::{ENOUGH, LAKE};
use crate::facts::Facts;
use crate::finding::{Finding, Severity, percent, severity, share};

/// Shares of all events that are one person's.
const BUSIEST: (f64, f64) = (0.2, 0.5);
/// The fewest events of which one person may not have so many.
const BUSIEST_EVENTS: u64 = 100;
/// The share of people who did one thing, and the fewest people of whom it is said.
const ONCE: (f64, u64) = (0.95, 100);

pub fn busiest(facts: &Facts) -> Option<Finding> {
    let ((subject, count), of) = (facts.events.busiest.clone()?, facts.events.total);
    let severity = severity(share(count, of), BUSIEST.0, BUSIEST.1).filter(|_| of >= BUSIEST_EVENTS)?;
    let seen = format!(
        "{count} of {of} events ({}%) are of one of {} people, {subject}: is it an id that many share?",
        percent(count, of),
        facts.events.subjects
    );
    let remedy = "send `anonymous_id`, one for each device, for people who are not signed in, and leave tests and machines \
                  out";
    Some(Finding::new("shared_id", severity, (count, of)).seen(LAKE, seen).remedy(remedy))
}

pub fn once(facts: &Facts) -> Option<Finding> {
    let (count, of) = (facts.events.subjects_once, facts.events.subjects);
    if of < ONCE.1 || share(count, of) < ONCE.0 || facts.events.total < ENOUGH {
        return None;
    }
    let seen = format!("{count} of {of} people ({}%) did one thing and never came again", percent(count, of));
    let remedy = "send an id that stays with a person or a device, not one of the page or the session; POST /v1/identify \
                  joins a device to a user";
    Some(Finding::new("ids_change", Severity::Error, (count, of)).seen(LAKE, seen).remedy(remedy))
}
