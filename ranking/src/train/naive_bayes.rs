//! For people of whom little is known: what is liked around their time, corrected by what a few events and attributes say.
//!
//! A model that reads taste from a long history has nothing to go by at its beginning: one event is a poor reason to put
//! its neighbours before all that everybody likes. Here the list of everybody is the prior, and each piece of evidence `e`
//! (an item of the history, an attribute of the person) raises an item by how much more often it is liked where `e` is
//! present, as naive Bayes does, with counts that are shrunk towards independence:
//!
//! ```text
//! score(j) = ln prior(j)  +  weight * sum over e of ln(1 + n(e, j) N / (shrinkage n(j)))
//! ```
//!
//! `n(e, j)` users have `e` and like `j`, `n(j)` of all `N` like `j`. This is ln((n(e, j) + shrinkage n(j) / N) / n(j)) less
//! what is the same for all items, so that pairs that nobody has need not be stored. Events of one person are not
//! independent, as the formula would have it: their weight is divided by a power of their number.
//!
//! The prior is popularity at the time of the person's latest event: events before it, each worth half after a half-life,
//! and a share of popularity as a whole. Without an event the time is not known, and popularity as a whole is the prior.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::error::{at_least, length, positive};
use super::parallel::{fill_rows, threads_or_all};
use super::sparse::{SparseParts, add_co_occurrences, keep_largest};
use crate::data::{History, Interactions, Scorer};

const SECONDS_PER_DAY: f64 = 86_400.0;
/// Events that an item without any counts as having, so that its logarithm is finite.
const PRIOR_LEAST: f64 = 0.1;

/// Settings of [`NaiveBayes`]; the default is what did best on users of MovieLens-100K who were held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NaiveBayesOptions {
    /// Days after which an event counts half in what is liked lately.
    pub half_life_days: f32,
    /// What an event counts in it however old.
    pub all_time: f32,
    /// Users' worth of belief that an item and a piece of evidence have nothing to do with each other.
    pub shrinkage: f32,
    /// Weight of the evidence of a single event.
    pub history_weight: f32,
    /// The power of the number of events that their weight is divided by: 1 takes the mean of what they say, 0 the sum.
    pub history_power: f32,
    /// Weight of an attribute, before any event; divided by the root of 1 and the number of events.
    pub attribute_weight: f32,
    /// Items that are kept for an item.
    pub neighbours_max: usize,
    /// Threads; 0 for as many as there are. The result does not depend on it.
    pub threads: usize,
}

impl Default for NaiveBayesOptions {
    fn default() -> Self {
        Self {
            half_life_days: 90.0,
            all_time: 0.05,
            shrinkage: 30.0,
            history_weight: 0.8,
            history_power: 0.75,
            attribute_weight: 0.5,
            neighbours_max: 2_000,
            threads: 0,
        }
    }
}

impl NaiveBayesOptions {
    fn check(&self) -> Result<(), TrainError> {
        positive("half_life_days", self.half_life_days.into())?;
        positive("shrinkage", self.shrinkage.into())?;
        for (name, value) in [
            ("all_time", self.all_time),
            ("history_weight", self.history_weight),
            ("history_power", self.history_power),
            ("attribute_weight", self.attribute_weight),
        ] {
            at_least(name, value.into(), 0.0, "a finite number from 0 is needed")?;
        }
        Ok(())
    }
}

/// A trained model; it knows users by their history and attributes alone.
#[derive(Clone, Debug, PartialEq)]
pub struct NaiveBayes {
    parts: NaiveBayesParts,
}

/// All that the model is, to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NaiveBayesParts {
    /// The options it was trained with.
    pub options: NaiveBayesOptions,
    /// For each item, how many users like it.
    pub liked_by: Vec<f32>,
    /// When it was liked.
    pub lately: Lately,
    /// What an item of the history says of each item: the logarithms above.
    pub items: SparseParts,
    /// What an attribute says of each item, a row an attribute.
    pub attributes: SparseParts,
}

/// Events by item, each with what all events up to it are worth at its time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lately {
    /// Where the events of each item begin, and the end of the last one's.
    pub offsets: Vec<u64>,
    /// Unix seconds, rising within an item.
    pub times: Vec<i64>,
    /// Sums of halved events.
    pub sums: Vec<f32>,
}

impl Lately {
    fn count(histories: &[History<'_>], items: usize, half_life_s: f64) -> Self {
        let mut times = vec![Vec::new(); items];
        for history in histories {
            for ((&item, &weight), &time) in history.items.iter().zip(history.weights).zip(history.times) {
                if weight > 0.0 {
                    times[item as usize].push(time);
                }
            }
        }
        let mut lately = Self { offsets: vec![0], ..Self::default() };
        for mut times in times {
            times.sort_unstable();
            let (mut sum, mut before) = (0.0, times.first().copied().unwrap_or(0));
            for time in times {
                sum = sum * faded(before, time, half_life_s) + 1.0;
                before = time;
                lately.times.push(time);
                lately.sums.push(sum as f32);
            }
            lately.offsets.push(lately.times.len() as u64);
        }
        lately
    }

    /// What the events of `item` up to `time` are worth then.
    fn at(&self, item: usize, time: i64, half_life_s: f64) -> f64 {
        let range = self.offsets[item] as usize..self.offsets[item + 1] as usize;
        let times = &self.times[range.clone()];
        match times.partition_point(|&earlier| earlier <= time).checked_sub(1) {
            None => 0.0,
            Some(last) => f64::from(self.sums[range.start + last]) * faded(times[last], time, half_life_s),
        }
    }

    fn check(&self, items: usize) -> Result<(), TrainError> {
        length("offsets", self.offsets.len(), items + 1)?;
        length("sums", self.sums.len(), self.times.len())?;
        let rising = self.offsets[0] == 0 && self.offsets.is_sorted();
        length("times", self.times.len(), if rising { self.offsets[items] as usize } else { usize::MAX })
    }
}

/// What is left of an event after the time from `then` to `now`.
fn faded(then: i64, now: i64, half_life_s: f64) -> f64 {
    (-(now.saturating_sub(then) as f64) / half_life_s).exp2()
}

impl NaiveBayes {
    /// Trains on users by items, on the same users' events in order, and on their attributes: users by attributes, of
    /// which those with a weight above 0 apply. Only what is liked counts, and how often, not how much.
    ///
    /// # Errors
    /// [`TrainError`] where an option makes no sense, nothing is liked, or the attributes are those of other users.
    ///
    /// # Panics
    /// If an item of a history is not in the table.
    pub fn train(
        table: &Interactions,
        histories: &[History<'_>],
        attributes: Option<&Interactions>,
        options: &NaiveBayesOptions,
    ) -> Result<Self, TrainError> {
        options.check()?;
        let liked = present(table);
        if liked.entries() == 0 {
            return Err(TrainError::Empty { rows: table.rows(), items: table.width() });
        }
        attributes.map_or(Ok(()), |attributes| length("attributes of users", attributes.rows(), table.rows()))?;
        let by_item = liked.transpose();
        let liked_by: Vec<f32> = (0..by_item.rows()).map(|item| by_item.row(item).0.len() as f32).collect();
        let by_attribute = attributes.map(|attributes| present(attributes).transpose());
        let items = evidence(&liked, &by_item, &liked_by, options)?;
        let attributes = by_attribute.map(|rows| evidence(&liked, &rows, &liked_by, options)).transpose()?;
        let lately = Lately::count(histories, table.width(), f64::from(options.half_life_days) * SECONDS_PER_DAY);
        let attributes = attributes.unwrap_or_else(|| SparseParts::from_rows(&[]));
        Self::from_parts(NaiveBayesParts { options: options.clone(), liked_by, lately, items, attributes })
    }

    /// A model from its parts.
    ///
    /// # Errors
    /// [`TrainError`] where they contradict each other.
    pub fn from_parts(parts: NaiveBayesParts) -> Result<Self, TrainError> {
        parts.options.check()?;
        let items = parts.liked_by.len();
        parts.lately.check(items)?;
        parts.items.check(items)?;
        parts.attributes.check_shape(parts.attributes.offsets.len().saturating_sub(1), items)?;
        Ok(Self { parts })
    }

    /// The model's parts.
    pub fn into_parts(self) -> NaiveBayesParts {
        self.parts
    }

    /// Logarithms of what is liked at a time, or in all.
    fn write_prior(&self, time: Option<i64>, scores: &mut [f32]) {
        let NaiveBayesParts { options, liked_by, lately, .. } = &self.parts;
        let half_life_s = f64::from(options.half_life_days) * SECONDS_PER_DAY;
        for (item, score) in scores.iter_mut().enumerate() {
            let all = f64::from(liked_by[item]);
            let sum = time.map_or(all, |time| lately.at(item, time, half_life_s) + f64::from(options.all_time) * all);
            *score = (sum + PRIOR_LEAST).ln() as f32;
        }
    }
}

/// The entries above 0, each as 1.
fn present(table: &Interactions) -> Interactions {
    let of_row = |row: usize| {
        let (columns, weights) = table.row(row);
        let liked = columns.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
        liked.map(move |(column, _)| (row as u32, *column, 1.0))
    };
    let entries = (0..table.rows()).flat_map(of_row);
    Interactions::from_each(table.rows(), table.width(), entries).expect("entries of a table of this shape")
}

/// For each row of `by_evidence`, whose columns are the users that have it, what it says of each item.
fn evidence(
    liked: &Interactions,
    by_evidence: &Interactions,
    liked_by: &[f32],
    options: &NaiveBayesOptions,
) -> Result<SparseParts, TrainError> {
    let users = liked.rows() as f32;
    let weigh = |counts: &mut Vec<f32>, row: usize, out: &mut [Vec<(u32, f32)>]| {
        counts.fill(0.0);
        add_co_occurrences(liked, by_evidence, row, 1.0, counts);
        let both = counts.iter().zip(liked_by).zip(0..).filter(|((count, _), _)| **count > 0.0);
        let log =
            |((count, all), item): ((&f32, &f32), u32)| (item, (count * users / (options.shrinkage * all)).ln_1p());
        out[0] = both.map(log).collect();
        keep_largest(&mut out[0], options.neighbours_max);
        Ok(())
    };
    let mut rows = vec![Vec::new(); by_evidence.rows()];
    fill_rows(&mut rows, 1, threads_or_all(options.threads), || vec![0.0; liked.width()], weigh)?;
    Ok(SparseParts::from_rows(&rows))
}

impl Scorer for NaiveBayes {
    fn items(&self) -> usize {
        self.parts.liked_by.len()
    }

    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        self.score_described(user, history, &[], scores);
    }

    fn score_described(&self, _: Option<u32>, history: History<'_>, attributes: &[u32], scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        let NaiveBayesParts { options, items, attributes: by_attribute, .. } = &self.parts;
        self.write_prior(history.times.iter().max().copied(), scores);
        let events = history.items.len() as f32;
        let weight = options.history_weight / events.max(1.0).powf(options.history_power);
        for (&item, &sign) in history.items.iter().zip(history.weights) {
            items.add_row(item as usize, weight * sign.signum(), scores);
        }
        let weight = options.attribute_weight / (1.0 + events).sqrt();
        for &attribute in attributes.iter().filter(|at| (**at as usize) + 1 < by_attribute.offsets.len()) {
            by_attribute.add_row(attribute as usize, weight, scores);
        }
    }
}

#[cfg(test)]
mod tests;
