//! One worker thread: takes a batch, runs it, delivers the rows, comes back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::core::{Batch, ModelId, Slot};
use super::job::{JobError, Pending};
use super::shared::{End, Finished, Shared};
use crate::engine::{Engine, EngineError, FlatBatch};

/// Runs batches until the scheduler closes.
pub(super) fn run(shared: &Shared) {
    let mut worker = Worker::new(shared);
    let mut batch = Batch::default();
    let mut finished = None;
    while shared.next_batch(finished.take(), &mut batch) {
        for pending in batch.expired.drain(..) {
            shared.expire(&pending);
        }
        if !batch.texts.is_empty() {
            finished = Some(worker.run(&batch));
        }
        // Here, not under the lock: the last one to let go of a job frees its memory.
        batch.texts.clear();
    }
}

/// The engines of one thread, and memory that is used for every batch.
struct Worker<'a> {
    shared: &'a Shared,
    engines: Vec<Option<Box<dyn Engine>>>,
    tokens: Vec<u32>,
    offsets: Vec<usize>,
    rows: Vec<f32>,
}

/// Why a batch has no rows.
enum Failure {
    Stopped,
    Error(JobError),
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared) -> Self {
        let engines = shared.models.iter().map(|_| None).collect();
        Self { shared, engines, tokens: Vec::new(), offsets: Vec::new(), rows: Vec::new() }
    }

    fn run(&mut self, batch: &Batch<Arc<Pending>>) -> Finished {
        self.lay_out(batch);
        let engine = self.take_engine(batch.model);
        let started = Instant::now();
        let result = engine.and_then(|engine| self.compute(engine, batch));
        let ended = Instant::now();
        let end = match result {
            Ok(width) => {
                for (slot, row) in batch.texts.iter().zip(self.rows.chunks_exact(width)) {
                    self.hand_over(slot, row, started, ended);
                }
                End::Done
            }
            Err(Failure::Stopped) => {
                self.dismiss(batch, ended);
                End::Stopped
            }
            Err(Failure::Error(error)) => {
                tracing::error!(model = batch.model.0, texts = batch.texts.len(), %error, "a batch failed");
                self.fail(batch, &error);
                End::Failed
            }
        };
        Finished {
            model: batch.model,
            texts: batch.texts.len(),
            tokens: batch.tokens,
            work: batch.work,
            elapsed: ended - started,
            end,
        }
    }

    /// Puts the tokens of all texts end to end.
    fn lay_out(&mut self, batch: &Batch<Arc<Pending>>) {
        self.tokens.clear();
        self.offsets.clear();
        self.offsets.push(0);
        for slot in &batch.texts {
            self.tokens.extend_from_slice(slot.payload.tokens(slot.index));
            self.offsets.push(self.tokens.len());
        }
    }

    /// This thread's engine of a model; a new one at first, and after a panic.
    fn take_engine(&mut self, model: ModelId) -> Result<Box<dyn Engine>, Failure> {
        match self.engines[model.0].take() {
            Some(engine) => Ok(engine),
            None => guard(|| self.shared.models[model.0].engine()),
        }
    }

    /// Runs the engine, keeps it for the next batch and returns the width of its rows. An engine that panics is
    /// dropped: its scratch may be in any state.
    fn compute(&mut self, mut engine: Box<dyn Engine>, batch: &Batch<Arc<Pending>>) -> Result<usize, Failure> {
        let shared = self.shared;
        let stop = || {
            // The threads that read requests and send answers share the processors with this one. The system would let
            // them wait for the rest of its time slice, 3 ms and more: as long as many a text takes.
            thread::yield_now();
            shared.is_closed() || !is_wanted(batch, Instant::now())
        };
        let (tokens, offsets, rows) = (&self.tokens, &self.offsets, &mut self.rows);
        let (engine, result) = guard(move || {
            let width = engine.width();
            rows.clear();
            rows.resize(batch.texts.len() * width, 0.0);
            let result = FlatBatch::new(tokens, offsets).and_then(|flat| engine.run(flat, &stop, rows));
            (engine, result.map(|()| width))
        })?;
        self.engines[batch.model.0] = Some(engine);
        result.map_err(|error| match error {
            EngineError::Stopped => Failure::Stopped,
            error => Failure::Error(JobError::Engine(error.to_string())),
        })
    }

    /// Delivers one row. One that is no number is a fault of the model's, and no answer.
    fn hand_over(&self, slot: &Slot<Arc<Pending>>, row: &[f32], started: Instant, ended: Instant) {
        if row.iter().all(|value| value.is_finite()) {
            return slot.payload.deliver(slot.index, row, started, ended);
        }
        let error = JobError::Engine(format!("the row of text {} is not finite", slot.index));
        tracing::error!(%error, "a text has no result");
        if slot.payload.fail(error) {
            self.shared.remove(slot.request);
        }
    }

    /// Answers the jobs of a batch that was stopped.
    fn dismiss(&self, batch: &Batch<Arc<Pending>>, now: Instant) {
        for slot in &batch.texts {
            if slot.payload.is_late(now) {
                self.shared.expire(&slot.payload);
            } else {
                slot.payload.fail(JobError::ShutDown);
            }
        }
    }

    /// Answers the jobs of a batch that failed, and takes what is left of them out of the queue.
    fn fail(&self, batch: &Batch<Arc<Pending>>, error: &JobError) {
        for slot in &batch.texts {
            if slot.payload.fail(error.clone()) {
                self.shared.remove(slot.request);
            }
        }
    }
}

/// Whether anybody waits for any text of the batch.
fn is_wanted(batch: &Batch<Arc<Pending>>, now: Instant) -> bool {
    batch.texts.iter().any(|slot| slot.payload.is_wanted(now))
}

/// Turns a panic into an error.
fn guard<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| Failure::Error(JobError::Panicked(message(panic.as_ref()))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
