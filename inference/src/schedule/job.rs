//! A job on its way: split over batches, joined again in order, answered once.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::EngineFactory;
use super::core::{Cost, ModelId, Request, RequestId, WorkClass};
use super::shared::Shared;

/// Texts for one model, asked for and answered together.
#[derive(Clone, Debug)]
pub struct Job {
    /// The model, by its place in the list given to [`Scheduler::start`](super::Scheduler::start).
    pub model: ModelId,
    /// The token ids of each text, special tokens included.
    pub tokens: Vec<Vec<u32>>,
    /// The class of work.
    pub class: WorkClass,
    /// Callers share the workers fairly; this says which caller.
    pub caller: Arc<str>,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
}

/// The answer to a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// One row after the other, in the order of the job's texts.
    pub values: Vec<f32>,
    /// Floats in a row.
    pub width: usize,
    /// From submission to the start of the first batch.
    pub queue: Duration,
    /// From the start of the first batch to the end of the last.
    pub infer: Duration,
}

/// Why a job has no rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The deadline passed first.
    #[error("the deadline passed before the work was done")]
    DeadlinePassed,
    /// The engine said so.
    #[error("{0}")]
    Engine(String),
    /// The engine panicked: a defect. It is replaced; the job may be tried again.
    #[error("the engine panicked: {0}")]
    Panicked(String),
    /// The scheduler was dropped.
    #[error("the scheduler was shut down before the work was done")]
    ShutDown,
}

/// What a worker needs to know of a job.
#[derive(Debug)]
pub(super) struct Pending {
    tokens: Vec<Vec<u32>>,
    deadline: Option<Instant>,
    submitted: Instant,
    /// The ticket was dropped.
    gone: AtomicBool,
    join: Mutex<Join>,
}

/// Rows as they come in from the batches.
#[derive(Debug)]
struct Join {
    values: Vec<f32>,
    missing: usize,
    started: Option<Instant>,
    /// Taken by whoever answers first.
    reply: Option<oneshot::Sender<Result<Rows, JobError>>>,
}

impl Pending {
    /// Measures a job for the queue.
    pub(super) fn request(
        job: Job,
        factory: &dyn EngineFactory,
        shared: &Shared,
    ) -> (Request<Arc<Self>>, oneshot::Receiver<Result<Rows, JobError>>) {
        let (reply, answer) = oneshot::channel();
        let cost = |tokens: &Vec<u32>| Cost {
            tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            work: (factory.work(tokens.len()) as u64).max(1),
        };
        let request = Request {
            model: job.model,
            class: job.class,
            caller: job.caller,
            deadline: job.deadline.map(|deadline| shared.time(deadline)),
            texts: job.tokens.iter().map(cost).collect(),
            payload: Arc::new(Self {
                join: Mutex::new(Join {
                    values: Vec::new(),
                    missing: job.tokens.len(),
                    started: None,
                    reply: Some(reply),
                }),
                tokens: job.tokens,
                deadline: job.deadline,
                submitted: Instant::now(),
                gone: AtomicBool::new(false),
            }),
        };
        (request, answer)
    }

    pub(super) fn tokens(&self, index: usize) -> &[u32] {
        &self.tokens[index]
    }

    /// Whether the deadline has passed.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether anybody waits for the answer.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        !self.gone.load(Ordering::Relaxed) && !self.is_late(now)
    }

    /// Takes in the row of one text; the last one answers the job.
    pub(super) fn deliver(&self, index: usize, row: &[f32], started: Instant, ended: Instant) {
        let width = row.len();
        let mut join = self.lock();
        if join.reply.is_none() {
            return;
        }
        join.values.resize(self.tokens.len() * width, 0.0);
        join.values[index * width..(index + 1) * width].copy_from_slice(row);
        join.missing -= 1;
        let first_started = *join.started.get_or_insert(started);
        join.started = Some(first_started.min(started));
        if join.missing > 0 {
            return;
        }
        let started = first_started.min(started);
        let rows = Rows {
            values: std::mem::take(&mut join.values),
            width,
            queue: started.saturating_duration_since(self.submitted),
            infer: ended.saturating_duration_since(started),
        };
        let reply = join.reply.take();
        drop(join);
        send(reply, Ok(rows));
    }

    /// Answers the job with an error, unless it has been answered. `true` if it had not.
    pub(super) fn fail(&self, error: JobError) -> bool {
        let reply = self.lock().reply.take();
        let first = reply.is_some();
        send(reply, Err(error));
        first
    }

    /// The ticket was dropped.
    fn abandon(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Join> {
        self.join.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failed send means that the ticket was dropped: nobody to tell.
fn send(reply: Option<oneshot::Sender<Result<Rows, JobError>>>, answer: Result<Rows, JobError>) {
    if let Some(reply) = reply {
        let _ = reply.send(answer);
    }
}

/// A queued job. Resolves to its rows; dropping it cancels the job: texts that wait leave the queue, and a batch in
/// which nobody else waits stops between two layers.
#[derive(Debug)]
#[must_use = "dropping a ticket cancels its job"]
pub struct Ticket {
    shared: Arc<Shared>,
    id: RequestId,
    pending: Arc<Pending>,
    answer: oneshot::Receiver<Result<Rows, JobError>>,
    answered: bool,
}

impl Ticket {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: RequestId,
        pending: Arc<Pending>,
        answer: oneshot::Receiver<Result<Rows, JobError>>,
    ) -> Self {
        Self { shared, id, pending, answer, answered: false }
    }
}

impl Future for Ticket {
    type Output = Result<Rows, JobError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| {
            self.answered = true;
            answer.unwrap_or(Err(JobError::ShutDown))
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.pending.abandon();
            self.shared.cancel(self.id);
        }
    }
}
