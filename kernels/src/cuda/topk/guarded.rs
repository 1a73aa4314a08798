//! A table on a card that may fail: what it does not answer is the CPU's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::guard::{CardState, Guarded, OnDevice};
use super::super::{CudaError, Device};
use super::{Found, ItemTable, TopkQuery, TopkWorker};
use crate::Isa;

/// Searches that are on the card at a time: one is prepared while the other is computed.
const WORKERS: usize = 2;
/// Queries of a pass: each has room for its candidates, 64 KiB.
const QUERIES: usize = 1024;
/// How long a pass may take before the card counts as hanging.
const LIMIT: Duration = Duration::from_millis(500);

/// Items to be put on a card, now and after a failure.
#[derive(Clone, Debug)]
pub struct Items {
    /// By rows of `width` values, of a magnitude of 1e15 at most.
    pub vectors: Arc<Vec<f32>>,
    /// Values a row.
    pub width: usize,
    /// What the caller calls them, [`NO_ROW`](super::NO_ROW) where there is none.
    pub rows: Arc<Vec<u32>>,
}

/// Items on a card, with workers that search them, as long as the card does not fail.
#[derive(Debug)]
pub struct GuardedItems(Arc<Guarded<Ready>>);

/// A table and its workers.
struct Ready {
    table: Arc<ItemTable>,
    workers: Vec<Mutex<TopkWorker>>,
    next: AtomicUsize,
}

impl OnDevice for Ready {
    fn device(&self) -> &Device {
        self.table.device()
    }
}

impl Ready {
    fn new(device: &Device, items: &Items) -> Result<Self, CudaError> {
        if Isa::active().unwrap_or(Isa::Scalar) == Isa::Scalar {
            return Err(CudaError::NoModule("the scalar tier adds up in an order that only a CPU has".into()));
        }
        let table = ItemTable::new(device, &items.vectors, items.width, &items.rows)?;
        let workers =
            (0..WORKERS).map(|_| TopkWorker::new(&table, QUERIES).map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Self { table, workers, next: AtomicUsize::new(0) })
    }

    /// By a worker that is idle, or the next one when none is.
    fn search(&self, query: &TopkQuery<'_>) -> Result<Vec<Option<Vec<Found>>>, CudaError> {
        let next = || self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        let idle = self.workers.iter().find_map(|worker| worker.try_lock().ok());
        let mut worker = idle.unwrap_or_else(|| self.workers[next()].lock().unwrap_or_else(PoisonError::into_inner));
        worker.search(query, LIMIT)
    }
}

impl GuardedItems {
    /// Puts items on the device that `open` gives: now, and whenever it has failed since.
    ///
    /// # Errors
    /// As [`ItemTable::new`], and [`CudaError::NoModule`] where the CPU runs the scalar kernels, whose sums have other bits.
    pub fn new(
        items: Items,
        open: impl Fn() -> Result<Device, CudaError> + Send + Sync + 'static,
    ) -> Result<Self, CudaError> {
        let put = move || Ready::new(&open()?, &items);
        Ok(Self(Guarded::new(put()?, Box::new(move || put().map_err(|error| error.to_string())))))
    }

    /// What [`TopkWorker::search`] finds; `None` also for every query when the card fails or has failed.
    ///
    /// # Panics
    /// If the queries are not whole rows of the items' width, or `k` is 0.
    pub fn search(&self, query: &TopkQuery<'_>, width: usize) -> Vec<Option<Vec<Found>>> {
        let none = || vec![None; query.queries.len() / width];
        let Some(ready) = self.0.current() else { return none() };
        match ready.search(query) {
            Ok(answers) => {
                self.0.answered();
                answers
            }
            // Nothing failed: this is more than the device does.
            Err(CudaError::Capacity { .. }) => none(),
            Err(error) => {
                self.0.retire(&ready, &error.to_string());
                none()
            }
        }
    }

    /// What the card does.
    pub fn state(&self) -> CardState {
        self.0.state()
    }

    /// Takes the card out of use, as a failure does.
    pub fn fail(&self, reason: &str) {
        if let Some(ready) = self.0.current() {
            self.0.retire(&ready, reason);
        }
    }
}
