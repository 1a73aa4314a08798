//! Tokenise, schedule and run transformer encoders.
pub mod engine;
pub mod schedule;
