//! Recommenders under the protocols of `attune_ranking::evaluate`: split, train, rank, report, once for each seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

use anyhow::{Context, Result, ensure};
use attune_batch::attributes::Attributes;
use attune_batch::history::History;
use attune_batch::read::ColumnMap;
use attune_batch::recommender::{self, About, BlendSettings, Kind, Settings, measure};
use attune_ranking::data::Worth;
use attune_ranking::evaluate::{Bootstrap, Comparison, GroupOutcome, Metric, Outcome, Protocol, Report, Rule, Stage};
use clap::Args;
use serde_json::Value;

use super::served::Served;
use crate::bench::{workers, write_json};
use crate::config::Config;
use crate::movielens;
use crate::term;
use crate::train::told;
use crate::worth::WorthFlag;

/// Splits, where nobody says.
const SEEDS: u64 = 5;

/// Flags of recommenders.
#[derive(Debug, Args)]
pub struct Flags {
    /// Events to learn from: CSV, JSON lines or Parquet [default: MovieLens-100K]
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// A column of a file under its own name: ours=theirs
    #[arg(long, value_name = "OURS=THEIRS")]
    pub map: Vec<String>,
    /// Splits, each with a seed of its own; protocols that split by time have one [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) seeds: Option<u64>,
    /// What events are worth.
    #[command(flatten)]
    pub(super) worth: WorthFlag,
    /// Judge on the validation part, to choose settings
    #[arg(long, conflicts_with = "served")]
    pub(super) validation: bool,
    /// Ask a server, over REST: one of its own for each split, which is told the training events, trains what --model says
    /// [default: trainer.model] and makes lists as it always does
    #[arg(long)]
    pub(super) served: bool,
    /// Say whether the second of two results written with --json differs from the first
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"], conflicts_with = "protocol")]
    compare: Vec<PathBuf>,
}

impl Flags {
    /// How many splits.
    pub(super) fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(SEEDS)
    }
}

/// Trains and judges on each split, and prints the figures.
///
/// # Errors
/// The events cannot be read or are too few, or the model cannot be trained on them.
pub fn run(
    config: &Config,
    protocol: &'static Protocol,
    model: Option<&str>,
    flags: &Flags,
    json: Option<&Path>,
) -> Result<()> {
    let (history, about, films) = read(config, flags)?;
    let worth = flags.worth.or(&Worth::alike(), config)?;
    let outcomes = if flags.served {
        let served = Served::new(config, protocol, (&history, worth), model, films)?;
        let title = format!("lists of a server that trains {}, asked over REST,", served.model());
        splits(&title, protocol, flags, |seed| served.outcome(seed))?
    } else {
        let (name, settings) = settings(config, model.unwrap_or("ease"), protocol)?;
        let (worth, _) = worth.in_events(&history.log, history.log.latest().unwrap_or(0))?;
        let stage = if flags.validation { Stage::Validation } else { Stage::Test };
        splits(&name, protocol, flags, |seed| {
            let settings = settings.clone().with_seed(seed);
            Ok(measure(&settings, (&history.log, &about), &worth, (protocol, seed, stage), workers(config))?)
        })?
    };
    json.map_or(Ok(()), |path| write_json(&outcomes, path))
}

/// Judges on one split after the other, and prints the figures of the first and the mean of all.
fn splits(
    title: &str,
    protocol: &Protocol,
    flags: &Flags,
    mut judge: impl FnMut(u64) -> Result<Outcome>,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for seed in 0..flags.seeds() {
        let outcome = judge(seed)?;
        let first = seed == 0;
        // A split that does not depend on the seed is judged once; in few data a later one may be the first by chance.
        if seed == 1 && outcome.groups == outcomes[0].groups {
            break;
        }
        if first {
            say!("{title} under {}: {}", protocol.name, protocol.description);
            say!(
                "{}",
                if flags.worth.is_given() { "events are worth what --worth says" } else { "every event counts alike" }
            );
            say!("{}", Report::new(&outcome, Bootstrap::default()));
        }
        outcomes.push(outcome);
    }
    if outcomes.len() > 1 {
        print_seeds(&outcomes);
    }
    Ok(outcomes)
}

/// What is trained on each split: the default settings of a model, or those of a trained folder. The folder's own model is
/// never asked: it has seen the events that it would be asked about.
pub(super) fn settings(config: &Config, model: &str, protocol: &Protocol) -> Result<(String, Settings)> {
    if let Ok(kind) = model.parse::<Kind>() {
        if let Ok(trained) = recommender::resolve(&config.data, model) {
            term::detail(&format!(
                "{model} is judged with its default options; --model {} means those that were trained with",
                trained.display()
            ));
        }
        let in_time = matches!(protocol.rule, Rule::LeaveLastOut | Rule::GlobalTime { .. });
        return Ok((
            model.to_owned(),
            match Settings::new(kind, 0) {
                Settings::Blend(blend) => Settings::Blend(BlendSettings { in_time, ..blend }),
                settings => settings,
            },
        ));
    }
    let folder = recommender::resolve(&config.data, model)?;
    let (settings, _) = recommender::config(&folder)?;
    let name = format!("{} with the options of {}, trained anew on each split,", settings.name(), folder.display());
    Ok((name, settings))
}

/// The events, what is known of users and items for models, and what a catalogue says of the items.
pub(super) fn read(config: &Config, flags: &Flags) -> Result<(History, About, BTreeMap<String, Value>)> {
    let (mut about, mut films) = (About::default(), BTreeMap::new());
    let history = match &flags.events {
        Some(path) => History::read(path, &ColumnMap::parse(&flags.map)?)?,
        None => {
            let path = config.model_folder("movielens-100k").join("ml-100k.inter");
            ensure!(
                path.is_file(),
                "{} is not there: fetch it with `attune models pull movielens-100k`, or name your own --events",
                path.display()
            );
            let history = History::read(&path, &ColumnMap::default())?;
            let users = Attributes::movielens_users(&path.with_extension("user"), &history.users)?;
            let items = Attributes::movielens_items(&path.with_extension("item"), &history.items)?;
            about = About { users: Some(users.table), items: Some(items.table) };
            films = movielens::films(&path.with_extension("item"))?;
            history
        }
    };
    told(&history);
    Ok((history, about, films))
}

/// Mean and standard deviation of each figure over the splits that asked anybody.
fn print_seeds(outcomes: &[Outcome]) {
    say!("mean of {} splits, and their standard deviation:", outcomes.len());
    for (number, first) in outcomes[0].groups.iter().enumerate() {
        let groups = outcomes.iter().map(|outcome| &outcome.groups[number]);
        let asked: Vec<&GroupOutcome> = groups.filter(|group| !group.users.is_empty()).collect();
        if asked.is_empty() {
            say!("{:<12} nobody to ask", first.name);
            continue;
        }
        for metric in Metric::ALL {
            let means: Vec<f64> = asked.iter().map(|group| mean(group, metric)).collect();
            let centre = means.iter().sum::<f64>() / means.len() as f64;
            let squares = means.iter().map(|mean| (mean - centre).powi(2)).sum::<f64>();
            let deviation = (squares / (means.len() - 1).max(1) as f64).sqrt();
            say!(
                "{:<12} {:<12} {centre:.4} +- {deviation:.4}",
                first.name,
                format!("{}@{}", metric.name(), outcomes[0].k)
            );
        }
    }
}

fn mean(group: &GroupOutcome, metric: Metric) -> f64 {
    let values = group.values(metric);
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Prints how the second of two results differs from the first, split by split, and all of them together.
///
/// # Errors
/// A file is no such result, or they were not measured alike.
pub fn compare(flags: &Flags) -> Result<()> {
    let [first, second] = &flags.compare[..] else { unreachable!("two values, says the command line") };
    let (first, second) = (outcomes(first)?, outcomes(second)?);
    let all = Comparison::new(&first, &second, Bootstrap::default())?;
    if first.len() > 1 {
        for (first, second) in first.iter().zip(&second) {
            let split = Comparison::new(slice::from_ref(first), slice::from_ref(second), Bootstrap::default())?;
            say!("{split}");
        }
    }
    say!("{all}");
    Ok(())
}

fn outcomes(path: &Path) -> Result<Vec<Outcome>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no result of `attune evaluate --json`", path.display()))
}
