//! Why something cannot be learnt or scored.

use thiserror::Error;

/// Why something cannot be learnt or scored.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ScoreError {
    /// Rows of another width.
    #[error("a row of features has {len} numbers, and {need} are needed")]
    Width {
        /// Numbers given.
        len: usize,
        /// Numbers needed.
        need: usize,
    },
    /// A weight that is none.
    #[error("the weight of example {example} is {weight}: a finite number from 0 is needed")]
    Weight {
        /// Number of the example, from 0.
        example: usize,
        /// As given.
        weight: f32,
    },
    /// Nothing to learn.
    #[error("{acted} of {examples} examples were acted on: some must have been, and some not, in more than one list")]
    OneSided {
        /// Examples that count.
        examples: usize,
        /// Those that were acted on.
        acted: usize,
    },
    /// A setting that makes no sense.
    #[error("the regularisation is {0}: a finite number above 0 is needed")]
    Regularisation(f64),
    /// A feature that nobody gives.
    #[error("the blend was trained with the feature {name:?}, which the pipeline does not have")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A feature of the caller that is not there, or of the wrong length.
    #[error("the feature {name:?} has {len} numbers for {need} candidates")]
    Extra {
        /// Its name.
        name: String,
        /// Numbers given.
        len: usize,
        /// Candidates.
        need: usize,
    },
    /// A weight for a source that is not there, or one that is none.
    #[error(
        "the weight of {source_name:?} is {weight}: give finite ones from 0 to sources and features of the pipeline, one above 0"
    )]
    SourceWeight {
        /// The source, or feature.
        source_name: String,
        /// As given.
        weight: f32,
    },
    /// Bands of histories that do not rise.
    #[error("a band of weights begins with {events_min} events: each must begin with more than the one before")]
    Bands {
        /// As given.
        events_min: usize,
    },
    /// Parts that contradict each other, or numbers that are not finite.
    #[error("the parts of the blend do not fit together: {0}")]
    Parts(&'static str),
}
