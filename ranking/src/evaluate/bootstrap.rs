//! How far a mean over users could be off, from the users themselves: they are drawn again with replacement, many times
//! (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16). No shape of the distribution is
//! assumed, which suits metrics that are 0 for half the users.

use serde::{Deserialize, Serialize};

use super::seeded::Draws;

/// Differences below this are rounding, of sums or of numbers written down and read again; metrics lie in 0..=1.
const ROUNDING: f64 = 1e-12;

/// How the bootstrap is done.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bootstrap {
    /// How often the users are drawn again, at least 1.
    pub resamples: usize,
    /// Probability that an interval holds the true mean, between 0 and 1.
    pub level: f64,
    /// The draws are the same for one seed.
    pub seed: u64,
}

/// A mean and its interval.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How two means differ.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Difference {
    /// Of two runs, the second less the first.
    pub interval: Interval,
    /// Two-sided: how likely so large a difference would be if there were none. From resamples it is at least
    /// 2 / (resamples + 1).
    pub p: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2_000, level: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// The mean of `values`, one per user, and its interval; all 0 without values.
    pub fn interval(&self, values: &[f64]) -> Interval {
        self.summarize(values, &self.means(values))
    }

    /// The mean of `second - first`, user by user, its interval, and whether it could be chance.
    ///
    /// # Panics
    /// If the runs have different numbers of users.
    pub fn paired(&self, first: &[f64], second: &[f64]) -> Difference {
        assert_eq!(first.len(), second.len(), "paired runs have the same users");
        let rounded = |difference: f64| if difference.abs() < ROUNDING { 0.0 } else { difference };
        let differences: Vec<f64> = first.iter().zip(second).map(|(first, second)| rounded(second - first)).collect();
        let means = self.means(&differences);
        let below = means.iter().filter(|&&mean| mean <= 0.0).count();
        let above = means.iter().filter(|&&mean| mean >= 0.0).count();
        let tail = (below.min(above) + 1) as f64 / (means.len() + 1) as f64;
        Difference { interval: self.summarize(&differences, &means), p: (2.0 * tail).min(1.0) }
    }

    /// The means of the resamples, rising.
    fn means(&self, values: &[f64]) -> Vec<f64> {
        if values.is_empty() {
            return vec![0.0];
        }
        let mut draws = Draws::new(self.seed, 0);
        let mut resample = || values.iter().map(|_| values[draws.below(values.len())]).sum::<f64>();
        let mut means: Vec<f64> = (0..self.resamples.max(1)).map(|_| resample() / values.len() as f64).collect();
        means.sort_by(f64::total_cmp);
        means
    }

    fn summarize(&self, values: &[f64], means: &[f64]) -> Interval {
        let at = |share: f64| means[(share.clamp(0.0, 1.0) * (means.len() - 1) as f64).round() as usize];
        let tail = (1.0 - self.level) / 2.0;
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        Interval { mean, low: at(tail), high: at(1.0 - tail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Bootstrap = Bootstrap { resamples: 200, level: 0.9, seed: 5 };

    /// `count` draws of the sum of four uniforms on 0..1: mean 2, variance 1/3.
    fn sample(stream: u64, count: usize) -> Vec<f64> {
        let mut draws = Draws::new(11, stream);
        (0..count).map(|_| (0..4).map(|_| draws.below(1 << 30) as f64 / f64::from(1 << 30)).sum()).collect()
    }

    #[test]
    fn nine_of_ten_intervals_hold_the_true_mean() {
        let holds = |stream| {
            let interval = QUICK.interval(&sample(stream, 50));
            interval.low <= 2.0 && 2.0 <= interval.high
        };
        let held = (0..200).filter(|&stream| holds(stream)).count();
        // 180 expected with a deviation of 4; percentile intervals of 50 values are a little narrow.
        assert!((163..=193).contains(&held), "{held} of 200");
    }

    #[test]
    fn the_width_is_that_of_the_normal_interval() {
        let interval = Bootstrap { resamples: 1_000, ..QUICK }.interval(&sample(0, 400));
        let wanted = 2.0 * 1.645 * (1.0 / 3.0_f64 / 400.0).sqrt();
        assert!(((interval.high - interval.low) / wanted - 1.0).abs() < 0.15, "{interval:?}, width {wanted} wanted");
    }

    #[test]
    fn chance_differences_are_rarely_significant_and_real_ones_always() {
        let significant = |stream: u64, shift: f64| {
            let (first, second) = (sample(2 * stream, 60), sample(2 * stream + 1, 60));
            let second: Vec<f64> = second.iter().map(|value| value + shift).collect();
            QUICK.paired(&first, &second).p < 0.1
        };
        let by_chance = (0..200).filter(|&stream| significant(stream, 0.0)).count();
        assert!((8..=36).contains(&by_chance), "{by_chance} of 200 at the level .1");
        assert!((0..20).all(|stream| significant(stream, 0.6)));
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let values = sample(0, 30);
        let same = QUICK.paired(&values, &values);
        assert_eq!((same.interval, same.p), (Interval { mean: 0.0, low: 0.0, high: 0.0 }, 1.0));
        assert_eq!(QUICK.interval(&values), QUICK.interval(&values));
        assert_eq!(QUICK.interval(&[]), Interval { mean: 0.0, low: 0.0, high: 0.0 });
        assert_eq!(QUICK.interval(&[0.25]), Interval { mean: 0.25, low: 0.25, high: 0.25 });
    }
}
