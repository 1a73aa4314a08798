//! What can be typed. Each command's own options stand in its module, beside what they do; this file holds the commands,
//! and merges their flags into the configuration.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Overrides};
use crate::{bench, demo, doctor, evaluate, export, import, keys, models, recommenders, replay, score, serve, train};

const EXAMPLES: &str = "\
Examples:
  attune models pull     fetch the default models (90 MB on disk)
  attune serve           serve on 127.0.0.1:8080, REST and gRPC on one port
  attune doctor          what this machine can do, and what is wrong

Configuration: a flag beats an environment variable (ATTUNE_SERVER_LISTEN is
server.listen), which beats the file (--config, else attune.toml in the working
folder), which beats the default. attune.example.toml documents every key.";

/// A personalization engine: lists for people, items found by meaning, embeddings and sentiment, over gRPC and REST.
#[derive(Debug, Parser)]
#[command(name = "attune", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
struct Common {
    /// The configuration file [default: attune.toml in the working folder, where there is one]
    #[arg(long, global = true, value_name = "FILE", env = "ATTUNE_CONFIG")]
    config: Option<PathBuf>,
    /// The data folder, with models and keys [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or TARGET=LEVEL parts [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve all of it, or the services named, over REST and gRPC on one port
    Serve(serve::Options),
    /// Start a server, walk through what it can do on real sentences and films, and leave it to you
    Demo(demo::Options),
    /// What this machine, configuration and data can do, and what is wrong
    Doctor(doctor::Options),
    /// Fetch, list, describe and remove models
    #[command(subcommand)]
    Models(models::Command),
    /// Make, list and revoke API keys, whether a server runs or not
    #[command(subcommand)]
    Keys(keys::Command),
    /// Train a recommender on events, or fine-tune a model on the labelled sentences
    #[command(subcommand)]
    Train(train::Command),
    /// Put a trained recommender in service, or the one before again
    #[command(subcommand)]
    Recommenders(recommenders::Command),
    /// How good a model is under a named protocol, in this process or through a running server
    Evaluate(evaluate::Options),
    /// Bring files into a running server; killed, it goes on where it was
    #[command(subcommand)]
    Import(import::Command),
    /// Write what was logged to a file, for `attune evaluate` and programs of your own
    #[command(subcommand)]
    Export(export::Command),
    /// Make all that is derived from events again, from the log alone
    Replay(replay::Options),
    /// Embed or judge every text of a file, or recommend to every user; killed, it goes on where it was
    Score(score::Options),
    /// Measure: the engine alone, or a server under load
    #[command(subcommand)]
    Bench(bench::Command),
}

impl Command {
    fn overrides(&self) -> Overrides {
        match self {
            Self::Serve(options) => options.flags.overrides(),
            Self::Demo(options) => options.flags.overrides(),
            Self::Doctor(options) => options.flags.overrides(),
            Self::Evaluate(options) => options.flags.overrides(),
            Self::Score(options) => options.flags.overrides(),
            Self::Bench(command) => command.overrides(),
            Self::Export(_)
            | Self::Import(_)
            | Self::Keys(_)
            | Self::Models(_)
            | Self::Recommenders(_)
            | Self::Replay(_)
            | Self::Train(_) => Overrides::default(),
        }
    }
}

impl Cli {
    fn config(&self) -> Result<Config> {
        let Common { config, data, log } = &self.common;
        let overrides = Overrides { data: data.clone(), log: log.clone(), ..self.command.overrides() };
        config::load(config.as_deref(), config::environment(), &overrides)
    }
}

/// Does what was typed.
///
/// # Errors
/// Whatever went wrong, ready to be shown.
pub fn run(cli: Cli) -> Result<()> {
    let config = cli.config()?;
    match cli.command {
        Command::Serve(options) => serve::run(&config, &options),
        Command::Demo(options) => demo::run(&config, &options),
        Command::Doctor(options) => doctor::run(&config, &options),
        Command::Models(command) => models::run(&config, &command),
        Command::Keys(command) => keys::run(&config, &command),
        Command::Train(command) => train::run(&config, &command),
        Command::Recommenders(command) => recommenders::run(&config, &command),
        Command::Evaluate(options) => evaluate::run(&config, &options),
        Command::Export(command) => export::run(&config, &command),
        Command::Import(command) => import::run(&config, &command),
        Command::Replay(options) => replay::run(&config, &options),
        Command::Score(options) => score::run(&config, &options),
        Command::Bench(command) => bench::run(&config, &command),
    }
}
