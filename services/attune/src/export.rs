//! `attune export`: what an installation has logged, as files for `attune evaluate` and for programs of one's own.

mod lists;

use anyhow::Result;
use clap::Subcommand;

use crate::config::Config;

/// What can be written to a file.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The lists that were served, a row a position: what stood there, how likely it was to, and what came of it
    Lists(lists::Options),
}

/// Exports.
///
/// # Errors
/// As the command says.
pub fn run(config: &Config, command: &Command) -> Result<()> {
    match command {
        Command::Lists(options) => lists::run(config, options),
    }
}
