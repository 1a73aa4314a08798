//! The batcher as a pure state machine: what waits, and the time now, give the next batch.
//!
//! No clock is read, nothing is locked and nothing is run here, so every promise below is tested by simulating hours of
//! traffic in milliseconds. The alternative, batches formed inside the loop that runs them, hides the policy among
//! channels and timers, where it can be neither stated nor tested.
//!
//! ```text
//! core.push(now, request)?;                  // a request waits, or is refused at once
//! core.next_batch(now, &mut batch);          // asked by a worker that is free: late binding
//! core.finished(model, work, elapsed);       // the measured speed bounds the next batch
//! core.cancel(id);                           // leaves at once
//! ```
//!
//! **A batch** is of one model and one class. It holds at most `batch_texts_max` texts, `batch_tokens_max` tokens (and
//! never more than the engine's capacity) and `batch_time_max` of measured work, and no more work than a part, one in
//! `batches_a_share`, of one worker's share of what waits; but at least one text. While anything waits, a worker that asks gets a batch.
//!
//! **Classes**: interactive before bulk before training. A lower class that has waited `bulk_wait_max` or
//! `training_wait_max` since it last had a batch gets one.
//!
//! **Turns**: within a class and model, callers take turns in tokens; within a caller, its length lanes do
//! (by the tokens of a whole request); within a lane, first come is first served. The exact bound is in `fair`.
//!
//! **Deadlines**: a request whose deadline has passed never gets into a batch. A request is *urgent* when its deadline
//! is nearer than the longest batch plus all the work in its class that has a deadline: waiting for one more batch
//! might then miss it. Urgent requests go first, the earliest deadline first, and the batch ends before the earliest
//! deadline in it. Nothing that is not urgent joins a batch that leaves an urgent request behind. Hence, if estimates
//! hold, a deadline is missed only if
//! - it was nearer on arrival than the batch in progress, one more, and what was waiting with an earlier deadline; or
//! - requests that came later with an earlier deadline took the time; or
//! - a higher class did, or the batch owed to a lower one; or
//! - a batch by turns did, which is owed after `urgent_batches_max` that urgent requests filled or kept for their model:
//!   ever new callers with tiny deadlines would otherwise keep another model waiting for good; or
//! - the caller had already been served `urgent_lead_tokens_max` more than the least served caller who waits. The
//!   request then keeps the place that fair turns give it: tiny deadlines buy a bounded lead and nothing more.
//!
//! **Bounds**: a request that finds the queue full, or that would on the measured speed wait longer than it may, is
//! refused with the time after which to come back. Half-way full, a caller may hold no more than is still free, and
//! lower classes may fill only a part, so a flood from one side leaves room for the others.

mod admit;
mod batch;
mod fair;
mod form;
mod queue;
mod rate;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use admit::Refused;
pub use batch::{Batch, Slot};
pub use queue::Depth;
use queue::{Queue, lane};
use rate::Rate;

use fair::Fair;

/// Time since the scheduler started.
pub type Time = Duration;

/// Which of the scheduler's models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub usize);

/// A request that waits; ids rise with arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// How urgent work is by its nature; the order is that of precedence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkClass {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Imports and catalogue scoring.
    Bulk,
    /// Training and evaluation.
    Training,
}

impl WorkClass {
    /// Every class, highest first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Bulk, Self::Training];
}

/// What one text costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Tokens, special ones included.
    pub tokens: u32,
    /// FLOP.
    pub work: u64,
}

/// The bounds of queues and batches.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Texts in a batch.
    pub batch_texts_max: usize,
    /// Tokens in a batch, where the engine's capacity does not allow fewer. A single longer text has its own batch.
    pub batch_tokens_max: usize,
    /// Measured work in a batch. A single longer text has its own batch.
    pub batch_time_max: Duration,
    /// Batches that a worker's share of what waits is cut into, at least 1. More bring the first answers sooner, at the
    /// cost of a batch each.
    pub batches_a_share: u64,
    /// Texts that may wait.
    pub queue_texts_max: usize,
    /// Tokens that may wait.
    pub queue_tokens_max: u64,
    /// How long interactive work may have to wait when it arrives; more is refused.
    pub queue_wait_max: Duration,
    /// How long bulk work waits for higher work before it gets one batch.
    pub bulk_wait_max: Duration,
    /// How long training waits for higher work before it gets one batch.
    pub training_wait_max: Duration,
    /// How far, in tokens, deadlines may carry a caller ahead of the least served one who waits.
    pub urgent_lead_tokens_max: u64,
    /// Batches in a row that urgent requests of a class may fill, or keep for their model, before one goes by turns.
    pub urgent_batches_max: u64,
    /// How much sooner than necessary a request becomes urgent, for the errors of estimates.
    pub deadline_margin: Duration,
    /// A worker's speed in FLOP/s until the first batch has been measured. Low: the first batches are then short.
    pub flops_per_second_guess: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_texts_max: 1_024,
            batch_tokens_max: 16_384,
            batch_time_max: Duration::from_millis(25),
            batches_a_share: 2,
            queue_texts_max: 16_384,
            queue_tokens_max: 1 << 20,
            queue_wait_max: Duration::from_secs(10),
            bulk_wait_max: Duration::from_secs(1),
            training_wait_max: Duration::from_secs(5),
            urgent_lead_tokens_max: 2_048,
            urgent_batches_max: 4,
            deadline_margin: Duration::from_millis(5),
            flops_per_second_guess: 20e9,
        }
    }
}

/// Texts that are asked for together and answered together.
#[derive(Clone, Debug)]
pub struct Request<P> {
    /// The model that shall run.
    pub model: ModelId,
    /// The class of work.
    pub class: WorkClass,
    /// Whose turn it uses.
    pub caller: Arc<str>,
    /// When an answer is of no more use.
    pub deadline: Option<Time>,
    /// The cost of each text.
    pub texts: Vec<Cost>,
    /// Handed out with every text of a batch.
    pub payload: P,
}

/// A request in the queue: its texts from `next` on, `rest` in all, have not been in a batch.
#[derive(Debug)]
struct Waiting<P> {
    request: Request<P>,
    lane: usize,
    next: usize,
    rest: Depth,
}

/// What the core knows of a model.
#[derive(Debug)]
struct Model {
    capacity_tokens: usize,
    rate: Rate,
    /// The longest text ever accepted, in FLOP: it may be a batch of its own.
    text_work_max: u64,
}

/// What waits in a class of work.
#[derive(Debug)]
struct Class {
    /// By model.
    queues: Vec<Queue>,
    /// Turns between models, in microseconds of measured work.
    models: Fair<usize>,
    /// Since when it has been waiting for a batch; meaningless while nothing waits.
    waits_since: Time,
    /// Batches in a row that urgent requests filled, or kept for a model whose turn it was not.
    urgent_batches: u64,
}

/// The state of the batcher. `P` is what a worker needs to know of a request to run its texts.
#[derive(Debug)]
pub struct Core<P> {
    limits: Limits,
    workers: usize,
    models: Vec<Model>,
    classes: [Class; WorkClass::ALL.len()],
    requests: HashMap<RequestId, Waiting<P>>,
    /// What each caller has waiting.
    callers: HashMap<Arc<str>, Depth>,
    depths: [Depth; WorkClass::ALL.len()],
    id_last: u64,
}

impl<P> Core<P> {
    /// An empty queue for `workers` workers and models with these token capacities.
    pub fn new(limits: Limits, workers: usize, capacities_tokens: &[usize]) -> Self {
        let class = || Class {
            queues: capacities_tokens.iter().map(|_| Queue::default()).collect(),
            models: Fair::default(),
            waits_since: Time::ZERO,
            urgent_batches: 0,
        };
        let model = |&capacity_tokens: &usize| Model {
            capacity_tokens,
            rate: Rate::guess(limits.flops_per_second_guess),
            text_work_max: 0,
        };
        Self {
            models: capacities_tokens.iter().map(model).collect(),
            classes: [class(), class(), class()],
            requests: HashMap::new(),
            callers: HashMap::new(),
            depths: Default::default(),
            id_last: 0,
            workers: workers.max(1),
            limits,
        }
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// [`Refused`] says whether the caller must change the request or come back later.
    pub fn push(&mut self, now: Time, request: Request<P>) -> Result<RequestId, Refused> {
        let depth = self.admit(now, &request)?;
        self.id_last += 1;
        let id = RequestId(self.id_last);
        let lane = lane(depth.tokens);

        let model = &mut self.models[request.model.0];
        let text_work_max = request.texts.iter().map(|cost| cost.work).max().unwrap_or(0);
        model.text_work_max = model.text_work_max.max(text_work_max);

        let class_depth = &mut self.depths[request.class as usize];
        let class = &mut self.classes[request.class as usize];
        if class_depth.texts == 0 {
            class.waits_since = now;
        }
        *class_depth += depth;
        *self.callers.entry(Arc::clone(&request.caller)).or_default() += depth;

        let queue = &mut class.queues[request.model.0];
        queue.depth += depth;
        queue.insert(id, &request.caller, lane);
        if let Some(deadline) = request.deadline {
            queue.deadlines.insert(deadline, id, depth.work);
        }
        class.models.join(&request.model.0);
        self.requests.insert(id, Waiting { request, lane, next: 0, rest: depth });
        Ok(id)
    }

    /// Takes a request out of the queue, and gives its payload back. `None` when none of its texts waits any more.
    pub fn cancel(&mut self, id: RequestId) -> Option<P> {
        self.remove(id).map(|waiting| waiting.request.payload)
    }

    /// Empties the queue, and gives back what waited.
    pub fn clear(&mut self) -> Vec<P> {
        let ids: Vec<_> = self.requests.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.cancel(id)).collect()
    }

    /// Learns from a finished batch: `work` FLOP of `model` took one worker `elapsed`.
    pub fn finished(&mut self, model: ModelId, work: u64, elapsed: Duration) {
        self.models[model.0].rate.learn(work, elapsed);
    }

    /// What waits in a class.
    pub fn depth(&self, class: WorkClass) -> Depth {
        self.depths[class as usize]
    }

    /// Texts that wait.
    pub fn texts(&self) -> usize {
        self.depths.iter().map(|depth| depth.texts).sum()
    }

    /// The measured speed of one worker on each model, in FLOP/s.
    pub fn speeds(&self) -> impl Iterator<Item = f64> {
        self.models.iter().map(|model| model.rate.flops_per_second())
    }

    fn remove(&mut self, id: RequestId) -> Option<Waiting<P>> {
        let waiting = self.requests.remove(&id)?;
        let Waiting { request, lane, rest, .. } = &waiting;
        let rest = *rest;
        let class = &mut self.classes[request.class as usize];
        let queue = &mut class.queues[request.model.0];
        queue.depth -= rest;
        queue.remove(id, &request.caller, *lane);
        if let Some(deadline) = request.deadline {
            queue.deadlines.remove(deadline, id, rest.work);
        }
        if queue.depth.texts == 0 {
            class.models.leave(&request.model.0);
        }
        self.depths[request.class as usize] -= rest;
        self.release(&waiting.request.caller, rest);
        Some(waiting)
    }

    /// Counts what a caller has no longer waiting, and forgets a caller who has nothing.
    fn release(&mut self, caller: &Arc<str>, depth: Depth) {
        if let Some(held) = self.callers.get_mut(caller) {
            *held -= depth;
            if held.texts == 0 {
                self.callers.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
