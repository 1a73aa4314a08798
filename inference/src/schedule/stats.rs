//! What the scheduler tells about itself.

use std::time::Duration;

/// A snapshot: what waits and runs now, and counts since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// What waits, by class, highest first.
    pub waiting: [ClassDepth; 3],
    /// Worker threads.
    pub workers: usize,
    /// Workers that run a batch.
    pub running: usize,
    /// Whether new jobs are refused for good.
    pub draining: bool,
    /// The measured speed of one worker on each model, in FLOP/s.
    pub flops_per_second: Vec<f64>,
    /// What has happened.
    pub total: Totals,
}

/// What waits in one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassDepth {
    /// Texts.
    pub texts: usize,
    /// Their tokens.
    pub tokens: u64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Batches that an engine has run to their end.
    pub batches: u64,
    /// Texts in them.
    pub texts: u64,
    /// Tokens in them.
    pub tokens: u64,
    /// Time spent in engines, over all workers.
    pub busy: Duration,
    /// Jobs refused on arrival.
    pub refused: u64,
    /// Jobs whose deadline passed in the queue or in a batch.
    pub expired: u64,
    /// Jobs whose ticket was dropped while texts of theirs waited.
    pub cancelled: u64,
    /// Batches that ended because nobody waited for them any more.
    pub stopped: u64,
    /// Batches that failed.
    pub failed: u64,
}
