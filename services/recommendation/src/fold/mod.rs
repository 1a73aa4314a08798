//! What follows from the log: users with what they did last and have seen, what is popular and rising, what goes with what,
//! what became of what was shown.
//!
//! [`State::apply`] is the fold's step: a state and a record make the next state, with no clock and no store, so that a
//! replay of the same records in the same order makes the same state, bit for bit. Records of one subject keep their
//! order in the log; what those of different subjects add commutes, except where a bound cuts something off.
//!
//! **One effect per subject and event id**: the ids of a user's last [`IDS_MAX`] events are kept, and one that comes again
//! within them changes nothing. Whatever is kept has a bound; what goes at a bound is said where the bound is.

mod digest;
mod ids;
mod names;
mod stats;
mod user;
mod visits;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::{mem, thread};

use attune_api::log::{self, Record};
use attune_ranking::data::{Event, KindWorth, Worth};
use attune_ranking::retrieve::Trends;
use attune_store::relational::Subject;
use serde::{Deserialize, Serialize};

use crate::RecommendationConfig;

use stats::NOWHERE;

pub use ids::IDS_MAX;
pub use names::{Names, hash_of};
pub use stats::{Counts, Rates, Stats};
pub use user::{Deed, EVENTS_MAX, SEEN_MAX, User};
pub use visits::{Visits, VisitsView};

/// Types of events, and surfaces, that are told apart; the rest count as one more.
pub const WORDS_MAX: usize = 250;
/// Joins of anonymous subjects that are remembered; the rest is found by who asks for the person.
const ALIASES_MAX: usize = 1_000_000;
/// Subjects that are remembered as forgotten; what the log says of one later counts no more.
const FORGOTTEN_MAX: usize = 1_000_000;
/// Of the users beyond the bound, and one in so many more go at once.
const EVICTED_SHARE: usize = 20;

/// Types of events that say what became of what was shown, besides conversions.
const IMPRESSION: &str = "impression";
const CLICK: &str = "click";

/// A subject as a number.
pub type SubjectKey = u128;

/// How records count: what a state is made by, besides the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rules {
    worth: Worth,
    surfaces: BTreeMap<String, Worth>,
    seen: Vec<String>,
    conversions: Vec<String>,
    trend_half_life_s: f64,
    users_max: usize,
    items_max: usize,
}

/// Everything that was folded; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    items: Names,
    kinds: Names,
    surfaces: Names,
    users: HashMap<SubjectKey, User>,
    /// From an anonymous subject to whose it is.
    aliases: HashMap<SubjectKey, SubjectKey>,
    /// By row, the sum of weights.
    popular: Vec<f64>,
    trends: Trends,
    visits: Visits,
    /// What goes with what that is not counted yet: an item, and those that were liked before it. Empty but within a step.
    #[serde(skip)]
    noted: Vec<(u32, Vec<u32>)>,
    stats: Stats,
    /// Who is nobody any more.
    forgotten: HashSet<SubjectKey>,
    /// By partition, where to go on.
    next: BTreeMap<u32, u64>,
    /// Events that had an effect.
    events: u64,
}

/// What a record did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is not about what is kept here, or was seen before.
    Nothing,
    /// It counts.
    Counted,
    /// A list was shown.
    Shown,
    /// Somebody is forgotten.
    Forgotten,
    /// An item has changed.
    Item(String),
}

impl Rules {
    /// As configured; `worth` is what events are worth where their surface says nothing else.
    pub fn new(config: &RecommendationConfig, worth: Worth) -> Self {
        Self {
            worth,
            surfaces: config.surfaces.clone(),
            seen: config.seen.clone(),
            conversions: config.conversions.clone(),
            trend_half_life_s: config.trend_half_life_h * 3_600.0,
            users_max: config.users_max,
            items_max: config.items_max,
        }
    }

    /// Changes whenever the same log would be folded into something else.
    pub fn fingerprint(&self) -> u64 {
        hash_of(&serde_json::to_string(self).expect("plain data"))
    }

    fn worth(&self, kind: &str, surface: Option<&str>) -> &KindWorth {
        surface.and_then(|surface| self.surfaces.get(surface)).unwrap_or(&self.worth).of(kind)
    }

    /// Whether an item is seen by such an event.
    pub fn is_seen(&self, kind: &str) -> bool {
        self.seen.iter().any(|seen| seen == kind)
    }

    /// What an event with an item is worth at a time in Unix seconds.
    pub fn weigh(&self, kind: &str, surface: Option<&str>, value: Option<f32>, time: i64, now: i64) -> f32 {
        let event = Event { user: 0, item: 0, kind: 0, value: value.map(Into::into), time };
        let weight = self.worth(kind, surface).weigh(&event, now);
        if weight.is_finite() { weight } else { 0.0 }
    }
}

impl State {
    /// Before the first record.
    pub fn new(rules: &Rules) -> Self {
        Self::of(Names::default(), rules)
    }

    /// The same where items have rows already.
    pub fn of(items: Names, rules: &Rules) -> Self {
        Self {
            items,
            kinds: Names::default(),
            surfaces: Names::default(),
            users: HashMap::new(),
            aliases: HashMap::new(),
            popular: Vec::new(),
            trends: Trends::new(rules.trend_half_life_s).expect("the configuration was checked"),
            visits: Visits::default(),
            noted: Vec::new(),
            stats: Stats::default(),
            forgotten: HashSet::new(),
            next: BTreeMap::new(),
            events: 0,
        }
    }

    /// The same without what each user did: for who asks what everybody did alone.
    #[must_use]
    pub fn without_users(self) -> Self {
        Self { users: HashMap::new(), ..self }
    }

    /// Where each partition goes on.
    pub fn next(&self) -> &BTreeMap<u32, u64> {
        &self.next
    }

    /// Everything before these places has been applied.
    pub fn advance(&mut self, positions: impl IntoIterator<Item = (u32, u64)>) {
        for (partition, offset) in positions {
            let next = self.next.entry(partition).or_default();
            *next = offset.max(*next);
        }
    }

    /// Whether the event of this place has been applied, or will never come.
    pub fn has_consumed(&self, partition: u32, offset: u64) -> bool {
        self.next.get(&partition).is_some_and(|next| offset < *next)
    }

    /// Events that had an effect so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Users there are.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Items that were ever heard of, and their rows.
    pub fn items(&self) -> &Names {
        &self.items
    }

    /// The row of an item, a new one where it has none; `None` where there is no room for more.
    pub fn row(&mut self, item_id: &str, rules: &Rules) -> Option<u32> {
        self.items.row_or_new(item_id, rules.items_max)
    }

    /// What everybody likes, by row.
    pub fn popular(&self) -> Vec<f32> {
        self.popular.iter().map(|sum| *sum as f32).collect()
    }

    /// What is rising.
    pub fn trends(&self) -> &Trends {
        &self.trends
    }

    /// What goes with what, as it is now.
    pub fn visits(&self) -> VisitsView {
        self.visits.view()
    }

    /// What became of what was shown.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The number of a surface that something happened on.
    pub fn surface_number(&self, name: &str) -> Option<u16> {
        self.surfaces.row(name).map(|surface| surface as u16)
    }

    /// What is known of somebody.
    pub fn user(&self, subject: SubjectKey) -> Option<&User> {
        self.users.get(&self.owner(subject))
    }

    /// The type of an event, by its number.
    pub fn kind(&self, deed: &Deed) -> &str {
        self.kinds.get(deed.kind.into()).unwrap_or("other")
    }

    /// Where an event was, if it was said.
    pub fn surface(&self, deed: &Deed) -> Option<&str> {
        self.surfaces.get(deed.surface.into())
    }

    /// What a kept event is worth now.
    pub fn weigh(&self, deed: &Deed, rules: &Rules, now: i64) -> f32 {
        match self.kinds.get(deed.kind.into()) {
            Some(kind) => rules.weigh(kind, self.surface(deed), deed.value(), deed.time(), now),
            None => deed.weight,
        }
    }

    /// Whom an anonymous subject has turned out to be; itself otherwise.
    fn owner(&self, subject: SubjectKey) -> SubjectKey {
        self.aliases.get(&subject).copied().unwrap_or(subject)
    }

    /// The step of the fold.
    pub fn apply(&mut self, subject: &str, record: Record, rules: &Rules) -> Applied {
        let applied = self.step(subject, record, rules);
        self.noted.drain(..).for_each(|(row, before)| self.visits.visit(row, &before));
        applied
    }

    /// Takes as many steps as `some` does, again and again for as long as it says that there are more. What goes with what,
    /// which is half of the work and which no step looks at, is counted beside the next of them, in the same order.
    pub fn fold(&mut self, mut some: impl FnMut(&mut Self) -> bool) {
        let mut is_more = true;
        while is_more || !self.noted.is_empty() {
            let (mut visits, mut noted) = (mem::take(&mut self.visits), mem::take(&mut self.noted));
            thread::scope(|scope| {
                let count = || noted.drain(..).for_each(|(row, before)| visits.visit(row, &before));
                let counting = scope.spawn(count);
                is_more = is_more && some(self);
                counting.join().expect("counting does not panic");
            });
            self.visits = visits;
        }
    }

    /// A step that leaves what goes with what to whoever takes it.
    pub fn step(&mut self, subject: &str, record: Record, rules: &Rules) -> Applied {
        match (record, key_of(subject)) {
            (Record::Exposure(list), _) => self.show(&list, rules),
            (_, Some(subject)) if self.forgotten.contains(&subject) => Applied::Nothing,
            (Record::Event(event), Some(subject)) => self.event(self.owner(subject), &event, rules),
            (Record::Join { from }, Some(to)) => match key_of(&from) {
                Some(from) if from != to => self.join(from, self.owner(to)),
                _ => Applied::Nothing,
            },
            (Record::Tombstone, Some(subject)) => self.forget(subject),
            (Record::Item { item_id }, _) => Applied::Item(item_id),
            _ => Applied::Nothing,
        }
    }

    /// The same event in a user's own view, where it has not been consumed: nothing that others see changes.
    pub fn preview(&self, user: &mut User, event: &log::Event, rules: &Rules) {
        let Some(item) = event.item_id.as_deref().and_then(|item| self.items.row(item)) else { return };
        let kind = self.kinds.row(&event.r#type).map_or(u16::MAX, |kind| kind as u16);
        let surface = event.surface.as_deref().and_then(|surface| self.surfaces.row(surface));
        let deed = deed_of(event, item, kind, surface);
        if event.event_id.is_empty() || user.remember(hash_of(&event.event_id)) {
            let weight = rules.weigh(&event.r#type, event.surface.as_deref(), deed.value(), deed.time(), deed.time());
            user.did(deed.worth(weight), rules.is_seen(&event.r#type));
        }
    }

    fn event(&mut self, subject: SubjectKey, event: &log::Event, rules: &Rules) -> Applied {
        let id = hash_of(&event.event_id);
        let user = self.users.entry(subject).or_default();
        if !event.event_id.is_empty() && !user.remember(id) {
            return Applied::Nothing;
        }
        self.events += 1;
        let row = event.item_id.as_deref().and_then(|item| self.items.row_or_new(item, rules.items_max));
        if let Some(row) = row {
            self.count(subject, row, event, rules);
        }
        self.evict(rules.users_max);
        Applied::Counted
    }

    /// A list is one effect, whoever it was shown to.
    fn show(&mut self, list: &log::Exposure, rules: &Rules) -> Applied {
        let surface = list.surface.as_deref().and_then(|name| self.surfaces.row_or_new(name, WORDS_MAX));
        let surface = surface.map_or(NOWHERE, |surface| surface as u16);
        let row = |item: &log::Shown| self.items.row_or_new(&item.item_id, rules.items_max);
        let rows: Vec<u32> = list.items.iter().filter_map(row).collect();
        let is_new = self.stats.show(hash_of(&list.request_id), surface, rows.into_iter());
        if is_new { Applied::Shown } else { Applied::Nothing }
    }

    /// What an event says of the item as something that was shown.
    fn follow_up(&mut self, row: u32, surface: Option<u32>, event: &log::Event, rules: &Rules) {
        let kind = event.r#type.as_str();
        let counts = Counts {
            exposures: 0,
            impressions: u64::from(kind == IMPRESSION),
            clicks: u64::from(kind == CLICK),
            conversions: u64::from(rules.conversions.iter().any(|conversion| conversion == kind)),
        };
        if counts == Counts::default() {
            return;
        }
        let list = event.request_id.as_deref().and_then(|list| self.stats.surface_of(hash_of(list)));
        self.stats.count(row, surface.map(|surface| surface as u16).or(list).unwrap_or(NOWHERE), counts);
    }

    fn count(&mut self, subject: SubjectKey, row: u32, event: &log::Event, rules: &Rules) {
        let kind = self.kinds.row_or_new(&event.r#type, WORDS_MAX).map_or(u16::MAX, |kind| kind as u16);
        let surface = event.surface.as_deref().and_then(|name| self.surfaces.row_or_new(name, WORDS_MAX));
        self.follow_up(row, surface, event, rules);
        let deed = deed_of(event, row, kind, surface);
        let weight = rules.weigh(&event.r#type, event.surface.as_deref(), deed.value(), deed.time(), deed.time());
        let user = self.users.entry(subject).or_default();
        if weight > 0.0 {
            self.noted.push((row, user.liked_before(row)));
        }
        if weight != 0.0 {
            let row = row as usize;
            self.popular.resize(self.popular.len().max(row + 1), 0.0);
            self.popular[row] += f64::from(weight);
            let received = event.received_ms.max(event.time_ms).div_euclid(1_000);
            // A finite weight is all that it asks for.
            let _counted = self.trends.add(deed.row, weight, deed.time(), received);
        }
        user.did(deed.worth(weight), rules.is_seen(&event.r#type));
    }

    /// What was one person's is the other's from here on.
    fn join(&mut self, from: SubjectKey, to: SubjectKey) -> Applied {
        if let Some(anonymous) = self.users.remove(&from) {
            self.users.entry(to).or_default().merge(anonymous);
        }
        if self.aliases.len() < ALIASES_MAX {
            self.aliases.values_mut().filter(|owner| **owner == from).for_each(|owner| *owner = to);
            self.aliases.insert(from, to);
        }
        Applied::Counted
    }

    /// Nothing that is kept of a person stays, nor what his kept events added to what is popular and rising. What his
    /// items have in common is a count over all users, and keeps no person apart.
    fn forget(&mut self, subject: SubjectKey) -> Applied {
        self.aliases.retain(|from, to| *from != subject && *to != subject);
        if self.forgotten.len() < FORGOTTEN_MAX {
            self.forgotten.insert(subject);
        }
        let Some(user) = self.users.remove(&subject) else { return Applied::Nothing };
        for deed in user.deeds().iter().filter(|deed| deed.weight != 0.0) {
            if let Some(sum) = self.popular.get_mut(deed.row as usize) {
                *sum -= f64::from(deed.weight);
            }
            let _counted = self.trends.add(deed.row, -deed.weight, deed.time(), deed.time());
        }
        Applied::Forgotten
    }

    /// Forgets who did nothing for longest, some more than need be, so that it does not happen with every event.
    fn evict(&mut self, users_max: usize) {
        if self.users.len() <= users_max {
            return;
        }
        let mut last: Vec<(i64, SubjectKey)> = self.users.iter().map(|(key, user)| (user.last(), *key)).collect();
        let going = last.len() - users_max + users_max / EVICTED_SHARE;
        let going = going.min(last.len() - 1);
        last.select_nth_unstable(going);
        for (_, key) in &last[..going] {
            self.users.remove(key);
        }
    }
}

fn deed_of(event: &log::Event, row: u32, kind: u16, surface: Option<u32>) -> Deed {
    // A clock that is ahead does not put an event before those still to come.
    let time_ms = if event.received_ms > 0 { event.time_ms.min(event.received_ms) } else { event.time_ms };
    let (surface, value) = (surface.map_or(u16::MAX, |surface| surface as u16), event.value.map(|value| value as f32));
    Deed::new(row, kind, surface, value, time_ms.div_euclid(1_000), hash_of(&event.event_id))
}

/// A subject of the log as a number; `None` where the records are about something else than a person.
pub fn key_of(subject: &str) -> Option<SubjectKey> {
    subject.parse::<Subject>().ok()?;
    u128::from_str_radix(subject, 16).ok()
}
