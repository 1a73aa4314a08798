//! The wire contract: protocol buffers, JSON types and errors.
//!
//! Everything a client can see is named here and nowhere else, so the REST handlers, the gRPC handlers and the clients
//! cannot drift apart. The crate knows no engine and no socket: the gateway turns these types into calls, the load
//! generator turns answers back into figures.

pub mod analytics;
mod call;
pub mod catalogue;
pub mod content;
pub mod definitions;
pub mod dialect;
pub mod error;
pub mod experiments;
mod lists;
pub mod log;
pub mod moment;
pub mod outside;
pub mod pointer;
pub mod progress;
pub mod recommendation;
pub mod rest;
mod scope;
pub mod structs;
pub mod threads;
pub mod tracking;
pub mod users;
mod words;

/// Generated from `proto/attune/v1/*.proto`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("attune.v1");
}

/// The descriptors of every message and service in [`v1`], encoded, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("attune_descriptor");

pub use call::Call;
pub use dialect::Dialect;
pub use error::{ApiError, ErrorCode, FieldError};
pub use scope::{Scope, ScopeError};
