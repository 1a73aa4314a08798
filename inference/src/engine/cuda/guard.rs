//! A GPU that may fail: a batch it does not answer is answered by the CPU, and the card is tried again later.
//!
//! A failed card is out of use for everybody at once. One thread for each model and card opens it anew, at growing
//! intervals, while batches go to the CPU; when a whole model is on the card again, the next batch of each worker goes
//! there. Opening takes seconds (kernels, weights), which no batch waits for.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{CudaEngine, CudaModel};
use crate::engine::{Engine, EngineError, EngineInfo, FlatBatch, Stop};

/// The first interval before a failed card is tried again.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest: what a card that is gone for good costs is one attempt in this time.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// How long to wait after so many failures without a success between them.
fn retry_after(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(RETRY_MAX)
}

/// Opens the card and puts the model on it.
pub type Reopen = Box<dyn Fn() -> Result<CudaModel, String> + Send + Sync>;

/// One model on one card, or the reason why it is not there.
pub struct GuardedModel {
    card: String,
    reopen: Reopen,
    state: Mutex<State>,
    /// Failures since a batch was last answered: an attempt that opens the card has not answered one yet.
    failures: AtomicU32,
}

struct State {
    /// `None` while the card is out of use.
    model: Option<Arc<CudaModel>>,
    /// All failures there were.
    failures_total: u64,
    /// What the last one was.
    reason: String,
}

/// What a card does, for metrics and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardState {
    /// For example `cuda:0 NVIDIA H100 (compute 9.0, 81559 MiB)`.
    pub card: String,
    /// Whether batches go there.
    pub in_use: bool,
    /// Batches and attempts that failed since the start.
    pub failures: u64,
    /// Why it is out of use, or was the last time; empty if it never was.
    pub reason: String,
}

impl GuardedModel {
    /// A model that is on its card now; `reopen` puts it there again.
    pub fn new(model: CudaModel, reopen: Reopen) -> Arc<Self> {
        let card = model.device().card().to_string();
        let state = State { model: Some(Arc::new(model)), failures_total: 0, reason: String::new() };
        Arc::new(Self { card, reopen, state: Mutex::new(state), failures: AtomicU32::new(0) })
    }

    /// What it does.
    pub fn state(&self) -> CardState {
        let state = self.lock();
        CardState {
            card: self.card.clone(),
            in_use: state.model.is_some(),
            failures: state.failures_total,
            reason: state.reason.clone(),
        }
    }

    /// The model, if its card is in use.
    pub fn model(&self) -> Option<Arc<CudaModel>> {
        self.lock().model.clone()
    }

    /// Takes the card out of use after a failure of `model`, and sees to it that it is tried again. Of several workers that
    /// fail together, the first does it.
    fn retire(self: &Arc<Self>, model: &Arc<CudaModel>, reason: &str) {
        model.device().retire();
        let mut state = self.lock();
        state.failures_total += 1;
        if !state.model.as_ref().is_some_and(|current| Arc::ptr_eq(current, model)) {
            return;
        }
        tracing::error!(card = self.card, reason, "a GPU failed: the CPU answers until it is back");
        state.model = None;
        let wait = retry_after(self.failed());
        reason.clone_into(&mut state.reason);
        let guarded = Arc::downgrade(self);
        if let Err(error) = thread::Builder::new().name("gpu-retry".into()).spawn(move || retry(&guarded, wait)) {
            tracing::error!(%error, "no thread to try the GPU again: it stays out of use");
        }
    }

    /// Tries once, and says how long to wait before the next attempt; `None` when there is no need of one.
    fn attempt(&self) -> Option<Duration> {
        match (self.reopen)() {
            Ok(model) => {
                tracing::info!(card = self.card, "the GPU is in use again");
                self.lock().model = Some(Arc::new(model));
                None
            }
            Err(reason) => {
                let failures = self.failed();
                tracing::warn!(card = self.card, reason, failures, "the GPU is still out of use");
                let mut state = self.lock();
                state.failures_total += 1;
                state.reason = reason;
                Some(retry_after(failures))
            }
        }
    }

    /// Counts a failure, and says how many there were without a success between them.
    fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries until the card is back or nobody holds the model any more.
fn retry(guarded: &Weak<GuardedModel>, mut wait: Duration) {
    loop {
        thread::sleep(wait);
        let Some(guarded) = guarded.upgrade() else { return };
        match guarded.attempt() {
            Some(longer) => wait = longer,
            None => return,
        }
    }
}

impl fmt::Debug for GuardedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardedModel({:?})", self.state())
    }
}

/// A worker's engine on a card, with the CPU's engine behind it.
#[derive(Debug)]
pub struct GuardedEngine<Fallback> {
    guarded: Arc<GuardedModel>,
    /// On the model that was in use when it was made.
    gpu: Option<CudaEngine>,
    cpu: Fallback,
    info: EngineInfo,
}

impl<Fallback: Engine> GuardedEngine<Fallback> {
    /// An engine over a guarded model. `cpu` has the same width and at least the same capacity.
    pub fn new(guarded: Arc<GuardedModel>, cpu: Fallback) -> Self {
        let info = guarded.model().map_or_else(|| cpu.info(), |model| model.info());
        Self { guarded, gpu: None, cpu, info }
    }

    /// This worker's engine on the card, made anew when the model was opened anew; `None` while the card is out of use.
    fn gpu(&mut self) -> Option<&mut CudaEngine> {
        let model = self.guarded.model();
        let is_current = match (&self.gpu, &model) {
            (Some(engine), Some(model)) => Arc::ptr_eq(&engine.model, model),
            (None, None) => true,
            _ => false,
        };
        if !is_current {
            self.gpu = model.and_then(|model| match CudaEngine::new(Arc::clone(&model)) {
                Ok(engine) => Some(engine),
                Err(error) => {
                    self.guarded.retire(&model, &error.to_string());
                    None
                }
            });
        }
        self.gpu.as_mut()
    }
}

impl<Fallback: Engine> Engine for GuardedEngine<Fallback> {
    fn info(&self) -> EngineInfo {
        self.info.clone()
    }

    fn width(&self) -> usize {
        self.cpu.width()
    }

    fn capacity_tokens(&self) -> usize {
        self.cpu.capacity_tokens()
    }

    fn run(&mut self, batch: FlatBatch<'_>, stop: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        if let Some(engine) = self.gpu() {
            let model = Arc::clone(&engine.model);
            match engine.run(batch, stop, out) {
                Err(EngineError::Compute(reason)) => {
                    self.guarded.retire(&model, &reason);
                    self.gpu = None;
                }
                answer => {
                    if answer.is_ok() {
                        self.guarded.answered();
                    }
                    return answer;
                }
            }
        }
        self.cpu.run(batch, stop, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_up_to_five_minutes() {
        let seconds: Vec<u64> = (1..=10).chain([33, u32::MAX]).map(|count| retry_after(count).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }
}
