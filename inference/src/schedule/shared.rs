//! What submitters and workers share: the core behind one lock, and the ways to wake each other.
//!
//! The lock is held for bookkeeping alone: a push, a batch's worth of turns, a counter. Requests are measured before it
//! is taken, rows are copied and answers sent after it is released.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::EngineFactory;
use super::core::{Batch, Core, Limits, ModelId, Refused, Request, RequestId, Time, WorkClass};
use super::job::{JobError, Pending};
use super::stats::{ClassDepth, Stats, Totals};

/// How long a worker looks for more work before it sleeps. Waking a thread takes about as long.
const SPIN: Duration = Duration::from_micros(20);

pub(super) struct Shared {
    pub(super) models: Vec<Arc<dyn EngineFactory>>,
    workers: usize,
    started: Instant,
    state: Mutex<State>,
    work: Condvar,
    /// Texts that wait, for a look without the lock.
    texts: AtomicUsize,
    /// Jobs whose deadline passed.
    expired: AtomicU64,
    closed: AtomicBool,
    /// Told when the last job has been answered.
    quiet: Notify,
}

struct State {
    core: Core<Arc<Pending>>,
    /// Workers that look for work, asleep or not.
    idle: usize,
    /// Those of them that sleep.
    asleep: usize,
    draining: bool,
    totals: Totals,
}

/// A batch that has left its engine, reported when the worker comes back for the next.
pub(super) struct Finished {
    pub(super) model: ModelId,
    pub(super) texts: usize,
    pub(super) tokens: usize,
    pub(super) work: u64,
    pub(super) elapsed: Duration,
    pub(super) end: End,
}

/// How a batch ended.
pub(super) enum End {
    /// All rows were computed.
    Done,
    /// Nobody waited any more.
    Stopped,
    /// The engine failed.
    Failed,
}

impl Shared {
    pub(super) fn new(models: Vec<Arc<dyn EngineFactory>>, workers: usize, limits: Limits) -> Self {
        let capacities: Vec<_> = models.iter().map(|model| model.capacity_tokens()).collect();
        let core = Core::new(limits, workers, &capacities);
        Self {
            models,
            workers,
            started: Instant::now(),
            state: Mutex::new(State { core, idle: 0, asleep: 0, draining: false, totals: Totals::default() }),
            work: Condvar::new(),
            texts: AtomicUsize::new(0),
            expired: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            quiet: Notify::new(),
        }
    }

    /// The core's time at an instant.
    pub(super) fn time(&self, instant: Instant) -> Time {
        instant.saturating_duration_since(self.started)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Queues a request and wakes a worker for it.
    pub(super) fn push(&self, request: Request<Arc<Pending>>) -> Result<RequestId, Refused> {
        let now = self.time(Instant::now());
        let mut state = self.lock();
        let pushed = if state.draining { Err(Refused::Draining) } else { state.core.push(now, request) };
        state.totals.refused += u64::from(pushed.is_err());
        self.publish(&state);
        // A worker that is awake and looking will find it; only if all who look are asleep must one be woken.
        let wake = pushed.is_ok() && state.asleep > 0 && state.asleep == state.idle;
        drop(state);
        if wake {
            self.work.notify_one();
        }
        pushed
    }

    /// Takes a request that nobody waits for out of the queue, if any of its texts is still there.
    pub(super) fn cancel(&self, id: RequestId) {
        let removed = self.remove(id);
        self.lock().totals.cancelled += u64::from(removed.is_some());
    }

    /// Takes a request out of the queue, if any of its texts is still there.
    pub(super) fn remove(&self, id: RequestId) -> Option<Arc<Pending>> {
        let mut state = self.lock();
        let removed = state.core.cancel(id);
        self.publish(&state);
        self.tell_if_quiet(&state);
        removed
    }

    /// Answers a job whose deadline has passed.
    pub(super) fn expire(&self, pending: &Pending) {
        let is_first = pending.fail(JobError::DeadlinePassed);
        self.expired.fetch_add(u64::from(is_first), Ordering::Relaxed);
    }

    /// Waits for a batch. `false` when the scheduler has been closed.
    pub(super) fn next_batch(&self, finished: Option<Finished>, batch: &mut Batch<Arc<Pending>>) -> bool {
        let mut state = self.lock();
        if let Some(finished) = finished {
            state.record(&finished);
        }
        state.idle += 1;
        let mut has_spun = false;
        while !self.is_closed() {
            let found = state.core.next_batch(self.time(Instant::now()), batch);
            if found || !batch.expired.is_empty() {
                state.idle -= 1;
                self.publish(&state);
                // One wakes the next while texts are left: a push never has to wake more than one.
                let wake = state.core.texts() > 0 && state.asleep > 0;
                drop(state);
                if wake {
                    self.work.notify_one();
                }
                return true;
            }
            self.tell_if_quiet(&state);
            if has_spun {
                state.asleep += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep -= 1;
            } else {
                drop(state);
                self.spin();
                state = self.lock();
            }
            has_spun = !has_spun;
        }
        state.idle -= 1;
        false
    }

    /// Refuses new work and waits until the last job has been answered.
    pub(super) async fn drain(&self) {
        loop {
            let quiet = self.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            {
                let mut state = self.lock();
                state.draining = true;
                if state.is_quiet(self.workers) {
                    return;
                }
            }
            quiet.await;
        }
    }

    /// Ends the workers, and answers whoever waits.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.draining = true;
        self.closed.store(true, Ordering::Relaxed);
        let abandoned = state.core.clear();
        self.publish(&state);
        drop(state);
        self.work.notify_all();
        for pending in abandoned {
            pending.fail(JobError::ShutDown);
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        let depth = |class| {
            let depth = state.core.depth(class);
            ClassDepth { texts: depth.texts, tokens: depth.tokens }
        };
        Stats {
            waiting: WorkClass::ALL.map(depth),
            workers: self.workers,
            running: self.workers - state.idle,
            draining: state.draining,
            flops_per_second: state.core.speeds().collect(),
            total: Totals { expired: self.expired.load(Ordering::Relaxed), ..state.totals },
        }
    }

    /// Looks for work for a moment without holding the lock.
    fn spin(&self) {
        let started = Instant::now();
        while self.texts.load(Ordering::Relaxed) == 0 && !self.is_closed() && started.elapsed() < SPIN {
            std::hint::spin_loop();
        }
    }

    fn publish(&self, state: &State) {
        self.texts.store(state.core.texts(), Ordering::Relaxed);
    }

    fn tell_if_quiet(&self, state: &State) {
        if state.draining && state.is_quiet(self.workers) {
            self.quiet.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_quiet(&self, workers: usize) -> bool {
        self.core.texts() == 0 && self.idle == workers
    }

    fn record(&mut self, finished: &Finished) {
        let totals = &mut self.totals;
        totals.busy += finished.elapsed;
        match finished.end {
            End::Done => {
                totals.batches += 1;
                totals.texts += finished.texts as u64;
                totals.tokens += finished.tokens as u64;
                self.core.finished(finished.model, finished.work, finished.elapsed);
            }
            End::Stopped => totals.stopped += 1,
            End::Failed => totals.failed += 1,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("workers", &self.workers).finish_non_exhaustive()
    }
}
