//! What became of the requests of one open run, and whether the run counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::{Latencies, Percentiles};

/// The generator fell behind if its 99th percentile of lag, from due to sent, is beyond both of these: so long ...
const LAG_MAX_MS: f64 = 1.0;
/// ... and this share of the 99th percentile of latency, which the lag is part of.
const LAG_SHARE_MAX: f64 = 0.1;

/// One request of an open run. Times count from the start of the run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// When it was due.
    pub intended: Duration,
    /// When it was handed to its connection.
    pub sent: Duration,
    /// When its fate was known.
    pub finished: Duration,
    pub verdict: Verdict,
}

/// The fate of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answered,
    /// The server had too much to do.
    Refused,
    /// Its deadline passed.
    Late,
    /// The generator had too many calls in work.
    Unsent,
    Failed(String),
}

/// One open run, told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenRun {
    /// Requests offered a second, on average.
    pub rate_per_s: f64,
    /// Length of the run; arrivals stop then.
    pub seconds: f64,
    /// Of the arrivals.
    pub seed: u64,
    /// Requests that were due.
    pub requests: usize,
    /// Answers a second, of those that came while requests were still arriving.
    pub goodput_per_s: f64,
    /// Latency of the answered ones, from the moment they were due.
    pub latency: Percentiles,
    /// Requests that the server refused, and how long that took it.
    pub refused: Percentiles,
    /// Requests whose deadline passed.
    pub late: usize,
    /// From due to sent: how far the generator itself was behind.
    pub send_lag: Percentiles,
    /// Latency of the ideal first-come server on the same requests, each at its measured cost; absent above its capacity.
    pub ideal: Option<Percentiles>,
    /// The same with every text as cheap as in a full batch.
    pub ideal_full_batches: Option<Percentiles>,
    /// Why this run proves nothing, if so.
    pub void: Option<String>,
}

impl OpenRun {
    /// Adds up the outcomes of a run of `length`.
    pub(crate) fn tally(rate_per_s: f64, length: Duration, seed: u64, outcomes: &[Outcome]) -> Self {
        let of = |wanted: Verdict| outcomes.iter().filter(move |one| one.verdict == wanted);
        let since_due = |one: &Outcome| one.finished.saturating_sub(one.intended);
        let lag = |one: &Outcome| one.sent.saturating_sub(one.intended);
        let latency = of(Verdict::Answered).map(since_due).collect::<Latencies>().percentiles();
        let send_lag = outcomes.iter().map(lag).collect::<Latencies>().percentiles();
        let in_time = of(Verdict::Answered).filter(|one| one.finished <= length).count();
        Self {
            rate_per_s,
            seconds: length.as_secs_f64(),
            seed,
            requests: outcomes.len(),
            goodput_per_s: in_time as f64 / length.as_secs_f64(),
            latency,
            refused: of(Verdict::Refused).map(since_due).collect::<Latencies>().percentiles(),
            late: of(Verdict::Late).count(),
            send_lag,
            ideal: None,
            ideal_full_batches: None,
            void: void(outcomes, &latency, &send_lag),
        }
    }

    /// How many times the ideal server's p99 the measured one is.
    pub fn p99_to_ideal(&self) -> Option<f64> {
        self.ideal.map(|ideal| self.latency.p99_ms / ideal.p99_ms)
    }

    /// The same for the one whose texts are as cheap as in a full batch.
    pub fn p99_to_full_batches(&self) -> Option<f64> {
        self.ideal_full_batches.map(|ideal| self.latency.p99_ms / ideal.p99_ms)
    }

    /// Whether every request was answered, 99% of them within the objective, and the run counts.
    pub fn meets(&self, p99_objective_ms: f64) -> bool {
        let all_answered = self.latency.count == self.requests as u64;
        all_answered && self.void.is_none() && self.latency.p99_ms <= p99_objective_ms
    }
}

fn void(outcomes: &[Outcome], latency: &Percentiles, send_lag: &Percentiles) -> Option<String> {
    let allowed_ms = LAG_MAX_MS.max(LAG_SHARE_MAX * latency.p99_ms);
    if outcomes.is_empty() {
        return Some("no request was due in so short a time".into());
    }
    if send_lag.p99_ms > allowed_ms {
        let lag_ms = send_lag.p99_ms;
        return Some(format!(
            "the generator fell behind: p99 of its lag is {lag_ms:.1} ms, {allowed_ms:.1} ms is allowed"
        ));
    }
    let failure = |one: &Outcome| match &one.verdict {
        Verdict::Unsent => Some("the generator had too many calls in work".to_owned()),
        Verdict::Failed(why) => Some(format!("a call failed: {why}")),
        Verdict::Answered | Verdict::Refused | Verdict::Late => None,
    };
    outcomes.iter().find_map(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(1);

    fn outcome(number: u64, lag_ms: u64, latency_ms: u64, verdict: Verdict) -> Outcome {
        let intended = Duration::from_millis(10 * number);
        let after = |ms| intended + Duration::from_millis(ms);
        Outcome { intended, sent: after(lag_ms), finished: after(latency_ms), verdict }
    }

    fn tally(outcomes: &[Outcome]) -> OpenRun {
        OpenRun::tally(100.0, LENGTH, 1, outcomes)
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due_and_goodput_until_the_end() {
        // The last 5 of 100, due from 950 ms on, are answered after the run.
        let run = tally(&(0..100).map(|i| outcome(i, 2, 55, Verdict::Answered)).collect::<Vec<_>>());
        assert!((run.latency.p50_ms - 55.0).abs() < 0.1, "{run:?}");
        assert_eq!((run.goodput_per_s, run.void.as_deref()), (95.0, None));
        assert!(run.meets(56.0) && !run.meets(54.0));
    }

    #[test]
    fn refusals_are_counted_apart_and_keep_their_own_latency() {
        let refused = (0..50).map(|i| outcome(i, 0, 1, Verdict::Refused));
        let run = tally(&refused.chain((50..80).map(|i| outcome(i, 0, 20, Verdict::Answered))).collect::<Vec<_>>());
        assert_eq!((run.refused.count, run.latency.count, run.requests), (50, 30, 80));
        assert!((run.refused.p99_ms - 1.0).abs() < 0.01 && (run.latency.p50_ms - 20.0).abs() < 0.1);
        assert!(
            run.void.is_none() && !run.meets(1_000.0),
            "a refusal is no failure of the run, but misses the objective"
        );
    }

    #[test]
    fn a_generator_that_falls_behind_voids_the_run() {
        let at_lag = |lag_ms| tally(&(0..90).map(|i| outcome(i, lag_ms, 50, Verdict::Answered)).collect::<Vec<_>>());
        assert!(at_lag(4).void.is_none(), "less than a tenth of the latency");
        assert!(at_lag(6).void.unwrap().contains("fell behind"));
    }

    #[test]
    fn a_failed_or_unsent_call_voids_the_run() {
        let failed = tally(&[outcome(0, 0, 1, Verdict::Answered), outcome(1, 0, 1, Verdict::Failed("no key".into()))]);
        assert_eq!(failed.void.as_deref(), Some("a call failed: no key"));
        assert!(tally(&[outcome(0, 0, 1, Verdict::Unsent)]).void.unwrap().contains("too many calls"));
        assert!(tally(&[]).void.is_some());
    }
}
