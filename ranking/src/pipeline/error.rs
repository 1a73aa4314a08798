//! What can be wrong with a pipeline, and with what it is asked.

use thiserror::Error;

use super::SOURCES_MAX;
use crate::index::K_MAX;
use crate::rerank::{ExplorationError, RerankError, RuleError};
use crate::retrieve::RequestError;
use crate::score::ScoreError;

/// Why a description is not a pipeline.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PipelineError {
    /// None, or more than [`SOURCES_MAX`].
    #[error("the pipeline has {count} sources: 1 to {SOURCES_MAX} are possible")]
    Sources {
        /// Sources given.
        count: usize,
    },
    /// A source that is not there.
    #[error("there is no source {name:?}: there are {known}")]
    UnknownSource {
        /// As given.
        name: String,
        /// All there are.
        known: String,
    },
    /// One source twice.
    #[error("source {name:?} is named twice: name it once, with the larger number of candidates")]
    Twice {
        /// The source.
        name: String,
    },
    /// Too few or too many.
    #[error("source {name:?} shall give {candidates} candidates: 1 to {K_MAX} are possible")]
    Candidates {
        /// The source.
        name: String,
        /// As given.
        candidates: usize,
    },
    /// A blend that is not there.
    #[error("there is no trained blend {name:?}: there are {known}; train one, or blend by ranks")]
    UnknownBlend {
        /// As given.
        name: String,
        /// All there are.
        known: String,
    },
    /// A blend that does not fit the sources.
    #[error(transparent)]
    Blend(#[from] ScoreError),
    /// A rule that makes no sense.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Not from 0 to 1.
    #[error("diversity is {amount}: a number from 0 to 1 is needed")]
    Diversity {
        /// As given.
        amount: f32,
    },
    /// An attribute that is not there.
    #[error("diversity looks at {attribute:?}, which items do not have: use one of their attributes, or vectors")]
    Attribute {
        /// As given.
        attribute: String,
    },
    /// A setting of exploration that makes no sense.
    #[error(transparent)]
    Exploration(#[from] ExplorationError),
    /// Ranks have no posterior.
    #[error(
        "Thompson sampling needs to know how sure scores are, which ranks are not: use a trained blend, or epsilon"
    )]
    Unsure,
}

/// Why one request has no answer.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum AnswerError {
    /// The request itself.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The features that the caller adds.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The plan of the list, or rules that contradict each other.
    #[error(transparent)]
    Rerank(#[from] RerankError),
}
