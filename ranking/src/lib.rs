//! The ranking half of Attune: what a user might like, found exactly, scored by trained models and measured honestly.
//!
//! Nothing here opens a file, a socket or a store: bytes and values come in, bytes and values go out. Users and items are
//! rows, small integers; names are kept by the caller.
//!
//! ```text
//! events -> data::Interactions -> train::* -> a model (data::Scorer)
//! items  -> index::Index (vectors, attributes) -> exact top-k under a filter::Filter
//! model + events -> evaluate::Protocol -> metrics with intervals
//! ```

pub mod attributes;
pub mod data;
pub mod evaluate;
pub mod filter;
pub mod index;
pub mod train;
