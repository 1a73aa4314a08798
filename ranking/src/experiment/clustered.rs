//! Clicks per list, where one subject has many lists.
//!
//! Lists of one subject are alike, so a thousand lists of ten subjects say much less than those of a thousand. Experiments
//! give arms to subjects; their figures have to be counted by subjects too, or intervals are too narrow and differences
//! are found where there are none. The ratio of two sums over subjects has a variance by the delta method (Deng, Knoblich
//! and Lu, "Applying the delta method in metric analytics", KDD 2018). What it needs are six sums, which any store can
//! add up.

use serde::{Deserialize, Serialize};

use super::{deviations, two_sided};
use crate::evaluate::{Difference, Interval};

/// What some subjects did and of how much, as sums over them: `x` is what each did (clicks), `y` of how much (lists).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusteredRate {
    /// Subjects.
    pub subjects: u64,
    /// Sum of `x`.
    pub x: f64,
    /// Sum of `y`.
    pub y: f64,
    /// Sum of `x * x`.
    pub xx: f64,
    /// Sum of `x * y`.
    pub xy: f64,
    /// Sum of `y * y`.
    pub yy: f64,
}

impl ClusteredRate {
    /// Adds a subject.
    pub fn add(&mut self, x: f64, y: f64) {
        self.subjects += 1;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        self.yy += y * y;
    }

    /// `x` per `y`; 0 without any.
    pub fn mean(&self) -> f64 {
        if self.y > 0.0 { self.x / self.y } else { 0.0 }
    }

    /// The variance of the mean; `None` below two subjects, of whom nothing can be told.
    pub fn variance(&self) -> Option<f64> {
        if self.subjects < 2 || self.y <= 0.0 {
            return None;
        }
        let (n, ratio) = (self.subjects as f64, self.mean());
        // The squares of what each subject has above the mean, which add up to 0.
        let squares = self.xx - 2.0 * ratio * self.xy + ratio * ratio * self.yy;
        Some(squares.max(0.0) * n / (n - 1.0) / (self.y * self.y))
    }

    /// The mean with its interval, that of a normal distribution: some dozens of subjects are needed for it to be one.
    /// Infinite below two subjects.
    pub fn interval(&self, level: f64) -> Interval {
        around(self.mean(), self.variance(), level)
    }

    /// This mean less another, its interval, and the two-sided p.
    pub fn less(&self, other: &Self, level: f64) -> Difference {
        let variance = self.variance().zip(other.variance()).map(|(ours, theirs)| ours + theirs);
        let mean = self.mean() - other.mean();
        let p = match variance {
            Some(variance) if variance > 0.0 => two_sided(mean / variance.sqrt()),
            Some(_) if mean != 0.0 => 0.0,
            _ => 1.0,
        };
        Difference { interval: around(mean, variance, level), p }
    }
}

fn around(mean: f64, variance: Option<f64>, level: f64) -> Interval {
    let half = variance.map_or(f64::INFINITY, |variance| deviations(level) * variance.sqrt());
    Interval { mean, low: mean - half, high: mean + half }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::seeded::Draws;
    use crate::experiment::Rate;

    /// Subjects with a taste each, 0 to `2 * per_mille`, who get up to 40 lists.
    fn drawn(stream: u64, subjects: usize, per_mille: usize) -> ClusteredRate {
        let (mut draws, mut rate) = (Draws::new(9, stream), ClusteredRate::default());
        for _ in 0..subjects {
            let (taste, lists) = (draws.below(2 * per_mille + 1), 1 + draws.below(40));
            let clicks = (0..lists).filter(|_| draws.below(1_000) < taste).count();
            rate.add(clicks as f64, lists as f64);
        }
        rate
    }

    #[test]
    fn with_one_trial_a_subject_it_is_the_plain_variance() {
        let mut rate = ClusteredRate::default();
        (0..1_000).for_each(|subject| rate.add(f64::from(u8::from(subject % 10 == 0)), 1.0));
        let plain = 0.1 * 0.9 / 999.0;
        assert!((rate.variance().unwrap() - plain).abs() < 1e-12);
        assert_eq!(ClusteredRate::default().interval(0.95).high, f64::INFINITY);
    }

    #[test]
    fn intervals_hold_the_truth_where_those_of_plain_counts_do_not() {
        let (mut ours, mut plain) = (0, 0);
        for stream in 0..500 {
            let rate = drawn(stream, 200, 100);
            let holds = |interval: Interval| usize::from(interval.low <= 0.1 && 0.1 <= interval.high);
            ours += holds(rate.interval(0.95));
            plain += holds(Rate::new(rate.x as u64, rate.y as u64).unwrap().interval(0.95));
        }
        // 475 expected, with a deviation of 5.
        assert!((455..=492).contains(&ours), "{ours} of 500");
        assert!(plain < 450, "{plain} of 500: lists of one subject were taken for those of many");
    }

    #[test]
    fn a_difference_of_none_is_rarely_called_one() {
        let p = |stream: u64, more: usize| {
            drawn(2 * stream, 200, 100 + more).less(&drawn(2 * stream + 1, 200, 100), 0.95).p
        };
        let by_chance = (0..500).filter(|stream| p(*stream, 0) < 0.05).count();
        assert!((8..=45).contains(&by_chance), "{by_chance} of 500 at the level .05");
        assert!((0..50).filter(|stream| p(*stream, 40) < 0.05).count() > 45);
    }
}
