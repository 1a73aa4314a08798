//! Recommenders under the protocols of `attune_ranking::evaluate`: split, train, rank, report, once for each seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

use anyhow::{Context, Result, bail, ensure};
use attune_batch::attributes::Attributes;
use attune_batch::history::History;
use attune_batch::read::ColumnMap;
use attune_batch::recommender::{self, About, BlendSettings, InputFile, Kind, Settings, measure};
use attune_ranking::data::Worth;
use attune_ranking::evaluate::{Bootstrap, Comparison, GroupOutcome, Metric, Outcome, Protocol, Report, Rule, Stage};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::served::Served;
use crate::bench::{workers, write_json};
use crate::config::Config;
use crate::movielens;
use crate::term;
use crate::train::{input_file, told};
use crate::worth::WorthFlag;

/// Splits, where nobody says.
const SEEDS: u64 = 5;

/// What was measured, of what, and what came of it.
#[derive(Debug, Serialize, Deserialize)]
struct Evaluation {
    protocol: String,
    description: String,
    /// What was trained.
    model: String,
    /// Its options; a server of its own has those of its trainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<Value>,
    /// A server of its own trained it, and was asked over REST.
    served: bool,
    events: InputFile,
    worth: Worth,
    means: Vec<Means>,
    splits: Vec<Outcome>,
}

/// The figures of a group of users.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Means {
    group: String,
    /// Splits that asked anybody.
    splits: usize,
    figures: Vec<Figure>,
}

/// A figure over the splits that asked anybody.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Figure {
    /// Such as `ndcg@10`.
    metric: String,
    mean: f64,
    /// The standard deviation; 0 of one split.
    deviation: f64,
}

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
    flags.worth.tell_unknown(&worth, history.log.kinds());
    let (model, options, splits) = if flags.served {
        let served = Served::new(config, protocol, (&history, worth.clone()), model, films)?;
        let title = format!("lists of a server that trains {}, asked over REST,", served.model());
        (served.model().to_owned(), None, splits(&title, protocol, flags, |seed| served.outcome(seed))?)
    } else {
        let (name, settings) = settings(config, model.unwrap_or("ease"), protocol)?;
        let (worth, _) = worth.in_events(&history.log, history.log.latest().unwrap_or(0))?;
        let stage = if flags.validation { Stage::Validation } else { Stage::Test };
        let splits = splits(&name, protocol, flags, |seed| {
            let settings = settings.clone().with_seed(seed);
            Ok(measure(&settings, (&history.log, &about), &worth, (protocol, seed, stage), workers(config))?)
        })?;
        (settings.name().to_owned(), Some(settings.options()), splits)
    };
    let Some(path) = json else { return Ok(()) };
    let events = input_file("events", &events_file(config, flags), &ColumnMap::parse(&flags.map)?)?;
    let (protocol, description) = (protocol.name.to_owned(), protocol.description.to_owned());
    let (served, means) = (flags.served, means(&splits));
    write_json(&Evaluation { protocol, description, model, options, served, events, worth, means, splits }, path)
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

/// Where the events are.
fn events_file(config: &Config, flags: &Flags) -> PathBuf {
    flags.events.clone().unwrap_or_else(|| config.model_folder("movielens-100k").join("ml-100k.inter"))
}

/// The events, what is known of users and items for models, and what a catalogue says of the items.
pub(super) fn read(config: &Config, flags: &Flags) -> Result<(History, About, BTreeMap<String, Value>)> {
    let (mut about, mut films) = (About::default(), BTreeMap::new());
    let path = events_file(config, flags);
    let history = match flags.events.is_some() {
        true => History::read(&path, &ColumnMap::parse(&flags.map)?)?,
        false => {
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

fn print_seeds(outcomes: &[Outcome]) {
    say!("mean of {} splits, and their standard deviation:", outcomes.len());
    for Means { group, figures, .. } in means(outcomes) {
        if figures.is_empty() {
            say!("{group:<12} nobody to ask");
        }
        for Figure { metric, mean, deviation } in figures {
            say!("{group:<12} {metric:<12} {mean:.4} +- {deviation:.4}");
        }
    }
}

/// Mean and standard deviation of each figure over the splits that asked anybody, by group.
fn means(outcomes: &[Outcome]) -> Vec<Means> {
    let of_group = |(number, first): (usize, &GroupOutcome)| {
        let groups = outcomes.iter().map(|outcome| &outcome.groups[number]);
        let asked: Vec<&GroupOutcome> = groups.filter(|group| !group.users.is_empty()).collect();
        let metrics = Metric::ALL.into_iter().filter(|_| !asked.is_empty());
        let figures = metrics.map(|metric| figure(metric, outcomes[0].k, &asked)).collect();
        Means { group: first.name.clone(), splits: asked.len(), figures }
    };
    outcomes[0].groups.iter().enumerate().map(of_group).collect()
}

fn figure(metric: Metric, k: usize, splits: &[&GroupOutcome]) -> Figure {
    let means: Vec<f64> = splits.iter().map(|split| mean(split, metric)).collect();
    let centre = means.iter().sum::<f64>() / means.len() as f64;
    let squares = means.iter().map(|mean| (mean - centre).powi(2)).sum::<f64>();
    let deviation = (squares / (means.len() - 1).max(1) as f64).sqrt();
    Figure { metric: format!("{}@{k}", metric.name()), mean: centre, deviation }
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
    let (first, second) = (Evaluation::read(first)?, Evaluation::read(second)?);
    first.check_events(&second)?;
    let is_alike = first.worth == second.worth;
    let (first, second) = (first.splits, second.splits);
    let all = match Comparison::new(&first, &second, Bootstrap::default()) {
        compared if is_alike => compared?,
        compared => compared.context("the runs count events by different worths (--worth)")?,
    };
    if first.len() > 1 {
        for (first, second) in first.iter().zip(&second) {
            let split = Comparison::new(slice::from_ref(first), slice::from_ref(second), Bootstrap::default())?;
            say!("{split}");
        }
    }
    say!("{all}");
    Ok(())
}

impl Evaluation {
    /// Reads what `--json` wrote.
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is no result of `attune evaluate --json` for recommenders", path.display()))
    }

    /// # Errors
    /// The other one was measured on other events.
    fn check_events(&self, other: &Self) -> Result<()> {
        let content = |file: &InputFile| (file.sha256.clone(), file.columns.clone());
        if content(&self.events) == content(&other.events) {
            return Ok(());
        }
        let named = |file: &InputFile| {
            let columns = if file.columns.is_empty() { String::new() } else { format!(", --map {:?}", file.columns) };
            format!("{} (SHA-256 {:.12}{columns})", file.file, file.sha256)
        };
        bail!(
            "the runs differ in their events, {} and {}: measure both on the same file",
            named(&self.events),
            named(&other.events)
        );
    }
}

#[cfg(test)]
mod tests {
    use attune_ranking::evaluate::{UserMetrics, UserOutcome};

    use super::*;

    fn outcome(seed: u64, ndcg: f64) -> Outcome {
        let metrics = UserMetrics { ndcg, ..UserMetrics::default() };
        let user = UserOutcome { user: 0, relevant: 1, list: vec![0], metrics };
        let of = |name: &str, users| GroupOutcome {
            name: name.to_owned(),
            users,
            skipped: 0,
            coverage: 0.5,
            novelty_bits: 1.0,
        };
        let groups = vec![of("all", vec![user]), of("nobody", Vec::new())];
        Outcome { protocol: "user-90-10".into(), seed, stage: Stage::Test, k: 10, ranked: 2, groups }
    }

    fn evaluation(sha256: &str) -> Evaluation {
        let splits = vec![outcome(0, 0.2), outcome(1, 0.4)];
        let (file, columns) = ("events.csv".to_owned(), BTreeMap::new());
        Evaluation {
            protocol: "user-90-10".into(),
            description: "words".into(),
            model: "ease".into(),
            options: None,
            served: false,
            events: InputFile { role: "events".into(), file, bytes: 9, sha256: sha256.into(), columns },
            worth: Worth::alike(),
            means: means(&splits),
            splits,
        }
    }

    #[test]
    fn the_means_of_all_splits_have_names() {
        let means = evaluation("a").means;
        let [all, nobody] = &means[..] else { panic!("two groups") };
        let ndcg = &all.figures[0];
        assert_eq!((all.group.as_str(), all.splits, ndcg.metric.as_str()), ("all", 2, "ndcg@10"));
        assert!((ndcg.mean - 0.3).abs() < 1e-12 && (ndcg.deviation - 0.02_f64.sqrt()).abs() < 1e-12, "{ndcg:?}");
        assert_eq!(nobody, &Means { group: "nobody".into(), splits: 0, figures: Vec::new() });
    }

    #[test]
    fn results_of_other_events_are_not_compared() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, sha256: &str| {
            let path = folder.path().join(name);
            write_json(&evaluation(sha256), &path).unwrap();
            Evaluation::read(&path).unwrap()
        };
        let (one, two) = (written("one.json", "aaaaaaaaaaaaaaaa"), written("two.json", "bbbb"));
        one.check_events(&one).unwrap();
        let told = one.check_events(&two).unwrap_err().to_string();
        assert!(told.contains("events.csv (SHA-256 aaaaaaaaaaaa)") && told.contains("SHA-256 bbbb"), "{told}");
        assert_eq!((one.model.as_str(), one.means[0].splits), ("ease", 2));
    }
}
