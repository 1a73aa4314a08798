//! The loop, with an engine whose every step is told by the tokens it gets.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::{EngineError, EngineInfo, FlatBatch, Precision, Stop};

/// A text that starts with this token holds its batch until the gate opens or the batch is stopped.
const HOLD: u32 = 1_000_000;
/// ... panics.
const PANIC: u32 = 1_000_001;
/// ... makes the engine fail.
const FAIL: u32 = 1_000_002;

const CAPACITY_TOKENS: usize = 512;

/// What the engines of a test did, and what they wait for.
#[derive(Default)]
struct Script {
    gate_is_open: AtomicBool,
    engines: AtomicUsize,
    /// The first token of each text, by batch.
    batches: Mutex<Vec<Vec<u32>>>,
    threads: Mutex<HashSet<String>>,
}

impl Script {
    fn open_gate(&self) {
        self.gate_is_open.store(true, Ordering::SeqCst);
    }

    fn has_run(&self, token: u32) -> bool {
        self.batches.lock().unwrap().iter().flatten().any(|&first| first == token)
    }

    /// Blocks until a batch that starts with `token` runs.
    fn await_start(&self, token: u32) {
        while !self.has_run(token) {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

struct Scripted(Arc<Script>);

impl EngineFactory for Scripted {
    fn engine(&self) -> Box<dyn Engine> {
        self.0.engines.fetch_add(1, Ordering::SeqCst);
        Box::new(Self(Arc::clone(&self.0)))
    }

    fn capacity_tokens(&self) -> usize {
        CAPACITY_TOKENS
    }

    fn work(&self, tokens: usize) -> f64 {
        tokens as f64
    }
}

impl Engine for Scripted {
    fn info(&self) -> EngineInfo {
        EngineInfo { name: "scripted", instruction_set: "none", precision: Precision::F32 }
    }

    /// A row is the text's first token and its length.
    fn width(&self) -> usize {
        2
    }

    fn capacity_tokens(&self) -> usize {
        CAPACITY_TOKENS
    }

    fn run(&mut self, batch: FlatBatch<'_>, stop: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        self.0.batches.lock().unwrap().push(batch.iter().map(|text| text[0]).collect());
        self.0.threads.lock().unwrap().insert(thread::current().name().unwrap_or_default().to_owned());
        for (text, row) in batch.iter().zip(out.chunks_exact_mut(2)) {
            match text[0] {
                HOLD => {
                    while !self.0.gate_is_open.load(Ordering::SeqCst) {
                        if stop() {
                            return Err(EngineError::Stopped);
                        }
                        thread::sleep(Duration::from_micros(100));
                    }
                }
                PANIC => panic!("as told"),
                FAIL => return Err(EngineError::Compute("as told".to_owned())),
                _ => {}
            }
            row.copy_from_slice(&[text[0] as f32, text.len() as f32]);
        }
        Ok(())
    }
}

fn start(workers: usize, limits: Limits) -> (Arc<Scheduler>, Arc<Script>) {
    let script = Arc::new(Script::default());
    let factory: Arc<dyn EngineFactory> = Arc::new(Scripted(Arc::clone(&script)));
    let scheduler = Scheduler::start(vec![factory], SchedulerConfig { workers, limits }).unwrap();
    (Arc::new(scheduler), script)
}

/// A speed at which no batch of these tests is cut short by its time.
fn fast() -> Limits {
    let batch_time_max = Duration::from_secs(3_600);
    Limits { flops_per_second_guess: 1e6, batch_time_max, batches_a_share: 1, ..Limits::default() }
}

fn job(firsts: &[u32]) -> Job {
    Job {
        model: ModelId(0),
        tokens: firsts.iter().map(|&first| vec![first, 0, 0]).collect(),
        class: WorkClass::Interactive,
        caller: "caller".into(),
        deadline: None,
    }
}

/// Occupies one worker until the gate opens.
fn hold(scheduler: &Scheduler, script: &Script) -> Ticket {
    let ticket = scheduler.submit(Job { caller: "holder".into(), ..job(&[HOLD]) }).unwrap();
    script.await_start(HOLD);
    ticket
}

/// Queues a job of one text with a deadline; again if the machine stalled until the deadline had passed.
fn submit_due(scheduler: &Scheduler, first: u32, within: Duration) -> (Ticket, Instant) {
    loop {
        let deadline = Instant::now() + within;
        match scheduler.submit(Job { deadline: Some(deadline), ..job(&[first]) }) {
            Err(Refused::DeadlinePassed) => continue,
            ticket => return (ticket.unwrap(), deadline),
        }
    }
}

/// Every await of these tests is on something that has to come; a hang is a failure.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("no answer for a minute")
}

#[tokio::test]
async fn one_request_of_many_texts_is_split_and_joined_in_order() {
    let limits = Limits { batch_texts_max: 7, ..fast() };
    let (scheduler, script) = start(2, limits);
    let firsts: Vec<u32> = (0..100).collect();
    let rows = soon(scheduler.submit(job(&firsts)).unwrap()).await.unwrap();
    let expected: Vec<f32> = firsts.iter().flat_map(|&first| [first as f32, 3.0]).collect();
    assert_eq!((rows.width, rows.values), (2, expected));
    assert!(script.batches.lock().unwrap().len() >= 100_usize.div_ceil(7));
    assert!(script.threads.lock().unwrap().iter().all(|name| name.starts_with("infer-")));
}

#[tokio::test]
async fn many_callers_at_once_each_get_their_own_rows() {
    let (scheduler, _) = start(2, fast());
    let mut tasks = Vec::new();
    for caller in 0..50_u32 {
        let scheduler = Arc::clone(&scheduler);
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                let first = caller * 100 + round;
                let job = Job { caller: caller.to_string().into(), ..job(&[first, first + 1]) };
                let rows = soon(scheduler.submit(job).unwrap()).await.unwrap();
                assert_eq!(rows.values, [first as f32, 3.0, first as f32 + 1.0, 3.0]);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    scheduler.drain().await;
    let total = scheduler.stats().total;
    assert_eq!((total.texts, total.tokens), (50 * 20 * 2, 50 * 20 * 2 * 3));
}

#[tokio::test]
async fn a_queued_job_whose_ticket_is_dropped_never_runs() {
    let (scheduler, script) = start(1, fast());
    let held = hold(&scheduler, &script);
    drop(scheduler.submit(job(&[5, 6])).unwrap());
    let stats = scheduler.stats();
    assert_eq!((stats.waiting[0].texts, stats.total.cancelled, stats.running), (0, 1, 1));
    script.open_gate();
    soon(held).await.unwrap();
    soon(scheduler.submit(job(&[7])).unwrap()).await.unwrap();
    assert!(!script.has_run(5) && !script.has_run(6) && script.has_run(7));
}

#[tokio::test]
async fn a_running_batch_stops_when_nobody_waits_any_more() {
    let (scheduler, script) = start(1, fast());
    drop(hold(&scheduler, &script));
    // The gate stays shut: only a stopped batch frees the worker for this one.
    soon(scheduler.submit(job(&[7])).unwrap()).await.unwrap();
    assert_eq!(scheduler.stats().total.stopped, 1);
}

#[tokio::test]
async fn a_running_batch_goes_on_for_those_who_still_wait() {
    let (scheduler, script) = start(1, fast());
    let first = hold(&scheduler, &script);
    let leaver = scheduler.submit(job(&[HOLD])).unwrap();
    let stayer = scheduler.submit(Job { caller: "other".into(), ..job(&[8]) }).unwrap();
    drop(first); // Stopped: the two that wait now share a batch.
    script.await_start(8);
    drop(leaver);
    script.open_gate();
    assert_eq!(soon(stayer).await.unwrap().values, [8.0, 3.0]);
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_is_answered_and_never_runs() {
    let (scheduler, script) = start(1, fast());
    let held = hold(&scheduler, &script);
    let (late, deadline) = submit_due(&scheduler, 5, Duration::from_millis(20));
    while Instant::now() <= deadline {
        thread::sleep(Duration::from_millis(1));
    }
    script.open_gate();
    assert_eq!(soon(late).await, Err(JobError::DeadlinePassed));
    soon(held).await.unwrap();
    scheduler.drain().await;
    assert!(!script.has_run(5));
    assert_eq!(scheduler.stats().total.expired, 1);
}

#[tokio::test]
async fn a_deadline_that_passes_in_a_batch_stops_it() {
    let (scheduler, script) = start(1, fast());
    let (late, _) = submit_due(&scheduler, HOLD, Duration::from_millis(50));
    assert_eq!(soon(late).await, Err(JobError::DeadlinePassed));
    scheduler.drain().await;
    let total = scheduler.stats().total;
    // On a machine that stalls it may have expired before the batch began.
    assert_eq!((total.expired, total.stopped), (1, u64::from(script.has_run(HOLD))));
}

#[tokio::test]
async fn a_deadline_in_the_past_is_refused() {
    let (scheduler, _) = start(1, fast());
    let late = scheduler.submit(Job { deadline: Some(Instant::now()), ..job(&[5]) });
    assert_eq!(late.err(), Some(Refused::DeadlinePassed));
    assert_eq!(scheduler.stats().total.refused, 1);
}

#[tokio::test]
async fn a_panic_fails_its_batch_and_the_engine_is_made_anew() {
    let (scheduler, script) = start(1, fast());
    let failed = soon(scheduler.submit(job(&[PANIC])).unwrap()).await;
    assert_eq!(failed, Err(JobError::Panicked("as told".to_owned())));
    let rows = soon(scheduler.submit(job(&[9])).unwrap()).await.unwrap();
    assert_eq!(rows.values, [9.0, 3.0]);
    scheduler.drain().await;
    assert_eq!((script.engines.load(Ordering::SeqCst), scheduler.stats().total.failed), (2, 1));
}

#[tokio::test]
async fn an_error_fails_the_whole_job_and_the_engine_stays() {
    let limits = Limits { batch_texts_max: 1, ..fast() };
    let (scheduler, script) = start(1, limits);
    let failed = soon(scheduler.submit(job(&[1, FAIL, 3, 4, 5])).unwrap()).await;
    assert_eq!(failed, Err(JobError::Engine("the engine failed: as told".to_owned())));
    soon(scheduler.submit(job(&[9])).unwrap()).await.unwrap();
    assert!(script.has_run(1) && !script.has_run(3), "what is left of a failed job does not run");
    assert_eq!(script.engines.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn overload_is_refused_at_once_with_a_time_to_come_back() {
    let limits = Limits { queue_texts_max: 16, ..fast() };
    let (scheduler, script) = start(1, limits);
    let held = hold(&scheduler, &script);
    let mut accepted = Vec::new();
    let refused = loop {
        match scheduler.submit(job(&[accepted.len() as u32])) {
            Ok(ticket) => accepted.push(ticket),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Refused::Full { retry_after } if !retry_after.is_zero()), "{refused:?}");
    assert_eq!(accepted.len(), 8, "a caller holds no more than is still free");
    let other = scheduler.submit(Job { caller: "other".into(), ..job(&[99]) });
    script.open_gate();
    soon(other.expect("one caller's flood leaves room for another")).await.unwrap();
    for ticket in accepted {
        soon(ticket).await.unwrap();
    }
    soon(held).await.unwrap();
}

#[tokio::test]
async fn an_oversize_text_is_the_callers_error() {
    let (scheduler, _) = start(1, fast());
    let job = Job { tokens: vec![vec![1; 3], vec![1; CAPACITY_TOKENS + 1]], ..job(&[]) };
    let refused = scheduler.submit(job).err();
    let expected = Refused::TextTooLong { index: 1, tokens: CAPACITY_TOKENS + 1, tokens_max: CAPACITY_TOKENS };
    assert_eq!(refused, Some(expected));
}

#[tokio::test]
async fn draining_answers_what_is_queued_and_refuses_the_rest() {
    let (scheduler, script) = start(2, fast());
    let held = hold(&scheduler, &script);
    let queued: Vec<_> = (0..20).map(|first| scheduler.submit(job(&[first])).unwrap()).collect();
    let drain = tokio::spawn({
        let scheduler = Arc::clone(&scheduler);
        async move { scheduler.drain().await }
    });
    while !scheduler.stats().draining {
        tokio::task::yield_now().await;
    }
    assert_eq!(scheduler.submit(job(&[50])).err(), Some(Refused::Draining));
    assert!(!drain.is_finished());
    script.open_gate();
    soon(drain).await.unwrap();
    for ticket in queued {
        soon(ticket).await.unwrap();
    }
    soon(held).await.unwrap();
    assert_eq!(scheduler.stats().running, 0);
}

#[tokio::test]
async fn dropping_the_scheduler_answers_everybody_and_ends_its_threads() {
    let (scheduler, script) = start(1, fast());
    let running = hold(&scheduler, &script);
    let queued = scheduler.submit(job(&[1])).unwrap();
    let weak = Arc::downgrade(&scheduler.shared);
    drop(scheduler);
    assert_eq!(soon(running).await, Err(JobError::ShutDown));
    assert_eq!(soon(queued).await, Err(JobError::ShutDown));
    assert!(weak.upgrade().is_none(), "a thread or a ticket still holds the queue");
}
