//! What a worker really does in a second, learned from finished batches.

use std::time::Duration;

/// Busy time after which a measurement counts half. Long enough to smooth over one disturbed batch, short enough to
/// follow a machine that throttles.
const HALF_LIFE: Duration = Duration::from_millis(500);

/// How much the first guess weighs: less than any batch, so that the first measurement replaces it.
const GUESS_WEIGHT_SECONDS: f64 = 1e-4;

/// No estimate is longer: it keeps sums of estimates far from overflow.
const ESTIMATE_SECONDS_MAX: f64 = 86_400.0;

/// An exponentially weighted mean of FLOP/s, weighted by time: a batch counts for as long as it ran, so a tiny one,
/// most of it overhead, does not pull the estimate down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    flop: f64,
    seconds: f64,
}

impl Rate {
    /// Starts from a guess, in FLOP/s.
    pub(super) fn guess(flops_per_second: f64) -> Self {
        Self { flop: flops_per_second.max(1.0) * GUESS_WEIGHT_SECONDS, seconds: GUESS_WEIGHT_SECONDS }
    }

    /// Adds a finished batch: `work` FLOP in `elapsed`.
    pub(super) fn learn(&mut self, work: u64, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let keep = 0.5_f64.powf(seconds / HALF_LIFE.as_secs_f64());
        self.flop = self.flop * keep + work as f64;
        self.seconds = self.seconds * keep + seconds;
    }

    /// The estimate, in FLOP/s.
    pub(super) fn flops_per_second(&self) -> f64 {
        (self.flop / self.seconds).max(1.0)
    }

    /// How long one worker needs for `work` FLOP.
    pub(super) fn time(&self, work: u64) -> Duration {
        Duration::from_secs_f64((work as f64 / self.flops_per_second()).min(ESTIMATE_SECONDS_MAX))
    }

    /// How many FLOP one worker does in `time`.
    pub(super) fn work(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.flops_per_second()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_measurement_replaces_the_guess() {
        let mut rate = Rate::guess(1e9);
        rate.learn(50_000_000_000, Duration::from_millis(500));
        assert!((rate.flops_per_second() / 1e11 - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_batch_counts_for_as_long_as_it_ran() {
        let mut rate = Rate::guess(1e9);
        rate.learn(20_000_000_000, Duration::from_millis(200));
        rate.learn(1_000, Duration::from_micros(100));
        assert!(rate.flops_per_second() > 0.99e11);
    }

    #[test]
    fn a_change_of_speed_is_followed() {
        let mut rate = Rate::guess(1e9);
        for _ in 0..100 {
            rate.learn(1_000_000_000, Duration::from_millis(20));
        }
        for _ in 0..100 {
            rate.learn(500_000_000, Duration::from_millis(20));
        }
        assert!((rate.flops_per_second() / 2.5e10 - 1.0).abs() < 0.1);
    }

    #[test]
    fn time_and_work_are_inverse() {
        let rate = Rate::guess(1e10);
        assert_eq!(rate.work(rate.time(250_000_000)), 250_000_000);
    }
}
