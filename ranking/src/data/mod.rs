//! What trainers, evaluation and retrieval have in common: the events, their worth, and the table they make.

mod events;
mod interactions;
mod scorer;
mod worth;

pub use events::{Amount, Event, EventError, EventLog, LogPart};
pub use interactions::{Interactions, InteractionsError};
pub use scorer::{History, Scorer};
pub use worth::{KindWorth, Sign, ValueUse, Worth, WorthError, interactions};
