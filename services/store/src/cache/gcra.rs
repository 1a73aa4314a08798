//! The generic cell rate algorithm: a leaky bucket that keeps one number.
//!
//! That number is the theoretical arrival time: when the bucket will have run empty. A request moves it on by its cost,
//! and is let through if it then lies no further ahead than the burst allows.

use std::time::Duration;

/// How much may be taken, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How much at once.
    pub burst: u32,
    /// How much in a [`period`](Self::period), in the long run.
    pub rate: u32,
    /// The time that `rate` is for.
    pub period: Duration,
}

/// Whether something was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// It was.
    pub is_allowed: bool,
    /// What could be taken at once after this.
    pub remaining: u32,
    /// When the same would be allowed; zero if it was, absent if it never will be, being more than the burst.
    pub retry_after: Option<Duration>,
    /// When all of the burst is there again.
    pub reset_after: Duration,
}

impl RateLimit {
    /// The time that one of `rate` stands for, in microseconds.
    pub(crate) fn cost_us(&self) -> u64 {
        (self.period.as_micros() as u64 / u64::from(self.rate.max(1))).max(1)
    }

    /// How far ahead the bucket may run empty, in microseconds.
    pub(crate) fn burst_us(&self) -> u64 {
        self.cost_us().saturating_mul(u64::from(self.burst))
    }

    /// Decides at time `now_us`, with `empty_us` the time at which the bucket is empty; the new one if it changes.
    pub fn take(&self, empty_us: u64, now_us: u64, cost: u32) -> (Decision, Option<u64>) {
        let before_us = empty_us.max(now_us);
        let after_us = before_us.saturating_add(self.cost_us().saturating_mul(u64::from(cost)));
        let over_us = after_us.saturating_sub(now_us + self.burst_us());
        if over_us == 0 {
            return (self.decision(Some(0), after_us - now_us), Some(after_us));
        }
        let is_possible = cost <= self.burst;
        (self.decision(is_possible.then_some(over_us), before_us - now_us), None)
    }

    /// The decision whose request would be allowed in `wait_us`, when the bucket runs empty in `full_us`.
    pub(crate) fn decision(&self, wait_us: Option<u64>, full_us: u64) -> Decision {
        Decision {
            is_allowed: wait_us == Some(0),
            remaining: (self.burst_us().saturating_sub(full_us) / self.cost_us()) as u32,
            retry_after: wait_us.map(Duration::from_micros),
            reset_after: Duration::from_micros(full_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, told as a bucket that holds a level and leaks.
    struct Bucket {
        level_us: u64,
        seen_us: u64,
    }

    impl Bucket {
        fn take(&mut self, limit: RateLimit, now_us: u64, cost: u32) -> bool {
            self.level_us = self.level_us.saturating_sub(now_us - self.seen_us);
            self.seen_us = now_us;
            let added = limit.cost_us() * u64::from(cost);
            let fits = self.level_us + added <= limit.cost_us() * u64::from(limit.burst);
            self.level_us += if fits { added } else { 0 };
            fits
        }
    }

    proptest! {
        #[test]
        fn it_decides_as_a_leaky_bucket_does(
            burst in 1_u32..20, rate in 1_u32..100, period_ms in 1_u64..5_000,
            steps in prop::collection::vec((0_u64..200_000, 0_u32..25), 1..60),
        ) {
            let limit = RateLimit { burst, rate, period: Duration::from_millis(period_ms) };
            let (mut now_us, mut empty_us) = (1_000_000, 0);
            let mut bucket = Bucket { level_us: 0, seen_us: now_us };
            for (pause_us, cost) in steps {
                now_us += pause_us;
                let (decision, changed) = limit.take(empty_us, now_us, cost);
                prop_assert_eq!(decision.is_allowed, bucket.take(limit, now_us, cost));
                prop_assert_eq!(changed.is_some(), decision.is_allowed);
                prop_assert_eq!(decision.reset_after.as_micros() as u64, bucket.level_us);
                if let (false, Some(wait)) = (decision.is_allowed, decision.retry_after) {
                    let wait_us = wait.as_micros() as u64;
                    prop_assert!(limit.take(empty_us, now_us + wait_us, cost).0.is_allowed);
                    prop_assert!(!limit.take(empty_us, now_us + wait_us - 1, cost).0.is_allowed);
                }
                empty_us = changed.unwrap_or(empty_us);
                prop_assert!(limit.take(empty_us, now_us, decision.remaining).0.is_allowed);
                prop_assert!(!limit.take(empty_us, now_us, decision.remaining + 1).0.is_allowed);
            }
        }
    }
}
