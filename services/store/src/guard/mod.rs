//! What every call to a store needs, once: a time limit, retries, a breaker, figures, a span, and faults for tests.
//!
//! A [`Guard`] belongs to one backend. The decorator of a trait holds one beside the backend, and is a thin delegation:
//!
//! ```
//! use attune_store::guard::{Guard, Retry, Settings};
//! # use attune_store::{StoreError, StoreKind};
//! # async fn get(_: &str) -> Result<Option<String>, StoreError> { Ok(None) }
//!
//! # async fn example() -> Result<(), StoreError> {
//! let guard = Guard::new(StoreKind::Cache, "redis", Settings::default());
//! let value = guard.call("get", Retry::Safe, || get("key")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What decides is pure: [`Breaker`] and [`Budget`] are state machines to which the time is a value, so that their tests
//! need no clock. What waits is here.
//!
//! A call that may be made twice without harm is [`Retry::Safe`]: a read, a write of a whole value, a compare-and-set
//! whose second try the caller can tell from a lost race. Everything else is [`Retry::Never`], because an answer that
//! did not arrive does not say that nothing happened.

mod backoff;
mod breaker;
mod budget;
mod faults;
mod gate;
mod instruments;
mod settings;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Instrument;

use crate::{ErrorKind, StoreError, StoreKind};
pub use breaker::{Breaker, BreakerSettings, Permit, Refusal};
pub use budget::{Budget, BudgetSettings};
pub use faults::{Fault, Faults};
pub use gate::{Admission, Gate};
pub use settings::Settings;

use instruments::Instruments;

/// Whether a call may be made again after a failure that leaves open whether it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Made twice, it does the same as made once.
    Safe,
    /// It may do twice what was asked once.
    Never,
}

/// Stands before one backend of one store. Cheap to share in an `Arc`; calls take no lock across a wait.
pub struct Guard {
    store: StoreKind,
    backend: &'static str,
    settings: Settings,
    gate: Gate,
    budget: Mutex<Budget>,
    /// When a call failed last, in milliseconds from the start; 0 for never.
    failed_ms: AtomicU64,
    instruments: Instruments,
    faults: Option<Arc<Faults>>,
}

impl Guard {
    /// A guard before a backend, which is named in figures and errors.
    pub fn new(store: StoreKind, backend: &'static str, settings: Settings) -> Self {
        let instruments = Instruments::new(store, backend);
        let open = instruments.open();
        let gate = Gate::new(settings.breaker, move |is_open| {
            open.set(f64::from(u8::from(is_open)));
            let store = store.name();
            match is_open {
                true => tracing::warn!(store, backend, "the store fails: calls are refused until it answers again"),
                false => tracing::info!(store, backend, "the store answers again"),
            }
        });
        let (budget, failed_ms) = (Mutex::new(Budget::new(settings.budget)), AtomicU64::new(0));
        Self { store, backend, settings, gate, budget, failed_ms, instruments, faults: None }
    }

    /// The same guard with faults between it and the backend, for tests.
    pub fn with_faults(mut self, faults: Arc<Faults>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// How long one attempt of an ordinary call may take.
    pub fn attempt_max(&self) -> Duration {
        self.settings.attempt_max
    }

    /// The kind of store behind it.
    pub fn store(&self) -> StoreKind {
        self.store
    }

    /// The name of the backend behind it.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// Makes a call within the limits of the settings.
    ///
    /// # Errors
    /// That of the last attempt; [`ErrorKind::Timeout`] when an attempt had no answer in time; and
    /// [`ErrorKind::Unavailable`] when the breaker is open, without asking the backend.
    pub async fn call<T, F, A>(&self, call: &'static str, retry: Retry, attempt: F) -> Result<T, StoreError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, StoreError>>,
    {
        self.call_within(self.settings.attempt_max, call, retry, attempt).await
    }

    /// Makes a call whose every attempt may take `attempt_max`, for what is slow by nature: a large transfer, or a read
    /// that waits for something to arrive.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn call_within<T, F, A>(
        &self,
        attempt_max: Duration,
        call: &'static str,
        retry: Retry,
        attempt: F,
    ) -> Result<T, StoreError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, StoreError>>,
    {
        let span = tracing::debug_span!("store", store = self.store.name(), backend = self.backend, call);
        let begun = Instant::now();
        let result = self.attempts(attempt_max, call, retry, attempt).instrument(span).await;
        if result.as_ref().is_err_and(StoreError::is_retryable) {
            self.failed_ms.store((self.gate.now().as_millis() as u64).max(1), Ordering::Relaxed);
        }
        self.instruments.answered(call, begun.elapsed(), result.as_ref().err().map(|error| error.kind));
        result
    }

    async fn attempts<T, F, A>(
        &self,
        attempt_max: Duration,
        call: &'static str,
        retry: Retry,
        mut attempt: F,
    ) -> Result<T, StoreError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, StoreError>>,
    {
        let begun = Instant::now();
        self.budget().called();
        for number in 1.. {
            let admission = self.admit(call)?;
            let result = self.attempt(attempt_max, call, &mut attempt).await;
            let failed = result.as_ref().err().is_some_and(StoreError::is_retryable);
            admission.end(!failed);
            let Err(error) = result else { return result };
            let left = self.settings.call_max.saturating_sub(begun.elapsed());
            if !failed || retry == Retry::Never || number >= self.settings.attempts_max {
                return Err(error);
            }
            let pause = backoff::pause(number, self.settings.pause_min, self.settings.pause_max, rand::random());
            if pause >= left || !self.budget().retry() {
                return Err(error);
            }
            self.instruments.retried(call);
            tracing::debug!(attempt = number, error = %error.kind, pause_ms = pause.as_millis() as u64, "trying again");
            tokio::time::sleep(pause).await;
        }
        unreachable!("the last attempt returns")
    }

    async fn attempt<T, F, A>(
        &self,
        attempt_max: Duration,
        call: &'static str,
        attempt: &mut F,
    ) -> Result<T, StoreError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, StoreError>>,
    {
        let faulty = async {
            let fault = self.faults.as_ref().and_then(|faults| faults.next(call));
            match fault {
                None => attempt().await,
                Some(fault) => fault.around(self.store, call, attempt()).await,
            }
        };
        match tokio::time::timeout(attempt_max, faulty).await {
            Ok(result) => result,
            Err(_) => {
                let detail = format!("no answer from {} within {} ms", self.backend, attempt_max.as_millis());
                Err(StoreError::new(self.store, call, ErrorKind::Timeout, detail))
            }
        }
    }

    fn admit(&self, call: &'static str) -> Result<Admission<'_>, StoreError> {
        self.gate.admit().map_err(|refusal| {
            let detail = format!("{} {refusal}", self.backend);
            StoreError::new(self.store, call, ErrorKind::Unavailable, detail)
        })
    }

    /// How long ago a call failed last for want of an answer, if one ever did.
    pub fn failed_ago(&self) -> Option<Duration> {
        let failed = self.failed_ms.load(Ordering::Relaxed);
        (failed > 0).then(|| self.gate.now().saturating_sub(Duration::from_millis(failed)))
    }

    /// Whether calls are refused at present without asking the backend.
    pub fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A backend behind a guard. It is what its trait says it is: each trait delegates its calls for this type.
pub struct Guarded<T: ?Sized> {
    pub(crate) inner: Arc<T>,
    pub(crate) guard: Guard,
}

impl<T: ?Sized> Guarded<T> {
    /// Puts a guard before a backend.
    pub fn new(inner: Arc<T>, guard: Guard) -> Self {
        Self { inner, guard }
    }
}

impl<T: ?Sized> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("store", &self.store).field("backend", &self.backend).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
