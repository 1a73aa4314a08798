//! The figures of a host: calls by outcome, their time, and how many of its addresses are left alone.

use std::time::Duration;

use attune_api::outside::OutsideError;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

const CALLS: &str = "attune_outside_calls_total";
const CALL_SECONDS: &str = "attune_outside_call_seconds";
const BREAKERS_OPEN: &str = "attune_outside_breakers_open";

/// Looked up once a host.
pub struct Figures {
    answered: Counter,
    late: Counter,
    not_asked: Counter,
    failed: Counter,
    seconds: Histogram,
    /// Addresses that are not asked at present.
    pub open: Gauge,
}

impl Figures {
    /// Of a host.
    pub fn new(origin: &str) -> Self {
        let calls = |outcome: &'static str| counter!(CALLS, "origin" => origin.to_owned(), "outcome" => outcome);
        let open = gauge!(BREAKERS_OPEN, "origin" => origin.to_owned());
        open.set(0.0);
        Self {
            answered: calls("ok"),
            late: calls("late"),
            not_asked: calls("not_asked"),
            failed: calls("failed"),
            seconds: histogram!(CALL_SECONDS, "origin" => origin.to_owned()),
            open,
        }
    }

    /// A call has ended. What was not asked took no time of the host's.
    pub fn ended(&self, took: Duration, failed: Option<&OutsideError>) {
        let counter = match failed {
            None => &self.answered,
            Some(OutsideError::Late(_)) => &self.late,
            Some(OutsideError::NotAsked(_)) => &self.not_asked,
            Some(OutsideError::Failed(_)) => &self.failed,
        };
        counter.increment(1);
        if !matches!(failed, Some(OutsideError::NotAsked(_))) {
            self.seconds.record(took.as_secs_f64());
        }
    }
}
