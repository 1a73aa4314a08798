//! One method of a server under open load at stated rates: what is asked is encoded beforehand, whatever it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;

use crate::LoadError;
use crate::apart::apart;
use crate::arrivals::poisson;
use crate::client::Connections;
use crate::open;
use crate::tally::OpenRun;

/// Length of the run that warms up, which counts for nothing.
pub const WARM_UP: Duration = Duration::from_secs(2);

/// What to ask, and how often.
#[derive(Clone, Debug)]
pub struct RateOptions {
    /// For example `http://127.0.0.1:8080`.
    pub url: String,
    /// A key that may call the method.
    pub key: Option<String>,
    /// For example `/attune.v1.Recommendation/Recommend`; of one message in and one out.
    pub method: &'static str,
    /// Encoded messages, sent in turn.
    pub messages: Vec<Bytes>,
    /// Requests a second.
    pub rates_per_s: Vec<f64>,
    /// Runs at each rate, with arrivals of their own.
    pub runs: usize,
    /// Length of the run before them all, which counts for nothing; 0 is none.
    pub warm_up: Duration,
    /// Length of each run.
    pub length: Duration,
    /// Connections, used in turn.
    pub connections: usize,
    /// Every call is given up after this.
    pub deadline: Duration,
    /// Decides all arrivals.
    pub seed: u64,
}

/// Runs every rate as often as asked, the lowest number of the list first. Blocks for the whole time, on a thread and an
/// async runtime of its own.
///
/// # Errors
/// [`LoadError`]: options that make no sense, or no connection. Refusals under load are results.
pub fn at_rates(options: &RateOptions, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Vec<OpenRun>, LoadError> {
    options.check()?;
    apart(measure(options, progress))
}

async fn measure(options: &RateOptions, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Vec<OpenRun>, LoadError> {
    let RateOptions { url, key, method, connections, deadline, warm_up, length, seed, .. } = options;
    let path = PathAndQuery::from_static(method);
    let calls = Arc::new(Connections::open_at(url, key.as_deref(), path, *connections, *deadline).await?);
    let messages: Arc<[Bytes]> = options.messages.clone().into();
    let lowest = options.rates_per_s.iter().copied().fold(f64::INFINITY, f64::min);
    if !warm_up.is_zero() {
        progress("warming up");
        open::run(&calls, &messages, &poisson(lowest, *warm_up, seed.wrapping_sub(1))).await;
    }
    let mut runs = Vec::new();
    for rate in &options.rates_per_s {
        for run in 0..options.runs as u64 {
            progress(&format!("{rate} requests/s for {length:.0?}, run {} of {}", run + 1, options.runs));
            let seed = seed + run;
            let outcomes = open::run(&calls, &messages, &poisson(*rate, *length, seed)).await;
            runs.push(OpenRun::tally(*rate, *length, seed, &outcomes));
        }
    }
    Ok(runs)
}

impl RateOptions {
    fn check(&self) -> Result<(), LoadError> {
        let counts = [("messages", self.messages.len()), ("runs", self.runs), ("connections", self.connections)];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(LoadError::Option { name, detail: "must be above 0".into() });
        }
        let fits = |rate: &f64| *rate > 0.0 && rate.is_finite();
        if self.rates_per_s.is_empty() || !self.rates_per_s.iter().all(fits) || self.length.is_zero() {
            let detail = "give rates and a length above 0".into();
            return Err(LoadError::Option { name: "rates", detail });
        }
        Ok(())
    }
}
