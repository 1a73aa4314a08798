//! How often something happened, and how far off that may be: of trials that do not depend on each other, such as
//! subjects who did or did not. Trials of which one subject has many are a [`ClusteredRate`](super::ClusteredRate).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{deviations, two_sided};
use crate::evaluate::{Difference, Interval};

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    successes: u64,
    trials: u64,
}

/// Counts that contradict each other.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{successes} of {trials} is no rate: count each trial once, as a success or not")]
pub struct RateError {
    /// As given.
    pub successes: u64,
    /// As given.
    pub trials: u64,
}

impl Rate {
    /// So many of so many.
    ///
    /// # Errors
    /// [`RateError`] for more successes than trials.
    pub fn new(successes: u64, trials: u64) -> Result<Self, RateError> {
        if successes > trials {
            return Err(RateError { successes, trials });
        }
        Ok(Self { successes, trials })
    }

    /// How many.
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// Of how many.
    pub fn trials(&self) -> u64 {
        self.trials
    }

    /// The share of successes; 0 without trials.
    pub fn mean(&self) -> f64 {
        self.successes as f64 / self.trials.max(1) as f64
    }

    /// The share, and the interval of Wilson (1927): that of the score test, which stays within 0..=1 and is right where
    /// successes are rare. From 0 to 1 without trials.
    pub fn interval(&self, level: f64) -> Interval {
        let (n, share, z) = (self.trials as f64, self.mean(), deviations(level));
        if self.trials == 0 {
            return Interval { mean: 0.0, low: 0.0, high: 1.0 };
        }
        let widened = 1.0 + z * z / n;
        let centre = (share + z * z / (2.0 * n)) / widened;
        let half = z / widened * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
        // Where all or none succeeded, the end is exact and rounding must not move it.
        let low = if self.successes == 0 { 0.0 } else { (centre - half).max(0.0) };
        let high = if self.successes == self.trials { 1.0 } else { (centre + half).min(1.0) };
        Interval { mean: share, low, high }
    }

    /// This rate less another, with the interval of Newcombe (1998, method 10), which joins those of Wilson, and the
    /// two-sided p of the test of two proportions with a common variance. Without trials on one side nothing is known.
    pub fn less(&self, other: &Self, level: f64) -> Difference {
        if self.trials == 0 || other.trials == 0 {
            return Difference { interval: Interval { mean: 0.0, low: -1.0, high: 1.0 }, p: 1.0 };
        }
        let (ours, theirs) = (self.interval(level), other.interval(level));
        let mean = ours.mean - theirs.mean;
        let low = mean - (ours.mean - ours.low).hypot(theirs.high - theirs.mean);
        let high = mean + (ours.high - ours.mean).hypot(theirs.mean - theirs.low);
        let (n, m) = (self.trials as f64, other.trials as f64);
        let common = (self.successes + other.successes) as f64 / (n + m);
        let deviation = (common * (1.0 - common) * (1.0 / n + 1.0 / m)).sqrt();
        let p = if deviation > 0.0 { two_sided(mean / deviation) } else { 1.0 };
        Difference { interval: Interval { mean, low, high }, p }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluate::seeded::Draws;

    fn rate(successes: u64, trials: u64) -> Rate {
        Rate::new(successes, trials).unwrap()
    }

    fn near(found: f64, need: f64) {
        assert!((found - need).abs() < 5e-5, "{found}, {need} needed");
    }

    /// Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, and "Interval estimation for
    /// the difference between independent proportions", table II, method 10.
    #[test]
    fn intervals_are_the_published_ones() {
        for ((successes, trials), (low, high)) in [
            ((81, 263), (0.2553, 0.3662)),
            ((15, 148), (0.0624, 0.1605)),
            ((0, 20), (0.0, 0.1611)),
            ((1, 29), (0.0061, 0.1718)),
        ] {
            let interval = rate(successes, trials).interval(0.95);
            near(interval.low, low);
            near(interval.high, high);
        }
        for ((a, m, b, n), (low, high)) in [
            ((56, 70, 48, 80), (0.0524, 0.3339)),
            ((9, 10, 3, 10), (0.1705, 0.8090)),
            ((0, 10, 0, 20), (-0.1611, 0.2775)),
            ((10, 10, 0, 20), (0.6791, 1.0)),
        ] {
            let difference = rate(a, m).less(&rate(b, n), 0.95);
            near(difference.interval.low, low);
            near(difference.interval.high, high);
        }
    }

    #[test]
    fn without_trials_nothing_is_known() {
        assert_eq!(rate(0, 0).interval(0.95), Interval { mean: 0.0, low: 0.0, high: 1.0 });
        assert_eq!(rate(5, 10).less(&rate(0, 0), 0.95).p, 1.0);
        assert_eq!(rate(0, 9).less(&rate(0, 7), 0.95).p, 1.0);
        assert_eq!(Rate::new(3, 2), Err(RateError { successes: 3, trials: 2 }));
    }

    fn drawn(stream: u64, trials: u64, per_mille: usize) -> Rate {
        let mut draws = Draws::new(3, stream);
        rate((0..trials).filter(|_| draws.below(1_000) < per_mille).count() as u64, trials)
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let held = (0..1_000).filter(|stream| {
            let interval = drawn(*stream, 500, 30).interval(0.95);
            interval.low <= 0.03 && 0.03 <= interval.high
        });
        let held = held.count();
        // 950 expected, with a deviation of 7.
        assert!((920..=980).contains(&held), "{held} of 1,000");
    }

    #[test]
    fn a_difference_of_none_is_rarely_called_one() {
        let p = |stream: u64, more: usize| {
            drawn(2 * stream, 2_000, 50 + more).less(&drawn(2 * stream + 1, 2_000, 50), 0.95).p
        };
        let by_chance = (0..1_000).filter(|stream| p(*stream, 0) < 0.05).count();
        // 50 expected, with a deviation of 7.
        assert!((20..=80).contains(&by_chance), "{by_chance} of 1,000");
        let real = (0..100).filter(|stream| p(*stream, 30) < 0.05).count();
        assert!(real > 90, "{real} of 100");
    }

    proptest! {
        #[test]
        fn intervals_are_in_order_and_alike_from_both_sides(n in 1_u64..10_000, m in 1_u64..10_000, a in 0.0_f64..=1.0, b in 0.0_f64..=1.0) {
            let (one, two) = (rate((a * n as f64) as u64, n), rate((b * m as f64) as u64, m));
            let interval = one.interval(0.95);
            prop_assert!(0.0 <= interval.low && interval.low <= interval.mean);
            prop_assert!(interval.mean <= interval.high && interval.high <= 1.0);
            let (there, back) = (one.less(&two, 0.95), two.less(&one, 0.95));
            prop_assert!((there.interval.low + back.interval.high).abs() < 1e-12);
            prop_assert!((there.p - back.p).abs() < 1e-12);
            prop_assert!(there.interval.low >= -1.0 - 1e-12 && there.interval.high <= 1.0 + 1e-12);
        }
    }
}
