//! The limits of a guard.

use std::time::Duration;

use super::{BreakerSettings, BudgetSettings};

/// How long calls take at most, and how often they are tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How long one attempt may take.
    pub attempt_max: Duration,
    /// No retry is begun later than this after the call was made.
    pub call_max: Duration,
    /// How often a call is tried in all.
    pub attempts_max: u32,
    /// The pause before the first retry, at most.
    pub pause_min: Duration,
    /// The pause before any retry, at most.
    pub pause_max: Duration,
    /// When the store is no longer asked.
    pub breaker: BreakerSettings,
    /// How many retries there are in all.
    pub budget: BudgetSettings,
}

impl Default for Settings {
    /// For a store in the same network: an attempt of 2 s, 5 s in all.
    fn default() -> Self {
        Self {
            attempt_max: Duration::from_secs(2),
            call_max: Duration::from_secs(5),
            attempts_max: 3,
            pause_min: Duration::from_millis(20),
            pause_max: Duration::from_secs(1),
            breaker: BreakerSettings::default(),
            budget: BudgetSettings::default(),
        }
    }
}

impl Settings {
    /// For a store in this process: it is neither unreachable nor better tried again, and its limit is that of a disk
    /// that hangs.
    pub fn embedded() -> Self {
        Self { attempt_max: Duration::from_secs(30), attempts_max: 1, ..Self::default() }
    }
}
