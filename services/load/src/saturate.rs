//! Closed loops of anybody's requests: as many at once as asked, each lane asking again as soon as it was answered, as
//! `wrk` does it. This is how rates of servers are usually told; it flatters one that stalls (see [`open`](crate::open)),
//! which is why the slowest answers are told beside the rate.
//!
//! Requests are encoded beforehand, and of an answer only what `count` looks at is read: the generator shares the
//! processor with the server. It has one thread.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::LoadError;
use crate::latency::{Latencies, Percentiles};

/// What to ask, and how much of it at once.
#[derive(Clone, Debug)]
pub struct SaturateOptions {
    /// For example `http://127.0.0.1:8080`.
    pub url: String,
    /// A key that may ask.
    pub key: String,
    /// For example `/v1/recommend`, or `/attune.v1.Tracking/TrackStream`.
    pub path: &'static str,
    /// Encoded requests, sent in turn.
    pub messages: Vec<Bytes>,
    /// Requests in work at once: connections of REST, messages of a stream.
    pub lanes: usize,
    /// What is asked for so long before counts for nothing.
    pub warm_up: Duration,
    /// How long it is measured.
    pub length: Duration,
}

/// One closed run, told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClosedRun {
    /// Requests in work at once.
    pub lanes: usize,
    /// Its length.
    pub seconds: f64,
    /// What the answers counted, for example events.
    pub counted: u64,
    /// Requests that were refused because the server had too much to do.
    pub refused: u64,
    /// From sending to the answer.
    pub latency: Percentiles,
}

impl ClosedRun {
    /// Answered requests a second.
    pub fn requests_per_s(&self) -> f64 {
        self.latency.count as f64 / self.seconds
    }

    /// What the answers counted, a second.
    pub fn counted_per_s(&self) -> f64 {
        self.counted as f64 / self.seconds
    }
}

impl SaturateOptions {
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let counts = [("messages", self.messages.len()), ("lanes", self.lanes)];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(LoadError::Option { name, detail: "must be above 0".into() });
        }
        if self.length.is_zero() {
            return Err(LoadError::Option { name: "length", detail: "must be above 0".into() });
        }
        Ok(())
    }

    pub(crate) fn unanswered(&self, detail: impl Into<String>) -> LoadError {
        LoadError::Unanswered { in_flight: self.lanes, detail: detail.into() }
    }

    pub(crate) fn bad_target(&self, detail: impl ToString) -> LoadError {
        LoadError::Target { url: self.url.clone(), detail: detail.to_string() }
    }
}

/// When answers count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    /// That of a run that begins now.
    pub fn of(options: &SaturateOptions) -> Self {
        let from = Instant::now() + options.warm_up;
        Self { from, until: from + options.length }
    }

    /// Whether another request is sent now.
    pub fn is_open_for_requests(&self) -> bool {
        Instant::now() < self.until
    }

    fn has(&self, moment: Instant) -> bool {
        (self.from..self.until).contains(&moment)
    }
}

/// What one lane, or all of them, counted.
#[derive(Debug, Default)]
pub(crate) struct Count {
    latencies: Latencies,
    counted: u64,
    refused: u64,
}

impl Count {
    /// An answer came just now.
    pub fn answered(&mut self, window: Window, sent: Instant, counted: u64) {
        let now = Instant::now();
        if window.has(now) {
            self.latencies.record(now - sent);
            self.counted += counted;
        }
    }

    /// A refusal did.
    pub fn refused(&mut self, window: Window) {
        self.refused += u64::from(window.has(Instant::now()));
    }

    /// That of another lane, too.
    pub fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.counted += other.counted;
        self.refused += other.refused;
    }

    /// As a run.
    pub fn told(&self, options: &SaturateOptions) -> ClosedRun {
        ClosedRun {
            lanes: options.lanes,
            seconds: options.length.as_secs_f64(),
            counted: self.counted,
            refused: self.refused,
            latency: self.latencies.percentiles(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_answered_in_the_window_counts() {
        let now = Instant::now();
        let options = SaturateOptions {
            url: String::new(),
            key: String::new(),
            path: "/",
            messages: vec![Bytes::new()],
            lanes: 2,
            warm_up: Duration::ZERO,
            length: Duration::from_secs(4),
        };
        let open = Window { from: now, until: now + Duration::from_secs(3_600) };
        let closed = Window { from: now + Duration::from_secs(3_600), until: now + Duration::from_secs(7_200) };
        let (mut one, mut other) = (Count::default(), Count::default());
        one.answered(open, now, 100);
        one.answered(closed, now, 100);
        other.answered(open, now, 100);
        other.refused(open);
        other.refused(closed);
        one.add(&other);
        let run = one.told(&options);
        assert_eq!((run.counted, run.refused, run.latency.count), (200, 1, 2));
        assert_eq!((run.requests_per_s(), run.counted_per_s()), (0.5, 50.0));
        assert!(SaturateOptions { lanes: 0, ..options.clone() }.check().is_err());
        assert!(SaturateOptions { length: Duration::ZERO, ..options.clone() }.check().is_err());
        assert!(options.check().is_ok());
    }
}
