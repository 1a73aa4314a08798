//! A seam for scans that are made elsewhere, on a GPU: what a segment hands over, and what it gets back.
//!
//! A segment that is large enough is offered to the process's [`Scanner`] when it is built or read. What the scan does not
//! answer (no room there, a card that failed, a `k` that is too large) the segment answers itself: the answers are the same, so
//! nobody sees who made them.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use super::{Scored, Search};

/// Items of a segment that is offered: a smaller one is scanned here in less time than a card takes to answer.
pub const SCAN_ITEMS_MIN: usize = 50_000;

/// A segment's items, elsewhere.
pub trait Scan: Send + Sync + Debug {
    /// By query what [`Segment::search`](super::Segment::search) finds, with the same scores, bit for bit; `None` for a query
    /// that is left to the segment. The search has been checked. Never waits for longer than a second.
    fn scan(&self, search: &Search<'_>) -> Vec<Option<Vec<Scored>>>;
}

/// A segment's items, as they are handed over. A place that holds no item has the row `u32::MAX`.
#[derive(Clone, Debug)]
pub struct ScanItems {
    /// By place, rows of `width` values.
    pub vectors: Arc<Vec<f32>>,
    /// Values a vector.
    pub width: usize,
    /// By place, the caller's rows.
    pub rows: Arc<Vec<u32>>,
}

/// Who takes items over.
pub trait Scanner: Send + Sync + Debug {
    /// Takes items over; `None` when it does not, which it explains in the log. Takes seconds for millions of them.
    fn take(&self, items: ScanItems) -> Option<Arc<dyn Scan>>;
}

static SCANNER: OnceLock<Arc<dyn Scanner>> = OnceLock::new();

/// Sets the process's scanner, for all segments that are built from now on; whether it is the first.
pub fn set_scanner(scanner: Arc<dyn Scanner>) -> bool {
    SCANNER.set(scanner).is_ok()
}

/// Offers items to the process's scanner, if there is one and they are worth it.
pub(super) fn offer(items: usize, handed: impl FnOnce() -> ScanItems) -> Option<Arc<dyn Scan>> {
    let scanner = SCANNER.get().filter(|_| items >= SCAN_ITEMS_MIN)?;
    scanner.take(handed())
}
