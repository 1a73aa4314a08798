//! The whole measurement of one running server, step by step.
//!
//! Alone on an idle server; as much as it can do; then open loops at shares of that, and at rates up to the knee.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::LoadError;
use crate::arrivals::poisson;
use crate::client::{Connections, Target};
use crate::closed::{Answered, Loop, Until};
use crate::ideal::{TokenCost, first_come};
use crate::knee::Knee;
use crate::latency::{Latencies, Percentiles};
use crate::open;
use crate::report::{Idle, KneeReport, Level, Report, Server};
use crate::tally::OpenRun;

/// Pause between calls to the idle server: its threads have gone to sleep by then, as when a user comes along.
const IDLE_PAUSE: Duration = Duration::from_millis(20);
/// Texts whose cost is measured one by one.
const COST_TEXTS: usize = 500;
/// Each run of a level has a seed of its own, this far from the next level's.
const SEEDS_A_LEVEL: u64 = 1_000;

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

    fn check(&self) -> Result<(), LoadError> {
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)?;
    thread::scope(|scope| {
        let measuring = scope.spawn(|| runtime.block_on(Bench::measure(options, progress)));
        measuring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

struct Bench<'a> {
    options: &'a LoadOptions,
    calls: Arc<Connections>,
    messages: Arc<[Bytes]>,
    /// Tokens of each text.
    tokens: Vec<usize>,
    capacity_per_s: f64,
    /// Of the ideal server.
    cost: TokenCost,
}

impl<'a> Bench<'a> {
    async fn measure(options: &'a LoadOptions, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Report, LoadError> {
        progress("connecting");
        let calls = Arc::new(Connections::open(&options.target, options.connections, options.deadline).await?);
        let server = Server::from(calls.model(&options.target).await?);
        let messages: Arc<[Bytes]> = options.texts.iter().map(|text| options.target.encode(text)).collect();

        progress("warming up: every text once");
        let warm = Loop::busy(options.in_flight, Until::Calls(messages.len())).run(&calls, &messages).await?;
        let tokens = tokens(&warm, messages.len());

        progress(&format!("idle server: {} calls with one short text", options.idle_calls));
        let idle = idle(options, &calls).await?;
        let alone = Loop::alone(COST_TEXTS.min(messages.len()), Duration::ZERO).run(&calls, &messages).await?;
        let cost = TokenCost::fit(alone.iter().map(|one| (one.answer.tokens(), one.answer.infer_ms())));
        let idle_cost = cost.ok_or(LoadError::NoTiming)?;

        progress(&format!("capacity: {} calls in flight for {:.0?}", options.in_flight, options.length));
        let busy = Loop::busy(options.in_flight, Until::Time(options.length)).run(&calls, &messages).await?;
        let capacity_per_s = busy.len() as f64 / options.length.as_secs_f64();
        if busy.is_empty() {
            return Err(LoadError::Option { name: "length", detail: "no call was answered within it".into() });
        }
        let cost = idle_cost.at_capacity(capacity_per_s, options.workers, &tokens);

        let bench = Self { options, calls, messages, tokens, capacity_per_s, cost };
        let levels = bench.levels(progress).await;
        let knee = match options.p99_objective_ms {
            Some(objective_ms) => Some(bench.knee(objective_ms, progress).await),
            None => None,
        };
        Ok(Report {
            server,
            workers: options.workers,
            connections: options.connections,
            texts: bench.messages.len(),
            tokens_mean: bench.tokens_mean(),
            idle,
            idle_cost,
            capacity_per_s,
            capacity_tokens_per_s: capacity_per_s * bench.tokens_mean(),
            ideal_cost: cost,
            levels,
            knee,
        })
    }

    async fn levels(&self, progress: &mut (dyn FnMut(&str) + Send)) -> Vec<Level> {
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

    async fn knee(&self, objective_ms: f64, progress: &mut (dyn FnMut(&str) + Send)) -> KneeReport {
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

    /// One open run, and the ideal server on the same arrivals and texts where it is not overloaded.
    async fn open(&self, rate_per_s: f64, seed: u64) -> OpenRun {
        let arrivals = poisson(rate_per_s, self.options.length, seed);
        let outcomes = open::run(&self.calls, &self.messages, &arrivals).await;
        let mut run = OpenRun::tally(rate_per_s, self.options.length, seed, &outcomes);
        run.ideal = (rate_per_s < self.capacity_per_s).then(|| self.ideal(&arrivals));
        run
    }

    fn ideal(&self, arrivals: &[Duration]) -> Percentiles {
        let service = |number: usize| self.cost.of(self.tokens[number % self.tokens.len()]);
        let requests = arrivals.iter().enumerate().map(|(number, &arrival)| (arrival, service(number)));
        first_come(requests, self.options.workers).into_iter().collect::<Latencies>().percentiles()
    }

    fn tokens_mean(&self) -> f64 {
        self.tokens.iter().sum::<usize>() as f64 / self.tokens.len() as f64
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
