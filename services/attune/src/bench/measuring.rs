//! How often and for how long a server is measured, and where the figures go: alike in all benches that do so.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::write_json;

/// Flags of a bench that loads a server again and again.
#[derive(Debug, Args)]
pub struct Measuring {
    /// Runs of each kind, with arrivals of their own
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,
    /// Length of a run
    #[arg(long, value_name = "S", default_value_t = 20.0)]
    seconds: f64,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Measuring {
    /// How long a run is.
    ///
    /// # Errors
    /// No number of seconds.
    pub fn length(&self) -> Result<Duration> {
        Duration::try_from_secs_f64(self.seconds).context("--seconds")
    }

    /// Writes the figures where that was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write<T: Serialize>(&self, figures: &T) -> Result<()> {
        self.json.as_ref().map_or(Ok(()), |path| write_json(figures, path))
    }
}
