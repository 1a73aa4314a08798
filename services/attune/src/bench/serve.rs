//! `attune bench serve`: a server of this very binary in a process of its own, and the open-loop driver against it.
//!
//! The engine alone is timed first, in this process, on the text that the idle server gets: how much the server adds is
//! the ratio of the two.

use std::time::Instant;

use anyhow::{Context, Result};
use attune_inference::engine::FlatBatch;
use attune_inference::registry::Registry;
use attune_inference::schedule::EngineFactory;
use attune_load::texts::bench_texts;
use attune_load::{IDLE_PAUSE, LoadOptions, Target, Task};
use clap::Args;

use super::measuring::Measuring;
use super::workers;
use crate::config::{Config, EngineFlags, Model};
use crate::own_server::Home;
use crate::{compose, term, texts};

/// Different texts, sent in turn.
const TEXTS: usize = 2_000;
/// Calls of the engine alone, for their median; as many warm up.
const ALONE_CALLS: usize = 50;

/// What can be typed after `attune bench serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Starts a server of its own in another process unless --url names one. Measures
one short text on the idle server, then capacity, then open loops at shares of it
beside an ideal first-come server on the same arrivals, then the highest rate at
a p99 objective. Some minutes with the defaults.

Examples:
  attune bench serve
  attune bench serve --shares 0.5,0.8 --runs 3 --seconds 10 --json serve.json
  ATTUNE_KEY=att_... attune bench serve --url http://127.0.0.1:8080")]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: EngineFlags,
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
    /// Longest p99 of the highest rate, in milliseconds; 0 skips that search
    #[arg(long = "p99", value_name = "MS", default_value_t = 50.0)]
    p99_ms_max: f64,
    /// How often and how long.
    #[command(flatten)]
    measuring: Measuring,
}

/// Measures, prints the report and writes the JSON.
///
/// # Errors
/// The server does not start or cannot be reached, the texts are missing, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let texts = bench_texts(&texts::folder(config), TEXTS)?;
    let task = if options.classify { Task::Classify } else { Task::Embed };
    let target = |url: String, key| Target { url, key, model: None, task };
    let mut load = LoadOptions::new(target(String::new(), None), texts, workers(config));
    load.shares.clone_from(&options.shares);
    load.runs = options.measuring.runs;
    load.length = options.measuring.length()?;
    load.p99_objective_ms = (options.p99_ms_max > 0.0).then_some(options.p99_ms_max);
    let own = match &options.url {
        Some(url) => {
            load.target = target(url.clone(), options.key.clone());
            None
        }
        None => {
            load.short.engine_alone_ms = Some(engine_alone_ms(config, options.classify, &load.short.text)?);
            let mut home = Home::new(config)?;
            let server = home.start()?;
            load.target = target(server.url.clone(), Some(server.key.clone()));
            Some((server, home))
        }
    };
    let report = attune_load::run(&load, &mut term::detail)?;
    drop(own);
    say!("{report}");
    options.measuring.write(&report)
}

/// Median of tokenising and computing one text, without queue or wire.
fn engine_alone_ms(config: &Config, classify: bool, text: &str) -> Result<f64> {
    let is_asked = |model: &&Model| model.adapter.is_some() == classify;
    let model = config.models.iter().find(is_asked).context("no configured model does this task")?;
    let limits = compose::inference(config);
    let registry = Registry::load(&[compose::spec(config, model)?], limits.engine, limits.precision, limits.device)?;
    let loaded = &registry.models()[0];
    let mut engine = loaded.engine();
    let mut out = vec![0.0; engine.width()];
    let mut times = Vec::with_capacity(ALONE_CALLS);
    for call in 0..2 * ALONE_CALLS {
        // As long as between the calls to the idle server: caches and clock frequency are as cold as there.
        std::thread::sleep(IDLE_PAUSE);
        let start = Instant::now();
        let ids = loaded.tokenizer.encode(text).map_err(anyhow::Error::msg)?.ids;
        engine.run(FlatBatch::new(&ids, &[0, ids.len()])?, &|| false, &mut out)?;
        if call >= ALONE_CALLS {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ALONE_CALLS / 2])
}
