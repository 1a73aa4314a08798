//! The same reports, counted one event after another in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use attune_api::log::{Event, Exposure};
use attune_api::rest::Timestamp;
use serde_json::{Value, json};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// What counts: each event and list once, in the order in which they were appended, without those who are forgotten.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub events: Vec<(String, Event)>,
    pub lists: Vec<(String, Exposure)>,
}

/// What the questions are about.
pub struct Asked<'a> {
    pub from_ms: i64,
    pub to_ms: i64,
    /// Whether an event counts.
    pub counts: &'a dyn Fn(&Event) -> bool,
}

fn day(ms: i64) -> Value {
    Timestamp(ms.div_euclid(DAY_MS) * DAY_MS).text().into()
}

fn text(value: Option<&String>) -> Value {
    value.map_or(Value::Null, |text| text.as_str().into())
}

impl Facts {
    fn asked<'f>(&'f self, asked: &'f Asked<'_>) -> impl Iterator<Item = &'f (String, Event)> {
        let within = |(_, event): &&(String, Event)| (asked.from_ms..asked.to_ms).contains(&event.time_ms);
        self.events.iter().filter(within).filter(|(_, event)| (asked.counts)(event))
    }

    /// Each person's events, in order.
    fn by_person<'f>(&'f self, asked: &'f Asked<'_>) -> BTreeMap<&'f str, Vec<&'f Event>> {
        let mut people: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        self.asked(asked).for_each(|(subject, event)| people.entry(subject).or_default().push(event));
        people.values_mut().for_each(|events| events.sort_by_key(|event| event.time_ms));
        people
    }

    /// By day and surface.
    pub fn timeseries(&self, asked: &Asked<'_>) -> Vec<Vec<Value>> {
        let mut counts: BTreeMap<(i64, Option<&String>), u64> = BTreeMap::new();
        for (_, event) in self.asked(asked) {
            *counts.entry((event.time_ms.div_euclid(DAY_MS), event.surface.as_ref())).or_default() += 1;
        }
        counts.into_iter().map(|((at, surface), count)| vec![day(at * DAY_MS), text(surface), count.into()]).collect()
    }

    /// By type.
    pub fn active_users(&self, asked: &Asked<'_>) -> Vec<Vec<Value>> {
        let mut people: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (subject, event) in self.asked(asked) {
            people.entry(&event.r#type).or_default().insert(subject);
        }
        people.into_iter().map(|(name, people)| vec![name.into(), people.len().into()]).collect()
    }

    /// The first `k` of each surface.
    pub fn top_items(&self, asked: &Asked<'_>, k: usize) -> Vec<Vec<Value>> {
        type Items<'f> = BTreeMap<&'f str, (u64, BTreeSet<&'f str>)>;
        let mut items: BTreeMap<Option<&String>, Items<'_>> = BTreeMap::new();
        for (subject, event) in self.asked(asked) {
            let Some(item) = &event.item_id else { continue };
            let (count, people) = items.entry(event.surface.as_ref()).or_default().entry(item).or_default();
            *count += 1;
            people.insert(subject);
        }
        let mut rows = Vec::new();
        for (surface, items) in items {
            let mut items: Vec<_> = items.into_iter().collect();
            items.sort_by_key(|(item, (count, _))| (std::cmp::Reverse(*count), *item));
            rows.extend(
                items
                    .into_iter()
                    .take(k)
                    .map(|(item, (count, people))| vec![text(surface), item.into(), count.into(), people.len().into()]),
            );
        }
        rows
    }

    /// By the day on which they began.
    pub fn sessions(&self, asked: &Asked<'_>) -> Vec<Vec<Value>> {
        let mut days: BTreeMap<i64, Vec<(&str, usize, f64)>> = BTreeMap::new();
        for (subject, events) in self.by_person(asked) {
            for session in events.chunk_by(|one, next| next.time_ms - one.time_ms <= 30 * 60 * 1_000) {
                let (first, last) = (session[0].time_ms, session[session.len() - 1].time_ms);
                let seconds = (last - first) as f64 / 1e3;
                days.entry(first.div_euclid(DAY_MS)).or_default().push((subject, session.len(), seconds));
            }
        }
        let row = |(at, sessions): (i64, Vec<(&str, usize, f64)>)| {
            let n = sessions.len() as f64;
            let people: BTreeSet<&str> = sessions.iter().map(|(subject, ..)| *subject).collect();
            let events = sessions.iter().map(|(_, events, _)| *events as f64).sum::<f64>() / n;
            let seconds = sessions.iter().map(|(.., seconds)| seconds).sum::<f64>() / n;
            vec![day(at * DAY_MS), sessions.len().into(), people.len().into(), json!(events), json!(seconds)]
        };
        days.into_iter().map(row).collect()
    }

    /// Of all surfaces.
    pub fn funnel(&self, asked: &Asked<'_>, steps: &[&str]) -> Vec<Vec<Value>> {
        let mut users = vec![0_u64; steps.len()];
        for events in self.by_person(asked).values() {
            let mut taken = 0;
            for event in events {
                if taken < steps.len() && event.r#type == steps[taken] {
                    users[taken] += 1;
                    taken += 1;
                }
            }
        }
        let share = |part: u64, of: u64| if of > 0 { json!(part as f64 / of as f64) } else { Value::Null };
        let row = |step: usize| {
            let (first, previous) = (users[0], users[step.saturating_sub(1)]);
            let shares = [share(users[step], first), share(users[step], previous)];
            [vec![json!(step + 1), steps[step].into(), users[step].into()], shares.to_vec()].concat()
        };
        (0..steps.len()).map(row).collect()
    }

    /// The list that an event names: one with something on it, of no earlier than a day before.
    fn list(&self, event: &Event, asked: &Asked<'_>) -> Option<&(String, Exposure)> {
        let id = event.request_id.as_ref()?;
        let shown = self.lists.iter().find(|(_, list)| list.request_id == *id)?;
        let list = &shown.1;
        let is_known = (asked.from_ms - DAY_MS..asked.to_ms).contains(&list.time_ms) && !list.items.is_empty();
        is_known.then_some(shown)
    }

    fn lists_within(&self, asked: &Asked<'_>) -> impl Iterator<Item = &(String, Exposure)> {
        let range = asked.from_ms..asked.to_ms;
        self.lists.iter().filter(move |(_, list)| range.contains(&list.time_ms))
    }

    /// By surface; the question's filter is none.
    pub fn ctr(&self, asked: &Asked<'_>) -> Vec<Vec<Value>> {
        let mut surfaces: BTreeMap<Option<String>, (u64, u64, u64)> = BTreeMap::new();
        for (_, event) in self.asked(asked) {
            let of_list = || self.list(event, asked).and_then(|(_, list)| list.surface.clone());
            let surface = event.surface.clone().or_else(of_list);
            match event.r#type.as_str() {
                "click" => surfaces.entry(surface).or_default().0 += 1,
                "impression" => surfaces.entry(surface).or_default().1 += 1,
                _ => {}
            }
        }
        for (_, list) in self.lists_within(asked).filter(|(_, list)| !list.items.is_empty()) {
            surfaces.entry(list.surface.clone()).or_default().2 += list.items.len() as u64;
        }
        let row = |(surface, (clicks, impressions, exposures)): (Option<String>, (u64, u64, u64))| {
            let shown = if impressions > 0 { impressions } else { exposures };
            let ctr = if shown > 0 { json!(clicks as f64 / shown as f64) } else { Value::Null };
            vec![text(surface.as_ref()), clicks.into(), impressions.into(), exposures.into(), shown.into(), ctr]
        };
        surfaces.into_iter().map(row).collect()
    }

    /// Without what statistics make of it.
    pub fn experiments(&self, asked: &Asked<'_>) -> Vec<Vec<Value>> {
        type Arm = (String, String);
        let mut arms: BTreeMap<Arm, BTreeMap<&str, (u64, u64)>> = BTreeMap::new();
        let arm = |list: &Exposure| list.experiment.as_ref().map(|arm| (arm.experiment.clone(), arm.arm.clone()));
        for (subject, list) in self.lists_within(asked).filter(|(_, list)| !list.items.is_empty()) {
            let Some(arm) = arm(list) else { continue };
            arms.entry(arm).or_default().entry(subject).or_default().0 += list.items.len() as u64;
        }
        for (_, event) in self.asked(asked).filter(|(_, event)| event.r#type == "click") {
            // A click counts for whom the list was shown to.
            let Some((subject, list)) = self.list(event, asked) else { continue };
            let Some(arm) = arm(list) else { continue };
            if let Some(person) = arms.get_mut(&arm).and_then(|people| people.get_mut(subject.as_str())) {
                person.1 += 1;
            }
        }
        let row = |((experiment, arm), people): (Arm, BTreeMap<&str, (u64, u64)>)| {
            let exposures: u64 = people.values().map(|(exposures, _)| exposures).sum();
            let clicks: u64 = people.values().map(|(_, clicks)| clicks).sum();
            let converted = people.values().filter(|(_, clicks)| *clicks > 0).count();
            let ctr = json!(clicks as f64 / exposures as f64);
            let users = people.len();
            vec![json!(experiment), json!(arm), json!(users), json!(exposures), json!(clicks), ctr, json!(converted)]
        };
        arms.into_iter().map(row).collect()
    }
}
