//! Rates of this process: a number for each subject.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use attune_store::cache::{Decision, RateLimit};
use moka::sync::Cache;

/// Subjects that are remembered; those used least go first.
const SUBJECTS_MAX: u64 = 200_000;
/// A subject that was not seen for this long has all of its rate again: no limit takes longer to fill.
pub(super) const IDLE: Duration = Duration::from_secs(3_600);

/// Who has a rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Address(IpAddr),
    /// A key or subject of a tenant.
    Key {
        tenant: Arc<str>,
        id: Arc<str>,
    },
    Tenant(Arc<str>),
}

/// When the bucket of each subject runs empty, in microseconds since the start: GCRA.
pub(super) struct Buckets {
    since: Instant,
    empty_us: Cache<Subject, Arc<AtomicU64>>,
}

impl Default for Buckets {
    fn default() -> Self {
        let empty_us = Cache::builder().max_capacity(SUBJECTS_MAX).time_to_idle(IDLE).build();
        Self { since: Instant::now(), empty_us }
    }
}

impl Buckets {
    /// Takes `cost` of the subject's rate, if it is there.
    pub fn take(&self, subject: &Subject, limit: RateLimit, cost: u32) -> Decision {
        let bucket = self.bucket(subject);
        let now_us = self.now_us();
        let mut empty_us = bucket.load(Ordering::Relaxed);
        loop {
            let (decision, changed_us) = limit.take(empty_us, now_us, cost);
            let Some(changed_us) = changed_us else { return decision };
            match bucket.compare_exchange_weak(empty_us, changed_us, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return decision,
                Err(changed_meanwhile_us) => empty_us = changed_meanwhile_us,
            }
        }
    }

    /// Takes `cost`, or all that is there.
    pub fn charge(&self, subject: &Subject, limit: RateLimit, cost: u32) {
        let decision = self.take(subject, limit, cost);
        if !decision.is_allowed {
            self.take(subject, limit, decision.remaining);
        }
    }

    fn bucket(&self, subject: &Subject) -> Arc<AtomicU64> {
        let known = self.empty_us.get(subject);
        known.unwrap_or_else(|| self.empty_us.get_with(subject.clone(), Arc::default))
    }

    fn now_us(&self) -> u64 {
        self.since.elapsed().as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So slow that nothing comes back while a test runs.
    const SLOW: RateLimit = RateLimit { burst: 10, rate: 1, period: Duration::from_secs(100_000) };

    fn key(name: &str) -> Subject {
        Subject::Key { tenant: "acme".into(), id: name.into() }
    }

    #[test]
    fn each_subject_has_its_own_rate() {
        let buckets = Buckets::default();
        for _ in 0..10 {
            assert!(buckets.take(&key("a"), SLOW, 1).is_allowed);
        }
        assert!(!buckets.take(&key("a"), SLOW, 1).is_allowed);
        assert!(buckets.take(&key("b"), SLOW, 1).is_allowed);
        assert!(buckets.take(&Subject::Tenant("a".into()), SLOW, 1).is_allowed);
    }

    #[test]
    fn what_costs_more_than_is_left_takes_the_rest() {
        let buckets = Buckets::default();
        buckets.charge(&key("a"), SLOW, 7);
        assert!(buckets.take(&key("a"), SLOW, 0).remaining >= 3);
        buckets.charge(&key("a"), SLOW, 7);
        assert!(!buckets.take(&key("a"), SLOW, 1).is_allowed);
    }

    #[test]
    fn many_threads_take_no_more_than_there_is() {
        let (buckets, limit) = (Buckets::default(), RateLimit { burst: 1_000, ..SLOW });
        let take = || (0..400).filter(|_| buckets.take(&key("a"), limit, 1).is_allowed).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1_000);
    }
}
