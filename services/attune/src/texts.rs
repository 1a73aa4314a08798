//! Where the labelled sentences are that the demo, the benches, training and evaluation read.

use std::path::PathBuf;

use crate::config::Config;
use crate::models;

/// The folder that `attune models pull sentiment-data` makes.
pub fn folder(config: &Config) -> PathBuf {
    models::folder(&config.data, "sentiment-data")
}
