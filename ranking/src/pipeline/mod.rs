//! From a request to a list: what the stages are, as data, and the pure functions that run them.
//!
//! A [`PipelineSpec`] is plain data: which sources, how many candidates of each, the blend, rules, diversity, exploration.
//! A [`Pipeline`] is the same with the models in place, checked as a whole: a name that nothing answers to is an error
//! when the pipeline is made, never when a user waits. It holds no state and no clock, so that any number of threads can
//! share it, and a newer one takes its place by a swap.
//!
//! ```text
//! request -> retrieve (each source) -> gather (a union) -> score (features, a blend) -> answer (rules, diversity, draws)
//! ```
//!
//! [`Pipeline::recommend`] runs it all. A caller with a deadline runs the stages: each source where and when it likes, and
//! [`Outcome::Late`] for those that it does not wait for. A source that is late or fails makes the answer `degraded` and
//! leaves a note; it is never an error. So can a source be somebody outside of this process: the caller asks, and brings
//! the outcome.
//!
//! To order the caller's own items, allow these alone and [include](World::include) them; to find what is like an item,
//! make it the context.
//!
//! [`Outcome::Late`]: crate::retrieve::Outcome::Late

mod answer;
mod error;
mod run;
mod spec;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Answered, Code, Explanation, Note, Said};
pub use error::{AnswerError, PipelineError};
pub use run::{Gathered, ItemFeatures, ScoredUnion, Wanted, World};
pub use spec::{BlendSpec, DiversitySpec, Models, Pipeline, PipelineSpec, SourceSpec};

/// Sources that a pipeline may have.
pub const SOURCES_MAX: usize = 32;
