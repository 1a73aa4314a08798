//! What is rising: every item's events, the old ones fading.
//!
//! Weights grow towards the future instead of fading towards the past (Cormode et al. 2009, forward decay): an event is
//! added once, with `2^((time - landmark) / half-life)`, and nothing has to be touched as time goes by. Late events find
//! their place. The landmark moves on before numbers become large.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Half-lives after the landmark at which it moves on: 2^64 is far from the end of an f64 on either side.
const HALF_LIVES_MAX: f64 = 64.0;

/// Decayed sums by item; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trends {
    half_life_s: f64,
    /// Unix seconds.
    landmark: i64,
    /// By row.
    sums: Vec<f64>,
}

/// Why an event cannot be counted.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TrendsError {
    /// A half-life that is not above 0.
    #[error("the half-life is {half_life_s} s: a finite number above 0 is needed")]
    HalfLife {
        /// As given.
        half_life_s: f64,
    },
    /// NaN or infinite.
    #[error("the weight of an event of item {row} is {weight}: a finite number is needed")]
    Weight {
        /// Row of the item.
        row: u32,
        /// As given.
        weight: f32,
    },
}

impl Trends {
    /// No events yet.
    ///
    /// # Errors
    /// [`TrendsError::HalfLife`].
    pub fn new(half_life_s: f64) -> Result<Self, TrendsError> {
        if half_life_s.is_finite() && half_life_s > 0.0 {
            Ok(Self { half_life_s, landmark: 0, sums: Vec::new() })
        } else {
            Err(TrendsError::HalfLife { half_life_s })
        }
    }

    /// Counts an event of `time`; one after `now` counts as of now, so that a clock that is ahead does not make a trend.
    ///
    /// # Errors
    /// [`TrendsError::Weight`]; nothing is counted then.
    pub fn add(&mut self, row: u32, weight: f32, time: i64, now: i64) -> Result<(), TrendsError> {
        if !weight.is_finite() {
            return Err(TrendsError::Weight { row, weight });
        }
        let time = time.min(now);
        if self.sums.len() <= row as usize {
            self.sums.resize(row as usize + 1, 0.0);
        }
        if self.half_lives(time) > HALF_LIVES_MAX {
            let factor = (-self.half_lives(time)).exp2();
            self.sums.iter_mut().for_each(|sum| *sum *= factor);
            self.landmark = time;
        }
        self.sums[row as usize] += f64::from(weight) * self.half_lives(time).exp2();
        Ok(())
    }

    /// The decayed sum of an item as of `now`.
    pub fn at(&self, row: u32, now: i64) -> f64 {
        let sum = self.sums.get(row as usize).copied().unwrap_or(0.0);
        if sum == 0.0 { 0.0 } else { sum * (-self.half_lives(now)).exp2() }
    }

    /// Items with events, and their sums in a unit of no meaning.
    pub(super) fn values(&self) -> impl Iterator<Item = (u32, f64)> {
        (0..).zip(self.sums.iter().copied()).filter(|(_, sum)| *sum != 0.0)
    }

    /// Half-lives from the landmark to a time.
    fn half_lives(&self, time: i64) -> f64 {
        (time as f64 - self.landmark as f64) / self.half_life_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_worth_half_after_its_half_life_whatever_comes_between() {
        let mut trends = Trends::new(100.0).unwrap();
        trends.add(3, 2.0, 1_000, 1_000).unwrap();
        assert_eq!((trends.at(3, 1_000), trends.at(3, 1_100), trends.at(0, 1_000)), (2.0, 1.0, 0.0));
        trends.add(0, 1.0, 1_000_000_000, 1_000_000_000).unwrap();
        trends.add(1, 1.0, 1_000_000_300, 1_000_000_300).unwrap();
        trends.add(2, 1.0, 1_000_000_100, 1_000_000_300).unwrap();
        let now = 1_000_000_300;
        assert_eq!(
            (trends.at(0, now), trends.at(1, now), trends.at(2, now), trends.at(3, now)),
            (0.125, 1.0, 0.25, 0.0)
        );
    }

    #[test]
    fn the_order_of_arrival_does_not_count_and_the_future_is_now() {
        let events = [(0, 1.0, 5_000), (1, 3.0, 100), (0, 2.0, 700), (2, 1.0, 9_999)];
        let (mut forth, mut back) = (Trends::new(50.0).unwrap(), Trends::new(50.0).unwrap());
        events.iter().for_each(|(row, weight, time)| forth.add(*row, *weight, *time, 5_000).unwrap());
        events.iter().rev().for_each(|(row, weight, time)| back.add(*row, *weight, *time, 5_000).unwrap());
        for row in 0..3 {
            let (one, two) = (forth.at(row, 5_000), back.at(row, 5_000));
            assert!((one - two).abs() <= 1e-12 * one, "{row}: {one} {two}");
        }
        assert_eq!(forth.at(2, 5_000), 1.0);
    }

    #[test]
    fn what_is_no_number_is_refused_and_changes_nothing() {
        assert!(Trends::new(f64::NAN).is_err() && Trends::new(0.0).is_err());
        let mut trends = Trends::new(1.0).unwrap();
        let before = trends.clone();
        assert!(trends.add(0, f32::NAN, 0, 0).is_err());
        assert_eq!(trends, before);
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Trends>(&text).unwrap(), before);
    }
}
