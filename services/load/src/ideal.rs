//! The server to beat: one that serves in the order of arrival, without any overhead.
//!
//! An absolute latency says nothing without the load it was measured under: at 80% of capacity even a perfect server
//! has a p99 many times that of an idle one. So the same arrivals, with the same texts, are put before a simulated
//! server of as many workers whose only cost is that of the tokens, and the ratio of the two p99s is what counts.
//!
//! There are two of them. The first pays for every text what it was measured to cost on an idle server, where it came
//! alone: that is what serving in the order of arrival costs. The second pays less, the same shape scaled so that it has
//! exactly the capacity that was measured: as if every text had the company of a full batch without waiting for it. No
//! server can be as fast as that one, and how far the first is from it is what batches are worth on that machine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time that a text takes of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenCost {
    /// For a text of any length.
    pub fixed_ms: f64,
    /// For each of its tokens.
    pub per_token_ms: f64,
}

impl TokenCost {
    /// The line through measured costs, pairs of tokens and milliseconds: least squares through the medians of each
    /// length, weighted by how many texts have it, so that a few disturbed measurements do not move it. Neither part is
    /// below 0.
    ///
    /// Returns `None` without any measurement above 0.
    pub fn fit(measured: impl IntoIterator<Item = (usize, f64)>) -> Option<Self> {
        let mut by_length: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (tokens, cost_ms) in measured {
            by_length.entry(tokens).or_default().push(cost_ms);
        }
        let points: Vec<(f64, f64, f64)> = by_length
            .into_iter()
            .map(|(tokens, mut costs)| (tokens as f64, median(&mut costs), costs.len() as f64))
            .collect();
        let weight: f64 = points.iter().map(|(_, _, w)| w).sum();
        let mean_x = points.iter().map(|(x, _, w)| w * x).sum::<f64>() / weight;
        let mean_y = points.iter().map(|(_, y, w)| w * y).sum::<f64>() / weight;
        let spread: f64 = points.iter().map(|(x, _, w)| w * (x - mean_x).powi(2)).sum();
        let together: f64 = points.iter().map(|(x, y, w)| w * (x - mean_x) * (y - mean_y)).sum();
        let per_token_ms = if spread > 0.0 { (together / spread).clamp(0.0, mean_y / mean_x) } else { 0.0 };
        (mean_y > 0.0).then_some(Self { fixed_ms: mean_y - per_token_ms * mean_x, per_token_ms })
    }

    /// The mean of what texts with these `tokens` cost.
    pub fn mean(&self, tokens: &[usize]) -> Duration {
        tokens.iter().map(|&tokens| self.of(tokens)).sum::<Duration>() / tokens.len() as u32
    }

    /// What a text of so many tokens costs.
    pub fn of(&self, tokens: usize) -> Duration {
        Duration::from_secs_f64((self.fixed_ms + self.per_token_ms * tokens as f64) / 1e3)
    }

    /// The same shape, for a server whose `workers` together do `capacity_per_s` of texts with these `tokens`.
    pub fn at_capacity(&self, capacity_per_s: f64, workers: usize, tokens: &[usize]) -> Self {
        let scale = workers as f64 / capacity_per_s / self.mean(tokens).as_secs_f64();
        Self { fixed_ms: scale * self.fixed_ms, per_token_ms: scale * self.per_token_ms }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Latencies, from arrival to answer, of a server that takes requests in their order as soon as one of its `workers` is
/// free. `arrivals` are in order; each request is a pair of its time of arrival and the time that it takes a worker.
///
/// # Panics
/// If there is no worker.
pub fn first_come(requests: impl IntoIterator<Item = (Duration, Duration)>, workers: usize) -> Vec<Duration> {
    assert!(workers > 0, "a server without workers");
    let mut free_at: BinaryHeap<Reverse<Duration>> = vec![Reverse(Duration::ZERO); workers].into();
    let serve = |(arrival, service): (Duration, Duration)| {
        let Reverse(free) = free_at.pop().expect("as many as there are workers");
        let done = free.max(arrival) + service;
        free_at.push(Reverse(done));
        done - arrival
    };
    requests.into_iter().map(serve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::poisson;
    use crate::random::SplitMix64;

    const SECOND: Duration = Duration::from_secs(1);

    fn mean_wait_s(requests: &[(Duration, Duration)], workers: usize) -> f64 {
        let latencies = first_come(requests.iter().copied(), workers);
        let waits = latencies.iter().zip(requests).map(|(latency, (_, service))| (*latency - *service).as_secs_f64());
        waits.sum::<f64>() / requests.len() as f64
    }

    /// One worker, every request the same: the mean wait is `load / (2 (1 - load))` services (Pollaczek, Khinchine).
    #[test]
    fn equal_requests_wait_as_long_as_the_formula_says() {
        for load in [0.3, 0.5, 0.8] {
            let requests: Vec<_> = poisson(load, 400_000 * SECOND, 5).into_iter().map(|at| (at, SECOND)).collect();
            let (found, exact) = (mean_wait_s(&requests, 1), load / (2.0 * (1.0 - load)));
            assert!((found / exact - 1.0).abs() < 0.03, "load {load}: {found} s, the formula says {exact} s");
        }
    }

    /// Several workers, exponential services: Erlang's formula C gives the chance to wait, and with it the mean.
    #[test]
    fn several_workers_wait_as_long_as_erlang_says() {
        let (load, workers) = (0.8, 2);
        let rate_per_s = load * workers as f64;
        let mut random = SplitMix64::new(6);
        let arrivals = poisson(rate_per_s, 300_000 * SECOND, 7).into_iter();
        let requests: Vec<_> = arrivals.map(|at| (at, SECOND.mul_f64(random.exponential()))).collect();
        // Two workers: C = 2 load^2 / (1 + load).
        let exact = 2.0 * load * load / (1.0 + load) / (workers as f64 - rate_per_s);
        let found = mean_wait_s(&requests, workers);
        assert!((found / exact - 1.0).abs() < 0.03, "{found} s, the formula says {exact} s");
    }

    #[test]
    fn nobody_waits_while_a_worker_is_free_and_a_crowd_is_served_in_turn() {
        let at = |second: u32| (second * SECOND, 10 * SECOND);
        assert_eq!(first_come([at(0), at(20), at(40)], 1), [10 * SECOND; 3]);
        assert_eq!(first_come([at(0), at(0), at(0)], 1), [10 * SECOND, 20 * SECOND, 30 * SECOND]);
        assert_eq!(first_come([at(0), at(1), at(2)], 2), [10 * SECOND, 10 * SECOND, 18 * SECOND]);
    }

    #[test]
    fn a_line_is_found_again_in_spite_of_outliers() {
        let line = |tokens: usize| 0.5 + 0.1 * tokens as f64;
        let quiet = (0..500).map(|i| (5 + i % 50, line(5 + i % 50)));
        let disturbed = (0..50).map(|i| (5 + i, 1_000.0));
        let cost = TokenCost::fit(quiet.chain(disturbed)).unwrap();
        assert!((cost.fixed_ms - 0.5).abs() < 1e-9 && (cost.per_token_ms - 0.1).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn a_fit_has_no_negative_part() {
        let falling = TokenCost::fit([(10, 2.0), (20, 1.0)]).unwrap();
        assert_eq!((falling.fixed_ms, falling.per_token_ms), (1.5, 0.0));
        let steep = TokenCost::fit([(10, 1.0), (20, 9.0)]).unwrap();
        assert!(steep.fixed_ms.abs() < 1e-12 && (steep.per_token_ms - 1.0 / 3.0).abs() < 1e-12, "{steep:?}");
        assert_eq!(TokenCost::fit([(7, 3.0)]), Some(TokenCost { fixed_ms: 3.0, per_token_ms: 0.0 }));
        assert_eq!(TokenCost::fit([]), None);
    }

    #[test]
    fn scaled_costs_use_up_the_workers_at_capacity() {
        let (tokens, cost) = ([10, 20, 30], TokenCost { fixed_ms: 1.0, per_token_ms: 0.2 });
        let scaled = cost.at_capacity(400.0, 2, &tokens);
        assert!((scaled.mean(&tokens).as_secs_f64() * 400.0 - 2.0).abs() < 1e-6);
        assert!((scaled.fixed_ms / scaled.per_token_ms - 5.0).abs() < 1e-12);
    }
}
