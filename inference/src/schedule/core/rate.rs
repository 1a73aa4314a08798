//! What a worker really does in a second, learned from finished batches.

use std::time::Duration;

/// Busy time after which a measurement counts half. Long enough to smooth over one disturbed batch, short enough to
/// follow a machine that throttles.
const HALF_LIFE: Duration = Duration::from_millis(500);

/// How much the first guess weighs: about a batch. Weighed less, a first batch slowed by cold memory would stand alone,
/// and callers that come during the second would be refused for a wait that never comes.
const GUESS_WEIGHT_SECONDS: f64 = 0.02;

/// A batch counts for no longer than this: a process that was paused for a minute has one slow batch, not a new speed.
const WEIGHT_SECONDS_MAX: f64 = 0.1;

/// No estimate is longer: it keeps sums of estimates far from overflow.
const ESTIMATE_SECONDS_MAX: f64 = 86_400.0;

/// An exponentially weighted mean of FLOP/s, weighted by time: a batch counts for as long as it ran, within reason, so a
/// tiny one, most of it overhead, does not pull the estimate down.
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
        let weight = seconds.min(WEIGHT_SECONDS_MAX);
        if weight == 0.0 {
            return; // a clock too coarse to tell
        }
        let keep = 0.5_f64.powf(weight / HALF_LIFE.as_secs_f64());
        self.flop = self.flop * keep + work as f64 * (weight / seconds);
        self.seconds = self.seconds * keep + weight;
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
    fn a_few_batches_replace_the_guess() {
        let mut rate = Rate::guess(1e9);
        for _ in 0..20 {
            rate.learn(2_500_000_000, Duration::from_millis(25));
        }
        assert!((rate.flops_per_second() / 1e11 - 1.0).abs() < 0.05);
    }

    #[test]
    fn one_batch_in_a_paused_process_does_not_make_the_machine_slow() {
        let mut rate = Rate::guess(1e9);
        for _ in 0..100 {
            rate.learn(2_500_000_000, Duration::from_millis(25));
        }
        rate.learn(2_500_000_000, Duration::from_secs(60));
        assert!(rate.flops_per_second() > 0.8e11);
        assert!(rate.flops_per_second() < 1e11, "but it counts");
    }

    #[test]
    fn a_cold_first_batch_does_not_stand_alone() {
        let mut rate = Rate::guess(2e10);
        rate.learn(100_000_000, Duration::from_millis(200));
        assert!(rate.flops_per_second() > 2e9);
    }

    #[test]
    fn a_batch_counts_for_as_long_as_it_ran() {
        let mut rate = Rate::guess(1e11);
        rate.learn(10_000_000_000, Duration::from_millis(100));
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
