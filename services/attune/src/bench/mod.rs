//! `attune bench`: how fast the engines are alone, and how the server stands under load.

pub mod als;
pub mod events;
pub mod infer;
mod made_up;
mod measuring;
pub mod movielens;
pub mod rank;
pub mod recommend;
pub mod replicas;
mod report;
pub mod scale;
mod serve;
mod workload;

use std::thread;

use anyhow::Result;
use attune_load::OpenRun;
use clap::Subcommand;

pub use report::write_json;

use crate::config::{Config, Overrides};
use crate::term;

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
    /// Lists over REST from MovieLens-100K: what a few connections get that ask again and again
    Movielens(movielens::Options),
    /// Events into a server in batches, acknowledged as durable, and whether the next list knows of them
    Events(events::Options),
    /// A catalogue, users and a history of a stated size: the rate of the import, memory, and how long a start takes
    Scale(scale::Options),
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
            Self::Movielens(options) => options.flags.overrides(),
            Self::Events(options) => options.flags.overrides(),
            Self::Scale(options) => options.flags.overrides(),
            Self::Serve(options) => options.flags.overrides(),
        }
    }
}

/// Measures.
///
/// # Errors
/// As the command says.
pub fn run(config: &Config, command: &Command) -> Result<()> {
    match command {
        Command::Infer(options) => infer::run(config, options),
        Command::Rank(options) => rank::run(config, options),
        Command::Als(options) => als::run(config, options),
        Command::Recommend(options) => recommend::run(config, options),
        Command::Replicas(options) => replicas::run(config, options),
        Command::Movielens(options) => movielens::run(config, options),
        Command::Events(options) => events::run(config, options),
        Command::Scale(options) => scale::run(config, options),
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

/// A table of open runs.
fn show_open(runs: &[OpenRun]) {
    say!("  rate/s   requests  answered   p50 ms   p99 ms  p99.9 ms  refused");
    for run in runs {
        let OpenRun { rate_per_s, requests, latency, refused, .. } = run;
        let (p50, p99, p999) = (latency.p50_ms, latency.p99_ms, latency.p999_ms);
        let (answered, refused) = (latency.count, refused.count);
        say!("{rate_per_s:>8.0} {requests:>10} {answered:>9} {p50:>8.2} {p99:>8.2} {p999:>9.2} {refused:>8}");
        if let Some(why) = &run.void {
            term::warn(&format!("this run proves nothing: {why}"));
        }
    }
}
