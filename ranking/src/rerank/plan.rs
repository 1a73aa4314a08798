//! What a list is made of, how, and what comes of it.

use thiserror::Error;

use super::{Exploration, ExplorationError, Likeness, Rules};
use crate::index::View;

/// An item that may be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its row.
    pub row: u32,
    /// From 0 to 1, higher is better.
    pub score: f32,
    /// How sure that is: the standard deviation of the log-odds. Only Thompson looks at it.
    pub deviation: f32,
}

/// How a list is made.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Vectors and attributes of the items.
    pub catalogue: &'a View,
    /// What shall happen to some of them.
    pub rules: &'a Rules,
    /// 0 for the best alone, 1 for the most unlike alone.
    pub diversity: f32,
    /// What diversity looks at.
    pub likeness: &'a Likeness,
    /// How positions are filled.
    pub exploration: Exploration,
    /// Length of the list, at least 1; fewer come where there are no more candidates.
    pub k: usize,
    /// Decides all draws.
    pub seed: u64,
}

/// One that may stand at the next position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alternative {
    /// Number of the candidate.
    pub candidate: usize,
    /// Probability that it does, given what stands before.
    pub propensity: f64,
}

/// One that stands in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Number of the candidate.
    pub candidate: usize,
    /// Its row.
    pub row: u32,
    /// Its score as it came.
    pub score: f32,
    /// The probability that it came to stand here, given what stands before.
    pub propensity: f64,
    /// Whether something else would stand here without exploration.
    pub explored: bool,
    /// The rules that are about it, by their numbers.
    pub rules: Vec<usize>,
}

/// Why a list cannot be made.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RerankError {
    /// A score that is no probability, or a deviation that is none.
    #[error("the score of item {row} is {score} with a deviation of {deviation}: give 0 to 1, and a finite one from 0")]
    Score {
        /// The item.
        row: u32,
        /// As given.
        score: f32,
        /// As given.
        deviation: f32,
    },
    /// One item twice.
    #[error("item {row} is a candidate twice")]
    Twice {
        /// The item.
        row: u32,
    },
    /// Not from 0 to 1.
    #[error("diversity is {diversity}: a number from 0 to 1 is needed")]
    Diversity {
        /// As given.
        diversity: f32,
    },
    /// A list of nothing.
    #[error("k is 0: ask for at least one item")]
    K,
    /// A setting of exploration that makes no sense.
    #[error(transparent)]
    Exploration(#[from] ExplorationError),
    /// Rules that cannot all be kept.
    #[error(
        "rule {pin:?} pins position {position}, but rule {other:?} leaves it none of its items: change one of them"
    )]
    Contradiction {
        /// The pin.
        pin: String,
        /// From 1.
        position: usize,
        /// A quota, or another pin of the same items.
        other: String,
    },
}
