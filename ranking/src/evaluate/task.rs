//! A protocol applied to a log: who is asked about, what is known of him, what would be right.

use serde::{Deserialize, Serialize};

use super::protocol::{Protocol, Rule};
use super::seeded::Draws;
use super::split::{Split, SplitError};
use crate::data::{Event, EventLog, History, Interactions, KindWorth, Sign, Worth};

/// Which part of the split is asked about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The validation part: for choosing settings. Only training events are masked.
    Validation,
    /// The test part: for the figures that are reported.
    Test,
}

/// The stream of draws for the order of items that are ranked alone; users and items held out have the last two.
const ORDER_STREAM: u64 = u64::MAX - 2;

/// One user to rank for.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The user's row.
    pub user: u32,
    /// Whether he has events in training.
    pub known: bool,
    /// Items that would be right; they rise, and there is at least one.
    pub relevant: Vec<u32>,
    /// Items that are not ranked; they rise.
    pub masked: Vec<u32>,
    items: Vec<u32>,
    weights: Vec<f32>,
    times: Vec<i64>,
}

/// Users whose figures are averaged together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `all`, or what sets them apart.
    pub name: String,
    /// By rising row of the user.
    pub cases: Vec<Case>,
    /// Users asked about who have no relevant item that is ranked.
    pub skipped: usize,
}

/// All that a scorer is asked in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What is measured.
    pub protocol: &'static Protocol,
    /// Seed of the split.
    pub seed: u64,
    /// Which part is asked about.
    pub stage: Stage,
    /// Models may be trained with [`Split::train`] and nothing else; where the protocol fits models again for the test
    /// run, the validation part is in it.
    pub split: Split,
    /// Users, by group.
    pub groups: Vec<Group>,
    /// Items of the log.
    pub items: usize,
    /// The items that are ranked, if not all, in an order by chance: rows of a log are often in the order of popularity,
    /// and a scorer that knows nothing of new items must not be told by ties which of them will be liked.
    pub only: Option<Vec<u32>>,
    /// Users by attributes, where something is known of them.
    pub user_attributes: Option<Interactions>,
    /// For each item, how many users had it in training.
    pub seen_by: Vec<u32>,
    /// Users with events in training.
    pub users: usize,
}

impl Case {
    /// What the scorer is told of the user.
    pub fn history(&self) -> History<'_> {
        History { items: &self.items, weights: &self.weights, times: &self.times }
    }

    /// The same as if no more than the first `events` were known of the user; what is masked stays so.
    #[must_use]
    pub fn beginning(&self, events: usize) -> Self {
        let mut case = self.clone();
        case.items.truncate(events);
        case.weights.truncate(events);
        case.times.truncate(events);
        case
    }
}

impl Task {
    /// Splits `log` by `protocol` and `seed` and asks about `stage`. Histories are weighed by `worth` at the time of the
    /// latest event.
    ///
    /// # Errors
    /// [`SplitError`] when a part that is needed is empty.
    pub fn new(
        protocol: &'static Protocol,
        log: &EventLog,
        worth: &Worth,
        seed: u64,
        stage: Stage,
    ) -> Result<Self, SplitError> {
        let asked = (protocol, seed, stage);
        Self::of(Self::split(log, worth, asked)?, log, worth, asked)
    }

    /// The split alone, for who trains before anybody is asked about: what is known of all users takes nearly as much
    /// memory as the events.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn split(
        log: &EventLog,
        worth: &Worth,
        (protocol, seed, stage): (&'static Protocol, u64, Stage),
    ) -> Result<Split, SplitError> {
        let mut split = protocol.split(log, worth, seed)?;
        if stage == Stage::Validation && split.validation.is_empty() {
            let needed = "split the training events again, or use a protocol with a validation part";
            return Err(SplitError::Empty { protocol: protocol.name, part: "validation", needed });
        }
        if stage == Stage::Test && matches!(protocol.rule, Rule::TwoTenths { refit: true }) {
            split.train.append(&mut split.validation);
            split.train.sort_unstable();
        }
        Ok(split)
    }

    /// The task of a [split](Self::split()) that was made of the same.
    ///
    /// # Errors
    /// [`SplitError::Worth`] when the worth of events makes no sense.
    pub fn of(
        split: Split,
        log: &EventLog,
        worth: &Worth,
        (protocol, seed, stage): (&'static Protocol, u64, Stage),
    ) -> Result<Self, SplitError> {
        let (seen_by, users) = audience(log, &split.train);
        let builder = Builder { log, worths: worth.by_kind(log)?, now: log.latest().unwrap_or(0), protocol, stage };
        let groups = builder.groups(&split);
        let only = matches!(protocol.rule, Rule::ItemsCold { .. }).then(|| {
            let mut items = builder.items(&split.test);
            Draws::new(seed, ORDER_STREAM).shuffle(&mut items);
            items
        });
        let user_attributes = None;
        Ok(Self { protocol, seed, stage, split, groups, items: log.items(), only, user_attributes, seen_by, users })
    }

    /// The same, asked about `cases_max` of the users at most, evenly among all.
    #[must_use]
    pub fn thinned(mut self, cases_max: usize) -> Self {
        let cases: usize = self.groups.iter().map(|group| group.cases.len()).sum();
        let (every, mut place) = (cases.div_ceil(cases_max.max(1)).max(1), 0);
        for Group { cases, .. } in &mut self.groups {
            cases.retain(|_| {
                place += 1;
                (place - 1) % every == 0
            });
            cases.shrink_to_fit();
        }
        self
    }

    /// The same, with what is known of the users: a row for each user of the log.
    #[must_use]
    pub fn with_user_attributes(self, attributes: Interactions) -> Self {
        Self { user_attributes: Some(attributes), ..self }
    }

    /// The attributes of a user.
    pub(super) fn attributes_of(&self, user: u32) -> &[u32] {
        let known = self.user_attributes.as_ref().filter(|table| (user as usize) < table.rows());
        known.map_or(&[], |table| table.row(user as usize).0)
    }

    /// The item at `place` among all that are ranked.
    pub(super) fn ranked(&self, place: u32) -> u32 {
        self.only.as_ref().map_or(place, |only| only[place as usize])
    }
}

/// A user's events by part, in order of time.
#[derive(Clone, Default)]
struct Parts {
    train: Vec<u32>,
    validation: Vec<u32>,
    test: Vec<u32>,
}

struct Builder<'a> {
    log: &'a EventLog,
    worths: Vec<KindWorth>,
    now: i64,
    protocol: &'a Protocol,
    stage: Stage,
}

impl Builder<'_> {
    fn groups(&self, split: &Split) -> Vec<Group> {
        let users = self.by_user(split);
        match self.protocol.rule {
            Rule::UsersCold { histories, .. } => {
                let group = |&length: &usize| {
                    let asked = users.iter().enumerate().filter(move |(_, parts)| parts.test.len() > length);
                    let cases = asked.map(|(user, parts)| {
                        let (history, later) = parts.test.split_at(length);
                        self.case(user, history, &[], later, false)
                    });
                    group(format!("history {length}"), cases)
                };
                histories.iter().map(group).collect()
            }
            Rule::GlobalTime { .. } => {
                let part = |known: bool| self.cases(&users).filter(move |case| case.known == known);
                vec![group("with history".into(), part(true)), group("without history".into(), part(false))]
            }
            _ => vec![group("all".into(), self.cases(&users))],
        }
    }

    fn by_user(&self, split: &Split) -> Vec<Parts> {
        let mut users = vec![Parts::default(); self.log.users()];
        let user = |place: u32| self.log.event(place).user as usize;
        split.train.iter().for_each(|&place| users[user(place)].train.push(place));
        split.validation.iter().for_each(|&place| users[user(place)].validation.push(place));
        split.test.iter().for_each(|&place| users[user(place)].test.push(place));
        for parts in &mut users {
            for part in [&mut parts.train, &mut parts.validation, &mut parts.test] {
                part.sort_by_key(|&place| (self.log.event(place).time, place));
            }
        }
        users
    }

    /// One case for each user with events in the part that is asked about.
    fn cases(&self, users: &[Parts]) -> impl Iterator<Item = Case> {
        let asked = users.iter().enumerate().filter(|(_, parts)| match self.stage {
            Stage::Validation => !parts.validation.is_empty(),
            Stage::Test => !parts.test.is_empty(),
        });
        asked.map(|(user, parts)| {
            let known = !parts.train.is_empty();
            match (self.stage, self.protocol.rule) {
                (Stage::Validation, _) => self.case(user, &parts.train, &[], &parts.validation, known),
                (Stage::Test, Rule::LeaveLastOut) => {
                    let history = [&parts.train[..], &parts.validation].concat();
                    self.case(user, &history, &[], &parts.test, known)
                }
                (Stage::Test, _) => self.case(user, &parts.train, &parts.validation, &parts.test, known),
            }
        })
    }

    fn case(&self, user: usize, history: &[u32], masked: &[u32], asked: &[u32], known: bool) -> Case {
        let masked = self.items(history.iter().chain(masked));
        let kind = |event: &Event| &self.worths[usize::from(event.kind)];
        let liked = |place: u32| kind(self.log.event(place)).sign == Sign::Like;
        let mut relevant = self.items(asked.iter().filter(|&&place| liked(place)));
        relevant.retain(|item| masked.binary_search(item).is_err());
        let events = || history.iter().map(|&place| self.log.event(place));
        Case {
            user: user as u32,
            known,
            relevant,
            masked,
            items: events().map(|event| event.item).collect(),
            weights: events().map(|event| kind(event).weigh(event, self.now)).collect(),
            times: events().map(|event| event.time).collect(),
        }
    }

    /// The items of events, rising, each once.
    fn items<'b>(&self, places: impl IntoIterator<Item = &'b u32>) -> Vec<u32> {
        let mut items: Vec<u32> = places.into_iter().map(|&place| self.log.event(place).item).collect();
        items.sort_unstable();
        items.dedup();
        items
    }
}

/// For each item, how many users had it in some events; and how many users these are of.
fn audience(log: &EventLog, places: &[u32]) -> (Vec<u32>, usize) {
    let events = places.iter().map(|&place| log.event(place));
    let mut pairs: Vec<(u32, u32)> = events.map(|event| (event.user, event.item)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut seen_by = vec![0; log.items()];
    pairs.iter().for_each(|&(_, item)| seen_by[item as usize] += 1);
    (seen_by, pairs.chunk_by(|one, other| one.0 == other.0).count())
}

fn group(name: String, cases: impl Iterator<Item = Case>) -> Group {
    let (cases, unanswerable): (Vec<Case>, Vec<Case>) = cases.partition(|case| !case.relevant.is_empty());
    Group { name, cases, skipped: unanswerable.len() }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
