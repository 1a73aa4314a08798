//! What is made of rows: the seam between a job and the models.
//!
//! A task is synchronous and knows nothing of files; a job knows nothing of models. A task over another kind of rows (a
//! list for each user) is another implementation with another [`Row`].

mod embed;
mod rank;
mod recommend;
mod sentiment;
mod texts;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use attune_inference::InferenceError;
use attune_ranking::index::IndexError;

pub use embed::Embed;
pub use recommend::{ItemFilter, Recommend, RecommendError, RecommendOptions};
pub use sentiment::Sentiment;

use crate::job::BATCH_ROWS;
use crate::read::{Batch, Rejected, Row};

/// Makes columns of rows.
pub trait Task {
    /// The kind of rows.
    type Row: Row;

    /// All that decides what is made of a row: an output is resumed only by the same.
    fn about(&self) -> About;

    /// The columns that [`run`](Self::run) makes, the same for every batch.
    fn columns(&self) -> SchemaRef;

    /// Most rows of a batch: fewer where a row of the input becomes many of the output.
    fn batch_rows(&self) -> u64 {
        BATCH_ROWS
    }

    /// Makes the rows of the output, in the order of the batch; those that cannot be made are rejected. What is made of
    /// a row does not depend on the others. `answered` may be told meanwhile how many rows have their answer: a batch of
    /// long texts takes minutes.
    ///
    /// # Errors
    /// [`TaskError`] when it is not the fault of one row.
    fn run(&mut self, batch: &Batch<Self::Row>, answered: &mut dyn FnMut(usize)) -> Result<OutputBatch, TaskError>;
}

/// What a task is and by what it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// `embed`, `sentiment`, `recommend`.
    pub task: &'static str,
    /// The model's name.
    pub model: String,
    /// Its version.
    pub model_version: String,
    /// What computes it.
    pub engine: String,
    /// With which instructions.
    pub instruction_set: String,
    /// In which number format.
    pub precision: String,
    /// Longest text in tokens, of models that read texts.
    pub tokens_max: Option<usize>,
    /// What else decides the output, by name.
    pub settings: BTreeMap<String, String>,
}

/// What was made of a batch.
#[derive(Clone, Debug)]
pub struct OutputBatch {
    /// The rows of the output.
    pub rows: RecordBatch,
    /// Rows of the batch that they were made of.
    pub answered: usize,
    /// Rows of the batch that nothing can be made of.
    pub rejected: Vec<Rejected>,
}

/// Why nothing was made of a batch.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The models refused or failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The vectors cannot be searched.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// More than fits into columns.
    #[error("cannot make columns of the answers: {0}")]
    Columns(#[from] ArrowError),
}
