//! Backends that are servers.

pub mod search;
