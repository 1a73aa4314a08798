//! Which event falls into which part.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::protocol::{Protocol, Rule};
use super::seeded::Draws;
use crate::data::{Event, EventLog, Worth, WorthError};

/// Events of a log in three parts, by their place; each part rises. Events of kinds that weigh 0 are in none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Split {
    /// What models are trained with.
    pub train: Vec<u32>,
    /// What settings are chosen with; empty where the protocol has none.
    pub validation: Vec<u32>,
    /// What figures are measured with.
    pub test: Vec<u32>,
}

/// Why a log cannot be split.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SplitError {
    /// The worth of events makes no sense.
    #[error(transparent)]
    Worth(#[from] WorthError),
    /// A part without events.
    #[error("{protocol} leaves no event for {part}: {needed}")]
    Empty {
        /// Name of the protocol.
        protocol: &'static str,
        /// `train`, `validation` or `test`.
        part: &'static str,
        /// What would help.
        needed: &'static str,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    None,
    Train,
    Validation,
    Test,
}

/// Streams of a seed: users have their own row, choices among all have these.
const USERS_STREAM: u64 = u64::MAX;
const ITEMS_STREAM: u64 = u64::MAX - 1;

impl Protocol {
    /// Divides `log`, always in the same way for one seed. A user's random split depends on his row and his events alone.
    ///
    /// # Errors
    /// [`SplitError`] when train or test would be empty.
    pub fn split(&self, log: &EventLog, worth: &Worth, seed: u64) -> Result<Split, SplitError> {
        let worths = worth.by_kind(log)?;
        let counted: Vec<u32> = (0..log.events().len() as u32)
            .filter(|&place| worths[usize::from(log.event(place).kind)].weight > 0.0)
            .collect();
        let mut parts = vec![Part::None; log.events().len()];
        counted.iter().for_each(|&place| parts[place as usize] = Part::Train);
        match self.rule {
            Rule::Stratified { train_share } => {
                let sizes = |events: usize| (0, events - (train_share * events as f64).round_ties_even() as usize);
                shuffle_by_user(log, &counted, seed, sizes, &mut parts);
            }
            Rule::Tenth => {
                let tenth = |events| (events as f64 / 10.0).round_ties_even() as usize;
                shuffle_by_user(log, &counted, seed, |events| (0, at_least_one(tenth(events), events)), &mut parts);
            }
            Rule::TwoTenths { .. } => shuffle_by_user(log, &counted, seed, two_tenths, &mut parts),
            Rule::CutTenths => shuffle_by_user(log, &counted, seed, cut_tenths, &mut parts),
            Rule::LeaveLastOut => leave_last_out(log, &counted, &mut parts),
            Rule::GlobalTime { quantile } => cut_time(log, &counted, quantile, &mut parts),
            Rule::UsersCold { share, .. } => {
                let draws = Draws::new(seed, USERS_STREAM);
                hold_out(log, &counted, (share, log.users(), draws), |event| event.user, &mut parts);
            }
            Rule::ItemsCold { share } => {
                let draws = Draws::new(seed, ITEMS_STREAM);
                hold_out(log, &counted, (share, log.items(), draws), |event| event.item, &mut parts);
            }
        }
        let all = |part| (0..parts.len() as u32).filter(|&place| parts[place as usize] == part).collect::<Vec<_>>();
        let split = Split { train: all(Part::Train), validation: all(Part::Validation), test: all(Part::Test) };
        self.check(split)
    }

    fn check(&self, split: Split) -> Result<Split, SplitError> {
        let empty = |part| {
            let needed = "give more events, of kinds that weigh more than 0, over more users and times";
            Err(SplitError::Empty { protocol: self.name, part, needed })
        };
        match () {
            () if split.train.is_empty() => empty("train"),
            () if split.test.is_empty() => empty("test"),
            () => Ok(split),
        }
    }
}

/// The `counted` events of each user, in file order.
fn by_user(log: &EventLog, counted: &[u32]) -> Vec<Vec<u32>> {
    let mut users = vec![Vec::new(); log.users()];
    counted.iter().for_each(|&place| users[log.event(place).user as usize].push(place));
    users
}

/// The size of a held part: `held`, or 1 where that is 0 and train, with `events` before, keeps at least one.
fn at_least_one(held: usize, events: usize) -> usize {
    held + usize::from(held == 0 && events > 1)
}

/// RecBole's sizes of validation and test.
fn two_tenths(events: usize) -> (usize, usize) {
    let test = at_least_one(events / 10, events);
    (at_least_one(events / 10, events - test), test)
}

/// Sizes of validation and test where events are cut after eight and nine tenths.
fn cut_tenths(events: usize) -> (usize, usize) {
    let [first, second] = [8, 9].map(|tenths| (tenths * events / 10).max(events.min(1)));
    (second - first, events - second)
}

/// Shuffles each user's events; `sizes` says how many at the end of so many validate and test.
fn shuffle_by_user(
    log: &EventLog,
    counted: &[u32],
    seed: u64,
    sizes: impl Fn(usize) -> (usize, usize),
    parts: &mut [Part],
) {
    for (user, mut events) in by_user(log, counted).into_iter().enumerate() {
        Draws::new(seed, user as u64).shuffle(&mut events);
        let (validation, test) = sizes(events.len());
        let tested = events.split_off(events.len() - test);
        let validated = events.split_off(events.len() - validation);
        tested.into_iter().for_each(|place| parts[place as usize] = Part::Test);
        validated.into_iter().for_each(|place| parts[place as usize] = Part::Validation);
    }
}

fn leave_last_out(log: &EventLog, counted: &[u32], parts: &mut [Part]) {
    for mut events in by_user(log, counted) {
        events.sort_by_key(|&place| (log.event(place).time, place));
        if let [_, .., last] = events[..] {
            parts[last as usize] = Part::Test;
        }
        if let [_, .., second_to_last, _] = events[..] {
            parts[second_to_last as usize] = Part::Validation;
        }
    }
}

fn cut_time(log: &EventLog, counted: &[u32], quantile: f64, parts: &mut [Part]) {
    let mut times: Vec<i64> = counted.iter().map(|&place| log.event(place).time).collect();
    times.sort_unstable();
    let Some(&cut) = times.get((quantile * times.len() as f64) as usize) else { return };
    let after = counted.iter().filter(|&&place| log.event(place).time >= cut);
    after.for_each(|&place| parts[place as usize] = Part::Test);
}

/// All events of a random share of the users or items that have any, whichever `row` names, test.
fn hold_out(
    log: &EventLog,
    counted: &[u32],
    (share, rows, mut draws): (f64, usize, Draws),
    row: impl Fn(&Event) -> u32,
    parts: &mut [Part],
) {
    let mut present = vec![false; rows];
    counted.iter().for_each(|&place| present[row(log.event(place)) as usize] = true);
    let mut drawn: Vec<usize> = (0..rows).filter(|&row| present[row]).collect();
    draws.shuffle(&mut drawn);
    drawn.truncate(((share * drawn.len() as f64).round() as usize).max(1));
    let mut held = vec![false; rows];
    drawn.into_iter().for_each(|row| held[row] = true);
    let tested = counted.iter().filter(|&&place| held[row(log.event(place)) as usize]);
    tested.for_each(|&place| parts[place as usize] = Part::Test);
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
