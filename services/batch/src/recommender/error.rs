//! Why there is no recommender.

use std::path::PathBuf;

use attune_ranking::data::WorthError;
use attune_ranking::evaluate::{EvaluateError, SplitError};
use attune_ranking::index::IndexError;
use attune_ranking::train::TrainError;

use super::settings::SettingsError;
use super::vectors::VectorError;
use crate::folder::{Damage, FolderError};
use crate::history::HistoryError;

/// Why a recommender cannot be trained, written or loaded.
#[derive(Debug, thiserror::Error)]
pub enum RecommenderError {
    /// The events cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The worth of events makes no sense.
    #[error(transparent)]
    Worth(#[from] WorthError),
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Nothing can be learned from these events.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The events cannot be split for the protocol.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The model gives scores that have no order.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Vectors made elsewhere cannot be taken over.
    #[error(transparent)]
    Vectors(#[from] VectorError),
    /// Vectors that cannot be searched.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Too little to choose from, or nobody to learn from.
    #[error(
        "the events have {count} {what}: at least 2 are needed, since a recommender learns from what several users do \
         with several items"
    )]
    TooFew {
        /// `user` or `item`.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A model that cannot be trained on events.
    #[error("this cannot be trained on events: {0}")]
    NotTrainable(&'static str),
    /// The folder cannot be written.
    #[error(transparent)]
    Write(#[from] FolderError),
    /// The folder is already there.
    #[error("{folder} exists: a version is never written over; name a folder that does not", folder = folder.display())]
    Exists {
        /// What was given.
        folder: PathBuf,
    },
    /// The folder is damaged, cut or foreign.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The folder's files are whole, and contradict each other or this program.
    #[error("{folder} is no recommender that this program can use: {detail}", folder = folder.display())]
    Contents {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// No such model.
    #[error(
        "there is no recommender {name:?}: {path} is not there{known}. `attune train` makes one; a folder is named by \
         its path",
        path = path.display()
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where it would be.
        path: PathBuf,
        /// Those that there are, as the end of a clause.
        known: String,
    },
}
