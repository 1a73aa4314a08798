//! Latencies, kept in a histogram of high dynamic range and told as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// Three significant digits: a percentile is off by 0.1% at most.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies to the microsecond.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// What a reader wants to know of many latencies, in milliseconds. All 0 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Half of them are no longer than this.
    pub p50_ms: f64,
    /// 90% are no longer.
    pub p90_ms: f64,
    /// 99% are no longer.
    pub p99_ms: f64,
    /// 99.9% are no longer.
    pub p999_ms: f64,
    /// The longest one.
    pub max_ms: f64,
}

impl Latencies {
    /// Counts one more.
    pub fn record(&mut self, latency: Duration) {
        // Too long is counted as the longest, by `saturating_record`.
        self.histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Those of another one, too.
    pub fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
    }

    /// What they amount to.
    pub fn percentiles(&self) -> Percentiles {
        if self.histogram.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            count: self.histogram.len(),
            mean_ms: self.histogram.mean() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.histogram.max() as f64 / 1e3,
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        let max = LATENCY_MAX.as_micros() as u64;
        let histogram = Histogram::new_with_bounds(1, max, SIGNIFICANT_DIGITS).expect("the bounds are constants");
        Self { histogram }
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(latencies: I) -> Self {
        let mut all = Self::default();
        latencies.into_iter().for_each(|latency| all.record(latency));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_list_within_the_digits() {
        let told = (1..=10_000).map(Duration::from_millis).collect::<Latencies>().percentiles();
        let expected = [
            (told.mean_ms, 5_000.5),
            (told.p50_ms, 5_000.0),
            (told.p90_ms, 9_000.0),
            (told.p99_ms, 9_900.0),
            (told.p999_ms, 9_990.0),
            (told.max_ms, 10_000.0),
        ];
        for (found, exact) in expected {
            assert!((found / exact - 1.0).abs() < 2e-3, "{found} for {exact}");
        }
        assert_eq!(told.count, 10_000);
    }

    #[test]
    fn none_at_all_and_far_too_long_have_an_answer() {
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
        let told = [Duration::from_secs(100_000)].into_iter().collect::<Latencies>().percentiles();
        assert!((told.max_ms / 600_000.0 - 1.0).abs() < 2e-3, "{told:?}");
    }
}
