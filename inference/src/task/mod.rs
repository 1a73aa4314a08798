//! What is done with the rows of an encoder.

pub mod classify;
pub mod embed;
