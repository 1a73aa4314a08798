//! Exact top-k by inner product: the items that a full scan in f32 would find, without a full scan in f32.
//!
//! A [`Segment`] holds items three times over, each time coarser. **Clusters** of items that point in a similar direction,
//! and **blocks** of 64 of them, have one bound for all their items: what cannot reach the k-th best score found so far is
//! skipped. What is left is **screened** as int8 rows, four times smaller than f32 and multiplied four times as fast, under a proven
//! error bound; where vectors are wide, their **heads** are screened first, rows of a fraction of the length (`head.rs`). What
//! passes is **scored** in f32. Scores that do not pass never leave the registers. Nothing is approximate: [`bound`] and
//! `head.rs` have the proof, and the tests compare with brute force, score by score.
//!
//! The alternatives are a matrix of scores and a selection afterwards, which is bound by the memory it writes, and
//! approximate graphs and inverted lists, which lose items, most of all under a filter: here a filter is a mask on each
//! block, and what it leaves of one decides how the block is scanned. A filter that comes again and again has its items
//! laid out for themselves (`subset.rs`).
//!
//! ```text
//! let segment = Segment::build(&vectors, width, &rows)?;
//! let found = segment.search(&Search { queries: &queries, k: 100, .. })?;   // Vec of Scored by query, best first
//! ```
//!
//! An [`Index`] is segments that come and go: every batch of items becomes one, small ones are merged into larger ones,
//! and what is deleted is a bit until the next merge. Readers have a [`View`], which does not change under them.
//!
//! Equal scores are ordered by row, so an answer is one and the same whatever the threads, the batch and the instruction
//! set's speed; scores are sums in one fixed order.

mod allowed;
pub mod bound;
mod by_row;
mod cluster;
mod error;
mod head;
mod layout;
mod live;
mod merge;
mod query;
mod rows;
pub mod scan;
#[cfg(test)]
mod scan_tests;
mod sealed;
mod search;
mod segment;
mod snapshot;
mod subset;
mod supports;
mod top;

pub use allowed::Allowed;
pub use error::IndexError;
pub use live::{Index, Item, Metric, Query, View};
pub use rows::Within;
pub use search::Search;
pub use segment::Segment;
pub use snapshot::SnapshotError;
pub use top::{Scored, keep_best};

/// The largest `k`.
pub const K_MAX: usize = 10_000;
/// The largest magnitude of a vector's value: sums of squares stay far from overflow.
pub const MAGNITUDE_MAX: f32 = 1e15;
