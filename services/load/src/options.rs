//! What to measure, and how long.

use std::time::Duration;

use crate::LoadError;
use crate::client::Target;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The server and what it does with the texts.
    pub target: Target,
    /// One a request, in turn; see [`bench_texts`](crate::texts::bench_texts).
    pub texts: Vec<String>,
    /// The text for the idle server, and the time that the engine alone takes for it.
    pub short: ShortText,
    /// Calls with it.
    pub idle_calls: usize,
    /// Engines that the server runs at once: the workers of the ideal server.
    pub workers: usize,
    /// Connections, used in turn. Enough that their streams (256 each) are no bound on calls in work.
    pub connections: usize,
    /// Calls in work at once while capacity is measured.
    pub in_flight: usize,
    /// Length of each run.
    pub length: Duration,
    /// Runs at each share of capacity, with arrivals of their own.
    pub runs: usize,
    /// Shares of capacity that are offered: `0.5` is half of it, `2.0` twice as much.
    pub shares: Vec<f64>,
    /// The knee is the highest rate whose p99 is no longer than this. `None`: no search.
    pub p99_objective_ms: Option<f64>,
    /// Every call is given up after this.
    pub deadline: Duration,
    /// Decides all arrivals.
    pub seed: u64,
}

/// The text of the idle measurement.
#[derive(Clone, Debug)]
pub struct ShortText {
    /// The text.
    pub text: String,
    /// Median time of the engine alone for it, tokenising included, where the caller has measured that.
    pub engine_alone_ms: Option<f64>,
}

impl LoadOptions {
    /// The defaults for `target`: 50%, 80% and 200% of capacity, five runs of 20 s each, knee at a p99 of 50 ms.
    pub fn new(target: Target, texts: Vec<String>, workers: usize) -> Self {
        Self {
            target,
            texts,
            short: ShortText { text: "A man is eating food.".into(), engine_alone_ms: None },
            idle_calls: 300,
            workers,
            connections: 8,
            in_flight: 64,
            length: Duration::from_secs(20),
            runs: 5,
            shares: vec![0.5, 0.8, 2.0],
            p99_objective_ms: Some(50.0),
            deadline: Duration::from_secs(60),
            seed: 42,
        }
    }

    /// Refuses what cannot be measured.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let counts = [
            ("texts", self.texts.len()),
            ("idle_calls", self.idle_calls),
            ("workers", self.workers),
            ("connections", self.connections),
            ("in_flight", self.in_flight),
            ("runs", self.runs),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(LoadError::Option { name, detail: "must be above 0".into() });
        }
        let positive = |value: f64| value > 0.0 && value.is_finite();
        match self.shares.iter().find(|share| !positive(**share)) {
            Some(share) => {
                Err(LoadError::Option { name: "shares", detail: format!("{share} is no share of capacity") })
            }
            None if self.length.is_zero() => {
                Err(LoadError::Option { name: "length", detail: "must be above 0".into() })
            }
            None => Ok(()),
        }
    }
}
