//! JSON on the wire, one module a protocol.
//!
//! Attune's own requests refuse unknown fields, since a misspelt `truncate` that is ignored is a wrong answer; the
//! compatibility requests ignore them, since their clients send some.

pub mod admin;
pub mod analytics;
pub mod content;
pub mod definitions;
mod inputs;
pub mod models;
pub mod openai;
pub mod operations;
pub mod outside;
pub mod recommendation;
pub mod sentiment;
pub mod specs;
pub mod tei;
mod timestamp;
pub mod tracking;
pub mod users;

pub use inputs::Inputs;
pub use timestamp::Timestamp;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What happens to a text of more tokens than the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Truncate {
    /// The end is cut off.
    End,
    /// The call is refused.
    Refuse,
}
