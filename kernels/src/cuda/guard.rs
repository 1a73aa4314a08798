//! What lies on a card that may fail: in use, or out of use and tried again later.
//!
//! A failed card is out of use for everybody at once. One thread for each thing that lay there opens the card anew and puts
//! it there again, at growing intervals; until then its users do without. Opening takes seconds (kernels, weights), which
//! nobody waits for.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::Device;

/// The first interval before a failed card is tried again.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest: what a card that is gone for good costs is one attempt in this time.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// How long to wait after so many failures without a success between them.
fn retry_after(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(RETRY_MAX)
}

/// What can lie on a card.
pub trait OnDevice: Send + Sync + 'static {
    /// Where it lies.
    fn device(&self) -> &Device;
}

/// Opens the card and puts the thing on it.
pub type Reopen<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

/// Something on one card, or the reason why it is not there.
pub struct Guarded<T> {
    card: String,
    reopen: Reopen<T>,
    state: Mutex<State<T>>,
    /// Failures since the card last answered: an attempt that opens it has not answered anything yet.
    failures: AtomicU32,
}

struct State<T> {
    /// `None` while the card is out of use.
    current: Option<Arc<T>>,
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
    /// Whether work goes there.
    pub in_use: bool,
    /// Batches and attempts that failed since the start.
    pub failures: u64,
    /// Why it is out of use, or was the last time; empty if it never was.
    pub reason: String,
}

impl<T: OnDevice> Guarded<T> {
    /// Something that is on its card now; `reopen` puts it there again.
    pub fn new(current: T, reopen: Reopen<T>) -> Arc<Self> {
        let card = current.device().card().to_string();
        let state = State { current: Some(Arc::new(current)), failures_total: 0, reason: String::new() };
        Arc::new(Self { card, reopen, state: Mutex::new(state), failures: AtomicU32::new(0) })
    }

    /// What the card does.
    pub fn state(&self) -> CardState {
        let state = self.lock();
        CardState {
            card: self.card.clone(),
            in_use: state.current.is_some(),
            failures: state.failures_total,
            reason: state.reason.clone(),
        }
    }

    /// What lies there, if the card is in use.
    pub fn current(&self) -> Option<Arc<T>> {
        self.lock().current.clone()
    }

    /// Takes the card out of use after a failure of `failed`, and sees to it that it is tried again. Of several users that
    /// fail together, the first does it.
    pub fn retire(self: &Arc<Self>, failed: &Arc<T>, reason: &str) {
        failed.device().retire();
        let mut state = self.lock();
        state.failures_total += 1;
        if !state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
            return;
        }
        tracing::error!(card = self.card, reason, "a GPU failed: the CPU answers until it is back");
        state.current = None;
        let wait = retry_after(self.failed());
        reason.clone_into(&mut state.reason);
        let guarded = Arc::downgrade(self);
        if let Err(error) = thread::Builder::new().name("gpu-retry".into()).spawn(move || retry(&guarded, wait)) {
            tracing::error!(%error, "no thread to try the GPU again: it stays out of use");
        }
    }

    /// The card answered: the next failure is the first of its row.
    pub fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Tries once, and says how long to wait before the next attempt; `None` when there is no need of one.
    fn attempt(&self) -> Option<Duration> {
        match (self.reopen)() {
            Ok(current) => {
                tracing::info!(card = self.card, "the GPU is in use again");
                self.lock().current = Some(Arc::new(current));
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

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries until the card is back or nobody holds the guard any more.
fn retry<T: OnDevice>(guarded: &Weak<Guarded<T>>, mut wait: Duration) {
    loop {
        thread::sleep(wait);
        let Some(guarded) = guarded.upgrade() else { return };
        match guarded.attempt() {
            Some(longer) => wait = longer,
            None => return,
        }
    }
}

impl<T: OnDevice> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guarded({:?})", self.state())
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
