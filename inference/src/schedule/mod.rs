//! Decides when each text runs, and runs it: requests in, rows out, in order, or a typed reason why not.
//!
//! The policy is a pure state machine, [`core`]; around it is a thin loop of threads that own the engines.
//! Threads and a condition variable, not async tasks: an engine computes for milliseconds without a pause, which would
//! stall every task that shares its thread, while a thread of its own shares the processor fairly with the server.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use attune_inference::schedule::*;
//! # async fn example(factory: Arc<dyn EngineFactory>) -> Result<(), Box<dyn std::error::Error>> {
//! let scheduler = Scheduler::start(vec![factory], SchedulerConfig::default())?;
//! let job = Job {
//!     model: ModelId(0),
//!     tokens: vec![vec![101, 7592, 102], vec![101, 2088, 102]],
//!     class: WorkClass::Interactive,
//!     caller: "key-1".into(),
//!     deadline: None,
//! };
//! let rows = scheduler.submit(job)?.await?; // dropping the ticket instead would cancel the job
//! assert_eq!(rows.values.len(), 2 * rows.width);
//! # Ok(())
//! # }
//! ```

pub mod core;
mod job;
mod shared;
mod stats;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub use self::core::{Limits, ModelId, Refused, WorkClass};
pub use job::{Job, JobError, Rows, Ticket};
pub use stats::{ClassDepth, Stats, Totals};

use crate::engine::Engine;
use job::Pending;
use shared::Shared;

/// Makes the engines of one model, and knows what its texts cost.
pub trait EngineFactory: Send + Sync {
    /// A new engine for one worker thread. Engines of one model share its packed weights, so this is cheap; it happens
    /// when a worker first needs the model, and again after a panic.
    fn engine(&self) -> Box<dyn Engine>;

    /// The most tokens a batch may hold, [`Engine::capacity_tokens`] of every engine it makes.
    fn capacity_tokens(&self) -> usize;

    /// The work for one text of `tokens` tokens, in FLOP, attention included. Only ratios between texts matter: what a
    /// FLOP costs is measured.
    fn work(&self, tokens: usize) -> f64;
}

/// How the scheduler runs.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// Worker threads, each with an engine of every model it has met.
    pub workers: usize,
    /// The bounds of queues and batches.
    pub limits: Limits,
}

impl Default for SchedulerConfig {
    /// One worker per processor that this process may use.
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, |count| count.get());
        Self { workers, limits: Limits::default() }
    }
}

/// A queue and the worker threads that empty it. Dropping it stops them between two layers; whoever still waits gets
/// [`JobError::ShutDown`]. [`drain`](Self::drain) first to let them finish.
#[derive(Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts the worker threads for these models; a job names one by its place in the list.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(models: Vec<Arc<dyn EngineFactory>>, config: SchedulerConfig) -> io::Result<Self> {
        let count = config.workers.max(1);
        let shared = Arc::new(Shared::new(models, count, config.limits));
        let mut scheduler = Self { shared, workers: Vec::with_capacity(count) };
        for number in 0..count {
            let shared = Arc::clone(&scheduler.shared);
            let worker = thread::Builder::new().name(format!("infer-{number}")).spawn(move || worker::run(&shared))?;
            scheduler.workers.push(worker);
        }
        Ok(scheduler)
    }

    /// Queues a job. The ticket resolves to its rows; dropping the ticket cancels the job.
    ///
    /// # Errors
    /// [`Refused`] at once, when the job is malformed, too late, or finds the queue full.
    pub fn submit(&self, job: Job) -> Result<Ticket, Refused> {
        let factory = self.shared.models.get(job.model.0).ok_or(Refused::UnknownModel(job.model))?;
        let (request, answer) = Pending::request(job, factory.as_ref(), &self.shared);
        let pending = Arc::clone(&request.payload);
        let id = self.shared.push(request)?;
        Ok(Ticket::new(Arc::clone(&self.shared), id, pending, answer))
    }

    /// What happens and has happened. Cheap enough for every scrape.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Refuses new jobs from now on, and returns when all earlier ones have been answered.
    pub async fn drain(&self) {
        self.shared.drain().await;
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.close();
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("an inference worker had ended by a panic outside its engine");
            }
        }
    }
}

#[cfg(test)]
mod tests;
