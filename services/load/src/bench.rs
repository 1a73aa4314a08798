//! The whole measurement of one running server, step by step.
//!
//! Alone on an idle server; as much as it can do; then open loops at shares of that, and at rates up to the knee.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::LoadError;
use crate::apart::apart;
use crate::arrivals::poisson;
use crate::client::Connections;
use crate::closed::{Answered, Loop, Until};
use crate::ideal::{TokenCost, first_come};
use crate::knee::Knee;
use crate::latency::{Latencies, Percentiles};
use crate::open;
use crate::options::LoadOptions;
use crate::report::{Idle, KneeReport, Level, Report, Server};
use crate::tally::OpenRun;

/// Pause between calls to the idle server: its threads have gone to sleep by then, as when a user comes along.
pub const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// Texts whose cost is measured one by one.
const COST_TEXTS: usize = 500;
/// Each run of a level has a seed of its own, this far from the next level's.
const SEEDS_A_LEVEL: u64 = 1_000;

/// Told what comes next, in a line for a person.
type Progress<'a> = dyn FnMut(&str) + Send + 'a;

/// Measures the server. `progress` is told what comes next, in a line for a person.
///
/// Blocks for the whole time, minutes with the defaults, on a thread and an async runtime of its own, so that it may be
/// called from anywhere.
///
/// # Errors
/// [`LoadError`]: options that contradict themselves, no connection, a call without an answer on a server that had
/// nothing else to do. Refusals under load are results.
pub fn run(options: &LoadOptions, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Report, LoadError> {
    options.check()?;
    apart(async { Ok(Bench::prepare(options, progress).await?.measure(progress).await) })
}

/// A server that is warm, with what is known of it.
struct Bench<'a> {
    options: &'a LoadOptions,
    calls: Arc<Connections>,
    messages: Arc<[Bytes]>,
    server: Server,
    idle: Idle,
    idle_cost: TokenCost,
    /// Tokens of each text.
    tokens: Vec<usize>,
    capacity_per_s: f64,
    /// `idle_cost`, scaled to the capacity.
    full_batch_cost: TokenCost,
}

impl<'a> Bench<'a> {
    async fn prepare(options: &'a LoadOptions, progress: &mut Progress<'_>) -> Result<Self, LoadError> {
        progress("connecting");
        let calls = Arc::new(Connections::open(&options.target, options.connections, options.deadline).await?);
        let server = Server::from(calls.model(&options.target).await?);
        let messages: Arc<[Bytes]> = options.texts.iter().map(|text| options.target.encode(text)).collect();

        // One at a time first: a server that has just started learns its own speed before much is asked of it.
        progress("what texts cost, one at a time");
        let alone = Loop::alone(COST_TEXTS.min(messages.len()), Duration::ZERO).run(&calls, &messages).await?;
        let cost = TokenCost::fit(alone.iter().map(|one| (one.answer.tokens(), one.answer.infer_ms())));
        let idle_cost = cost.ok_or(LoadError::NoTiming)?;

        progress(&format!("idle server: {} calls with one short text", options.idle_calls));
        let idle = idle(options, &calls).await?;

        progress("every text once");
        let all = Loop::busy(options.in_flight, Until::Calls(messages.len())).run(&calls, &messages).await?;
        let tokens = tokens(&all, messages.len());

        progress(&format!("capacity: {} calls in flight for {:.0?}", options.in_flight, options.length));
        let busy = Loop::busy(options.in_flight, Until::Time(options.length)).run(&calls, &messages).await?;
        if busy.is_empty() {
            return Err(LoadError::Option { name: "length", detail: "no call was answered within it".into() });
        }
        let capacity_per_s = busy.len() as f64 / options.length.as_secs_f64();
        let full_batch_cost = idle_cost.at_capacity(capacity_per_s, options.workers, &tokens);
        Ok(Self { options, calls, messages, server, idle, idle_cost, tokens, capacity_per_s, full_batch_cost })
    }

    async fn measure(self, progress: &mut Progress<'_>) -> Report {
        let levels = self.levels(progress).await;
        let knee = match self.options.p99_objective_ms {
            Some(objective_ms) => Some(self.knee(objective_ms, progress).await),
            None => None,
        };
        let tokens_mean = self.tokens.iter().sum::<usize>() as f64 / self.tokens.len() as f64;
        Report {
            server: self.server,
            workers: self.options.workers,
            connections: self.options.connections,
            texts: self.messages.len(),
            tokens_mean,
            idle: self.idle,
            idle_cost: self.idle_cost,
            capacity_per_s: self.capacity_per_s,
            capacity_tokens_per_s: self.capacity_per_s * tokens_mean,
            full_batch_cost: self.full_batch_cost,
            levels,
            knee,
        }
    }

    async fn levels(&self, progress: &mut Progress<'_>) -> Vec<Level> {
        let mut levels = Vec::with_capacity(self.options.shares.len());
        for (number, &share) in self.options.shares.iter().enumerate() {
            let rate_per_s = share * self.capacity_per_s;
            let mut runs = Vec::with_capacity(self.options.runs);
            for run in 0..self.options.runs {
                let percent = 100.0 * share;
                progress(&format!(
                    "{percent:.0}% of capacity, {rate_per_s:.0}/s: run {} of {}",
                    run + 1,
                    self.options.runs
                ));
                runs.push(self.open(rate_per_s, self.seed(number) + run as u64).await);
            }
            levels.push(Level { share, rate_per_s, runs });
        }
        levels
    }

    async fn knee(&self, objective_ms: f64, progress: &mut Progress<'_>) -> KneeReport {
        let mut knee = Knee::new(0.5 * self.capacity_per_s);
        let mut runs = Vec::new();
        while let Some(rate_per_s) = knee.next() {
            progress(&format!("knee at p99 <= {objective_ms} ms: {rate_per_s:.0}/s"));
            let run = self.open(rate_per_s, self.seed(self.options.shares.len()) + runs.len() as u64).await;
            knee.record(rate_per_s, run.meets(objective_ms));
            runs.push(run);
        }
        KneeReport { objective_ms, rate_per_s: knee.highest_met(), runs }
    }

    fn seed(&self, level: usize) -> u64 {
        self.options.seed + SEEDS_A_LEVEL * level as u64
    }

    /// One open run, and the ideal servers on the same arrivals and texts where they are not overloaded.
    async fn open(&self, rate_per_s: f64, seed: u64) -> OpenRun {
        let arrivals = poisson(rate_per_s, self.options.length, seed);
        let outcomes = open::run(&self.calls, &self.messages, &arrivals).await;
        let mut run = OpenRun::tally(rate_per_s, self.options.length, seed, &outcomes);
        run.ideal = self.ideal(self.idle_cost, rate_per_s, &arrivals);
        run.ideal_full_batches = self.ideal(self.full_batch_cost, rate_per_s, &arrivals);
        run
    }

    fn ideal(&self, cost: TokenCost, rate_per_s: f64, arrivals: &[Duration]) -> Option<Percentiles> {
        let load = rate_per_s * cost.mean(&self.tokens).as_secs_f64() / self.options.workers as f64;
        if load >= 1.0 {
            return None;
        }
        let service = |number: usize| cost.of(self.tokens[number % self.tokens.len()]);
        let requests = arrivals.iter().enumerate().map(|(number, &arrival)| (arrival, service(number)));
        Some(first_come(requests, self.options.workers).into_iter().collect::<Latencies>().percentiles())
    }
}

/// Tokens by message, from the answers to all of them.
fn tokens(answered: &[Answered], messages: usize) -> Vec<usize> {
    let mut tokens = vec![0; messages];
    for one in answered {
        tokens[one.message] = one.answer.tokens();
    }
    tokens
}

async fn idle(options: &LoadOptions, calls: &Arc<Connections>) -> Result<Idle, LoadError> {
    let short: Arc<[Bytes]> = Arc::new([options.target.encode(&options.short.text)]);
    let answered = Loop::alone(options.idle_calls, IDLE_PAUSE).run(calls, &short).await?;
    let infer = answered.iter().map(|one| Duration::from_secs_f64(one.answer.infer_ms() / 1e3));
    Ok(Idle {
        text: options.short.text.clone(),
        tokens: answered.first().map_or(0, |one| one.answer.tokens()),
        latency: answered.iter().map(|one| one.latency).collect::<Latencies>().percentiles(),
        infer: infer.collect::<Latencies>().percentiles(),
        engine_alone_ms: options.short.engine_alone_ms,
    })
}
