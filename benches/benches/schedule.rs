//! What the scheduler costs, engines aside.
//!
//! An engine that embeds 60,000 tokens a second takes 400 us for a text of 25 tokens; what is measured here happens
//! once for each such text.
//!
//! - `core`: queueing 10,000 texts and forming their batches, the part that runs under the lock;
//! - `loop`: from submission to rows through the worker threads, with an engine that does nothing: one job at a time,
//!   and 64 callers at once.
//!
//! ```text
//! cargo bench -p attune-benches --bench schedule
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use attune_inference::engine::{Engine, EngineError, EngineInfo, FlatBatch, Precision, Stop};
use attune_inference::schedule::core::{Batch, Core, Cost, Request, Time};
use attune_inference::schedule::{EngineFactory, Job, Limits, ModelId, Scheduler, SchedulerConfig, WorkClass};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const TEXTS: usize = 10_000;
const CAPACITY_TOKENS: usize = 16_384;

/// How the texts come in.
struct Traffic {
    name: &'static str,
    callers: usize,
    request_texts: usize,
    has_deadlines: bool,
}

const TRAFFIC: [Traffic; 4] = [
    Traffic { name: "one caller, single texts", callers: 1, request_texts: 1, has_deadlines: false },
    Traffic { name: "1,000 callers, single texts", callers: 1_000, request_texts: 1, has_deadlines: false },
    Traffic { name: "1,000 callers, single texts, deadlines", callers: 1_000, request_texts: 1, has_deadlines: true },
    Traffic { name: "10 callers, 100 texts a request", callers: 10, request_texts: 100, has_deadlines: false },
];

impl Traffic {
    /// Lengths of 3 to 47 tokens, 25 in the mean.
    fn requests(&self) -> Vec<Request<Arc<()>>> {
        let callers: Vec<Arc<str>> = (0..self.callers).map(|caller| caller.to_string().into()).collect();
        let length = |text: usize| 3 + (text * 17 % 45) as u32;
        let cost = |text| Cost { tokens: length(text), work: u64::from(length(text)) * 21_200_000 };
        let request = |number: usize| Request {
            model: ModelId(0),
            class: WorkClass::Interactive,
            caller: Arc::clone(&callers[number % self.callers]),
            deadline: self.has_deadlines.then_some(Duration::from_secs(100)),
            texts: (0..self.request_texts).map(|text| cost(number * self.request_texts + text)).collect(),
            payload: Arc::new(()),
        };
        (0..TEXTS / self.request_texts).map(request).collect()
    }
}

/// A worker of 25,000 tokens/s: its batches hold about 25 texts.
fn core() -> Core<Arc<()>> {
    let limits = Limits {
        queue_texts_max: 4 * TEXTS,
        queue_wait_max: Duration::from_secs(3_600),
        flops_per_second_guess: 25_000.0 * 21.2e6,
        ..Limits::default()
    };
    Core::new(limits, 2, &[CAPACITY_TOKENS])
}

fn state_machine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule core");
    group.throughput(Throughput::Elements(TEXTS as u64)).sample_size(30);
    for traffic in &TRAFFIC {
        group.bench_function(traffic.name, |bencher| {
            bencher.iter_batched(|| (core(), traffic.requests()), run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn run((mut core, requests): (Core<Arc<()>>, Vec<Request<Arc<()>>>)) -> usize {
    for request in requests {
        core.push(Time::ZERO, request).expect("the queue has room");
    }
    let mut batch = Batch::default();
    let mut batches = 0;
    while core.next_batch(Time::ZERO, &mut batch) {
        black_box(&batch);
        batches += 1;
    }
    batches
}

/// An engine whose rows are ready at once.
struct Instantly;

impl EngineFactory for Instantly {
    fn engine(&self) -> Box<dyn Engine> {
        Box::new(Self)
    }

    fn capacity_tokens(&self) -> usize {
        CAPACITY_TOKENS
    }

    fn work(&self, tokens: usize) -> f64 {
        tokens as f64 * 21.2e6
    }
}

impl Engine for Instantly {
    fn info(&self) -> EngineInfo {
        EngineInfo { name: "instantly", instruction_set: "none", precision: Precision::F32 }
    }

    fn width(&self) -> usize {
        384
    }

    fn capacity_tokens(&self) -> usize {
        CAPACITY_TOKENS
    }

    fn run(&mut self, batch: FlatBatch<'_>, _: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        out.fill(batch.rows() as f32);
        Ok(())
    }
}

fn threads(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let config = SchedulerConfig { workers: 2, ..SchedulerConfig::default() };
    let scheduler = Arc::new(Scheduler::start(vec![Arc::new(Instantly)], config).expect("worker threads"));
    let mut group = criterion.benchmark_group("schedule loop");
    for callers in [1_usize, 64] {
        group.throughput(Throughput::Elements((callers * JOBS) as u64)).sample_size(20);
        group.bench_function(format!("{callers} callers"), |bencher| {
            bencher.iter(|| runtime.block_on(call(&scheduler, callers)));
        });
    }
    group.finish();
}

/// Jobs of each caller, one after the other.
const JOBS: usize = 100;

async fn call(scheduler: &Arc<Scheduler>, callers: usize) {
    let one = |caller: usize| {
        let scheduler = Arc::clone(scheduler);
        let caller: Arc<str> = caller.to_string().into();
        async move {
            for _ in 0..JOBS {
                let job = Job {
                    model: ModelId(0),
                    tokens: vec![vec![1; 25]],
                    class: WorkClass::Interactive,
                    caller: Arc::clone(&caller),
                    deadline: None,
                };
                black_box(scheduler.submit(job).expect("the queue has room").await.expect("rows"));
            }
        }
    };
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(one(caller))).collect();
    for task in tasks {
        task.await.expect("a caller");
    }
}

criterion_group!(benches, state_machine, threads);
criterion_main!(benches);
