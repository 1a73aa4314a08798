//! Thompson sampling over arms (Thompson 1933; Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS
//! 2011): each arm as often as it is the best, by what is known of it.
//!
//! The usual way draws a value of each arm's posterior and takes the arm with the highest, and then nobody can say how
//! likely that arm was. Here the chances come first ([`best_chances`]) and the arm is drawn from them, by the hash of a
//! [`Split`](super::Split) or otherwise: what is logged as the propensity is exactly what the arm was drawn with, however
//! well the integral was computed. Only for ranked lists, where a position's chance has no such integral, chances are
//! counted in draws and come with their error ([`place_chances`]).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::Distribution;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta as Density, Continuous, ContinuousCDF};
use thiserror::Error;

use super::Rate;

/// Points at which an arm's density is looked at.
const POINTS: usize = 600;
/// Beyond so many standard deviations around the mean an arm is not looked for.
const REACH: f64 = 12.0;

/// What is known of the rate of an arm: a beta distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beta {
    alpha: f64,
    beta: f64,
}

/// Numbers that make no sense.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum BanditError {
    /// No distribution.
    #[error("alpha {alpha} and beta {beta} are no beta distribution: two finite numbers above 0 are needed")]
    Beta {
        /// As given.
        alpha: f64,
        /// As given.
        beta: f64,
    },
    /// More than there is to give away.
    #[error("a floor of {floor} for each of {arms} arms is no share: from 0 to 1 / {arms} is possible")]
    Floor {
        /// As given.
        floor: f64,
        /// Arms.
        arms: usize,
    },
}

impl Beta {
    /// A distribution.
    ///
    /// # Errors
    /// [`BanditError::Beta`].
    pub fn new(alpha: f64, beta: f64) -> Result<Self, BanditError> {
        let fits = |value: f64| value.is_finite() && value > 0.0;
        if fits(alpha) && fits(beta) { Ok(Self { alpha, beta }) } else { Err(BanditError::Beta { alpha, beta }) }
    }

    /// What is known after these trials where nothing was known before: all rates are as likely at first.
    pub fn after(rate: Rate) -> Self {
        Self { alpha: 1.0 + rate.successes() as f64, beta: 1.0 + (rate.trials() - rate.successes()) as f64 }
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    fn deviation(&self) -> f64 {
        let total = self.alpha + self.beta;
        (self.alpha * self.beta / (total * total * (total + 1.0))).sqrt()
    }

    /// Where it is to be looked for.
    fn range(&self) -> (f64, f64) {
        let (mean, reach) = (self.mean(), REACH * self.deviation());
        ((mean - reach).max(0.0), (mean + reach).min(1.0))
    }

    fn density(&self) -> Density {
        Density::new(self.alpha, self.beta).expect("two finite numbers above 0")
    }
}

/// How likely each arm is to be the best: the integral of its density times the others' chances to lie below, by the
/// midpoint rule. They add up to 1.
pub fn best_chances(arms: &[Beta]) -> Vec<f64> {
    let densities: Vec<Density> = arms.iter().map(Beta::density).collect();
    let below = |arm: usize, x: f64| {
        let (low, high) = arms[arm].range();
        if x <= low {
            0.0
        } else if x >= high {
            1.0
        } else {
            densities[arm].cdf(x)
        }
    };
    let chance = |arm: usize| {
        let (low, high) = arms[arm].range();
        let (mut all, mut best) = (0.0, 0.0);
        for point in 0..POINTS {
            let x = low + (high - low) * (point as f64 + 0.5) / POINTS as f64;
            let density = densities[arm].pdf(x);
            all += density;
            if density > 0.0 {
                best += density
                    * (0..arms.len()).filter(|other| *other != arm).map(|other| below(other, x)).product::<f64>();
            }
        }
        if all > 0.0 { best / all } else { 0.0 }
    };
    let chances: Vec<f64> = (0..arms.len()).map(chance).collect();
    let sum: f64 = chances.iter().sum();
    if sum > 0.0 {
        chances.iter().map(|chance| chance / sum).collect()
    } else {
        vec![1.0 / arms.len() as f64; arms.len()]
    }
}

/// The same chances with a share that no arm falls below: one that is never shown is never known better, and the rate of
/// an arm that is hardly shown has no use afterwards.
///
/// # Errors
/// [`BanditError::Floor`] where there is not that much to give away.
pub fn with_floor(chances: &[f64], floor: f64) -> Result<Vec<f64>, BanditError> {
    let arms = chances.len();
    let given = floor * arms as f64;
    if !(floor >= 0.0 && given <= 1.0 + 1e-9) {
        return Err(BanditError::Floor { floor, arms });
    }
    Ok(chances.iter().map(|chance| floor + (1.0 - given).max(0.0) * chance).collect())
}

/// How likely each arm is to stand at each of the first positions when arms are ordered by a draw of each: by position,
/// then by arm, counted in `draws` draws of a seed. The standard error of a chance `p` is `sqrt(p * (1 - p) / draws)`.
///
/// # Panics
/// If there are more positions than arms.
pub fn place_chances(arms: &[Beta], positions: usize, draws: u32, seed: u64) -> Vec<Vec<f64>> {
    assert!(positions <= arms.len(), "each position has an arm");
    let sampler = |arm: &Beta| rand_distr::Beta::new(arm.alpha, arm.beta).expect("two finite numbers above 0");
    let samplers: Vec<rand_distr::Beta<f64>> = arms.iter().map(sampler).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut counts = vec![vec![0_u32; arms.len()]; positions];
    let mut drawn: Vec<(f64, usize)> = Vec::with_capacity(arms.len());
    for _ in 0..draws {
        drawn.clear();
        drawn.extend(samplers.iter().map(|sampler| sampler.sample(&mut rng)).zip(0..));
        if positions < drawn.len() {
            drawn.select_nth_unstable_by(positions, |left, right| right.0.total_cmp(&left.0));
        }
        drawn[..positions].sort_unstable_by(|left, right| right.0.total_cmp(&left.0));
        drawn.iter().zip(&mut counts).for_each(|((_, arm), counts)| counts[*arm] += 1);
    }
    let share = |count: u32| f64::from(count) / f64::from(draws.max(1));
    counts.into_iter().map(|counts| counts.into_iter().map(share).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::function::beta::ln_beta;

    use super::*;
    use crate::evaluate::seeded::Draws;
    use crate::experiment::Split;

    fn beta(alpha: u64, beta: u64) -> Beta {
        Beta::new(alpha as f64, beta as f64).unwrap()
    }

    /// How likely the second of two is the better, for whole parameters (Miller, "Formulas for Bayesian A/B testing").
    fn second_is_better(first: Beta, second: Beta) -> f64 {
        let term = |i: u64| {
            let i = i as f64;
            let over = ln_beta(first.alpha + i, second.beta + first.beta);
            (over - (second.beta + i).ln() - ln_beta(1.0 + i, second.beta) - ln_beta(first.alpha, first.beta)).exp()
        };
        (0..second.alpha as u64).map(term).sum()
    }

    #[test]
    fn chances_of_two_are_those_of_the_closed_form() {
        for (first, second) in [
            (beta(1, 1), beta(1, 1)),
            (beta(1, 1), beta(40, 3)),
            (beta(10, 1_000), beta(20, 1_100)),
            (beta(500, 9_500), beta(560, 9_440)),
            (beta(4_000, 1_000_000), beta(4_100, 1_000_000)),
            (beta(1, 3), beta(2, 100_000)),
        ] {
            let (found, need) = (best_chances(&[first, second]), second_is_better(first, second));
            assert!((found[1] - need).abs() < 2e-3, "{first:?} {second:?}: {found:?}, {need} needed");
        }
    }

    #[test]
    fn chances_of_many_are_those_of_drawing_and_looking() {
        let arms = [beta(3, 90), beta(5, 80), beta(2, 30), beta(1, 1), beta(50, 900)];
        let (found, drawn) = (best_chances(&arms), &place_chances(&arms, 1, 200_000, 4)[0]);
        for (found, drawn) in found.iter().zip(drawn) {
            let error = (drawn * (1.0 - drawn) / 200_000.0).sqrt();
            assert!((found - drawn).abs() < 5.0 * error + 1e-3, "{found} {drawn} +- {error}");
        }
    }

    #[test]
    fn one_arm_is_best_and_alike_ones_share() {
        assert_eq!(best_chances(&[beta(3, 4)]), [1.0]);
        assert_eq!(best_chances(&[]), [0.0; 0]);
        let alike = best_chances(&[beta(7, 70); 4]);
        assert!(alike.iter().all(|chance| (chance - 0.25).abs() < 1e-6), "{alike:?}");
    }

    #[test]
    fn a_floor_is_kept_and_more_than_all_cannot_be_given() {
        let shares = with_floor(&[0.999, 0.001, 0.0], 0.05).unwrap();
        assert!(shares.iter().all(|share| *share >= 0.05) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(with_floor(&[0.5, 0.5], 0.6), Err(BanditError::Floor { floor: 0.6, arms: 2 }));
        assert!(with_floor(&[0.5, 0.5], f64::NAN).is_err());
        assert!(Beta::new(0.0, 1.0).is_err() && Beta::new(1.0, f64::INFINITY).is_err());
    }

    #[test]
    fn places_are_taken_once_each_and_drawn_anew_by_seed() {
        let arms: Vec<Beta> = (1..20).map(|arm| beta(arm, 60)).collect();
        let chances = place_chances(&arms, 3, 2_000, 1);
        assert!(chances.iter().all(|places| (places.iter().sum::<f64>() - 1.0).abs() < 1e-9));
        assert!(chances[0][18] > chances[1][18] && chances[1][0] == 0.0, "{chances:?}");
        assert_eq!(chances, place_chances(&arms, 3, 2_000, 1));
        assert_ne!(chances, place_chances(&arms, 3, 2_000, 2));
    }

    /// Two hundred subjects a day, for sixty days; the arms' shares follow what was seen until the day before.
    #[test]
    fn the_better_arm_is_shown_more_and_more() {
        let (rates, mut draws) = ([40, 60, 45], Draws::new(2, 0));
        let (mut seen, mut shares) = ([(0, 0); 3], vec![1.0 / 3.0; 3]);
        let mut last_day = [0; 3];
        for day in 0..60 {
            let arms: Vec<(&str, f64)> = ["a", "b", "c"].into_iter().zip(shares.iter().copied()).collect();
            let split = Split::new("headline", &arms).unwrap();
            last_day = [0; 3];
            for subject in 0..200 {
                let arm = split.arm_of(&format!("{day}/{subject}"));
                last_day[arm] += 1;
                seen[arm].1 += 1;
                seen[arm].0 += u64::from(draws.below(1_000) < 5 * rates[arm]);
            }
            let known: Vec<Beta> =
                seen.iter().map(|(successes, trials)| Beta::after(Rate::new(*successes, *trials).unwrap())).collect();
            shares = with_floor(&best_chances(&known), 0.02).unwrap();
        }
        assert!(last_day[1] > 150, "{last_day:?} {seen:?}");
        assert!(seen[0].1 > 100 && seen[2].1 > 100, "the others were looked at, too: {seen:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn chances_add_up_and_prefer_no_name(arms in prop::collection::vec((1_u64..3_000, 1_u64..3_000), 1..6)) {
            let arms: Vec<Beta> = arms.into_iter().map(|(a, b)| beta(a, b)).collect();
            let chances = best_chances(&arms);
            prop_assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let mut turned = arms.clone();
            turned.reverse();
            for (one, other) in chances.iter().zip(best_chances(&turned).iter().rev()) {
                prop_assert!((one - other).abs() < 1e-9);
            }
        }
    }
}
