//! Why a server could not be measured.

use crate::client::Task;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An option makes no sense.
    #[error("option {name}: {detail}")]
    Option {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The address or the key cannot be used.
    #[error("{url} cannot be asked: {detail}")]
    Target {
        /// Which server.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// Nobody answers there.
    #[error("cannot connect to {url}: {source}; is the server running?")]
    Connect {
        /// Which server.
        url: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// The server does not tell its models.
    #[error("the server does not list its models: {} ({:?})", .0.message(), .0.code())]
    Models(Box<tonic::Status>),
    /// The server has no such model.
    #[error("the server has no model {asked} for {task:?}; it has {known}")]
    NoModel {
        /// What was asked for.
        asked: String,
        /// For what.
        task: Task,
        /// What there is.
        known: String,
    },
    /// A call failed although little else was going on.
    #[error("a call was not answered, with {in_flight} in flight: {detail}")]
    Unanswered {
        /// Calls in work at once.
        in_flight: usize,
        /// What happened.
        detail: String,
    },
    /// The answers lack what the ideal server is built from.
    #[error("the server's answers do not say how long the engine took")]
    NoTiming,
    /// The generator itself could not start.
    #[error("the load generator cannot start: {0}")]
    Runtime(std::io::Error),
}
