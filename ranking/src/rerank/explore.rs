//! Showing what is not yet known to be best, with the exact probability of having shown it.

use std::sync::LazyLock;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::score::probability;

/// Alternatives of one position, at most: products of as many shares stay far from underflow.
pub const POOL_MAX: usize = 100;
/// Points of an item's posterior.
const POINTS: usize = 32;

/// How a position is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Exploration {
    /// With the best.
    #[default]
    Off,
    /// With the best, or, `epsilon` of the time, with any of the best `pool`, the best included.
    Epsilon {
        /// 0 to 1.
        epsilon: f64,
        /// 1 to [`POOL_MAX`].
        pool: usize,
    },
    /// With each of the best `pool` as often as it is the best, by what is known of it.
    Thompson {
        /// 1 to [`POOL_MAX`].
        pool: usize,
    },
}

/// A setting that makes no sense.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ExplorationError {
    /// Not a probability.
    #[error("epsilon is {epsilon}: a number from 0 to 1 is needed")]
    Epsilon {
        /// As given.
        epsilon: f64,
    },
    /// Too few or too many.
    #[error("the pool is {pool}: 1 to {POOL_MAX} items are possible")]
    Pool {
        /// As given.
        pool: usize,
    },
}

impl Exploration {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`ExplorationError`] names the setting.
    pub fn check(&self) -> Result<(), ExplorationError> {
        if let Self::Epsilon { epsilon, .. } = *self
            && !(0.0..=1.0).contains(&epsilon)
        {
            return Err(ExplorationError::Epsilon { epsilon });
        }
        match self.pool() {
            pool if (1..=POOL_MAX).contains(&pool) => Ok(()),
            pool => Err(ExplorationError::Pool { pool }),
        }
    }

    /// How many of the best are alternatives.
    pub(super) fn pool(&self) -> usize {
        match *self {
            Self::Off => 1,
            Self::Epsilon { pool, .. } | Self::Thompson { pool } => pool,
        }
    }
}

/// What is known of how good an alternative is: its value is `scale * probability - penalty`, where the log-odds of the
/// probability are normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Belief {
    pub log_odds: f64,
    pub deviation: f64,
    pub scale: f64,
    pub penalty: f64,
}

/// The probability of each of `count` alternatives, the best of which comes first.
pub(super) fn epsilon_greedy(epsilon: f64, count: usize) -> Vec<f64> {
    let mut shares = vec![epsilon / count as f64; count];
    if let Some(best) = shares.first_mut() {
        *best += 1.0 - epsilon;
    }
    shares
}

/// The probability of each alternative to be the best, where each draws one of its points, all equally likely and apart
/// from the others'; of equal ones the first wins.
///
/// All points are passed in rising order. The chance that a point is the best is the product of the shares of the others'
/// points that lie below, which is kept up to date as points go by.
pub(super) fn thompson(beliefs: &[Belief]) -> Vec<f64> {
    let count = beliefs.len();
    let mut points: Vec<(f64, usize)> = Vec::with_capacity(count * POINTS);
    for (number, belief) in beliefs.iter().enumerate() {
        let value = |z: &f64| belief.scale * probability(belief.log_odds + belief.deviation * z) - belief.penalty;
        points.extend(QUANTILES.iter().map(value).map(|value| (value, number)));
    }
    // Below the highest of the lowest points, somebody is always better.
    let lowest = points.chunks(POINTS).map(|points| points[0].0).fold(f64::NEG_INFINITY, f64::max);
    let mut below: Vec<usize> =
        points.chunks(POINTS).map(|points| points.iter().filter(|(value, _)| *value < lowest).count()).collect();
    points.retain(|(value, _)| *value >= lowest);
    points.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(right.1.cmp(&left.1)));
    let mut behind = below.iter().filter(|below| **below == 0).count();
    let share = |below: usize| below as f64 / POINTS as f64;
    let mut product: f64 = below.iter().filter(|below| **below > 0).map(|below| share(*below)).product();
    let mut chances = vec![0.0; count];
    for (_, number) in points {
        let own = below[number];
        let others_behind = behind - usize::from(own == 0);
        if others_behind == 0 {
            chances[number] += if own == 0 { product } else { product / share(own) } / POINTS as f64;
        }
        behind -= usize::from(own == 0);
        product *= if own == 0 { share(1) } else { share(own + 1) / share(own) };
        below[number] += 1;
    }
    // Rounding may leave a certainty a little above 1.
    chances.iter_mut().for_each(|chance| *chance = chance.min(1.0));
    chances
}

/// Of a normal distribution: the middles of as many equally likely parts, rising.
static QUANTILES: LazyLock<[f64; POINTS]> =
    LazyLock::new(|| std::array::from_fn(|point| normal_quantile((point as f64 + 0.5) / POINTS as f64)));

/// By bisection of the distribution function: exact enough, and only done once.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-5.0, 5.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_share(middle) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The share of a normal distribution below `z`, by its series (Abramowitz and Stegun 26.2.10).
fn normal_share(z: f64) -> f64 {
    let (mut term, mut sum) = (z, z);
    for n in 1..400 {
        let n = f64::from(n);
        term *= -z * z / (2.0 * n);
        sum += term / (2.0 * n + 1.0);
    }
    0.5 + sum / std::f64::consts::TAU.sqrt()
}

/// Draws of one list.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// One of the alternatives, as often as its probability says.
    pub(super) fn choose(&mut self, probabilities: impl Iterator<Item = f64>) -> usize {
        let mut left = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let mut chosen = 0;
        for (number, probability) in probabilities.enumerate() {
            if probability > 0.0 {
                chosen = number;
                if left < probability {
                    break;
                }
                left -= probability;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn belief(log_odds: f64, deviation: f64, penalty: f64) -> Belief {
        Belief { log_odds, deviation, scale: 1.0, penalty }
    }

    /// Every combination of points, one by one.
    fn by_enumeration(beliefs: &[Belief]) -> Vec<f64> {
        let value = |belief: &Belief, z: f64| {
            belief.scale * probability(belief.log_odds + belief.deviation * z) - belief.penalty
        };
        let mut wins = vec![0_u64; beliefs.len()];
        let total = (POINTS as u64).pow(beliefs.len() as u32);
        for combination in 0..total {
            let mut best = (f64::NEG_INFINITY, 0);
            for (number, belief) in beliefs.iter().enumerate() {
                let point = combination / (POINTS as u64).pow(number as u32) % POINTS as u64;
                let value = value(belief, QUANTILES[point as usize]);
                if value > best.0 {
                    best = (value, number);
                }
            }
            wins[best.1] += 1;
        }
        wins.into_iter().map(|wins| wins as f64 / total as f64).collect()
    }

    #[test]
    fn quantiles_are_those_of_a_normal_distribution() {
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-9);
        assert!((normal_share(0.0) - 0.5).abs() < 1e-15);
        assert!(QUANTILES.is_sorted());
        assert!((QUANTILES[0] + QUANTILES[POINTS - 1]).abs() < 1e-9);
    }

    #[test]
    fn who_is_unsure_is_shown_though_he_is_worse() {
        let chances = thompson(&[belief(0.0, 0.1, 0.0), belief(-0.5, 0.1, 0.0), belief(-0.5, 2.0, 0.0)]);
        assert!(chances[2] > 0.3 && chances[1] < 0.01, "{chances:?}");
        assert_eq!(thompson(&[belief(0.3, 0.0, 0.0), belief(0.3, 0.0, 0.0)]), [1.0, 0.0]);
        assert_eq!(thompson(&[belief(3.0, 1.0, 0.0)]), [1.0]);
        assert_eq!(thompson(&[]), [] as [f64; 0]);
    }

    #[test]
    fn epsilon_is_shared_among_all() {
        assert_eq!(epsilon_greedy(0.5, 4), [0.625, 0.125, 0.125, 0.125]);
        assert_eq!(epsilon_greedy(0.0, 2), [1.0, 0.0]);
    }

    #[test]
    fn settings_are_checked() {
        let check = |text: &str| serde_json::from_str::<Exploration>(text).unwrap().check();
        assert_eq!(check(r#""off""#), Ok(()));
        assert_eq!(check(r#"{"epsilon": {"epsilon": 0.1, "pool": 20}}"#), Ok(()));
        let over = ExplorationError::Epsilon { epsilon: 1.5 };
        assert_eq!(check(r#"{"epsilon": {"epsilon": 1.5, "pool": 20}}"#), Err(over));
        assert_eq!(check(r#"{"thompson": {"pool": 0}}"#), Err(ExplorationError::Pool { pool: 0 }));
    }

    proptest! {
        #[test]
        fn chances_are_those_of_all_combinations(
            beliefs in prop::collection::vec((-3.0_f64..3.0, 0.0_f64..2.0, 0.0_f64..0.3), 1..4),
        ) {
            let beliefs: Vec<Belief> = beliefs.into_iter().map(|(mean, deviation, penalty)| belief(mean, deviation, penalty)).collect();
            for (found, need) in thompson(&beliefs).iter().zip(by_enumeration(&beliefs)) {
                prop_assert!((found - need).abs() < 1e-12, "{found} {need}");
            }
        }

        #[test]
        fn chances_of_many_add_up_to_one(
            beliefs in prop::collection::vec((-3.0_f64..3.0, 0.0_f64..2.0, 0.0_f64..0.3), 1..POOL_MAX),
        ) {
            let beliefs: Vec<Belief> = beliefs.into_iter().map(|(mean, deviation, penalty)| belief(mean, deviation, penalty)).collect();
            let sum: f64 = thompson(&beliefs).iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-10, "{sum}");
        }
    }
}
