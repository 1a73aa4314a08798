//! What people go on to: for each item those that were met soon after it, nearer ones more, corrected for popularity.
//!
//! The order-aware half of [`Sequential`](super::Sequential) by itself. It has no dense matrix, so that it also suits
//! catalogues that are too large for one.

use serde::{Deserialize, Serialize};

use super::error::positive;
use super::sequential::follows;
use super::{EaseOptions, SequentialOptions, SparseParts, TrainError};
use crate::data::History;

/// Settings of [`co_visits`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoVisitOptions {
    /// Events after one that count as its successors.
    pub window: usize,
    /// Distance in events at which a successor counts half as much as the next event.
    pub half_life: f32,
    /// Added to either side's count before its root divides: what occurs rarely is believed less.
    pub shrinkage: f32,
    /// Successors kept for an item.
    pub successors_max: usize,
    /// Threads; 0 for as many as there are. The result does not depend on it.
    pub threads: usize,
}

impl Default for CoVisitOptions {
    fn default() -> Self {
        Self { window: 30, half_life: 5.0, shrinkage: 10.0, successors_max: 200, threads: 0 }
    }
}

/// Items by items: from an item to those that follow it. Dislikes neither follow nor are followed.
///
/// # Errors
/// [`TrainError::Option`] where an option makes no sense.
///
/// # Panics
/// If an item of a history is not below `items`.
pub fn co_visits(items: usize, histories: &[History<'_>], options: &CoVisitOptions) -> Result<SparseParts, TrainError> {
    positive("half_life", options.half_life.into())?;
    positive("shrinkage", options.shrinkage.into())?;
    let ease = EaseOptions { threads: options.threads, ..EaseOptions::default() };
    let sequential = SequentialOptions {
        ease,
        follow_half_life: options.half_life,
        window: options.window,
        follow_shrinkage: options.shrinkage,
        successors_max: options.successors_max,
        ..SequentialOptions::default()
    };
    follows(items, histories, &sequential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_sooner_follows_more() {
        let history = History { items: &[0, 1, 2], weights: &[1.0; 3], times: &[0, 1, 2] };
        let options = CoVisitOptions { half_life: 1.0, shrinkage: 1.0, ..Default::default() };
        let parts = co_visits(3, &[history], &options).unwrap();
        let (items, values) = parts.row(0);
        assert_eq!(items, [1, 2]);
        // Counts 1 and 1/2; sums with 1 added: row 2.5, columns 2 and 2.5.
        assert!((values[0] - 1.0 / 5.0_f32.sqrt()).abs() < 1e-6 && (values[1] - 0.2).abs() < 1e-6, "{values:?}");
        assert!(co_visits(3, &[history], &CoVisitOptions { shrinkage: 0.0, ..options }).is_err());
    }
}
