//! A breaker that many callers share, with the clock that it is asked by.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Breaker, BreakerSettings, Permit, Refusal};

/// What is told when a gate has opened or closed its breaker.
type Turned = Box<dyn Fn(bool) + Send + Sync>;

/// Lets calls through as long as its breaker does. No lock is held across a wait.
pub struct Gate {
    breaker: Mutex<Breaker>,
    start: Instant,
    turned: Turned,
}

/// A call that was let through. Dropped without an end, when its caller went away, it counts as neither.
#[must_use]
pub struct Admission<'g> {
    gate: &'g Gate,
    permit: Option<Permit>,
}

impl Gate {
    /// A gate with a closed breaker; `turned` hears whether the breaker is open, whenever that changes.
    pub fn new(settings: BreakerSettings, turned: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self { breaker: Mutex::new(Breaker::new(settings)), start: Instant::now(), turned: Box::new(turned) }
    }

    /// Asks for leave to call.
    ///
    /// # Errors
    /// The breaker is open, and it is not yet time for a probe or one is under way.
    pub fn admit(&self) -> Result<Admission<'_>, Refusal> {
        let permit = self.breaker().admit(self.now())?;
        Ok(Admission { gate: self, permit: Some(permit) })
    }

    /// Whether calls are refused, but for a probe.
    pub fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    /// The time of its clock.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Breaker, Duration)) {
        let (was_open, is_open) = {
            let mut breaker = self.breaker();
            let was_open = breaker.is_open();
            change(&mut breaker, self.now());
            (was_open, breaker.is_open())
        };
        if was_open != is_open {
            (self.turned)(is_open);
        }
    }
}

impl Admission<'_> {
    /// The call has ended, with an answer or without.
    pub fn end(mut self, answered: bool) {
        if let Some(permit) = self.permit.take() {
            self.gate.change(|breaker, now| breaker.end(permit, answered, now, rand::random()));
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.gate.change(|breaker, _| breaker.forget(permit));
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}
