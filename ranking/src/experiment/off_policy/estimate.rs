//! The estimators, and how far off they may be.

use serde::{Deserialize, Serialize};

use super::error::MAGNITUDE_MAX;
use super::rewards::expected;
use super::{Logged, OffPolicyError, Policy};
use crate::evaluate::seeded::Draws;
use crate::evaluate::{Bootstrap, Interval};

/// A logged row beside what the policy would have done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighed {
    /// What came of it.
    pub reward: f64,
    /// How much likelier the policy would have made it.
    pub weight: f64,
    /// What a model expects of the logged action.
    pub predicted: f64,
    /// What the model expects of the policy there.
    pub expected: f64,
    /// Rows of one number are drawn again together.
    pub list: u64,
}

/// What a policy would have earned a row, by each estimator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    /// Rows of the log.
    pub rows: usize,
    /// How many rows of the policy's own would tell as much: the sum of weights, squared, by the sum of their squares.
    pub rows_effective: f64,
    /// The largest weight.
    pub weight_max: f64,
    /// The mean weight: 1 but for chance, or propensities are wrong, or the log lacks what the policy shows.
    pub weight: Interval,
    /// What the logging policy earned.
    pub logged: Interval,
    /// Inverse propensity scoring.
    pub ips: Interval,
    /// The same, divided by the sum of weights.
    pub snips: Interval,
    /// What the model expects.
    pub direct: Interval,
    /// The same, corrected by the weighted errors of the model.
    pub doubly_robust: Interval,
}

impl Weighed {
    /// Puts a log and a policy together, with a model of rewards that is fitted to the log.
    ///
    /// # Errors
    /// [`OffPolicyError`] names the first row that makes no sense.
    pub fn of(rows: &[Logged], policy: &Policy, seed: u64) -> Result<Vec<Self>, OffPolicyError> {
        let weight = rows.iter().enumerate().map(|(row, logged)| weight(row, logged, policy));
        let weights = weight.collect::<Result<Vec<f64>, OffPolicyError>>()?;
        let expected = expected(rows, policy, seed);
        let weighed = rows.iter().zip(weights).zip(expected).map(|((row, weight), expected)| Self {
            reward: row.reward,
            weight,
            predicted: expected.of_logged,
            expected: expected.of_policy,
            list: row.list,
        });
        Ok(weighed.collect())
    }
}

/// How much likelier the policy would have shown what a row has.
fn weight(row: usize, logged: &Logged, policy: &Policy) -> Result<f64, OffPolicyError> {
    let Logged { action, position, propensity, reward, .. } = *logged;
    if !(propensity > 0.0 && propensity <= 1.0) {
        return Err(OffPolicyError::Propensity { row, propensity });
    }
    if !reward.is_finite() || reward.abs() > MAGNITUDE_MAX {
        return Err(OffPolicyError::Reward { row, reward });
    }
    let target = policy.chance(action, position).ok_or(OffPolicyError::Unknown {
        row,
        action,
        position,
        actions: policy.actions(),
        positions: policy.positions(),
    })?;
    let weight = target / propensity;
    if weight <= MAGNITUDE_MAX { Ok(weight) } else { Err(OffPolicyError::Weight { row, weight }) }
}

/// Estimates what the policy would have earned a row. Intervals come of drawing lists again with replacement.
///
/// # Errors
/// [`OffPolicyError::Empty`], [`OffPolicyError::NoOverlap`].
pub fn estimate(rows: &[Weighed], bootstrap: Bootstrap) -> Result<Estimates, OffPolicyError> {
    if rows.is_empty() {
        return Err(OffPolicyError::Empty);
    }
    let lists = by_list(rows);
    let mut all = Sums::default();
    lists.iter().for_each(|list| all.add(list));
    if all.weights <= 0.0 {
        return Err(OffPolicyError::NoOverlap);
    }
    let mut draws = Draws::new(bootstrap.seed, 2);
    let resamples = (0..bootstrap.resamples.max(1)).map(|_| {
        let mut sums = Sums::default();
        (0..lists.len()).for_each(|_| sums.add(&lists[draws.below(lists.len())]));
        sums
    });
    let resamples: Vec<Sums> = resamples.collect();
    let interval = |of: fn(&Sums) -> f64| interval(&all, &resamples, bootstrap.level, of);
    let squares: f64 = rows.iter().map(|row| row.weight * row.weight).sum();
    Ok(Estimates {
        rows: rows.len(),
        rows_effective: all.weights * all.weights / squares,
        weight_max: rows.iter().map(|row| row.weight).fold(0.0, f64::max),
        weight: interval(|sums| sums.weights / sums.rows),
        logged: interval(|sums| sums.rewards / sums.rows),
        ips: interval(|sums| sums.weighted / sums.rows),
        // A resample without any overlap says nothing, like a policy that earns nothing.
        snips: interval(|sums| if sums.weights > 0.0 { sums.weighted / sums.weights } else { 0.0 }),
        direct: interval(|sums| sums.expected / sums.rows),
        doubly_robust: interval(|sums| sums.corrected / sums.rows),
    })
}

/// The percentile interval of a figure.
fn interval(all: &Sums, resamples: &[Sums], level: f64, of: fn(&Sums) -> f64) -> Interval {
    let mut figures: Vec<f64> = resamples.iter().map(of).collect();
    figures.sort_by(f64::total_cmp);
    let at = |share: f64| figures[(share.clamp(0.0, 1.0) * (figures.len() - 1) as f64).round() as usize];
    let tail = (1.0 - level) / 2.0;
    Interval { mean: of(all), low: at(tail), high: at(1.0 - tail) }
}

/// All that the estimators need of some rows.
#[derive(Clone, Copy, Default)]
struct Sums {
    rows: f64,
    rewards: f64,
    weights: f64,
    weighted: f64,
    expected: f64,
    corrected: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.rewards += other.rewards;
        self.weights += other.weights;
        self.weighted += other.weighted;
        self.expected += other.expected;
        self.corrected += other.corrected;
    }

    fn of(row: &Weighed) -> Self {
        let Weighed { reward, weight, predicted, expected, .. } = *row;
        Self {
            rows: 1.0,
            rewards: reward,
            weights: weight,
            weighted: weight * reward,
            expected,
            corrected: expected + weight * (reward - predicted),
        }
    }
}

fn by_list(rows: &[Weighed]) -> Vec<Sums> {
    let mut sorted: Vec<&Weighed> = rows.iter().collect();
    sorted.sort_by_key(|row| row.list);
    let sum = |rows: &[&Weighed]| {
        let mut sums = Sums::default();
        rows.iter().for_each(|row| sums.add(&Sums::of(row)));
        sums
    };
    sorted.chunk_by(|left, right| left.list == right.list).map(sum).collect()
}
