//! `attune train`: models from data. Every run writes a folder of its own, never in the place of one that is served.

mod recommender;
mod sentiment;
mod vectors;

use anyhow::Result;
use attune_batch::recommender::Kind;
use clap::Subcommand;

use crate::config::Config;

pub use recommender::{input_file, told};

/// What can be trained.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// An adapter and a head on all-MiniLM-L6-v2 that tell negative, neutral and positive sentences apart
    Sentiment(sentiment::Options),
    /// A recommender: a vector for every user and item (implicit alternating least squares)
    Als(recommender::Options),
    /// A recommender: a linear item-to-item model in closed form, for up to 20,000 items
    Ease(recommender::Options),
    /// A recommender: item neighbours
    ItemKnn(recommender::Options),
    /// A recommender: what everybody likes
    Popular(recommender::Options),
    /// A recommender: what comes next
    Sequential(recommender::Options),
    /// A recommender: what is liked lately, and what goes with it; for people of whom little is known
    NaiveBayes(recommender::Options),
    /// A recommender: a weighted sum of the others
    Blend(recommender::Options),
    /// A recommender of vectors that were made elsewhere
    Vectors(vectors::Options),
}

/// Trains.
///
/// # Errors
/// As the command says.
pub fn run(config: &Config, command: &Command) -> Result<()> {
    match command {
        Command::Sentiment(options) => sentiment::run(config, options),
        Command::Als(options) => recommender::run(config, Kind::Als, options),
        Command::Ease(options) => recommender::run(config, Kind::Ease, options),
        Command::ItemKnn(options) => recommender::run(config, Kind::ItemKnn, options),
        Command::Popular(options) => recommender::run(config, Kind::Popular, options),
        Command::Sequential(options) => recommender::run(config, Kind::Sequential, options),
        Command::NaiveBayes(options) => recommender::run(config, Kind::NaiveBayes, options),
        Command::Blend(options) => recommender::run(config, Kind::Blend, options),
        Command::Vectors(options) => vectors::run(config, options),
    }
}
