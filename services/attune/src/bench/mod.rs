//! `attune bench`: how fast the engines are alone, and how the server stands under load.

pub mod als;
pub mod infer;
pub mod rank;
pub mod recommend;
pub mod replicas;
mod report;
pub mod serve;
mod workload;

use std::thread;

use anyhow::Result;
use clap::Subcommand;

pub use report::write_json;

use crate::config::{Config, Overrides};

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The engine alone, all workers at once: tokens/s, texts/s and the share of what the processor can do
    Infer(infer::Options),
    /// Exact top-k alone: queries/s by batch, with and without a filter, and recall against brute force
    Rank(rank::Options),
    /// Training a factor model: seconds an epoch by the number of interactions
    Als(als::Options),
    /// Lists over gRPC under open load, from a catalogue that is made up
    Recommend(recommend::Options),
    /// A gateway and three replicas under open load, one of which becomes slow, and one is killed
    Replicas(replicas::Options),
    /// A server under open load: Poisson arrivals, latency from the moment a request was due
    Serve(serve::Options),
}

impl Command {
    /// The keys of the configuration that its flags set.
    pub fn overrides(&self) -> Overrides {
        match self {
            Self::Infer(options) => options.flags.overrides(),
            Self::Rank(options) => options.flags.overrides(),
            Self::Als(options) => options.flags.overrides(),
            Self::Recommend(options) => options.flags.overrides(),
            Self::Replicas(options) => options.flags.overrides(),
            Self::Serve(options) => options.flags.overrides(),
        }
    }
}

/// Measures.
///
/// # Errors
/// As [`infer::run`], [`rank::run`], [`als::run`], [`recommend::run`], [`replicas::run`] and [`serve::run`].
pub fn run(config: &Config, command: &Command) -> Result<()> {
    match command {
        Command::Infer(options) => infer::run(config, options),
        Command::Rank(options) => rank::run(config, options),
        Command::Als(options) => als::run(config, options),
        Command::Recommend(options) => recommend::run(config, options),
        Command::Replicas(options) => replicas::run(config, options),
        Command::Serve(options) => serve::run(config, options),
    }
}

/// Worker threads of a server with this configuration.
pub fn workers(config: &Config) -> usize {
    match config.inference.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}
