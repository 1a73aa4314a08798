//! `attune import`: files into a running server.

pub mod events;
pub mod items;
mod ledger;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::config::Config;

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What people did: CSV, JSON lines or Parquet with user_id, item_id, type, timestamp and, where there are any,
    /// value and event_id
    Events(events::Options),
    /// What there is to show: CSV or JSON lines with id, title and, where there are any, text and attributes
    Items(items::Options),
}

/// Which server, and who asks.
#[derive(Debug, Args)]
pub struct ServerFlags {
    /// Where the server is [default: server.listen of the configuration]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An API key with the scope write
    #[arg(long, value_name = "KEY", env = "ATTUNE_KEY", hide_env_values = true)]
    key: String,
}

impl ServerFlags {
    /// The server's address.
    fn url(&self, config: &Config) -> String {
        self.url.clone().unwrap_or_else(|| format!("http://{}", config.server.listen))
    }
}

/// Imports.
///
/// # Errors
/// As the command says.
pub fn run(config: &Config, command: &Command) -> Result<()> {
    match command {
        Command::Events(options) => events::run(config, options),
        Command::Items(options) => items::run(config, options),
    }
}
