//! `attune bench`: how fast the engine is alone, and how the server stands under load.

pub mod infer;
mod report;
pub mod serve;
mod workload;

use std::thread;

pub use workload::Lengths;

use crate::config::Config;

/// Worker threads of a server with this configuration.
pub fn workers(config: &Config) -> usize {
    match config.inference.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}
