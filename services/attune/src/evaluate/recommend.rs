//! Recommenders under the protocols of `attune_ranking::evaluate`: split, train, rank, report, once for each seed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use attune_batch::attributes::Attributes;
use attune_batch::history::History;
use attune_batch::read::ColumnMap;
use attune_ranking::data::Worth;
use attune_ranking::evaluate::{
    Bootstrap, Comparison, GroupOutcome, Metric, Outcome, Protocol, Report, Stage, Task, evaluate,
};
use clap::Args;

use super::trained::{About, Kind, train};
use crate::bench::{workers, write_json};
use crate::config::Config;
use crate::term;

/// Flags of recommenders.
#[derive(Debug, Args)]
pub struct Flags {
    /// Events to learn from: CSV, JSON lines or Parquet [default: MovieLens-100K]
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// A column of that file under its own name: ours=theirs
    #[arg(long, value_name = "OURS=THEIRS", requires = "events")]
    map: Vec<String>,
    /// Splits, each with a seed of its own; protocols that split by time have one
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    /// Judge on the validation part, to choose settings
    #[arg(long)]
    validation: bool,
    /// Say whether the second of two results written with --json differs from the first
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"], conflicts_with = "protocol")]
    compare: Vec<PathBuf>,
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
    ensure!(flags.seeds > 0, "--seeds must be above 0");
    let kind: Kind = model.unwrap_or("ease").parse()?;
    let (history, about) = read(config, flags)?;
    let stage = if flags.validation { Stage::Validation } else { Stage::Test };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for seed in 0..flags.seeds {
        let mut task = Task::new(protocol, &history.log, &Worth::alike(), seed, stage)?;
        if let Some(users) = &about.users {
            task = task.with_user_attributes(users.clone());
        }
        let first = seed == 0;
        let scorer = train(kind, &history.log.subset(&task.split.train), &about, protocol, seed)?;
        let outcome = evaluate(scorer.as_ref(), &task, workers(config))?;
        // A split that does not depend on the seed is judged once.
        if !first && outcome.groups == outcomes[0].groups {
            break;
        }
        if first {
            say!("{kind} under {}: {}", protocol.name, protocol.description);
            say!("{}", Report::new(&outcome, Bootstrap::default()));
        }
        outcomes.push(outcome);
    }
    if outcomes.len() > 1 {
        print_seeds(&outcomes);
    }
    json.map_or(Ok(()), |path| write_json(&outcomes, path))
}

fn read(config: &Config, flags: &Flags) -> Result<(History, About)> {
    let mut about = About::default();
    let history = match &flags.events {
        Some(path) => History::read(path, &ColumnMap::parse(&flags.map)?)?,
        None => {
            let path = config.model_folder("movielens-100k").join("ml-100k.inter");
            ensure!(
                path.is_file(),
                "{} is not there: fetch it with `attune models pull movielens-100k`, or name your own --events",
                path.display()
            );
            let history = History::movielens(&path)?;
            let users = Attributes::movielens_users(&path.with_extension("user"), &history.users)?;
            let items = Attributes::movielens_items(&path.with_extension("item"), &history.items)?;
            about = About { users: Some(users.table), items: Some(items.table) };
            history
        }
    };
    if let Some(first) = history.rejected.first() {
        let (count, row, reason) = (history.rejected_count, first.row, &first.reason);
        term::warn(&format!("{count} rows were left out, the first is row {row}: {reason}"));
    }
    let (events, users, items) = (history.log.events().len(), history.users.len(), history.items.len());
    term::detail(&format!("{events} events of {users} users with {items} items"));
    Ok((history, about))
}

/// Mean and standard deviation of each figure over the splits.
fn print_seeds(outcomes: &[Outcome]) {
    say!("mean of {} splits, and their standard deviation:", outcomes.len());
    for (number, group) in outcomes[0].groups.iter().enumerate() {
        for metric in Metric::ALL {
            let means: Vec<f64> = outcomes.iter().map(|outcome| mean(&outcome.groups[number], metric)).collect();
            let centre = means.iter().sum::<f64>() / means.len() as f64;
            let squares = means.iter().map(|mean| (mean - centre).powi(2)).sum::<f64>();
            let deviation = (squares / (means.len() - 1) as f64).sqrt();
            say!(
                "{:<12} {:<12} {centre:.4} +- {deviation:.4}",
                group.name,
                format!("{}@{}", metric.name(), outcomes[0].k)
            );
        }
    }
}

fn mean(group: &GroupOutcome, metric: Metric) -> f64 {
    let values = group.values(metric);
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Prints how the second of two results differs from the first, split by split.
///
/// # Errors
/// A file is no such result, or they were not measured alike.
pub fn compare(flags: &Flags) -> Result<()> {
    let [first, second] = &flags.compare[..] else { unreachable!("two values, says the command line") };
    let (first, second) = (outcomes(first)?, outcomes(second)?);
    ensure!(first.len() == second.len(), "one has {} splits, the other {}", first.len(), second.len());
    for (first, second) in first.iter().zip(&second) {
        let comparison = Comparison::new(first, second, Bootstrap::default())?;
        say!("{comparison}");
    }
    Ok(())
}

fn outcomes(path: &Path) -> Result<Vec<Outcome>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no result of `attune evaluate --json`", path.display()))
}
