//! Backends that need nothing installed.

pub mod search;
