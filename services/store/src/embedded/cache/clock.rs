//! What time it is, as a value that tests can move.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Tells the time since some fixed moment. It never goes back.
pub trait Clock: Debug + Send + Sync {
    /// The time.
    fn now(&self) -> Duration;
}

/// The time since it was made, by the machine's monotonic clock: one that is set forward or back bypasses no limit.
#[derive(Debug)]
pub struct MonotonicClock(Instant);

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Duration>);

impl Default for MonotonicClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl ManualClock {
    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().expect("nobody panics with it") += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock().expect("nobody panics with it")
    }
}
