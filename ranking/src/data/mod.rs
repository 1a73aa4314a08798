//! What trainers, evaluation and retrieval have in common: the events, their worth, and the table they make.

mod interactions;
mod scorer;

pub use interactions::{Interactions, InteractionsError};
pub use scorer::{History, Scorer};
