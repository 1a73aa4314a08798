//! The figures of a guard: calls by outcome, their time, retries, and whether the breaker is open.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{ErrorKind, StoreKind};

const CALLS: &str = "attune_store_calls_total";
const CALL_SECONDS: &str = "attune_store_call_seconds";
const RETRIES: &str = "attune_store_retries_total";
const BREAKER_OPEN: &str = "attune_store_breaker_open";

/// Handles are looked up once for each name of a call: a lookup costs more than a call to a cache in this process.
pub(super) struct Instruments {
    store: StoreKind,
    backend: &'static str,
    calls: RwLock<Vec<(&'static str, OfCall)>>,
}

#[derive(Clone)]
struct OfCall {
    answered: Counter,
    seconds: Histogram,
}

impl Instruments {
    pub(super) fn new(store: StoreKind, backend: &'static str) -> Self {
        Self { store, backend, calls: RwLock::default() }
    }

    /// A call has ended, with an error of this kind if it has one.
    pub(super) fn answered(&self, call: &'static str, took: Duration, failed: Option<ErrorKind>) {
        let of_call = self.of_call(call);
        of_call.seconds.record(took.as_secs_f64());
        match failed {
            None => of_call.answered.increment(1),
            Some(kind) => self.counted(call, kind.name()).increment(1),
        }
    }

    /// A call is tried again.
    pub(super) fn retried(&self, call: &'static str) {
        counter!(RETRIES, "store" => self.store.name(), "backend" => self.backend, "call" => call).increment(1);
    }

    /// Whether the breaker is open, to be set when that changes.
    pub(super) fn open(&self) -> Gauge {
        gauge!(BREAKER_OPEN, "store" => self.store.name(), "backend" => self.backend)
    }

    fn of_call(&self, call: &'static str) -> OfCall {
        let find = |calls: &[(&'static str, OfCall)]| calls.iter().find(|(name, _)| *name == call).cloned();
        let found = find(&self.calls.read().unwrap_or_else(PoisonError::into_inner));
        if let Some((_, of_call)) = found {
            return of_call;
        }
        let (store, backend) = (self.store.name(), self.backend);
        let seconds = histogram!(CALL_SECONDS, "store" => store, "backend" => backend, "call" => call);
        let of_call = OfCall { answered: self.counted(call, "ok"), seconds };
        self.calls.write().unwrap_or_else(PoisonError::into_inner).push((call, of_call.clone()));
        of_call
    }

    fn counted(&self, call: &'static str, outcome: &'static str) -> Counter {
        let (store, backend) = (self.store.name(), self.backend);
        counter!(CALLS, "store" => store, "backend" => backend, "call" => call, "outcome" => outcome)
    }
}
