//! What can be wrong with a log, or with the policy that it is asked about.

use thiserror::Error;

/// What a weight and a reward may be at most, either way: sums of their products stay finite, and a propensity by which
/// a row would weigh more is none.
pub(super) const MAGNITUDE_MAX: f64 = 1e12;

/// What can be wrong with a log, or with the policy that it is asked about. Fields number rows and positions from 0,
/// texts count both from 1, as files do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum OffPolicyError {
    /// Nothing was logged.
    #[error("the log has no rows: at least one is needed")]
    Empty,
    /// Not a probability above 0.
    #[error(
        "row {row} has a propensity of {propensity}: how likely the logged action was, above 0 and up to 1, is needed",
        row = row + 1
    )]
    Propensity {
        /// The row.
        row: usize,
        /// As logged.
        propensity: f64,
    },
    /// Beyond what can be added up, or not a number.
    #[error(
        "row {row} has a reward of {reward:e}: a number of at most {most:e} either way is needed",
        row = row + 1,
        most = MAGNITUDE_MAX
    )]
    Reward {
        /// The row.
        row: usize,
        /// As logged.
        reward: f64,
    },
    /// A propensity so small that the row would be all that counts.
    #[error(
        "row {row} would weigh {weight:e}, at most {most:e} is possible: is its propensity the chance that it was \
         shown?",
        row = row + 1,
        most = MAGNITUDE_MAX
    )]
    Weight {
        /// The row.
        row: usize,
        /// How much likelier the policy would have made it.
        weight: f64,
    },
    /// Something that the policy does not know.
    #[error(
        "row {row} shows action {action} at position {position}, which the policy says nothing of: it has {actions} \
         actions at each of {positions} positions",
        row = row + 1,
        position = position + 1
    )]
    Unknown {
        /// The row.
        row: usize,
        /// As logged.
        action: u32,
        /// As logged.
        position: u32,
        /// Those of the policy.
        actions: usize,
        /// Those of the policy.
        positions: usize,
    },
    /// A policy without actions or positions, or with another number of chances than of both.
    #[error("a policy of {actions} actions at {positions} positions has {chances} chances: one each is needed")]
    Shape {
        /// Actions.
        actions: usize,
        /// Positions.
        positions: usize,
        /// Chances given.
        chances: usize,
    },
    /// Chances that are none.
    #[error(
        "the policy's chances at position {position} add up to {sum}: numbers from 0 that add up to 1 are needed",
        position = position + 1
    )]
    Chances {
        /// From 0.
        position: usize,
        /// What they add up to; NaN where one is negative.
        sum: f64,
    },
    /// The policy would have shown nothing of it.
    #[error("the policy would have shown nothing of what the log has: a log of a policy that shows the same is needed")]
    NoOverlap,
}
