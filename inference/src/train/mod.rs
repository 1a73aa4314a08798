//! Fine-tuning: a low-rank adapter and a classification head over a frozen encoder, on the CPU.
//!
//! Only what PEFT would save is trained: for every linear layer of the encoder two thin matrices (LoRA), and the head.
//! The alternative, full fine-tuning, writes a second copy of the whole model for each task; the adapter of
//! all-MiniLM-L6-v2 is 3 MB and the server shares the base between tasks.
//!
//! A [`Trainer`] owns the parameters and the optimizer and does one step at a time; where the examples come from, when
//! to stop and what to measure is the caller's. Given a recipe, a seed and the examples in the same order, the result
//! is bit-identical whatever the number of cores: a batch is cut in a fixed number of shards, each shard is computed in
//! a fixed order, and the gradients are added in that order.
//!
//! ```no_run
//! # use attune_inference::train::{Example, Recipe, Trainer};
//! # fn main() -> Result<(), attune_inference::train::TrainError> {
//! # let examples: Vec<Example> = Vec::new();
//! let recipe = Recipe::default();
//! let mut trainer = Trainer::new("data/models/all-MiniLM-L6-v2".as_ref(), 3, &recipe, 1)?;
//! for (step, batch) in recipe.batches(examples.len(), 0, 1).iter().enumerate() {
//!     let batch: Vec<&Example> = batch.iter().map(|&at| &examples[at]).collect();
//!     trainer.step(&batch, recipe.learning_rate(step, 600))?;
//! }
//! # Ok(())
//! # }
//! ```

mod adapter;
mod encoder;
mod ops;
mod recipe;
mod trainer;

pub use adapter::Snapshot;
pub use recipe::{Recipe, TARGETS};
pub use trainer::{Example, Trainer};

use crate::model::LoadError;

/// Why training cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The base model cannot be loaded.
    #[error("the base model: {0}")]
    Model(#[from] LoadError),
    /// The recipe contradicts itself, or the base model.
    #[error("the recipe cannot be followed: {0}")]
    Recipe(String),
    /// An example cannot be used.
    #[error("example {index} of the batch: {detail}")]
    Example {
        /// Place in the batch.
        index: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The loss is not a number any more.
    #[error("the loss is {loss} after {steps} steps: the learning rate is too high for this data")]
    Diverged {
        /// Steps taken.
        steps: usize,
        /// The loss of the last one.
        loss: f32,
    },
    /// A parameter received no gradient: something cut it on the way down.
    #[error("no gradient reached {parameter}: an operation above it lets none through")]
    NoGradient {
        /// Its name, or which layer.
        parameter: String,
    },
    /// The backend failed.
    #[error("training failed in the backend: {0}")]
    Backend(#[from] candle_core::Error),
}

#[cfg(test)]
mod tests;
